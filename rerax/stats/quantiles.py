"""Quantiles of the normal law and of Student's. SciPy is imported where one is asked for."""

import functools


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
