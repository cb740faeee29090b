"""Clustered faults: some tiles are worse than others.

The hazard of tile t is h * g_t, with g_t from a gamma distribution of mean 1, so the number of
stuck cells in a tile is close to negative binomial, the usual law of clustered defects (C. H.
Stapper, IBM J. Res. Dev. 27, 1983; the shape is his clustering parameter alpha). Points come from
the same process as those of uniform faults and count up to their own tile's hazard: the cost is
that of uniform faults at the rate of the array's worst tile.
"""

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
from rerax.faults.models import Disturbed, Site, stick
from rerax.faults.sampling.grids import Cells
from rerax.faults.sampling.poisson import EDGES, INTERVALS
from rerax.faults.sampling.process import Dose, limit_of, sample
from rerax.gamma import QUANTILES, hazards, multipliers, survival

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

    begun: Int32[np.ndarray, "Q"] | Int32[Array, "Q"]
    limit: UInt32[np.ndarray, "Q"] | UInt32[Array, "Q"]
    above: Bool[np.ndarray, "Q"] | Bool[Array, "Q"]
    above_limit: UInt32[np.ndarray, "Q"] | UInt32[Array, "Q"]


@dataclass(frozen=True)
class _ByTile:
    """Limits [I, J] of every tile of one array."""

    at: TileLimits
    spec: ChipSpec
    lanes: str | None

    @property
    def intervals(self) -> Array:
        most = jnp.max(self.at.begun)  # a loop's bound must be the same in all lanes
        return most if self.lanes is None else lax.pmax(most, self.lanes)

    @property
    def above(self) -> Array:
        worst = jnp.max(self.at.above)
        return worst if self.lanes is None else lax.pmax(worst, self.lanes)

    def counts(self, interval: Array, position: Array, row: Array, unit: Array) -> Array:
        tile = self.spec.tile_of(row, unit)
        begun, within = self.at.begun[tile], position <= self.at.limit[tile]
        return (interval + 1 < begun) | ((interval + 1 == begun) & within)

    def counts_above(self, hash_: Array, row: Array, unit: Array) -> Array:
        tile = self.spec.tile_of(row, unit)
        return self.at.above[tile] & (hash_ <= self.at.above_limit[tile])


@dataclass(frozen=True)
class Clustered:
    """Stuck cells whose hazard differs from tile to tile by a gamma multiplier.

    Attributes:
        shape: shape A of the gamma distribution, 0.1 to 100. The multipliers' variance is 1/A: a
            small A makes a few bad tiles among good ones, a large one comes close to `uniform`.

    Raises:
        ValueError: shape outside that range.
    """

    shape: float
    has_polarity: bool = True

    def __post_init__(self) -> None:
        multipliers(self.shape)  # raises

    def tables(self, rate: float) -> TileLimits:
        """Limits of every multiplier, such that the mean over tiles is the rate."""
        return _limits(self.shape, rate)

    def disturb(
        self,
        words: UInt8[Array, "G R C"],
        key: Key[Array, ""],
        dose: Dose,
        spec: ChipSpec,
        lanes: str | None = None,
        site: Site | None = None,
    ) -> Disturbed:
        """Stuck cells hold their level whatever was written.

        Raises:
            ValueError: a dose that was not made for this model.
        """
        if not isinstance(dose.tables, TileLimits):
            raise ValueError("the dose has no tile limits: make it by dose(rate, share, fault)")
        _, rows, columns = words.shape
        worst = tile_multipliers(key, spec, rows, columns)
        at = TileLimits(*(jnp.asarray(table)[worst] for table in dose.tables))
        cells = Cells(spec, rows, columns)
        states = sample(key, dose, cells, lanes, _ByTile(at, spec, lanes))
        return stick(words, states, spec)


def tile_multipliers(
    key: Key[Array, ""], spec: ChipSpec, rows: int, columns: int
) -> UInt8[Array, "I J"]:
    """Which of the ascending multipliers (`gamma.multipliers`) each tile of an array has.

    Args:
        key: the array's key.
        spec: geometry.
        rows, columns: shape of the matrix.
    """
    shape = (-(-rows // spec.tile[0]), -(-spec.bitlines(columns) // spec.tile[1]))
    tile_key = purpose_keys(key, 4)[3]
    hash_, _ = threefry(tile_key, *(lax.broadcasted_iota(jnp.uint32, shape, i) for i in (0, 1)))
    return (hash_ // (2**32 // QUANTILES)).astype(jnp.uint8)


@functools.lru_cache(maxsize=256)
def _limits(shape: float, rate: float) -> TileLimits:
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
    """Intervals begun, limit in the last, and what lies above rate 0.5, for one hazard."""
    full, h = 2**32 - 1, Fraction(hazard)
    if h >= EDGES[-1]:
        above = limit_of(1 - 2 * survival(min(hazard, FAR)))
        return INTERVALS, full, above is not None, above or 0
    k = bisect_right(EDGES, h) - 1
    limit = limit_of((h - EDGES[k]) / (EDGES[k + 1] - EDGES[k]))
    return (k, full, False, 0) if limit is None else (k + 1, limit, False, 0)
