"""Logits of many chips on one split, layer by layer.

For each chip the codes of one layer are read once and serve every batch of examples before
the next layer is touched: what is held is one layer's codes and the residual stream, never a
whole faulty model. Chips go through one compiled program in lane groups of a fixed width;
rates, shares, keys and numbers of chips and batches are traced, so a grid compiles once for
each static shape.
"""

import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int, Int32, Key, UInt32

from rerax.chip import Acting, Programmed
from rerax.crossbar import keys
from rerax.faults import Counts, Dose
from rerax.glue.data import Batches
from rerax.instructions import instruction_set
from rerax.models.bert.config import BertConfig
from rerax.network import (
    Block,
    Bucket,
    Entry,
    Network,
    chip_logits,
    embed,
    reader,
    through_layers,
)

NUMERICS = 2
"""Raised whenever float details, and so a last bit of a logit, may change."""

LANES = ((128, 256), (384, 64), (768, 16), (1024, 8))
"""(model width up to, lanes) on accelerators: within 12 GB at 1024 tokens a batch."""

STREAM_BYTES = 1 << 30
BLOCK_TOKENS = 32768  # fewer tokens a block would sample the same cells too often
MOST_CHIPS = 32
OPERATIONS_PER_DISPATCH = 2e11


class Outcome(NamedTuple):
    """What some chips answered.

    Attributes:
        logits: [chips, E, N] in the split's own order.
        counts: faulty cells of each chip, summed over all arrays, int64 [chips].
    """

    logits: Float[np.ndarray, "chips E N"]
    counts: Counts


@functools.partial(jax.jit, static_argnames="network")
def clean_entry(
    network: Network, programmed: Programmed, block: Block, dose: Dose, where: Acting
) -> Entry:
    """The clean chip's stream into layer 0.

    Args:
        network: static description.
        programmed: the model on crossbars.
        block: batches of examples.
        dose: of rate 0.
        where: nowhere.
    """

    def one(chip: Array, lanes: str | None, _: None) -> tuple[Array, ...]:
        read_section = reader(network, keys.root_key(0), dose, chip, lanes, where)
        return embed(network, programmed, block, read_section)[0]

    return Entry(_in_lanes(network, one, jnp.uint32(0)), jnp.int32(0))


@functools.partial(jax.jit, static_argnames="network")
def clean_advance(
    network: Network,
    programmed: Programmed,
    block: Block,
    dose: Dose,
    where: Acting,
    entry: Entry,
    layer: Int32[Array, ""],
) -> Entry:
    """The clean chip's stream into a further layer; see `clean_entry`.

    It runs what chips themselves run, in as many lanes: that is why the bits are theirs.
    """

    def one(chip: Array, lanes: str | None, stream: tuple[Array, ...]) -> tuple[Array, ...]:
        read_section = reader(network, keys.root_key(0), dose, chip, lanes, where)
        span = (entry.layer, layer)
        return through_layers(network, programmed, block, read_section, stream, *span)[0]

    return Entry(_in_lanes(network, one, jnp.uint32(0), entry.stream), layer)


def _in_lanes(network: Network, one: Callable[..., Any], first: Array, stream: Any = None) -> Any:
    """`one` (chip, lane axis, stream) for a lane group; each lane has its own part of a stream."""
    if network.lanes == 1:  # a vmap of width 1 would turn every product into a batched one
        return one(first, None, stream)
    chips = first + jnp.arange(network.lanes, dtype=jnp.uint32)
    return jax.vmap(lambda chip, own: one(chip, "lanes", own), axis_name="lanes")(chips, stream)


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
    where: Acting | None = None,
    entry: Entry | None = None,
) -> tuple[tuple[Float[Array, "chunk n B N"], ...], dict[str, dict[str, Counts]]]:
    """`chip_logits` of chips first, first + 1, ... in `groups` lane groups of fixed width.

    The buffers have room for `chunk` chips (a multiple of the lane width); what lies beyond
    `groups` groups is not computed and holds zeros.
    """
    lanes = network.lanes

    def one(chip: Array, axis: str | None, stream: tuple[Array, ...] | None) -> tuple:
        start = None if entry is None or stream is None else Entry(stream, entry.layer)
        return chip_logits(network, programmed, block, root, dose, chip, axis, where, start)

    def group(first: Array) -> tuple:
        found = _in_lanes(network, one, first, None if entry is None else entry.stream)
        return found if lanes > 1 else jax.tree.map(lambda a: a[None], found)

    shapes = jax.eval_shape(group, first)
    room = jax.tree.map(lambda s: jnp.zeros((chunk, *s.shape[1:]), s.dtype), shapes)

    def step(i: int | Array, results: tuple) -> tuple:
        new = group(first + jnp.asarray(i).astype(jnp.uint32) * lanes)
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
    kind = instruction_set() if device.platform == "cpu" else device.device_kind
    name = f"{device.platform}:{kind}:jax-{jax.__version__}:numerics-{NUMERICS}"
    return name if lanes is None else f"{name}:lanes-{lanes}"


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
    where: Acting | None = None,
    entries: tuple[Entry, ...] | None = None,
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
        where: where faults act (`chip.acting`); None: everywhere.
        entries: of each block, where chips start (`reuse.clean_entries`); changes no result.

    Yields:
        One `Outcome` for each dispatch.
    """
    root = keys.root_key(seed)
    for start in range(first, first + chips, chunk):
        n = min(chunk, first + chips - start)
        groups = jnp.int32(-(-n // network.lanes))
        chips_at = (dose, jnp.uint32(start), groups, where)
        results: list[Any] = []
        for block, entry in zip(blocks, entries or [None] * len(blocks), strict=True):
            jax.block_until_ready(results[-2:-1])  # so that an interrupt has little to wait for
            results.append(chunk_logits(network, chunk, programmed, block, root, *chips_at, entry))
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
