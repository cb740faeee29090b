"""The share of chips that pass: yields and their intervals, and where each chip first fails."""

import functools
import math

import numpy as np
from jaxtyping import Bool, Float

from rerax.stats.quantiles import check_level, normal_quantile

ROUNDING = 1e-12
"""0.07 - 0.01 is above 0.06 in floats: no chip may fail, and no curve be lost, for that."""


def passes(
    scores: Float[np.ndarray, "*points chips"],
    reference: float | Float[np.ndarray, " chips"],
    budget: float,
) -> Bool[np.ndarray, "*points chips"]:
    """Find which chips score at least the reference less the budget, rounding apart.

    Args:
        scores: of chips.
        reference: the float score, or that of each chip, of the platform that it ran on.
        budget: how far below it a chip may be.
    """
    return scores >= reference - budget - ROUNDING


def yield_interval(
    passed: int, chips: int, level: float = 0.95, stopped_early: bool = False
) -> tuple[float, float]:
    """Compute an interval for the share of chips that pass.

    Args:
        passed: chips that pass.
        chips: all chips, at least one.
        level: confidence level.
        stopped_early: whether the scores decided how many chips there are: then the interval
            is Clopper and Pearson's, whose reserve pays for the choice; else Wilson's.

    Raises:
        ValueError: no chip, or more that pass than there are.
    """
    if chips < 1 or not 0 <= passed <= chips:
        raise ValueError(f"{passed} of {chips} chips cannot pass: give 0 to all of at least 1 chip")
    return (clopper_pearson if stopped_early else wilson)(passed, chips, level)


def wilson(passed: int, chips: int, level: float = 0.95) -> tuple[float, float]:
    """Compute Wilson's interval for a share: on average over shares it covers as it says.

    Source: Wilson, J. Amer. Statist. Assoc. 22, 1927.
    """
    share = passed / chips
    centre, half = wilson_width(share, chips, level)
    # the ends may not cut off the share itself, whatever rounding does
    return max(0.0, min(share, centre - half)), min(1.0, max(share, centre + half))


def wilson_width(share: float, chips: int, level: float) -> tuple[float, float]:
    """Compute centre and half-width of Wilson's interval."""
    check_level(level)
    z = normal_quantile((1 + level) / 2)
    scale = 1 + z * z / chips
    half = z * math.sqrt(share * (1 - share) / chips + z * z / (4 * chips * chips))
    return (share + z * z / (2 * chips)) / scale, half / scale


@functools.lru_cache(maxsize=65536)
def clopper_pearson(passed: int, chips: int, level: float = 0.95) -> tuple[float, float]:
    """Compute Clopper and Pearson's interval for a share: it covers at least as often as it says.

    Source: Clopper and Pearson, Biometrika 26, 1934.
    """
    from scipy.special import betaincinv

    check_level(level)
    tail, failed = (1 - level) / 2, chips - passed
    low = float(betaincinv(passed, failed + 1, tail)) if passed else 0.0
    high = float(betaincinv(passed + 1, failed, 1 - tail)) if failed else 1.0
    return low, high


def first_misses(
    rates: Float[np.ndarray, " rates"], passed: Bool[np.ndarray, "rates chips"]
) -> Float[np.ndarray, " chips"]:
    """Find the lowest rate at which each chip misses its budget.

    Args:
        rates: fault rates, rising.
        passed: whether a chip passes at a rate (`passes`).

    Returns:
        A rate for each chip; NaN for one that passes at all of them.

    Raises:
        ValueError: rates that do not rise.

    Example:
        >>> first_misses(np.array([1e-3, 1e-2]), np.array([[True, True], [True, False]]))
        array([ nan, 0.01])
    """
    if not np.all(np.diff(rates) > 0):
        raise ValueError(f"rates {rates.tolist()} do not rise: give each rate once, ascending")
    return np.where(np.all(passed, axis=0), np.nan, rates[np.argmin(passed, axis=0)])
