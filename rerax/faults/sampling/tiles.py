"""Clustered stuck cells of one array: a multiplier for each tile, limits for each multiplier."""

import functools
from bisect import bisect_right
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Int32, Key, UInt8, UInt32

from rerax.crossbar.keys import purpose_keys, threefry
from rerax.crossbar.spec import ChipSpec
from rerax.faults.sampling.addresses import Cells
from rerax.faults.sampling.gamma import QUANTILES, hazards, survival
from rerax.faults.sampling.poisson import EDGES, INTERVALS
from rerax.faults.sampling.poisson_process import sample
from rerax.faults.sampling.rates import Axis, RateTable, limit_of

FAR = Decimal(100)
"""A hazard from which on all but one hash in 2^32 is a hit: fewer than 2^-33 of the cells survive.
Farther out a survival is a fraction with billions of digits, and tells no more."""


class TileLimits(NamedTuple):
    """How far points count for each of the multipliers.

    Attributes:
        begun: hazard intervals with points that count; all but the last of them count whole.
        limit: in the last one, a point counts when its 32-bit position is <= this.
        above: whether the multiplier takes cells past rate 0.5.
        above_limit: and there a cell is stuck when its hash is <= this.
    """

    begun: Int32[np.ndarray, " Q"] | Int32[Array, " Q"]
    limit: UInt32[np.ndarray, " Q"] | UInt32[Array, " Q"]
    above: Bool[np.ndarray, " Q"] | Bool[Array, " Q"]
    above_limit: UInt32[np.ndarray, " Q"] | UInt32[Array, " Q"]


@dataclass(frozen=True)
class _LimitsByTile:
    """Hazard limits [I, J] of every tile of one array."""

    at: TileLimits
    spec: ChipSpec
    axis: Axis

    @property
    def intervals(self) -> Array:
        most = jnp.max(self.at.begun)  # a loop's bound must be the same in all lanes
        return most if self.axis is None else lax.pmax(most, self.axis)

    @property
    def above(self) -> Array:
        worst = jnp.max(self.at.above)
        return worst if self.axis is None else lax.pmax(worst, self.axis)

    def counts(self, interval: Array, position: Array, row: Array, unit: Array) -> Array:
        tile = self.spec.tile_of(row, unit)
        begun, within = self.at.begun[tile], position <= self.at.limit[tile]
        return (interval + 1 < begun) | ((interval + 1 == begun) & within)

    def counts_above(self, hash_: Array, row: Array, unit: Array) -> Array:
        tile = self.spec.tile_of(row, unit)
        return self.at.above[tile] & (hash_ <= self.at.above_limit[tile])


def clustered_cells(
    key: Key[Array, ""], rates: RateTable, spec: ChipSpec, shape: tuple[int, int]
) -> UInt8[Array, "S R C"]:
    """Draw the stuck cells of one array, whose tiles differ in hazard.

    Args:
        key: the array's key.
        rates: the rate, with the limits of a `Clustered`.
        spec: geometry.
        shape: rows and columns of the matrix.

    Raises:
        ValueError: a table that was not made for such a model.
    """
    if not isinstance(rates.tables, TileLimits):
        raise ValueError("the rates have no tile limits: make them by rate_table(.., fault=fault)")
    multiplier = tile_multipliers(key, spec, *shape)
    at = TileLimits(*(jnp.asarray(table)[multiplier] for table in rates.tables))
    return sample(key, rates, Cells(spec, *shape), _LimitsByTile(at, spec, rates.axis))


def tile_multipliers(
    key: Key[Array, ""], spec: ChipSpec, rows: int, columns: int
) -> UInt8[Array, "I J"]:
    """Draw which of the ascending multipliers (`gamma.multipliers`) each tile of an array has.

    Args:
        key: the array's key.
        spec: geometry.
        rows, columns: shape of the matrix.
    """
    shape = spec.tiles(rows, columns)
    tile_key = purpose_keys(key, 4)[3]
    hash_, _ = threefry(tile_key, *(lax.broadcasted_iota(jnp.uint32, shape, i) for i in (0, 1)))
    return (hash_ // (2**32 // QUANTILES)).astype(jnp.uint8)


@functools.lru_cache(maxsize=256)
def tile_limits(shape: float, rate: float) -> TileLimits:
    """Find how far points count for each multiplier, such that the mean over tiles is the rate."""
    full = 2**32 - 1
    if rate == 1:
        rows = [(INTERVALS, full, True, full)] * QUANTILES
    else:
        rows = [_row(h) for h in hazards(shape, rate)]
    begun, limit, above, above_limit = zip(*rows, strict=True)
    return TileLimits(
        np.array(begun, np.int32),
        np.array(limit, np.uint32),
        np.array(above, np.bool_),
        np.array(above_limit, np.uint32),
    )


def _row(hazard: Decimal) -> tuple[int, int, bool, int]:
    """Find intervals begun, the limit in the last, and what lies above rate 0.5, of a hazard."""
    full, h = 2**32 - 1, Fraction(hazard)
    if h >= EDGES[-1]:
        above = limit_of(1 - 2 * survival(min(hazard, FAR)))
        return INTERVALS, full, above is not None, above or 0
    k = bisect_right(EDGES, h) - 1
    limit = limit_of((h - EDGES[k]) / (EDGES[k + 1] - EDGES[k]))
    return (k, full, False, 0) if limit is None else (k + 1, limit, False, 0)
