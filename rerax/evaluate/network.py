"""One chip on one shard of examples, layer by layer: what every evaluation is made of.

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
from jaxtyping import Array, Float, Int8, Int32

from rerax.crossbar.crossbar import Crossbar
from rerax.crossbar.keys import Chip
from rerax.faults.mask import Faults
from rerax.faults.read_out import Counts, counts_of
from rerax.hardware import Hardware
from rerax.models.bert.config import BertConfig
from rerax.models.bert.crossbars import (
    crossbar_lookup,
    crossbar_product,
    crossbars_by_section,
    params_outside,
)
from rerax.models.bert.fused_layer import FusedLayer, can_fuse
from rerax.models.bert.model import Embeddings, EncoderLayer, Head
from rerax.models.reading import read_crossbars
from rerax.models.stored import StoredModel

KERNELS = ("plain", "triton", "interpret")


@dataclass(frozen=True)
class Network:
    """What is static about an evaluation, beside the hardware: each is compiled by itself.

    Attributes:
        config: shape of the BERT.
        dtype: dtype of everything that is not on a crossbar.
        lanes: chips in one `vmap`; part of the platform, never a matter of memory.
        kernels: `plain`, or `triton` for layers of fused kernels where they fit (`interpret` runs
            those as plain operations).
    """

    config: BertConfig
    dtype: str = "float32"
    lanes: int = 1
    kernels: str = "plain"

    def __post_init__(self) -> None:
        if self.kernels not in KERNELS:
            raise ValueError(f"kernels {self.kernels!r}: give one of {', '.join(KERNELS)}")


class DeviceBucket(NamedTuple):
    """Batches of rows of one width T that an evaluation has on the device.

    Attributes:
        ids, types, positions, sentence, first: as in a `rerax.glue.packing.Bucket`.
        used: batches in use; the rest of the n are room.
    """

    ids: Int32[Array, "n B T"]
    types: Int32[Array, "n B T"]
    positions: Int32[Array, "n B T"]
    sentence: Int32[Array, "n B T"]
    first: Int32[Array, "n S"]
    used: Int32[Array, ""]


Shard = tuple[DeviceBucket, ...]
"""A part of a split, cut so that its residual streams fit the memory: all lie on one device."""


class CleanPrefix(NamedTuple):
    """The clean chip's activations up to a layer, from which chips start whose faults begin there.

    Attributes:
        stream: of each bucket, the clean chip's residual stream into a layer [*lanes, n, B, T, D],
            with an axis of lanes where there are several, since a width may change a last bit.
        layer: that layer; the number of layers where only the head is left.
    """

    stream: tuple[Array, ...]
    layer: Int32[Array, ""]


Section = dict[str, Crossbar]
"""Crossbars of one section of the parameters, by matrix; of the encoder, those of one layer."""

ReadSection = Callable[[Section], tuple[dict[str, Int8[Array, "R C"]], dict[str, Counts]]]
"""Gives codes and faulty cells of the crossbars of a section."""


def reader(hardware: Hardware, chip: Chip, faults: Faults) -> ReadSection:
    """Make a function that reads a section as one chip holds it."""

    return lambda section: read_crossbars(section, chip, faults, hardware, at_once=True)


def chip_logits(
    network: Network,
    stored: StoredModel,
    shard: Shard,
    read_section: ReadSection,
    prefix: CleanPrefix | None = None,
) -> tuple[tuple[Float[Array, "n S N"], ...], dict[str, dict[str, Counts]]]:
    """Compute the logits of one chip on one shard of examples, and count its faulty cells.

    Args:
        network: static description.
        stored: the model on crossbars.
        shard: batches of examples.
        read_section: reads them as the chip does (`reader`).
        prefix: the clean stream into the first layer with faults; None: from the embeddings on.

    Returns:
        Logits of each bucket, and {section: {matrix: counts}}, encoder counts [L].
    """
    sections, params = crossbars_by_section(stored), params_outside(stored)
    if prefix is None:
        stream, counts_embeddings = embed(network, stored, shard, read_section)
        first: int | Array = 0
    else:
        stream, first = prefix
        counts_embeddings = {name: counts_of() for name in sections["embeddings"]}
    span = (first, network.config.layers)
    stream, counts_encoder = through_layers(network, stored, shard, read_section, stream, span)
    codes, counts_head = read_section(sections["head"])
    product = crossbar_product(codes, sections["head"], stored.hardware.input_bits)
    head = Head(network.config, product, jnp.dtype(network.dtype))

    def of_sentences(batch: tuple[Array, Array]) -> Array:
        x, first = batch
        tokens = x.reshape(-1, x.shape[-1])[first]
        return head.apply({"params": params["head"]}, tokens[:, None])

    logits = tuple(  # batch by batch, so that no shard size can change a bit
        lax.map(of_sentences, (x, b.first)) for x, b in zip(stream, shard, strict=True)
    )
    counts = {"embeddings": counts_embeddings, "encoder": counts_encoder, "head": counts_head}
    return logits, counts


def embed(
    network: Network, stored: StoredModel, shard: Shard, read_section: ReadSection
) -> tuple[tuple[Array, ...], dict[str, Counts]]:
    """Compute the stream into layer 0, and count the faulty cells of the tables."""
    section = crossbars_by_section(stored)["embeddings"]
    codes, counts = read_section(section)
    params = params_outside(stored)["embeddings"]
    lookup = crossbar_lookup(codes, section)
    module = Embeddings(network.config, lookup, jnp.dtype(network.dtype))
    stream = tuple(
        lax.map(lambda b: module.apply({"params": params}, *b), (b.ids, b.types, b.positions))
        for b in shard
    )
    return stream, counts


def through_layers(
    network: Network,
    stored: StoredModel,
    shard: Shard,
    read_section: ReadSection,
    stream: tuple[Array, ...],
    span: tuple[int | Array, int | Array],
) -> tuple[tuple[Array, ...], dict[str, Counts]]:
    """Compute the stream behind the layers of a span, and their counts [L], 0 in all others.

    Args:
        network: static description.
        stored: the model on crossbars.
        shard: batches of examples.
        read_section: reads them as the chip does (`reader`).
        stream: of each bucket, the stream into the span's first layer.
        span: first layer, and the one behind the last.
    """
    section = crossbars_by_section(stored)["encoder"]
    layers = (section, params_outside(stored)["encoder"])

    def through_layer(i: int | Array, carry: tuple) -> tuple[tuple[Array, ...], dict]:
        stream, counts = carry
        crossbars, params = jax.tree.map(
            lambda a: lax.dynamic_index_in_dim(jnp.asarray(a), i, keepdims=False), layers
        )
        codes, found = read_section(crossbars)
        run = _layer_of(network, codes, crossbars, params, stored.hardware.input_bits)

        def through_batch(j: int | Array, x: Array, bucket: DeviceBucket) -> Array:
            def once(_: int | Array, y: Array) -> Array:
                return run(y, bucket.sentence[j])

            passes = network.config.passes
            y = once(0, x[j]) if passes == 1 else lax.fori_loop(0, passes, once, x[j])
            return x.at[j].set(y)

        stream = tuple(
            lax.fori_loop(0, b.used, functools.partial(through_batch, bucket=b), x)
            for b, x in zip(shard, stream, strict=True)
        )
        return stream, jax.tree.map(
            lambda room, n: lax.dynamic_update_index_in_dim(room, n, i, 0), counts, found
        )

    room = jnp.zeros(network.config.layers, jnp.int32)
    counts = {name: Counts(*[room] * len(Counts._fields)) for name in section}
    first, last = span
    if not isinstance(first, int):  # traced: one compile serves every first layer
        last = jnp.asarray(last, jnp.int32)
    return lax.fori_loop(first, last, through_layer, (stream, counts))


def _layer_of(
    network: Network, codes: dict[str, Array], crossbars: Section, params: Any, bits: int | None
) -> Callable[[Array, Array], Array]:
    """Make a function of a stream and its sentences that runs a layer whose codes were read."""
    if network.kernels != "plain" and can_fuse(network.config, crossbars, bits):
        interpret = network.kernels == "interpret"
        return FusedLayer.make(network.config, codes, crossbars, params, interpret)
    product = crossbar_product(codes, crossbars, bits)
    encoder = EncoderLayer(network.config, product, jnp.dtype(network.dtype))
    return lambda x, sentence: encoder.apply({"params": params}, x, sentence)
