"""Quantiles of the normal law and of Student's. SciPy is imported where one is asked for."""

import functools


def check_level(level: float) -> None:
    """Refuse a confidence level that is none.

    Raises:
        ValueError: not between 0 and 1.
    """
    if not 0 < level < 1:
        raise ValueError(f"level {level!r} is outside (0, 1): give one such as 0.95")


@functools.cache
def normal_quantile(probability: float) -> float:
    """Compute a quantile of the standard normal law, 0 < probability < 1."""
    from scipy.special import ndtri

    return float(ndtri(probability))


@functools.cache
def t_quantile(probability: float, degrees: int) -> float:
    """Compute a quantile of Student's law of `degrees` degrees of freedom, 0 < probability < 1."""
    from scipy.special import stdtrit

    return float(stdtrit(degrees, probability))
