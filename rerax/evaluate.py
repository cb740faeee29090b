"""Logits of many chips on one split, layer by layer.

For each chip the codes of one layer are read once and serve every batch of examples before
the next layer is touched: what is held is one layer's codes and the residual stream, never a
whole faulty model. Chips go through one compiled program in lane groups of a fixed width;
rates, shares, keys and numbers of chips and batches are traced, so a grid compiles once for
each static shape.
"""

import functools
import platform as machine
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int, Int8, Int32, Key, UInt32

from rerax import keys
from rerax._types import AnyArray
from rerax.bert.config import BertConfig
from rerax.bert.model import (
    Embeddings,
    EncoderLayer,
    Head,
    Lookup,
    Product,
    float_lookup,
    float_product,
)
from rerax.chip import UNPROTECTED, Programmed, read
from rerax.compaction import Lines, masked_codes, open_product, take_out
from rerax.faults import Counts, Dose, FaultModel
from rerax.glue.data import Batches
from rerax.protection import Protection
from rerax.quantise import quantise_inputs
from rerax.spec import ChipSpec

NUMERICS = 1
"""Raised whenever float details, and so a last bit of a logit, may change."""

LANES = ((128, 256), (384, 64), (768, 16), (1024, 8))
"""(model width up to, lanes) on accelerators: within 12 GB at 1024 tokens a batch."""

STREAM_BYTES = 1 << 30
BLOCK_TOKENS = 32768  # fewer tokens a block would sample the same cells too often
MOST_CHIPS = 32
OPERATIONS_PER_DISPATCH = 2e11


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
        compact: leave closed lines of a pruned model out of the products instead of multiplying
            zeros. The sums are the same; on the CPUs measured, multiplying zeros is faster
            (experiments/results/gates_cost.json).
        protection: what is stored beside the weights, and voted on reading.
    """

    config: BertConfig
    spec: ChipSpec
    fault: FaultModel
    input_bits: int | None = 8
    dtype: str = "float32"
    lanes: int = 1
    compact: bool = False
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


class Outcome(NamedTuple):
    """What some chips answered.

    Attributes:
        logits: [chips, E, N] in the split's own order.
        counts: faulty cells of each chip, summed over all arrays, int64 [chips].
    """

    logits: Float[np.ndarray, "chips E N"]
    counts: Counts


def crossbar_product(
    codes: dict[str, Int8[Array, "R C"]],
    scales: Mapping[str, AnyArray],
    input_bits: int | None,
    lines: Mapping[str, Lines] | None = None,
    compact: bool = False,
) -> Product:
    """Matrix product of `rerax.bert` that multiplies by the codes read from crossbars.

    With `input_bits=8` inputs are quantised per token and each product is an exact sum of
    int8 x int8 products in int32; otherwise codes are scaled back and multiplied in float.
    Matrices without codes fall back to their float kernels. Closed lines (those not in `lines`)
    take no part, whatever is read from them: their codes are zeros, or with `compact` left out.
    """
    lines = lines or {}
    compact = compact and input_bits is not None
    leave_out = take_out if compact else masked_codes
    codes = {n: leave_out(c, lines[n]) if n in lines else c for n, c in codes.items()}

    def product(
        names: tuple[str, ...], x: Array, kernels: tuple[Array | None, ...]
    ) -> tuple[Array, ...]:
        if not any(name in codes for name in names):
            return float_product(names, x, kernels)
        if input_bits is None:
            weights = tuple(
                codes[n].astype(x.dtype) * scales[n][None].astype(x.dtype) for n in names
            )
            return float_product(names, x, weights)
        inputs, token_scale = quantise_inputs(x)
        outputs = []
        for name in names:
            column_scale = scales[name].reshape((1,) * (x.ndim - 1) + (-1,))
            if compact and name in lines:
                sums = open_product(inputs, codes[name], lines[name], integer_product)
            else:
                sums = integer_product(inputs, codes[name])
            outputs.append(
                (sums.astype(jnp.float32) * (token_scale * column_scale)).astype(x.dtype)
            )
        return tuple(outputs)

    return product


def integer_product(inputs: Int8[Array, "*B R"], codes: Int8[Array, "R C"]) -> Int32[Array, "*B C"]:
    """Exact product of input codes and weight codes."""
    contract = (((inputs.ndim - 1,), (0,)), ((), ()))
    return lax.dot_general(inputs, codes, contract, preferred_element_type=jnp.int32)


def crossbar_lookup(codes: dict[str, Int8[Array, "R C"]], scales: Mapping[str, AnyArray]) -> Lookup:
    """Table look-up of `rerax.bert` on crossbars: a one-hot input drives a single wordline."""

    def lookup(name: str, ids: Array, table: Array | None) -> Array:
        if name not in codes:
            return float_lookup(name, ids, table)
        scale = scales[name].reshape((1,) * ids.ndim + (-1,))
        return codes[name][ids].astype(jnp.float32) * scale

    return lookup


def chip_logits(
    network: Network,
    programmed: Programmed,
    block: Block,
    root: Key[Array, ""],
    dose: Dose,
    chip: UInt32[Array, ""],
    lanes: str | None = None,
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

    Returns:
        Logits of each bucket, and {section: {matrix: counts}}, encoder counts [L].
    """
    words, scales, params, lines, extras = programmed
    chip_key = keys.chip_key(root, chip)
    dtype = jnp.dtype(network.dtype)

    def codes_of(section: dict, extras: dict, layer: int | Array) -> tuple[dict, dict]:
        how = (dose, network.fault, network.spec, network.protection, extras, lanes, chip)
        return read(section, chip_key, layer, *how)

    codes, counts_embeddings = codes_of(words["embeddings"], extras["embeddings"], 0)
    embed = Embeddings(network.config, crossbar_lookup(codes, scales["embeddings"]), dtype)
    stream = tuple(
        lax.map(lambda b: embed.apply({"params": params["embeddings"]}, *b), (b.ids, b.types))
        for b in block
    )

    def through_layer(stream: tuple[Array, ...], layer: tuple) -> tuple[tuple[Array, ...], dict]:
        words, scales, params, lines, extras, index = layer
        codes, counts = codes_of(words, extras, index)
        product = crossbar_product(codes, scales, network.input_bits, lines, network.compact)
        encoder = EncoderLayer(network.config, product, dtype)

        def through_batch(i: Array, x: Array, bucket: Bucket) -> Array:
            return x.at[i].set(encoder.apply({"params": params}, x[i], bucket.mask[i]))

        return tuple(
            lax.fori_loop(0, b.used, functools.partial(through_batch, bucket=b), x)
            for b, x in zip(block, stream, strict=True)
        ), counts

    numbers = jnp.arange(network.config.num_hidden_layers, dtype=jnp.uint32)
    layers = tuple(part["encoder"] for part in (words, scales, params, lines, extras))
    stream, counts_encoder = lax.scan(through_layer, stream, (*layers, numbers))
    codes, counts_head = codes_of(words["head"], extras["head"], 0)
    product = crossbar_product(
        codes, scales["head"], network.input_bits, lines["head"], network.compact
    )
    head = Head(network.config, product, dtype)
    logits = tuple(  # batch by batch, so that no block size can change a bit
        lax.map(lambda x: head.apply({"params": params["head"]}, x[:, :1]), x) for x in stream
    )
    counts = {"embeddings": counts_embeddings, "encoder": counts_encoder, "head": counts_head}
    return logits, counts


@functools.partial(jax.jit, static_argnames=("network", "chunk"))
def chunk_logits(
    network: Network,
    chunk: int,
    programmed: Programmed,
    block: Block,
    root: Key[Array, ""],
    dose: Dose,
    first: UInt32[Array, ""],
    groups: Int32[Array, ""],
) -> tuple[tuple[Float[Array, "chunk n B N"], ...], dict[str, dict[str, Counts]]]:
    """`chip_logits` of chips first, first + 1, ... in `groups` lane groups of fixed width.

    The buffers have room for `chunk` chips (a multiple of the lane width); what lies beyond
    `groups` groups is not computed and holds zeros.
    """
    lanes = network.lanes

    def group(first: Array) -> tuple:
        if lanes == 1:  # a vmap of width 1 would turn every product into a batched one
            one = chip_logits(network, programmed, block, root, dose, first)
            return jax.tree.map(lambda a: a[None], one)
        chips = first + jnp.arange(lanes, dtype=jnp.uint32)
        return jax.vmap(
            lambda c: chip_logits(network, programmed, block, root, dose, c, "lanes"),
            axis_name="lanes",
        )(chips)

    shapes = jax.eval_shape(group, first)
    room = jax.tree.map(lambda s: jnp.zeros((chunk, *s.shape[1:]), s.dtype), shapes)

    def step(i: Array, results: tuple) -> tuple:
        new = group(first + i.astype(jnp.uint32) * lanes)
        return jax.tree.map(
            lambda room, rows: lax.dynamic_update_slice_in_dim(room, rows, i * lanes, 0),
            results,
            new,
        )

    return lax.fori_loop(0, groups, step, room)


def to_device(batches: Batches, blocks: int = 1) -> tuple[Block, ...]:
    """Batches as device arrays, cut into `blocks` blocks of equal static shape.

    Args:
        batches: all batches of a split.
        blocks: how many blocks to cut the split into, to bound the residual stream.
    """
    cut = []
    for i in range(blocks):
        buckets = []
        for bucket in batches.buckets:
            n = len(bucket.ids)
            room = max(-(-n // blocks), min(n, 2))  # a loop over one batch compiles differently
            part = slice(i * room, (i + 1) * room)
            lengths = bucket.lengths[part]
            mask = np.arange(bucket.ids.shape[-1]) < lengths[..., None]
            whole = (_padded(a, room) for a in (bucket.ids[part], bucket.types[part], mask))
            ids, types, real = map(jnp.asarray, whole)
            buckets.append(Bucket(ids, types, real, jnp.int32(len(lengths))))
        cut.append(tuple(buckets))
    return tuple(cut)


def lane_width(config: BertConfig, backend: str) -> int:
    """Chips in one `vmap`: a constant of backend and model width, so that scores are too.

    Args:
        config: the model's shape.
        backend: JAX's name of the platform.
    """
    if backend == "cpu":
        return 1
    return next((lanes for width, lanes in LANES if config.hidden_size <= width), 1)


def fit_memory(
    network: Network, batches: Batches, chunk: int | None = None, limit: int = STREAM_BYTES
) -> tuple[int, int]:
    """Chips a dispatch, and blocks of examples: the two sizes that change no bit.

    Args:
        network: static description.
        batches: the split.
        chunk: chips a dispatch if the user says so; it is rounded up to whole lane groups.
        limit: bytes that the residual streams of one lane group may take.

    Returns:
        The chunk (about a second's work, at most one block of rows) and the number of blocks.
    """
    config, lanes = network.config, network.lanes
    wanted = chunk
    if wanted is None:
        weights = 4 * config.hidden_size**2 + 2 * config.hidden_size * config.intermediate_size
        work = 2 * batches.tokens * weights * config.num_hidden_layers
        wanted = min(MOST_CHIPS, max(1, int(OPERATIONS_PER_DISPATCH / work)))
    stream = batches.tokens * config.hidden_size * jnp.dtype(network.dtype).itemsize * lanes
    most = max(1, batches.tokens // BLOCK_TOKENS)
    return -(-wanted // lanes) * lanes, min(most, -(-stream // limit))


def platform_name(lanes: int | None = None) -> str:
    """On what scores are computed; within one platform they are bit-equal.

    Args:
        lanes: lane width if the user overrides the backend's.
    """
    device = jax.local_devices()[0]
    kind = _instruction_set() if device.platform == "cpu" else device.device_kind
    name = f"{device.platform}:{kind}:jax-{jax.__version__}:numerics-{NUMERICS}"
    return name if lanes is None else f"{name}:lanes-{lanes}"


def _instruction_set() -> str:
    try:
        flags = set(Path("/proc/cpuinfo").read_text(encoding="utf-8").split())
    except OSError:
        flags = set()
    widest = ("amx_int8", "avx512_vnni", "avx512f", "avx_vnni", "avx2", "asimddp")
    best = next((flag for flag in widest if flag in flags), "base")
    return f"{machine.machine()}-{best}"


def _padded(array: Int[np.ndarray, "..."] | Bool[np.ndarray, "..."], n: int) -> np.ndarray:
    return np.pad(array, [(0, n - len(array)), *[(0, 0)] * (array.ndim - 1)])


def evaluate_chips(
    network: Network,
    programmed: Programmed,
    batches: Batches,
    blocks: tuple[Block, ...],
    *,
    seed: int,
    dose: Dose,
    first: int,
    chips: int,
    chunk: int,
) -> Iterator[Outcome]:
    """Logits of chips first .. first + chips - 1, a chunk at a time.

    Args:
        network: static description.
        programmed: the model on crossbars (`chip.program`), best already on the device.
        batches: the split's batches, which say where each logit belongs.
        blocks: the same batches on the device (`to_device`).
        seed: the campaign's seed.
        dose: fault rate and share (`faults.dose`).
        first, chips: which chips.
        chunk: chips a dispatch, a multiple of the lane width; changes no result.

    Yields:
        One `Outcome` for each dispatch.
    """
    root = keys.root_key(seed)
    for start in range(first, first + chips, chunk):
        n = min(chunk, first + chips - start)
        groups = jnp.int32(-(-n // network.lanes))
        results = [
            chunk_logits(network, chunk, programmed, b, root, dose, jnp.uint32(start), groups)
            for b in blocks
        ]
        counts = jax.device_get(results[0][1])
        logits = _in_order([jax.device_get(r[0]) for r in results], batches)
        yield Outcome(logits[:n], _totals(counts, n))


def _totals(counts: dict[str, dict[str, Counts]], chips: int) -> Counts:
    """Counts of each chip summed over arrays and layers, in int64: a model may pass 2^31 cells."""
    totals = [np.zeros(chips, np.int64) for _ in Counts._fields]
    for section in counts.values():
        for array in section.values():
            for total, count in zip(totals, array, strict=True):
                total += np.asarray(count, np.int64).reshape(len(count), -1)[:chips].sum(axis=1)
    return Counts(*totals)


def _in_order(parts: list[tuple[np.ndarray, ...]], batches: Batches) -> np.ndarray:
    """Logits [chips, E, N] in the split's order, from those of every block and bucket."""
    chips, labels = parts[0][0].shape[0], parts[0][0].shape[-1]
    logits = np.zeros((chips, batches.examples, labels), np.float32)
    for k, bucket in enumerate(batches.buckets):
        rows = np.concatenate([part[k] for part in parts], axis=1)[:, : len(bucket.index)]
        real = bucket.index >= 0
        logits[:, bucket.index[real]] = rows[:, real]
    return logits
