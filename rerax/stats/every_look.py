"""Intervals that hold at every look, for campaigns that stop by what they see.

An interval of 95 % holds for a number of chips that was fixed beforehand. Whoever looks again and
again, and stops when an interval suits, is wrong more often. Two remedies, each at a price:

- a mean that is looked at a few times, at numbers of chips known beforehand: every look takes the
  same wider interval (`mean_interval_at_looks`; Pocock's bounds). With 5 looks, each at twice the
  chips, it is 1.27 times as wide as for one look;
- a yield that is looked at after every chip: a betting sequence (`yield_sequence`), about 1.6 times
  as wide as Clopper and Pearson's interval.

Betting sequences of means need the scores' whole range and are useless here: with scores that lie
within a point of each other they are 25 times as wide.
"""

import functools
import itertools
import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float

from rerax.stats.mean import mean_interval
from rerax.stats.quantiles import normal_quantile

GRID = 801
"""Points of the grids on which integrals are taken, odd for Simpson's rule."""


def mean_interval_at_looks(
    scores: Float[np.ndarray, "*campaigns chips"], looks: Sequence[int], level: float = 0.95
) -> Float[np.ndarray, "*campaigns 2"]:
    """Compute an interval of the mean that holds at every look with the given probability.

    Args:
        scores: of as many chips as one of the looks has.
        looks: numbers of chips at which the campaign looks, fixed beforehand.
        level: that the mean lies in the intervals of all looks.

    Raises:
        ValueError: scores of another number of chips.
    """
    if scores.shape[-1] not in looks:
        raise ValueError(
            f"{scores.shape[-1]} chips are none of the looks {', '.join(map(str, looks))}: give "
            "the scores of one of them"
        )
    z = critical_value(tuple(looks), level)
    return mean_interval(scores, math.erf(z / math.sqrt(2)))


@functools.lru_cache(maxsize=64)
def critical_value(looks: tuple[int, ...], level: float = 0.95) -> float:
    """Find z so that a mean stays within z standard errors at all looks, in the limit of many.

    Args:
        looks: ascending numbers of chips.
        level: the probability of that.

    Source: Pocock, Biometrika 64, 1977; by the recursion of Armitage, McPherson and Rowe, J. R.
    Statist. Soc. A 132, 1969.
    """
    ascending = all(1 < a < b for a, b in itertools.pairwise((1.5, *looks)))
    if not looks or not ascending or not 0 < level < 1:
        raise ValueError(
            f"looks {', '.join(map(str, looks))} at level {level:g}: give ascending numbers of "
            "chips from 2 on, each once, and a level between 0 and 1"
        )
    low, high = normal_quantile((1 + level) / 2), normal_quantile(1 - (1 - level) / 2 / len(looks))
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if _stays(looks, middle) < level else (low, middle)
    return high


def _stays(looks: tuple[int, ...], z: float) -> float:
    """Compute the probability that a random walk stays within z sqrt(n) at all looks n."""
    weight = np.full(GRID, 2.0)
    weight[1::2], weight[[0, -1]] = 4.0, 1.0
    at = np.linspace(-1, 1, GRID) * z * math.sqrt(looks[0])
    density = _normal(at, float(looks[0]))
    for before, now in itertools.pairwise(looks):
        step = (at[1] - at[0]) / 3
        then = np.linspace(-1, 1, GRID) * z * math.sqrt(now)
        density = _normal(then[:, None] - at[None, :], float(now - before)) @ (
            density * weight * step
        )
        at = then
    return float((density * weight).sum() * (at[1] - at[0]) / 3)


def _normal(x: Float[np.ndarray, "*shape"], variance: float) -> Float[np.ndarray, "*shape"]:
    return np.exp(-x * x / (2 * variance)) / math.sqrt(2 * math.pi * variance)


def yield_sequence(
    passed: Bool[np.ndarray, " chips"], level: float = 0.95
) -> Float[np.ndarray, "chips 2"]:
    """Compute intervals of a yield after each chip, all of which hold with the given probability.

    A share is left out once a player who bets against it, on more passes and on fewer, would have
    multiplied their stake by 1 / (1 - level).

    Args:
        passed: whether each chip passes, in the order of evaluation.
        level: that the yield lies in all of the intervals.

    Source: Waudby-Smith and Ramdas, J. R. Statist. Soc. B 86, 2024, section 4.
    """
    if np.asarray(passed).dtype != bool or np.ndim(passed) != 1 or not 0 < level < 1:
        raise ValueError(
            "passes are no list of True and False, or the level not between 0 and 1: give what "
            "rerax.stats.passes gave for the chips of one point"
        )
    outcomes = np.asarray(passed, float)
    n = np.arange(1, len(outcomes) + 1)
    mean = (0.5 + np.cumsum(outcomes)) / (n + 1)
    spread = (0.25 + np.cumsum((outcomes - mean) ** 2)) / (n + 1)
    before = np.concatenate([[0.25], spread[:-1]])  # a bet may know of earlier chips alone
    stake = np.sqrt(2 * math.log(2 / (1 - level)) / (before * n * np.log(n + 1)))
    shares = np.linspace(0, 1, 1001)
    with np.errstate(divide="ignore"):
        up = np.minimum(stake[:, None], 0.5 / shares[None, :])
        down = np.minimum(stake[:, None], 0.5 / (1 - shares[None, :]))
    gain = outcomes[:, None] - shares[None, :]
    more = np.cumsum(np.log1p(up * gain), axis=0)
    fewer = np.cumsum(np.log1p(-down * gain), axis=0)
    left_in = np.maximum(more, fewer) + math.log(0.5) < math.log(1 / (1 - level))
    left_in = np.logical_and.accumulate(left_in, axis=0)
    # What is left may lie between two shares of the grid: then it lies beside the last ones.
    left = np.minimum(np.arange(len(outcomes)), max(int(left_in.any(axis=1).sum()) - 1, 0))
    low = shares[left_in.argmax(axis=1)][left]
    high = shares[len(shares) - 1 - left_in[:, ::-1].argmax(axis=1)][left]
    step = shares[1]
    return np.stack([np.maximum(low - step, 0.0), np.minimum(high + step, 1.0)], axis=1)
