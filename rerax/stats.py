"""Statistics over chips, the unit of replication. NumPy only."""

import functools
import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float


@dataclass(frozen=True)
class Summary:
    """Scores of the chips of one point.

    Attributes:
        chips: how many.
        mean: mean score.
        se: standard error of the mean, None for a single chip.
        interval: 95 % t interval of the mean, None for a single chip.
        worst: the lowest score.
    """

    chips: int
    mean: float
    se: float | None
    interval: tuple[float, float] | None
    worst: float


def summarise(scores: Float[np.ndarray, " chips"], level: float = 0.95) -> Summary:
    """Mean, standard error, t interval and worst chip.

    Args:
        scores: one score for each chip, at least one.
        level: confidence level of the interval.
    """
    n, mean, worst = len(scores), float(np.mean(scores)), float(np.min(scores))
    if n == 1:
        return Summary(n, mean, None, None, worst)
    se = float(np.std(scores, ddof=1)) / math.sqrt(n)
    half = t_quantile((1 + level) / 2, n - 1) * se
    return Summary(n, mean, se, (mean - half, mean + half), worst)


def yield_interval(passed: int, chips: int, level: float = 0.95) -> tuple[float, float]:
    """Wilson's interval for the share of chips that pass.

    Args:
        passed: chips that pass.
        chips: all chips, at least one.
        level: confidence level.

    Source: Wilson, JASA 22, 1927.
    """
    z = normal_quantile((1 + level) / 2)
    share = passed / chips
    centre = share + z * z / (2 * chips)
    half = z * math.sqrt(share * (1 - share) / chips + z * z / (4 * chips * chips))
    scale = 1 + z * z / chips
    low, high = (centre - half) / scale, (centre + half) / scale
    return max(0.0, min(share, low)), min(1.0, max(share, high))  # whatever rounding does


def normal_quantile(probability: float) -> float:
    """Quantile of the standard normal law, 0 < probability < 1."""
    return _invert(lambda z: 0.5 * math.erfc(-z / math.sqrt(2)), probability)


@functools.cache
def t_quantile(probability: float, degrees: int) -> float:
    """Quantile of Student's law with `degrees` degrees of freedom, 0 < probability < 1."""

    def cdf(t: float) -> float:
        tail = _incomplete_beta(degrees / 2, 0.5, degrees / (degrees + t * t)) / 2
        return 1 - tail if t > 0 else tail

    return _invert(cdf, probability)


def _invert(cdf, probability: float) -> float:  # type: ignore[no-untyped-def]
    low, high = -1.0, 1.0
    while cdf(low) > probability:
        low *= 2
    while cdf(high) < probability:
        high *= 2
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if cdf(middle) < probability else (low, middle)
    return (low + high) / 2


def _incomplete_beta(a: float, b: float, x: float) -> float:
    """Regularised incomplete beta function by its continued fraction (Abramowitz 26.5.8)."""
    if x in (0.0, 1.0):
        return x
    if x > (a + 1) / (a + b + 2):
        return 1 - _incomplete_beta(b, a, 1 - x)
    front = math.exp(
        math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    )
    tiny = 1e-300
    c, d = 1.0, 1 / max(1 - (a + b) * x / (a + 1), tiny)
    fraction = d
    for m in range(1, 500):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            d = 1 / (1 + term * d or tiny)
            c = 1 + term / c or tiny
            fraction *= c * d
        if abs(c * d - 1) < 1e-15:
            break
    return front * fraction / a
