"""How clustered the stuck cells of measured chips are, by their counts in tiles. No JAX here.

Under chance alone each cell is stuck with the chip's rate, whichever tile it lies in. Under
`clustered:A` the rate differs from tile to tile: with p the mean rate, its variance is a function
of p and A alone, which is solved here for A, by the method of moments.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from rerax.faults.sampling.gamma import LARGEST, SMALLEST

FEWEST = 20
"""Stuck cells below which nothing is said of a chip's clusters."""
DEVIATIONS = 3
"""Standard deviations above chance that a ratio must be to count as clustered."""


class TileMoments(NamedTuple):
    """What the tiles of one chip tell.

    Attributes:
        rate: stuck fraction of its cells.
        tiles: how many there are.
        squares: sum over tiles of (stuck - expected)^2 / variance under chance.
        noise: variance of that sum under chance.
        excess: sum over tiles of the squared deviation beyond what chance makes of it.
        pairs: sum over tiles of the ordered pairs of cells in them.
    """

    rate: float
    tiles: int
    squares: float
    noise: float
    excess: float
    pairs: float


class Clusters(NamedTuple):
    """How clustered some chips are.

    Attributes:
        ratio: variance-to-mean ratio over tiles (index of dispersion), in units of the binomial's:
            1 where chance alone is at work.
        deviation: standard deviation of that ratio under chance.
        shape: gamma shape A of `clustered:A` that the tiles imply, inf where they vary no more
            than chance; it may lie outside the range that is simulated.
        chips: how many chips were looked at.
        tiles: how many tiles of them.
    """

    ratio: float
    deviation: float
    shape: float
    chips: int
    tiles: int

    @property
    def by_chance(self) -> bool:
        """Whether the tiles differ no more than chance would have them differ."""
        return self.ratio <= 1 + DEVIATIONS * self.deviation


def tile_moments(stuck: Int[np.ndarray, " T"], cells: Int[np.ndarray, " T"]) -> TileMoments | None:
    """Compute the moments of a chip's tiles; None where they are too few to tell anything.

    Args:
        stuck: stuck cells of each tile.
        cells: all cells of each tile.
    """
    stuck, cells = stuck[cells > 0].astype(np.float64), cells[cells > 0].astype(np.float64)
    if len(cells) < 2 or stuck.sum() < FEWEST or stuck.sum() == cells.sum():
        return None
    rate = stuck.sum() / cells.sum()
    by_chance = cells * rate * (1 - rate)
    squared = (stuck - cells * rate) ** 2
    unbiased = len(cells) / (len(cells) - 1)  # the rate is that of the same tiles
    return TileMoments(
        rate=float(rate),
        tiles=len(cells),
        squares=float((squared / by_chance).sum()),
        noise=float((2 + 1 / by_chance).sum()),
        excess=float(unbiased * squared.sum() - by_chance.sum()),
        pairs=float((cells * (cells - 1)).sum()),
    )


def find_clusters(chips: Sequence[TileMoments]) -> Clusters | None:
    """Say how clustered chips are, all together; None without any."""
    if not chips:
        return None
    freedom = sum(one.tiles - 1 for one in chips)
    return Clusters(
        ratio=sum(one.squares for one in chips) / freedom,
        deviation=math.sqrt(sum(one.noise for one in chips)) / freedom,
        shape=_shape(chips),
        chips=len(chips),
        tiles=sum(one.tiles for one in chips),
    )


def rate_variance(shape: float, rate: float) -> float:
    """Compute the variance over tiles of the stuck fraction 1 - exp(-h g), with g gamma of mean 1.

    Args:
        shape: shape A of the gamma distribution.
        rate: mean of the stuck fraction, above 0 and below 1, which determines h.
    """
    u = math.expm1(-math.log1p(-rate) / shape)  # h / A
    return (1 - rate) ** 2 * math.expm1(shape * math.log1p(u * u / (1 + 2 * u)))


def _shape(chips: Sequence[TileMoments]) -> float:
    """Solve for the gamma shape whose expected excess is what was found; inf where none is."""
    found = sum(one.excess for one in chips)
    low, high = SMALLEST / 100, LARGEST * 100

    def expected(shape: float) -> float:
        return sum(one.pairs * rate_variance(shape, one.rate) for one in chips)

    if found <= expected(high):
        return math.inf
    for _ in range(60):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if expected(middle) > found else (low, middle)
    return high
