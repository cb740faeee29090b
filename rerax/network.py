"""One chip on one block of examples, layer by layer: what every evaluation is made of.

The codes of one layer are read once and serve every batch of examples before the next layer is
touched: what is held is one layer's codes and the residual stream, never a whole faulty model.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int32, Key, UInt32

from rerax.chip import UNPROTECTED, Acting, Programmed, read
from rerax.crossbar import keys
from rerax.crossbar.spec import ChipSpec
from rerax.faults import Counts, Dose, FaultModel
from rerax.faults.models import counts_of
from rerax.models.bert.config import BertConfig
from rerax.models.bert.model import Embeddings, EncoderLayer, Head
from rerax.products import crossbar_lookup, crossbar_product
from rerax.protection import Protection


@dataclass(frozen=True)
class Network:
    """All that is static about an evaluation: one compiled program for each value.

    Attributes:
        config: shape of the BERT.
        spec: how codes become cells.
        fault: the fault model.
        input_bits: 8 for integer products of codes, None for float inputs.
        dtype: dtype of everything that is not on a crossbar.
        lanes: chips in one `vmap`; part of the platform, never a matter of memory.
        protection: what is stored beside the weights, and voted on reading.
    """

    config: BertConfig
    spec: ChipSpec
    fault: FaultModel
    input_bits: int | None = 8
    dtype: str = "float32"
    lanes: int = 1
    protection: Protection = UNPROTECTED


class Bucket(NamedTuple):
    """Batches of one token length T that an evaluation has on the device.

    Attributes:
        ids, types: [n, B, T] token ids and segment ids.
        mask: [n, B, T] True on real tokens.
        used: batches in use; the rest of the n are room.
    """

    ids: Int32[Array, "n B T"]
    types: Int32[Array, "n B T"]
    mask: Bool[Array, "n B T"]
    used: Int32[Array, ""]


Block = tuple[Bucket, ...]


class Entry(NamedTuple):
    """Where chips start whose first layers are free of faults.

    Attributes:
        stream: of each bucket, the clean chip's residual stream into a layer [*lanes, n, B, T, D],
            with an axis of lanes where there are several, since a width may change a last bit.
        layer: that layer; the number of layers where only the head is left.
    """

    stream: tuple[Array, ...]
    layer: Int32[Array, ""]


ReadSection = Callable[[Any, Any, int | Array], tuple[dict, dict]]


def chip_logits(
    network: Network,
    programmed: Programmed,
    block: Block,
    root: Key[Array, ""],
    dose: Dose,
    chip: UInt32[Array, ""],
    lanes: str | None = None,
    where: Acting | None = None,
    entry: Entry | None = None,
) -> tuple[tuple[Float[Array, "n B N"], ...], dict[str, dict[str, Counts]]]:
    """Logits of one chip on one block of examples, and its faulty cells.

    Args:
        network: static description.
        programmed: the model on crossbars.
        block: batches of examples.
        root: the campaign's root key.
        dose: fault rate and share.
        chip: which chip.
        lanes: name of the enclosing `vmap` axis over chips, if any.
        where: where faults act; None: everywhere.
        entry: the clean stream into the first layer with faults; None: from the embeddings on.

    Returns:
        Logits of each bucket, and {section: {matrix: counts}}, encoder counts [L].
    """
    words, scales, params, lines, extras = programmed
    read_section = reader(network, root, dose, chip, lanes, where)
    if entry is None:
        stream, counts_embeddings = embed(network, programmed, block, read_section)
        first: int | Array = 0
    else:
        stream, first = entry
        counts_embeddings = {name: counts_of() for name in words["embeddings"]}
    last = network.config.num_hidden_layers
    stream, counts_encoder = through_layers(
        network, programmed, block, read_section, stream, first, last
    )
    codes, counts_head = read_section(words["head"], extras["head"], 0)
    product = crossbar_product(codes, scales["head"], network.input_bits, lines["head"])
    head = Head(network.config, product, jnp.dtype(network.dtype))
    logits = tuple(  # batch by batch, so that no block size can change a bit
        lax.map(lambda x: head.apply({"params": params["head"]}, x[:, :1]), x) for x in stream
    )
    counts = {"embeddings": counts_embeddings, "encoder": counts_encoder, "head": counts_head}
    return logits, counts


def reader(
    network: Network,
    root: Key[Array, ""],
    dose: Dose,
    chip: UInt32[Array, ""],
    lanes: str | None,
    where: Acting | None,
) -> ReadSection:
    """What reads one layer of a section: (words, extras, layer) -> codes and counts."""
    chip_key = keys.chip_key(root, chip)

    def read_section(section: Any, extras: Any, layer: int | Array) -> tuple[dict, dict]:
        how = (dose, network.fault, network.spec, network.protection, extras, lanes, chip, where)
        return read(section, chip_key, layer, *how)

    return read_section


def embed(
    network: Network, programmed: Programmed, block: Block, read_section: ReadSection
) -> tuple[tuple[Array, ...], dict[str, Counts]]:
    """The stream into layer 0, and the faulty cells of the tables."""
    words, extras = programmed.words["embeddings"], programmed.extras["embeddings"]
    codes, counts = read_section(words, extras, 0)
    lookup = crossbar_lookup(codes, programmed.scales["embeddings"])
    params = programmed.params["embeddings"]
    module = Embeddings(network.config, lookup, jnp.dtype(network.dtype))
    stream = tuple(
        lax.map(lambda b: module.apply({"params": params}, *b), (b.ids, b.types)) for b in block
    )
    return stream, counts


def through_layers(
    network: Network,
    programmed: Programmed,
    block: Block,
    read_section: ReadSection,
    stream: tuple[Array, ...],
    first: int | Array,
    last: int | Array,
) -> tuple[tuple[Array, ...], dict[str, Counts]]:
    """The stream behind layers first .. last - 1, and their counts [L], 0 in all others."""
    layers = tuple(part["encoder"] for part in programmed)

    def through_layer(i: int | Array, carry: tuple) -> tuple[tuple[Array, ...], dict]:
        stream, counts = carry
        words, scales, params, lines, extras = jax.tree.map(
            lambda a: lax.dynamic_index_in_dim(jnp.asarray(a), i, keepdims=False), layers
        )
        codes, found = read_section(words, extras, jnp.asarray(i).astype(jnp.uint32))
        product = crossbar_product(codes, scales, network.input_bits, lines)
        encoder = EncoderLayer(network.config, product, jnp.dtype(network.dtype))

        def through_batch(j: int | Array, x: Array, bucket: Bucket) -> Array:
            return x.at[j].set(encoder.apply({"params": params}, x[j], bucket.mask[j]))

        stream = tuple(
            lax.fori_loop(0, b.used, functools.partial(through_batch, bucket=b), x)
            for b, x in zip(block, stream, strict=True)
        )
        return stream, jax.tree.map(
            lambda room, n: lax.dynamic_update_index_in_dim(room, n, i, 0), counts, found
        )

    room = jnp.zeros(network.config.num_hidden_layers, jnp.int32)
    counts = {name: Counts(*[room] * len(Counts._fields)) for name in layers[0]}
    if not isinstance(first, int):  # traced: one compile serves every first layer
        last = jnp.asarray(last, jnp.int32)
    return lax.fori_loop(first, last, through_layer, (stream, counts))
