"""Logits of many chips, each on examples of its own.

Examples that share a row are drawn together: what a sentence is answered depends on its row in the
last bit, and never on what other rows a chip has. So a chip without faults answers as the clean
chip does, example by example.
"""

import dataclasses
import functools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int, Int32, UInt32

from rerax.crossbar.keys import Chip, sampled_key, threefry
from rerax.evaluate.engine import Evaluator, batch_tokens, chips_a_dispatch
from rerax.evaluate.lanes import ChipRange, along, chip_range, in_groups, totals
from rerax.evaluate.network import DeviceBucket, Network, chip_logits, reader
from rerax.faults.mask import Faults
from rerax.faults.read_out import Counts
from rerax.glue.data import Examples
from rerax.glue.packing import batches_of_rows, bucket_of
from rerax.models.stored import StoredModel
from rerax.stats.inclusion import WHOLE

SPREADS = 8
"""Standard deviations of the number of drawn rows that there is room for."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class RowTable:
    """Rows of one width T that chips draw from; behind the last one comes a row of padding.

    Attributes:
        ids, types, positions, sentence: [R + 1, T] as in a `rerax.glue.packing.Bucket`.
        first: [R + 1, S] where the row's sentences begin.
        lead: [R] the row's first example, by which a chip's random number is known.
        chance: [R] of being drawn, of `WHOLE`.
        before: [R] of having been drawn before, by the same random number; 0 where nothing was.
        height: rows a batch.
        room: batches that are room for.
    """

    ids: Int32[Array, "R1 T"]
    types: Int32[Array, "R1 T"]
    positions: Int32[Array, "R1 T"]
    sentence: Int32[Array, "R1 T"]
    first: Int32[Array, "R1 S"]
    lead: UInt32[Array, " R"]
    chance: UInt32[Array, " R"]
    before: UInt32[Array, " R"]
    height: int = dataclasses.field(metadata={"static": True})
    room: int = dataclasses.field(metadata={"static": True})


class DrawnRows(NamedTuple):
    """Rows that a chip has drawn.

    Attributes:
        bucket: their batches.
        row: [rows] which row of the table lies where.
        drawn: how many there are; what lies behind is padding.
    """

    bucket: DeviceBucket
    row: Int32[Array, " n"]
    drawn: Int32[Array, ""]


def draw(table: RowTable, chip: Chip, axis: str | None = None) -> DrawnRows:
    """Draw the rows that a chip answers, each by itself (Poisson sampling).

    Args:
        table: the rows.
        chip: which chip; its random numbers depend on nothing else, so that it meets the same
            examples at every rate and under every protection.
        axis: name of the `vmap` axis over chips, if any.
    """
    high, low = jax.random.key_data(sampled_key(chip.key))
    number, _ = threefry((high, low), table.lead, jnp.zeros_like(table.lead))
    number = number >> 16
    taken = (number < table.chance) & (number >= table.before)
    count = jnp.sum(taken, dtype=jnp.int32)
    rows, places = len(table.lead), table.room * table.height
    row = jnp.argsort(~taken, stable=True)[:places].astype(jnp.int32)
    row = jnp.pad(row, (0, places - len(row)), constant_values=rows)
    row = jnp.where(jnp.arange(places) < count, row, rows)
    used = -(-count // table.height)
    if axis is not None:
        used = lax.pmax(used, axis)  # an unbatched trip count keeps the loop a loop

    def of_rows(values: Array) -> Array:
        return values[row].reshape(table.room, table.height, -1)

    begins = jnp.arange(table.height, dtype=jnp.int32)[None, :, None] * table.ids.shape[1]
    first = (begins + of_rows(table.first)).reshape(table.room, -1)
    ids, types = of_rows(table.ids), of_rows(table.types)
    positions, sentence = of_rows(table.positions), of_rows(table.sentence)
    return DrawnRows(DeviceBucket(ids, types, positions, sentence, first, used), row, count)


@functools.partial(jax.jit, static_argnames=("network", "chunk"))
def sampled_logits(
    network: Network,
    chunk: int,
    stored: StoredModel,
    tables: tuple[RowTable, ...],
    chips: ChipRange,
    faults: Faults,
) -> tuple[Any, ...]:
    """Compute the logits of a range of chips, each on rows of its own.

    Args:
        network: static description.
        chunk: room for so many chips.
        stored: the model on crossbars.
        tables: rows of each width.
        chips: which chips.
        faults: rate, and where faults act.

    Returns:
        Of each table the logits, the rows and their number; and the chips' counts.
    """

    def one(chip: Chip, axis: str | None, _: None) -> tuple[Any, ...]:
        drawn = [draw(table, chip, axis) for table in tables]
        read_section = reader(stored.hardware, chip, along(faults, axis))
        shard = tuple(rows.bucket for rows in drawn)
        logits, counts = chip_logits(network, stored, shard, read_section)
        return logits, tuple(d.row for d in drawn), tuple(d.drawn for d in drawn), counts

    return in_groups(network.lanes, chunk, one, chips)


class SampledOutcome(NamedTuple):
    """What some chips answered, each to examples of its own.

    Attributes:
        examples: of each chip, the places of its examples in the split.
        logits: of each chip, [m, N] of those.
        counts: faulty cells of each chip, int64 [chips].
    """

    examples: list[Int[np.ndarray, " m"]]
    logits: list[Float[np.ndarray, "m N"]]
    counts: Counts


def _room(drawn: float, rows: int, height: int) -> int:
    """Choose for how many batches of drawn rows there is room, next to never too few."""
    most = min(rows, drawn + SPREADS * math.sqrt(drawn) + 2 * SPREADS)
    return max(2, math.ceil(most / height))


@dataclass(frozen=True)
class SampledEvaluator:
    """A model on crossbars and rows to draw from, ready to evaluate chips.

    Attributes:
        network: static description.
        stored: the model on crossbars.
        tables: rows of each width, on the device.
        index: of each table, [R, S] the examples of its rows, -1 in spare places.
        chunk: chips a dispatch; changes no result.
        clean: evaluates chips on all examples, in the same rows.
    """

    network: Network
    stored: StoredModel
    tables: tuple[RowTable, ...]
    index: tuple[Int[np.ndarray, "R S"], ...]
    chunk: int
    clean: Evaluator

    @classmethod
    def make(
        cls,
        network: Network,
        stored: StoredModel,
        examples: Examples,
        rows: Mapping[str, Sequence[Sequence[int]]],
        chances: Mapping[str, Sequence[int]],
        chunk: int | None = None,
        device: jax.Device | None = None,
    ) -> "SampledEvaluator":
        """Put a model and rows of examples on the device.

        Args:
            network: static description.
            stored: the model on crossbars.
            examples: the split.
            rows: by width, the examples that share each row.
            chances: by width, of each row.
            chunk: chips a dispatch; None: about a second's work.
            device: where to; None: where JAX computes by default.
        """
        config, lanes, tokens = network.config, network.lanes, batch_tokens()
        tables, index, whole, work = [], [], {}, 0.0
        for text, members in rows.items():
            width = int(text)
            height = max(1, tokens // width)
            held = [list(row) for row in members]
            whole[width] = held + [[] for _ in range(-len(held) % height)]
            bucket = bucket_of(examples, width, 1, [*held, []], config.pad_token_id)
            chance = np.array(chances[text], np.uint32)
            drawn = chance.sum() / WHOLE
            work += drawn * width
            tables.append(
                RowTable(
                    jnp.asarray(bucket.ids[:, 0]),
                    jnp.asarray(bucket.types[:, 0]),
                    jnp.asarray(bucket.positions[:, 0]),
                    jnp.asarray(bucket.sentence[:, 0]),
                    jnp.asarray(bucket.first),
                    jnp.array([row[0] for row in held], jnp.uint32),
                    jnp.asarray(chance),
                    jnp.zeros(len(held), jnp.uint32),
                    height,
                    _room(drawn, len(held), height),
                )
            )
            index.append(bucket.index[:-1])
        if chunk is None:
            chunk = chips_a_dispatch(config, float(work))
        own = functools.partial(jax.device_put, device=device)
        batches = batches_of_rows(examples, whole, config.pad_token_id, tokens)
        clean = Evaluator.make(network, stored, batches, 1, device)
        wide = -(-chunk // lanes) * lanes
        return cls(network, clean.stored, own(tuple(tables)), tuple(index), wide, clean)

    def between(
        self, before: Mapping[str, Sequence[int]], chances: Mapping[str, Sequence[int]]
    ) -> "SampledEvaluator":
        """Let chips draw what they have not drawn with lesser chances.

        Args:
            before: by width, chances of each row with which it has been drawn already.
            chances: by width, of being drawn by then.
        """
        tables = []
        for table, width in zip(self.tables, chances, strict=True):
            low, high = (np.array(of[width], np.uint32) for of in (before, chances))
            drawn = float((high.astype(np.int64) - low).sum()) / WHOLE
            room = _room(drawn, len(low), table.height)
            device = table.ids.device
            arrays = {"before": low, "chance": high}
            own = {name: jax.device_put(values, device) for name, values in arrays.items()}
            tables.append(dataclasses.replace(table, **own, room=room))
        return dataclasses.replace(self, tables=tuple(tables))

    def outcomes(self, seed: int, chips: range, faults: Faults) -> Iterator[SampledOutcome]:
        """Compute the logits of chips, a chunk at a time.

        Args:
            seed: the campaign's seed.
            chips: their numbers, one after the other.
            faults: rate, and where faults act.

        Yields:
            One `SampledOutcome` for each dispatch.

        Raises:
            ValueError: a chip has drawn more rows than there is room for, which one in a million
                million does.
        """
        for start in range(chips.start, chips.stop, self.chunk):
            n = min(self.chunk, chips.stop - start)
            here = chip_range(seed, start, -(-n // self.network.lanes))
            how = (self.network, self.chunk, self.stored, self.tables, here, faults)
            logits, row, count, counts = jax.device_get(sampled_logits(*how))
            examples: list[list[np.ndarray]] = [[] for _ in range(n)]
            answers: list[list[np.ndarray]] = [[] for _ in range(n)]
            for k, index in enumerate(self.index):
                for i in range(n):
                    here_, drawn = row[k][i][: count[k][i]], int(count[k][i])
                    if drawn > len(row[k][i]):
                        raise ValueError(
                            f"chip {start + i} draws {drawn} rows, and there is room for "
                            f"{len(row[k][i])}: give another --examples-per-chip"
                        )
                    found = logits[k][i].reshape(len(row[k][i]), index.shape[1], -1)[:drawn]
                    real = index[here_] >= 0
                    examples[i].append(index[here_][real])
                    answers[i].append(found[real])
            arrays = (array for section in counts.values() for array in section.values())
            yield SampledOutcome(
                list(map(np.concatenate, examples)),
                list(map(np.concatenate, answers)),
                totals(arrays, n),
            )
