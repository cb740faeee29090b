"""The mean score of chips: its standard error and its intervals; paired differences.

Scores of chips are skewed: a few chips in the lower tail lie far below the rest.
`mean_interval` allows for that.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float

from rerax.stats.quantiles import check_level, normal_quantile, t_quantile

_UNSEEN_SKEWNESS = 1.0
TESTED_FROM = 32
_FEW_SCORES = 5
_CHIPS_BEAR = 1 / 6  # skewness squared, for each chip


if TYPE_CHECKING:
    Numbers = np.ndarray | Sequence[float]
else:  # what is no list of numbers is refused below, in a line of our own
    Numbers = Any


@dataclass(frozen=True)
class Summary:
    """Scores of the chips of one point.

    Attributes:
        chips: how many.
        mean: mean score.
        se: standard error of the mean, None for a single chip.
        interval: 95 % interval of the mean (`mean_interval`), None for a single chip.
        worst: the lowest score.
        doubtful: whether the interval may cover the mean too seldom (`doubtful`).
    """

    chips: int
    mean: float
    se: float | None
    interval: tuple[float, float] | None
    worst: float
    doubtful: bool = False


def summarise(
    scores: Numbers,
    level: float = 0.95,
    highest: float = math.inf,
    lowest: float = -math.inf,
) -> Summary:
    """Compute mean, standard error, interval and worst score of some chips.

    Args:
        scores: one score for each chip, at least one.
        level: confidence level of the interval.
        highest, lowest: the best and the worst score there can be; no mean lies beyond, so the
            interval ends there.

    Raises:
        ValueError: no score, or one that is not finite.
    """
    scores = _checked_scores(scores)
    n, mean, worst = len(scores), float(np.mean(scores)), float(np.min(scores))
    if n == 1:
        return Summary(n, mean, None, None, worst)
    low, high = mean_interval(scores, level).tolist()
    ends = max(low, lowest), min(high, highest)
    return Summary(n, mean, float(standard_error(scores)), ends, worst, bool(doubtful(scores)))


def standard_error(
    scores: Float[np.ndarray, "*campaigns chips"],
) -> Float[np.ndarray, "*campaigns"]:
    """Compute the standard error of the mean of two chips or more."""
    return np.asarray(np.std(scores, axis=-1, ddof=1) / math.sqrt(scores.shape[-1]))


def skewness(scores: Float[np.ndarray, "*campaigns chips"]) -> Float[np.ndarray, "*campaigns"]:
    """Compute the third central moment over the cubed standard deviation; 0 for equal scores."""
    away = scores - np.mean(scores, axis=-1, keepdims=True)
    variance = np.mean(away**2, axis=-1)
    varies = np.ptp(scores, axis=-1) > 0  # rounding leaves equal scores a variance
    scale = np.where(varies, variance, 1.0) ** 1.5
    return np.asarray(np.where(varies, np.mean(away**3, axis=-1) / scale, 0.0))


def t_interval(
    scores: Float[np.ndarray, "*campaigns chips"], level: float = 0.95
) -> Float[np.ndarray, "*campaigns 2"]:
    """Compute Student's interval of the mean: right for normal scores, too short for skewed ones.

    Args:
        scores: scores of two chips or more.
        level: confidence level.

    Returns:
        Lower and upper end.
    """
    check_level(level)
    return _around_mean(scores, np.asarray(t_quantile((1 + level) / 2, scores.shape[-1] - 1)))


def mean_interval(
    scores: Float[np.ndarray, "*campaigns chips"], level: float = 0.95
) -> Float[np.ndarray, "*campaigns 2"]:
    """Compute an interval of the mean: Student's, widened by the scores' own skewness.

    With n scores of skewness g, Student's two-sided interval of quantile z covers too seldom by
    an order of g^2/n. By the Edgeworth expansion of |t| the quantile must grow by
    z (z^4 + 2 z^2 - 3) g^2 / (18 n), a small term in the kurtosis aside. Here |g| + 1 stands for
    g: few scores understate the skewness of a law, most of all where its rare low scores are
    not among them. The 1 was set, and is judged, in `experiments/coverage.py`, after early
    stopping too; `doubtful` says where it does not suffice. With fewer than 32 chips it is
    sqrt(n / 32), as the skewness of few scores is large by chance.

    Args:
        scores: scores of two chips or more.
        level: confidence level.

    Returns:
        Lower and upper end.

    Source: Hall, The Bootstrap and Edgeworth Expansion, 1992, section 2.6 and chapter 3.
    """
    return _around_mean(scores, quantile_for(scores.shape[-1], skewness(scores), level))


def quantile_for(
    chips: int, skew: Float[np.ndarray, "*campaigns"], level: float
) -> Float[np.ndarray, "*campaigns"]:
    """Compute the half-width of `mean_interval` in standard errors."""
    check_level(level)
    z = normal_quantile((1 + level) / 2)
    unseen = _UNSEEN_SKEWNESS * min(1.0, math.sqrt(chips / TESTED_FROM))
    more = max(0.0, z * (z**4 + 2 * z**2 - 3) / 18) * (np.abs(skew) + unseen) ** 2
    return np.asarray(t_quantile((1 + level) / 2, chips - 1) + more / chips)


def doubtful(scores: Float[np.ndarray, "*campaigns chips"]) -> Bool[np.ndarray, "*campaigns"]:
    """Whether `mean_interval` may cover the mean too seldom, as far as the scores can tell.

    So it is where fewer than five distinct scores occur, or where the square of the skewness
    exceeds a sixth of the number of chips: Student's quantile would then have to grow by about
    a sixth by the skewness alone. Chips that all miss a rare low score give no sign of it.

    Args:
        scores: scores of two chips or more.
    """
    gaps = np.diff(np.sort(scores, axis=-1), axis=-1)
    apart = gaps > 1e-9 * np.ptp(scores, axis=-1, keepdims=True)  # differences are rounded
    few = 1 + np.sum(apart, axis=-1) < _FEW_SCORES
    return np.asarray(few | (skewness(scores) ** 2 > _CHIPS_BEAR * scores.shape[-1]))


def _around_mean(
    scores: Float[np.ndarray, "*campaigns chips"], quantile: Float[np.ndarray, "*#campaigns"]
) -> Float[np.ndarray, "*campaigns 2"]:
    mean, half = np.mean(scores, axis=-1), quantile * standard_error(scores)
    return np.stack([mean - half, mean + half], axis=-1)


def bootstrap_interval(
    scores: Float[np.ndarray, "*campaigns chips"],
    level: float = 0.95,
    resamples: int = 1999,
    seed: int = 0,
) -> Float[np.ndarray, "*campaigns 2"]:
    """Compute an interval of the mean from the resampled law of |t| (symmetric bootstrap-t).

    Args:
        scores: scores of two chips or more.
        level: confidence level.
        resamples: how often the chips are drawn anew; the same draws for all campaigns.
        seed: seed of the draws, so that the same scores have the same interval.

    Returns:
        Lower and upper end; infinite where the scores are too few or too equal to say.

    Source: Hall, J. Roy. Statist. Soc. B 50, 1988.
    """
    check_level(level)
    n, numbers = scores.shape[-1], np.random.Generator(np.random.PCG64(seed))
    away = scores - np.mean(scores, axis=-1, keepdims=True)
    nothing = 1e-12 * np.max(away**2, axis=-1, keepdims=True)  # a variance of rounding only
    found = []
    for start in range(0, resamples, 128):  # a few at a time bound the memory
        draws = numbers.multinomial(n, np.full(n, 1 / n), min(128, resamples - start)).T / n
        mean = away @ draws
        variance = (away**2 @ draws - mean**2) * n / (n - 1)
        sure = variance > nothing
        t = np.abs(mean) * math.sqrt(n) / np.sqrt(np.where(sure, variance, 1.0))
        found.append(np.where(sure, t, np.inf))
    quantile = np.quantile(np.concatenate(found, axis=-1), level, axis=-1, method="higher")
    return _around_mean(scores, np.where(np.ptp(scores, axis=-1) > 0, quantile, 0.0))


def quantiles(
    scores: Float[np.ndarray, " chips"],
    probabilities: Sequence[float] = (0.05, 0.25, 0.5, 0.75, 0.95),
) -> tuple[float, ...]:
    """Compute the scores that the given shares of chips stay below, median-unbiased.

    Source: Hyndman and Fan, The American Statistician 50, 1996, definition 8.
    """
    scores = _checked_scores(scores)
    return tuple(np.quantile(scores, probabilities, method="median_unbiased").tolist())


def paired_difference(
    chips: Numbers,
    scores: Numbers,
    other_chips: Numbers,
    other_scores: Numbers,
    level: float = 0.95,
) -> Summary:
    """Compute the gain of one scheme over another on the chips that both have.

    Args:
        chips: numbers of the first scheme's chips, each once.
        scores: their scores.
        other_chips: numbers of the second scheme's chips, each once.
        other_scores: their scores.
        level: confidence level.

    Returns:
        Summary of first minus second, chip by chip.

    Raises:
        ValueError: no common chip, a chip that is named twice, or scores that are none.
    """
    scores, other_scores = _checked_scores(scores), _checked_scores(other_scores)
    for numbers, found in ((chips, scores), (other_chips, other_scores)):
        if len(numbers) != len(found):
            raise ValueError(f"{len(numbers)} chips have {len(found)} scores: give one for each")
    for name in (chips, other_chips):
        if len(np.unique(name)) < len(name):
            raise ValueError("a chip is named twice: give each chip of a scheme once")
    _, mine, theirs = np.intersect1d(chips, other_chips, return_indices=True)
    if not len(mine):
        raise ValueError("the schemes share no chip: compare points of one seed and fault model")
    return summarise(scores[mine] - other_scores[theirs], level)


def _checked_scores(scores: Any) -> Float[np.ndarray, " chips"]:
    """Check scores and give them as an array."""
    try:
        scores = np.asarray(scores)
    except ValueError:  # lists of unlike lengths
        scores = np.zeros((0, 0))
    if scores.ndim != 1 or (scores.size and scores.dtype.kind not in "iuf"):
        raise ValueError(
            f"scores are of shape {scores.shape} and {scores.dtype}: give a list of numbers, one "
            "for each chip"
        )
    if not len(scores):
        raise ValueError("there is no chip: give the score of at least one")
    if not np.isfinite(scores).all():
        raise ValueError("the score of a chip is not finite: give finite scores")
    return scores
