"""How many chips: where a campaign may stop, and how many a statement needs."""

import math
from collections.abc import Callable

import numpy as np
from jaxtyping import Float

from rerax.stats.mean import quantile_for, standard_error
from rerax.stats.quantiles import check_level
from rerax.stats.share import wilson_width

FIRST_LOOK = 64
MOST = 10**15
"""Chips that anybody could ask for."""


def looks(max_chips: int) -> tuple[int, ...]:
    """List the numbers of chips at which a point may stop: 64, 128, 256, ... and the most.

    Example:
        >>> looks(300)
        (64, 128, 256, 300)
    """
    doubling = (FIRST_LOOK << k for k in range(max(1, max_chips).bit_length()))
    return (*(chips for chips in doubling if chips < max_chips), max_chips)


def stop_here(scores: Float[np.ndarray, " chips"], until_se: float) -> bool:
    """Whether the chips so far suffice: their standard error is at most `until_se`.

    To be asked at `looks` only, as a look after every chip would stop at lucky moments. After
    such a stop `mean_interval` holds as it is (`experiments/coverage.py`), while a yield needs
    `yield_interval(stopped_early=True)`.
    """
    return len(scores) > 1 and bool(standard_error(scores) <= until_se)


def chips_for_mean(half_width: float, sd: float, skew: float = 0.0, level: float = 0.95) -> int:
    """Compute how many chips give `mean_interval` a half-width of at most so much.

    Args:
        half_width: what is asked, in units of the score.
        sd: standard deviation of the chips' scores.
        skew: skewness of the scores.
        level: confidence level.

    Returns:
        The least number of chips, at least 2.

    Raises:
        ValueError: a half-width that is not above 0, or numbers that are none.
    """
    _check_width(half_width)
    if not (0 <= sd < math.inf and math.isfinite(skew)):
        raise ValueError(f"sd {sd!r}, skew {skew!r}: give finite numbers, the former not below 0")
    shape = np.asarray(skew, np.float64)

    def wide(chips: int) -> bool:
        return float(quantile_for(chips, shape, level)) * sd / math.sqrt(chips) > half_width

    return _least(wide, 2)


def chips_without_failure(share: float, level: float = 0.95) -> int:
    """Compute how many chips must all pass to show a yield of at least `share`.

    The one-sided exact bound: the least n with share^n <= 1 - level.

    Args:
        share: the yield to show, above 0 and below 1.
        level: confidence level.

    Example:
        >>> chips_without_failure(0.9), chips_without_failure(0.999)
        (29, 2995)

    Raises:
        ValueError: a share or level that is not between 0 and 1.

    Source: Clopper and Pearson, Biometrika 26, 1934, for no failure.
    """
    check_level(level)
    if not 0 < share < 1:
        raise ValueError(f"share {share!r} is outside (0, 1): give a yield such as 0.99")
    return _least(lambda chips: chips * math.log(share) > math.log(1 - level), 1)


def chips_for_yield(share: float, half_width: float, level: float = 0.95) -> int:
    """Compute how many chips give Wilson's interval of a yield near `share` such a half-width.

    Args:
        share: the yield expected, 0 to 1.
        half_width: what is asked, a fraction of all chips.
        level: confidence level.

    Raises:
        ValueError: a half-width that is not above 0, or a share that is none.
    """
    _check_width(half_width)
    if not 0 <= share <= 1:
        raise ValueError(f"share {share!r} is outside [0, 1]: give a yield such as 0.99")
    return _least(lambda chips: wilson_width(share, chips, level)[1] > half_width, 1)


def _check_width(half_width: float) -> None:
    if not 0 < half_width < math.inf:
        raise ValueError(f"half-width {half_width!r} is not above 0: give one such as 0.005")


def _least(too_few: Callable[[int], bool], start: int) -> int:
    """Find the least number, from `start` on, that is not too few."""
    high = start
    while too_few(high):
        high *= 2
        if high > MOST:
            raise ValueError(f"more than {MOST:.0e} chips would be needed: ask for less")
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if too_few(middle) else (low, middle)
    return max(high, start)
