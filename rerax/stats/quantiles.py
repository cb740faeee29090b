"""Quantiles of the normal law and of Student's. SciPy is imported where one is asked for."""

import functools


@functools.cache
def normal_quantile(probability: float) -> float:
    """Quantile of the standard normal law, 0 < probability < 1."""
    from scipy.special import ndtri

    return float(ndtri(probability))


@functools.cache
def t_quantile(probability: float, degrees: int) -> float:
    """Quantile of Student's law with `degrees` degrees of freedom, 0 < probability < 1."""
    from scipy.special import stdtrit

    return float(stdtrit(degrees, probability))
