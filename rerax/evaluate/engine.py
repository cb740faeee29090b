"""Logits of many chips on one split, layer by layer.

For each chip the codes of one layer are read once and serve every batch of examples before
the next layer is touched: what is held is one layer's codes and the residual stream, never a
whole faulty model. Chips go through one compiled program in lane groups of a fixed width;
rates, shares, keys and numbers of chips and batches are traced, so a grid compiles once for
each static shape.
"""

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Int32

from rerax.crossbar import keys
from rerax.crossbar.keys import Chip
from rerax.crossbar.platform import instruction_set
from rerax.evaluate.lanes import ChipRange, along, chip_range, in_groups, in_lanes, totals
from rerax.evaluate.network import (
    CleanPrefix,
    DeviceBucket,
    Network,
    Shard,
    chip_logits,
    embed,
    reader,
    through_layers,
)
from rerax.faults.mask import Faults
from rerax.faults.read_out import Counts
from rerax.glue.data import Examples
from rerax.glue.packing import BATCH_TOKENS, Batches, Bucket, make_batches
from rerax.models.bert.config import BertConfig
from rerax.models.stored import StoredModel

NUMERICS = 3
"""Raised whenever float details, and so a last bit of a logit, may change."""

LANES = ((128, 256), (384, 64), (768, 16), (1024, 8))
"""(model width up to, lanes) on accelerators: within 12 GB at 1024 tokens a batch."""

ACCELERATOR_BATCH_TOKENS = 1024
STREAM_BYTES = 1 << 30
SHARD_TOKENS = 32768  # fewer tokens a shard would sample the same cells too often
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


def _clean_chip() -> tuple[Array, Array]:
    """Give a root key and a number: the clean chip reads alike whatever they are."""
    return keys.root_key(0), jnp.uint32(0)


@functools.partial(jax.jit, static_argnames="network")
def clean_prefix(
    network: Network, stored: StoredModel, shard: Shard, faults: Faults
) -> CleanPrefix:
    """Compute the clean chip's stream into layer 0.

    Args:
        network: static description.
        stored: the model on crossbars.
        shard: batches of examples.
        faults: rate 0, and a mask of nothing.
    """

    def one(chip: Chip, axis: str | None, _: None) -> tuple[Array, ...]:
        return embed(network, stored, shard, reader(stored.hardware, chip, along(faults, axis)))[0]

    return CleanPrefix(in_lanes(network.lanes, one, *_clean_chip()), jnp.int32(0))


@functools.partial(jax.jit, static_argnames="network")
def extend_prefix(
    network: Network,
    stored: StoredModel,
    shard: Shard,
    faults: Faults,
    prefix: CleanPrefix,
    layer: Int32[Array, ""],
) -> CleanPrefix:
    """Compute the clean chip's stream into a further layer; see `clean_prefix`.

    It runs what chips themselves run, in as many lanes: that is why the bits are theirs.
    """

    def one(chip: Chip, axis: str | None, stream: tuple[Array, ...]) -> tuple[Array, ...]:
        read_section = reader(stored.hardware, chip, along(faults, axis))
        span = (prefix.layer, layer)
        return through_layers(network, stored, shard, read_section, stream, span)[0]

    return CleanPrefix(in_lanes(network.lanes, one, *_clean_chip(), prefix.stream), layer)


@functools.partial(jax.jit, static_argnames=("network", "chunk"))
def chunk_logits(
    network: Network,
    chunk: int,
    stored: StoredModel,
    shard: Shard,
    chips: ChipRange,
    faults: Faults,
    prefix: CleanPrefix | None = None,
) -> tuple[tuple[Float[Array, "chunk n S N"], ...], dict[str, dict[str, Counts]]]:
    """Compute the logits of a range of chips on one shard (`chip_logits`).

    The buffers have room for `chunk` chips (a multiple of the lane width); what lies beyond the
    range is not computed and holds zeros.

    Args:
        network: static description.
        chunk: room for so many chips.
        stored: the model on crossbars.
        shard: batches of examples.
        chips: which chips.
        faults: rate, and where faults act.
        prefix: the clean stream into the first layer with faults; None: from the embeddings on.
    """

    def one(chip: Chip, axis: str | None, stream: tuple[Array, ...] | None) -> tuple:
        start = None if prefix is None or stream is None else CleanPrefix(stream, prefix.layer)
        read_section = reader(stored.hardware, chip, along(faults, axis))
        return chip_logits(network, stored, shard, read_section, start)

    return in_groups(network.lanes, chunk, one, chips, None if prefix is None else prefix.stream)


def batches_of(
    config: BertConfig, examples: Examples, order: Sequence[int] | None = None
) -> Batches:
    """Pack examples for a model, in batches of the size of this backend.

    Args:
        config: the model's shape.
        examples: the tokenised split.
        order: as for `make_batches`.
    """
    return make_batches(examples, config.pad_token_id, batch_tokens(), order)


def batch_tokens() -> int:
    """Choose the tokens of a batch, by backend alone."""
    return BATCH_TOKENS if jax.default_backend() == "cpu" else ACCELERATOR_BATCH_TOKENS


def to_device(batches: Batches, shards: int = 1) -> tuple[Shard, ...]:
    """Put batches on the device, cut into `shards` shards of equal static shape.

    Args:
        batches: all batches of a split.
        shards: how many shards to cut the split into, to bound the residual stream.
    """
    cut = []
    for i in range(shards):
        buckets = []
        for bucket in batches.buckets:
            n = len(bucket.ids)
            room = max(-(-n // shards), min(n, 2))  # a loop over one batch compiles differently
            part = np.arange(i * room, min((i + 1) * room, n))
            buckets.append(device_bucket(bucket, part, room))
        cut.append(tuple(buckets))
    return tuple(cut)


def device_bucket(bucket: Bucket, part: Int[np.ndarray, " b"], room: int) -> DeviceBucket:
    """Put some batches of a bucket on the device, with room for so many."""

    def put(array: Int32[np.ndarray, "n ..."]) -> Array:
        spare = [(0, room - len(part)), *[(0, 0)] * (array.ndim - 1)]
        return jnp.asarray(np.pad(array[part], spare))

    arrays = (bucket.ids, bucket.types, bucket.positions, bucket.sentence, bucket.first)
    ids, types, positions, sentence, first = map(put, arrays)
    return DeviceBucket(ids, types, positions, sentence, first, jnp.int32(len(part)))


def lane_width(config: BertConfig, backend: str) -> int:
    """Choose the chips in one `vmap`, by backend and model width alone, so that scores are fixed.

    Args:
        config: the model's shape.
        backend: JAX's name of the platform.
    """
    if backend == "cpu":
        return 1
    return next((lanes for width, lanes in LANES if config.hidden_size <= width), 1)


def chips_a_dispatch(config: BertConfig, tokens: float) -> int:
    """Choose how many chips make about a second's work, a block of rows at most.

    Args:
        config: the model's shape.
        tokens: that a chip answers.
    """
    weights = 4 * config.hidden_size**2 + 2 * config.hidden_size * config.intermediate_size
    work = 2 * tokens * weights * config.num_hidden_layers
    return min(MOST_CHIPS, max(1, int(OPERATIONS_PER_DISPATCH / max(work, 1))))


def fit_memory(
    network: Network, batches: Batches, chunk: int | None = None, limit: int = STREAM_BYTES
) -> tuple[int, int]:
    """Choose chips a dispatch, and shards of examples: the two sizes that change no bit.

    Args:
        network: static description.
        batches: the split.
        chunk: chips a dispatch if the user says so; it is rounded up to whole lane groups.
        limit: bytes that the residual streams of one lane group may take.

    Returns:
        The chunk (about a second's work, at most one block of rows) and the number of shards.
    """
    config, lanes = network.config, network.lanes
    wanted = chunk
    if wanted is None:
        wanted = chips_a_dispatch(config, float(batches.tokens))
    stream = batches.tokens * config.hidden_size * jnp.dtype(network.dtype).itemsize * lanes
    most = max(1, batches.tokens // SHARD_TOKENS)
    return -(-wanted // lanes) * lanes, min(most, -(-stream // limit))


def platform_name(lanes: int | None = None) -> str:
    """Name what scores are computed on; within one platform they are bit-equal.

    Args:
        lanes: lane width if the user overrides the backend's.
    """
    device = jax.local_devices()[0]
    kind = instruction_set() if device.platform == "cpu" else device.device_kind
    name = f"{device.platform}:{kind}:jax-{jax.__version__}:numerics-{NUMERICS}"
    return name if lanes is None else f"{name}:lanes-{lanes}"


@dataclass(frozen=True)
class Evaluator:
    """A model on crossbars and a split, ready to evaluate chips.

    Attributes:
        network: static description.
        stored: the model on crossbars, best already on the device.
        batches: the split's batches, which say where each logit belongs.
        shards: the same batches on the device (`to_device`).
        chunk: chips a dispatch, a multiple of the lane width; changes no result.
    """

    network: Network
    stored: StoredModel
    batches: Batches
    shards: tuple[Shard, ...]
    chunk: int

    @classmethod
    def make(
        cls,
        network: Network,
        stored: StoredModel,
        batches: Batches,
        chunk: int | None = None,
        device: jax.Device | None = None,
    ) -> "Evaluator":
        """Put a model and a split on the device, cut as its memory allows.

        Args:
            network: static description.
            stored: the model on crossbars.
            batches: the split.
            chunk: chips a dispatch; None: about a second's work.
            device: where to; None: where JAX computes by default.
        """
        chips, shards = fit_memory(network, batches, chunk)
        # Put there by hand, since within `jax.default_device` each device is traced anew.
        own = functools.partial(jax.device_put, device=device)
        return cls(network, own(stored), batches, own(to_device(batches, shards)), chips)

    def outcomes(
        self,
        seed: int,
        chips: range,
        faults: Faults,
        prefixes: tuple[CleanPrefix, ...] | None = None,
    ) -> Iterator[Outcome]:
        """Compute the logits of chips, a chunk at a time.

        Args:
            seed: the campaign's seed.
            chips: their numbers, one after the other.
            faults: rate, and where faults act.
            prefixes: of each shard, where chips start (`prefix_cache`); changes no result.

        Yields:
            One `Outcome` for each dispatch.
        """
        for start in range(chips.start, chips.stop, self.chunk):
            n = min(self.chunk, chips.stop - start)
            here = chip_range(seed, start, -(-n // self.network.lanes))
            results: list[Any] = []
            for shard, prefix in zip(
                self.shards, prefixes or [None] * len(self.shards), strict=True
            ):
                jax.block_until_ready(results[-2:-1])  # an interrupt has little to wait for then
                how = (self.network, self.chunk, self.stored, shard, here, faults, prefix)
                results.append(chunk_logits(*how))
            counts = jax.device_get(results[0][1])
            logits = in_split_order([jax.device_get(r[0]) for r in results], self.batches)
            arrays = (array for section in counts.values() for array in section.values())
            yield Outcome(logits[:n], totals(arrays, n))


def in_split_order(parts: list[tuple[np.ndarray, ...]], batches: Batches) -> np.ndarray:
    """Put logits [chips, E, N] in the split's order, from those of every shard and bucket."""
    chips, labels = parts[0][0].shape[0], parts[0][0].shape[-1]
    logits = np.zeros((chips, batches.examples, labels), np.float32)
    for k, bucket in enumerate(batches.buckets):
        rows = np.concatenate([part[k] for part in parts], axis=1)[:, : len(bucket.index)]
        real = bucket.index >= 0
        logits[:, bucket.index[real]] = rows[:, real]
    return logits
