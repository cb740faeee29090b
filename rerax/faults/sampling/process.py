"""One random process for all rates: which units of an array are broken.

A unit is whatever a fault model breaks: a cell, a bit, a line, a pair of lines.

*One process for all rates.* Points of a unit-rate Poisson process lie over cells x hazard. A
cell is stuck at rate p once one of its points lies below h = -ln(1 - p): P(stuck) is exactly
p, and the stuck cells at p are a subset of those at any higher rate. The hazard axis is cut
into octaves and only those below h are drawn, so the work follows the number of faults. Every
point and every cell has its own counter under the array's key, so no chunk, lane or device
can change an outcome. Integers only.
"""

from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Int32, Key, UInt8, UInt32

from rerax.crossbar.keys import purpose_keys, threefry
from rerax.crossbar.spec import ChipSpec
from rerax.faults.sampling.grids import Cells, Grid
from rerax.faults.sampling.poisson import EDGES, INTERVALS, hazard, poisson_table

DEFAULT_SA1_SHARE = Fraction(904, 1079)
"""SA1 : SA0 = 9.04 : 1.75, the split usually quoted from March-test work on HfO2 chips."""

STUCK, AT_1 = 1, 2  # bits of a cell's state: 0 healthy, 1 stuck at 0, 3 stuck at 1

POINTS_PER_CHUNK, OTHER_POINTS_PER_CHUNK = {"cpu": 1024}, 1 << 15
"""Points drawn at once, by backend. Speed only: counters, not chunks, say what a point is."""


class Dose(NamedTuple):
    """A rate and a share of polarity as the sampler's integers (traced, so never a recompile).

    Attributes:
        intervals: hazard intervals that have points below h.
        limits: [K] a point of an interval counts when its 32-bit position is <= the limit.
        above: whether the rate passes 0.5, where cells untouched so far get a second chance.
        above_limit: and it hits when the cell's hash is <= this.
        sa1: whether any stuck cell is SA1.
        sa1_limit: a stuck cell is SA1 when its hash is <= this.
        tables: what else the fault model at hand needs (`FaultModel.tables`).
    """

    intervals: np.int32 | Int32[Array, ""]
    limits: UInt32[np.ndarray, "K"] | UInt32[Array, "K"]
    above: np.bool_ | Bool[Array, ""]
    above_limit: np.uint32 | UInt32[Array, ""]
    sa1: np.bool_ | Bool[Array, ""]
    sa1_limit: np.uint32 | UInt32[Array, ""]
    tables: Any = ()


@runtime_checkable
class Tabled(Protocol):
    """The part of a fault model that a dose is made with."""

    def tables(self, rate: float) -> Any:
        """Further traced arrays that the model finds in `Dose.tables`."""
        ...


def dose(
    rate: float,
    sa1_share: Fraction | float = DEFAULT_SA1_SHARE,
    fault: Tabled | None = None,
) -> Dose:
    """Thresholds for a fault rate, by exact arithmetic on the host.

    Args:
        rate: expected fraction of all cells (flip: of all stored bits; wordline, bitline: of all
            lines within tiles; short: of all adjacent pairs of them) that are faulty, 0 to 1.
        sa1_share: fraction of the stuck cells (or lines) that are SA1, 0 to 1.
        fault: the fault model that the dose is for; only those with tables need it.

    Raises:
        ValueError: rate or share outside [0, 1].

    Example:
        >>> int(dose(0.0).intervals), int(dose(0.5).intervals), bool(dose(1.0).above)
        (0, 21, True)
    """
    for name, value in (("rate", rate), ("sa1_share", sa1_share)):
        if not 0 <= value <= 1:  # also catches NaN
            raise ValueError(f"{name} {value} is outside [0, 1]: give a fraction")
    h = EDGES[-1] if rate >= 0.5 else hazard(float(rate))
    limits = [limit_of((h - a) / (b - a)) for a, b in pairwise(EDGES)]
    above = limit_of(2 * Fraction(rate) - 1)
    sa1 = limit_of(Fraction(sa1_share))
    return Dose(
        np.int32(sum(limit is not None for limit in limits)),
        np.array([limit or 0 for limit in limits], np.uint32),
        np.bool_(above is not None),
        np.uint32(above or 0),
        np.bool_(sa1 is not None),
        np.uint32(sa1 or 0),
        () if fault is None else fault.tables(rate),
    )


def limit_of(probability: Fraction) -> int | None:
    """Largest 32-bit number that counts as a hit of this probability; None: none does."""
    hits = min(int(probability * 2**32), 2**32)
    return hits - 1 if hits > 0 else None


@runtime_checkable
class Limits(Protocol):
    """How far up the hazard axis points count; it may differ from place to place."""

    @property
    def intervals(self) -> Array:
        """Hazard intervals that have points which count anywhere."""
        ...

    @property
    def above(self) -> Array:
        """Whether any unit is past rate 0.5."""
        ...

    def counts(self, interval: Array, position: Array, row: Array, unit: Array) -> Array:
        """Whether a point at a 32-bit position in an interval counts."""
        ...

    def counts_above(self, hash_: Array, row: Array, unit: Array) -> Array:
        """Whether a unit without a point below rate 0.5 is faulty, by a hash of its own."""
        ...


@dataclass(frozen=True)
class Everywhere:
    """The dose's own limits at every place."""

    dose: Dose

    @property
    def intervals(self) -> Array:
        return jnp.asarray(self.dose.intervals)

    @property
    def above(self) -> Array:
        return jnp.asarray(self.dose.above)

    def counts(self, interval: Array, position: Array, row: Array, unit: Array) -> Array:
        return position <= jnp.asarray(self.dose.limits)[interval]

    def counts_above(self, hash_: Array, row: Array, unit: Array) -> Array:
        return hash_ <= jnp.asarray(self.dose.above_limit)


def stuck_cells(
    key: Key[Array, ""],
    dose: Dose,
    spec: ChipSpec,
    rows: int,
    columns: int,
    lanes: str | None = None,
) -> UInt8[Array, "S R C"]:
    """Stuck cells of one base array.

    Args:
        key: the array's key (`keys.matrix_key`).
        dose: rate and share, from `dose`.
        spec: geometry; encodings with equally many cells a weight share their stuck cells.
        rows, columns: shape of the matrix.
        lanes: name of the enclosing `vmap` axis over chips, if any; it lets all lanes share
            one trip count, and changes no outcome.

    Returns:
        States, 0 healthy, 1 stuck at 0, 3 stuck at 1. Entry [s, r, c] is the cell at wordline
        r and bitline `spec.bitline(c, s, columns)`. SA0 reads level 0 (high resistance), SA1
        the cell's highest level (low resistance), the polarity of arXiv 2401.11664; some
        papers swap the two.
    """
    return sample(key, dose, Cells(spec, rows, columns), lanes)


def sample(
    key: Key[Array, ""],
    dose: Dose,
    grid: Grid,
    lanes: str | None = None,
    limits: Limits | None = None,
) -> UInt8[Array, "P Y X"]:
    """Faulty units of a grid.

    Args:
        key: the array's key.
        dose: rate and share.
        grid: where units lie.
        lanes: name of the enclosing `vmap` axis over chips, if any; changes no outcome.
        limits: which points count; the dose's own by default.

    Returns:
        States in the grid's planes, 0 healthy, 1 stuck at 0, 3 stuck at 1.
    """
    limits = limits or Everywhere(dose)
    planes, size = grid.planes, grid.rows * grid.width
    counts_key, points_key, units_key = purpose_keys(key, 3)
    drawn = jnp.arange(INTERVALS, dtype=jnp.int32) < limits.intervals
    counts = jnp.where(drawn, point_counts(counts_key, size), 0)
    ends = jnp.cumsum(counts.astype(jnp.uint32))
    chunk = POINTS_PER_CHUNK.get(jax.default_backend(), OTHER_POINTS_PER_CHUNK)
    trips = ((ends[-1] + (chunk - 1)) // chunk).astype(jnp.int32)
    if lanes is not None:
        trips = lax.pmax(trips, lanes)  # an unbatched trip count keeps the loop a loop

    def draw(j: int | Array, states: Array) -> Array:
        place = jnp.asarray(j).astype(jnp.uint32) * chunk + jnp.arange(chunk, dtype=jnp.uint32)
        interval, point = _of_interval(place, ends)
        stream = 2 * interval.astype(jnp.uint32)
        r, u = threefry(points_key, point, stream)
        position, _ = threefry(points_key, point, stream + 1)
        row, unit = scale(r, grid.rows), scale(u, grid.width)
        hit = (place < ends[-1]) & limits.counts(interval, position, row, unit)
        index = jnp.where(hit, grid.place(row, unit), jnp.uint32(size))
        state, _ = _unit_hash(units_key, dose, row, unit)
        return states.at[index].set(state, mode="drop")

    states = lax.fori_loop(0, trips, draw, jnp.zeros(size, jnp.uint8)).reshape(planes)

    def second_chance(p: int | Array, states: Array) -> Array:
        row, unit = grid.addresses(jnp.asarray(p).astype(jnp.uint32))
        state, hash_ = _unit_hash(units_key, dose, row, unit)
        hit = (states[p] == 0) & limits.counts_above(hash_, row, unit)
        return states.at[p].set(jnp.where(hit, state, states[p]))

    return lax.fori_loop(0, jnp.where(limits.above, planes[0], 0), second_chance, states)


def _of_interval(place: Array, ends: Array) -> tuple[Array, Array]:
    """Hazard interval of each point, and its number there, from its place among all points."""
    interval = jnp.sum(place[:, None] >= ends[None, :-1], axis=1, dtype=jnp.int32)
    starts = jnp.concatenate([jnp.zeros(1, jnp.uint32), ends[:-1]])
    return interval, place - starts[interval]


def _unit_hash(key: UInt32[Array, "2"], dose: Dose, row: Array, unit: Array) -> tuple[Array, Array]:
    """State that a faulty unit has, and a second hash: both functions of chip and unit alone."""
    polarity, other = threefry(key, row, unit)
    at_1 = (polarity <= jnp.asarray(dose.sa1_limit)) & jnp.asarray(dose.sa1)
    return jnp.where(at_1, jnp.uint8(STUCK | AT_1), jnp.uint8(STUCK)), other


def scale(word: UInt32[Array, "*shape"], n: int) -> UInt32[Array, "*shape"]:
    """floor(word * n / 2^32) without 64-bit integers, for n below 2^32."""
    low, high = word & 0xFFFF, word >> 16
    if n <= 0x10000:
        return (high * n + (low * n >> 16)) >> 16
    n_low, n_high = jnp.uint32(n & 0xFFFF), jnp.uint32(n >> 16)
    middle = high * n_low + (low * n_low >> 16)
    carry = (middle & 0xFFFF) + low * n_high
    return high * n_high + (middle >> 16) + (carry >> 16)


def point_counts(key: UInt32[Array, "2"], cells: int) -> Int32[Array, "K"]:
    """Points in each hazard interval: the smallest n with u < P(N <= n), by binary search."""
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


def stuck_words(
    states: UInt8[Array, "S R C"], spec: ChipSpec
) -> tuple[UInt8[Array, "G R C"], UInt8[Array, "G R C"]]:
    """Pack cell states into word masks.

    Returns:
        Bits of each word that stuck cells hold, and what those bits read.
    """
    held, reads = [], []
    for group in range(spec.groups):
        mask = value = jnp.zeros(states.shape[1:], jnp.uint8)
        for cell in range(spec.cells_per_group):
            state = states[group * spec.cells_per_group + cell]
            level = ((1 << spec.bits_of_cell(cell)) - 1) << (cell * spec.bits_per_cell)
            mask |= (state & STUCK) * jnp.uint8(level)
            value |= (state >> 1) * jnp.uint8(level)
        held.append(mask)
        reads.append(value)
    return jnp.stack(held), jnp.stack(reads)
