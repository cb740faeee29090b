"""Quantiles of the laws that intervals rest on: normal, Student's, binomial. Exact to rounding."""

import functools
import math
from collections.abc import Callable


@functools.cache
def normal_quantile(probability: float) -> float:
    """Quantile of the standard normal law, 0 < probability < 1."""
    return invert(lambda z: 0.5 * math.erfc(-z / math.sqrt(2)), probability)


@functools.cache
def t_quantile(probability: float, degrees: int) -> float:
    """Quantile of Student's law with `degrees` degrees of freedom, 0 < probability < 1."""
    if degrees > 10_000_000:  # equal to 7 digits, and the fraction below would converge slowly
        return normal_quantile(probability)

    def cdf(t: float) -> float:
        tail = incomplete_beta(degrees / 2, 0.5, degrees / (degrees + t * t)) / 2
        return 1 - tail if t > 0 else tail

    return invert(cdf, probability)


def invert(
    cdf: Callable[[float], float], probability: float, low: float = -1.0, high: float = 1.0
) -> float:
    """Where a rising function reaches a probability; the bracket grows if it must."""
    while cdf(low) > probability:
        low *= 2
    while cdf(high) < probability:
        high *= 2
    while low < (middle := (low + high) / 2) < high:
        low, high = (middle, high) if cdf(middle) < probability else (low, middle)
    return (low + high) / 2


def incomplete_beta(a: float, b: float, x: float) -> float:
    """Regularised incomplete beta function by its continued fraction (Abramowitz 26.5.8)."""
    if x in (0.0, 1.0):
        return x
    if x > (a + 1) / (a + b + 2):
        return 1 - incomplete_beta(b, a, 1 - x)
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
