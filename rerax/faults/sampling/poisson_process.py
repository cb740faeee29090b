"""Which units of an array are broken, at every rate: one Poisson process.

A unit is whatever a fault model breaks: a cell, a bit, a line, a pair of adjacent lines.

*The process.* Points of a Poisson process of rate 1 lie over the plane of units x hazard, where
the hazard h = -ln(1 - p) stands for the rate p. A unit is broken at rate p if one of its points
lies below h. Then P(broken) = 1 - exp(-h) = p exactly, and what is broken at p is a subset of
what is broken at any higher rate.

*Drawing it.* The hazard axis is cut into intervals, octaves up to rate 0.5. For each interval the
number of points is drawn (`point_counts`), and then for each point its unit and its position in
the interval. Only intervals below h are drawn, so the work grows with the number of faults and
not with that of units. Above rate 0.5 points would be many: there every unit that has no point
yet is decided by a hash of its own (`counts_above`).

*Descendants.* A point of a chip at hazard h that is kept with chance g / h, by a hash of its own,
makes a process of hazard g: a chip at a lower rate that shares faults, polarities and whatever else
follows from its key with the first one (`stats.splitting`). Cells kept so would be too few, since
some have two points.

*Reproducible.* Every point and every unit has a counter of its own under the array's key, so no
chunk, lane or device can change an outcome. Integers only, so no platform can either.
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Int32, Key, UInt8, UInt32

from rerax.crossbar.keys import purpose_keys, thinned_key, threefry
from rerax.crossbar.spec import ChipSpec
from rerax.faults.read_out import AT_1, STUCK
from rerax.faults.sampling.addresses import Cells, Grid
from rerax.faults.sampling.poisson import INTERVALS, poisson_table
from rerax.faults.sampling.rates import RateTable, Thinning

POINTS_PER_CHUNK, OTHER_POINTS_PER_CHUNK = {"cpu": 1024}, 1 << 15
"""Points drawn at once, by backend. Speed only: counters, not chunks, say what a point is."""


@runtime_checkable
class HazardLimits(Protocol):
    """Up to which hazard points count; it may differ from place to place (from tile to tile)."""

    @property
    def intervals(self) -> Array:
        """How many hazard intervals have points that count anywhere."""
        ...

    @property
    def above(self) -> Array:
        """Whether any unit is past rate 0.5."""
        ...

    def counts(self, interval: Array, position: Array, row: Array, unit: Array) -> Array:
        """Whether a point at a 32-bit position within a hazard interval counts."""
        ...

    def counts_above(self, hash_: Array, row: Array, unit: Array) -> Array:
        """Whether a unit without a point below rate 0.5 is faulty above it, by its own hash."""
        ...


@dataclass(frozen=True)
class TableLimits:
    """The limits of the rate table, the same at every place."""

    rates: RateTable

    @property
    def intervals(self) -> Array:
        return jnp.asarray(self.rates.intervals)

    @property
    def above(self) -> Array:
        return jnp.asarray(self.rates.above)

    def counts(self, interval: Array, position: Array, row: Array, unit: Array) -> Array:
        return position <= jnp.asarray(self.rates.limits)[interval]

    def counts_above(self, hash_: Array, row: Array, unit: Array) -> Array:
        return hash_ <= jnp.asarray(self.rates.above_limit)


def stuck_cells(
    key: Key[Array, ""],
    rates: RateTable,
    spec: ChipSpec,
    rows: int,
    columns: int,
) -> UInt8[Array, "S R C"]:
    """Draw the stuck cells of one base array.

    Args:
        key: the array's key (`keys.array_key`).
        rates: rate and share, from `rate_table`.
        spec: geometry; encodings with equally many cells a weight share their stuck cells.
        rows, columns: shape of the matrix.

    Returns:
        States, 0 healthy, 1 stuck at 0, 3 stuck at 1. Entry [s, r, c] is the cell at wordline
        r and bitline `spec.bitline(c, s, columns)`. SA0 reads level 0 (high resistance), SA1
        the cell's highest level (low resistance), the polarity of arXiv 2401.11664; some
        papers swap the two.
    """
    return sample(key, rates, Cells(spec, rows, columns))


def sample(
    key: Key[Array, ""],
    rates: RateTable,
    grid: Grid,
    limits: HazardLimits | None = None,
) -> UInt8[Array, "P Y X"]:
    """Draw the faulty units of a grid by one Poisson process over units and hazard.

    Points are drawn a chunk at a time, in one loop over all intervals; of units hit twice the state
    is the same, since it is a hash of the unit.

    Args:
        key: the array's key.
        rates: rate and share.
        grid: where units lie.
        limits: which points count; the table's own by default.

    Returns:
        States in the grid's planes, 0 healthy, 1 stuck at 0, 3 stuck at 1.
    """
    limits = limits or TableLimits(rates)
    planes, size = grid.planes, grid.rows * grid.width
    counts_key, points_key, units_key = purpose_keys(key, 3)
    drawn = jnp.arange(INTERVALS, dtype=jnp.int32) < limits.intervals
    counts = jnp.where(drawn, point_counts(counts_key, size), 0)
    ends = jnp.cumsum(counts.astype(jnp.uint32))
    chunk = POINTS_PER_CHUNK.get(jax.default_backend(), OTHER_POINTS_PER_CHUNK)
    trips = ((ends[-1] + (chunk - 1)) // chunk).astype(jnp.int32)
    if rates.axis is not None:
        trips = lax.pmax(trips, rates.axis)  # an unbatched trip count keeps the loop a loop

    def draw(j: int | Array, states: Array) -> Array:
        place = jnp.asarray(j).astype(jnp.uint32) * chunk + jnp.arange(chunk, dtype=jnp.uint32)
        interval, point = _of_interval(place, ends)
        stream = 2 * interval.astype(jnp.uint32)
        r, u = threefry(points_key, point, stream)
        position, _ = threefry(points_key, point, stream + 1)
        row, unit = scale(r, grid.rows), scale(u, grid.width)
        hit = (place < ends[-1]) & limits.counts(interval, position, row, unit)
        if rates.thinning is not None:
            hit &= _kept(rates.thinning, key, interval, point)
        index = jnp.where(hit, grid.place(row, unit), jnp.uint32(size))
        state, _ = _unit_hash(units_key, rates, row, unit)
        return states.at[index].set(state, mode="drop")

    states = lax.fori_loop(0, trips, draw, jnp.zeros(size, jnp.uint8)).reshape(planes)

    # Rates above 0.5: units that no point has hit are decided by their own hash.
    def second_chance(p: int | Array, states: Array) -> Array:
        row, unit = grid.addresses(jnp.asarray(p).astype(jnp.uint32))
        state, hash_ = _unit_hash(units_key, rates, row, unit)
        hit = (states[p] == 0) & limits.counts_above(hash_, row, unit)
        return states.at[p].set(jnp.where(hit, state, states[p]))

    return lax.fori_loop(0, jnp.where(limits.above, planes[0], 0), second_chance, states)


def _kept(
    thinning: Thinning, key: Key[Array, ""], interval: Int32[Array, " n"], point: Array
) -> Array:
    """Tell which points a descendant keeps: those that it and all before it have kept."""

    def level(k: int | Array, kept: Array) -> Array:
        high, low = jax.random.key_data(thinned_key(key, jnp.asarray(thinning.branches)[k]))
        hash_, _ = threefry((high, low), point, interval.astype(jnp.uint32))
        return kept & (hash_ <= jnp.asarray(thinning.limits)[k])

    return lax.fori_loop(0, thinning.levels, level, jnp.ones(point.shape, jnp.bool_))


def _of_interval(place: Array, ends: Array) -> tuple[Array, Array]:
    """Find each point's hazard interval, and its number there, from its place among all points."""
    interval = jnp.sum(place[:, None] >= ends[None, :-1], axis=1, dtype=jnp.int32)
    starts = jnp.concatenate([jnp.zeros(1, jnp.uint32), ends[:-1]])
    return interval, place - starts[interval]


def _unit_hash(
    key: UInt32[Array, "2"], rates: RateTable, row: Array, unit: Array
) -> tuple[Array, Array]:
    """Hash a unit to its state if faulty, and to a second word: by chip and unit alone."""
    polarity, other = threefry(key, row, unit)
    at_1 = (polarity <= jnp.asarray(rates.sa1_limit)) & jnp.asarray(rates.sa1)
    return jnp.where(at_1, jnp.uint8(STUCK | AT_1), jnp.uint8(STUCK)), other


def scale(word: UInt32[Array, "*shape"], n: int) -> UInt32[Array, "*shape"]:
    """Scale random words to numbers below n: floor(word * n / 2^32) without 64-bit integers."""
    low, high = word & 0xFFFF, word >> 16
    if n <= 0x10000:
        return (high * n + (low * n >> 16)) >> 16
    n_low, n_high = jnp.uint32(n & 0xFFFF), jnp.uint32(n >> 16)
    middle = high * n_low + (low * n_low >> 16)
    carry = (middle & 0xFFFF) + low * n_high
    return high * n_high + (middle >> 16) + (carry >> 16)


def point_counts(key: UInt32[Array, "2"], cells: int) -> Int32[Array, " K"]:
    """Draw the number of points in each hazard interval: the smallest n with u < P(N <= n).

    By binary search in the table of the law (`poisson_table`), u being 64 random bits.
    """
    table = poisson_table(cells)
    order = jnp.arange(INTERVALS, dtype=jnp.uint32)
    high, low = threefry(key, order, jnp.zeros_like(order))
    table_high, table_low = jnp.asarray(table.high), jnp.asarray(table.low)

    def halve(_: int | Array, bounds: tuple[Array, Array]) -> tuple[Array, Array]:
        left, right = bounds
        middle = (left + right) // 2
        at = jnp.minimum(middle, len(table.high) - 1)
        h, low_ = table_high[at], table_low[at]
        passed = (h < high) | ((h == high) & (low_ <= low))
        searching = left < right
        left = jnp.where(searching & passed, middle + 1, left)
        return left, jnp.where(searching & ~passed, middle, right)

    start = jnp.asarray(table.start)
    steps = int(np.diff(table.start).max()).bit_length()
    left, _ = lax.fori_loop(0, steps, halve, (start[:-1], start[1:]))
    return jnp.asarray(table.first) + left - start[:-1]
