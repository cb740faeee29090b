"""Exact tables for clustered faults: gamma multipliers, and the hazard that gives a mean rate.

Whole numbers, fractions and decimals only, as in `poisson.py`: the operations used (products,
quotients, exp, ln) are correctly rounded, so the tables are the same on every machine.
"""

import decimal
import functools
from decimal import Decimal
from fractions import Fraction

QUANTILES = 256
"""Equally likely values that stand for the gamma distribution, each the mean of its share."""

SMALLEST, LARGEST = 0.1, 100.0
"""Shapes whose table has been looked at; beyond them use `uniform`, or fewer and larger tiles."""

_CONTEXT = decimal.Context(prec=50, Emin=decimal.MIN_EMIN, Emax=decimal.MAX_EMAX)


def check_shape(shape: float) -> None:
    """Refuse a shape whose table nobody has looked at."""
    if not SMALLEST <= shape <= LARGEST:  # also catches NaN
        raise ValueError(
            f"clustered shape {shape:g} is outside {SMALLEST:g}..{LARGEST:g}: "
            "give a gamma shape such as 2"
        )


@functools.cache
def multipliers(shape: float) -> tuple[Decimal, ...]:
    """Compute gamma multipliers of mean 1 in ascending order, to 30 digits.

    The k-th is the mean of a gamma variable of this shape and mean 1 between its quantiles k/K
    and (k + 1)/K, so the mean of the table is 1; its variance is short of 1/shape by what lies
    within the shares: 2.8 % at shape 0.1, 0.7 % at 0.5, 0.3 % at 2.

    Args:
        shape: shape A of the gamma distribution, 0.1 to 100.

    Raises:
        ValueError: shape outside that range.
    """
    check_shape(shape)
    with decimal.localcontext(_CONTEXT):
        a = Decimal(shape)
        far = a + 20 * a.sqrt() + 150  # beyond it lies less than 1e-40
        log_gamma = a * far.ln() - far + _series(a, far).ln()  # of a + 1, since P(a, far) = 1
        share, x, below, values = Decimal(1) / QUANTILES, Decimal(0), Decimal(0), []
        for k in range(1, QUANTILES + 1):
            above = Decimal(0)  # the density's part of E[X; X <= x] at the upper edge
            if k < QUANTILES:
                x = _quantile(a, k * share, log_gamma, x)
                above = (a * x.ln() - x - log_gamma).exp()
            values.append(1 - (above - below) / share)
            below = above
    return tuple(decimal.Context(prec=30).plus(value) for value in values)


def _series(a: Decimal, x: Decimal) -> Decimal:
    """Sum the series that, times x^a e^-x / Gamma(a + 1), is P(a, x) (DLMF 8.7.1)."""
    term = total = Decimal(1)
    n = a
    while term > total * Decimal("1e-45"):
        n += 1
        term *= x / n
        total += term
    return total


def _quantile(a: Decimal, p: Decimal, log_gamma: Decimal, start: Decimal) -> Decimal:
    """Solve P(a, x) = p for x, by Newton's steps on log P over log x.

    That function is concave, so steps from the left stay there: from `start` (a smaller
    quantile), or from where P's upper bound x^a / Gamma(a + 1) is p.
    """
    y = (p.ln() + log_gamma) / a
    if start > 0:
        y = max(y, start.ln())
    while True:
        x = y.exp()
        total = _series(a, x)
        step = (p.ln() - (a * y - x - log_gamma + total.ln())) * total / a  # dlogP/dlogx = a/total
        y += step
        if step < Decimal("1e-36"):
            return y.exp()


@functools.cache
def hazards(shape: float, rate: float) -> tuple[Decimal, ...]:
    """Scale the multipliers to hazards, so that the mean of 1 - exp(-hazard) is the rate.

    Args:
        shape: shape of the gamma distribution.
        rate: expected fraction of faulty cells, 0 <= rate < 1.
    """
    table = multipliers(shape)
    with decimal.localcontext(_CONTEXT) as context:
        context.prec = 60
        wanted = (1 - Decimal(rate)).ln()
        h = -wanted  # too small, by Jensen's inequality
        while True:  # Newton's steps on log E[exp(-h g)], convex in h: they stay on the left
            survivals = [(-h * g).exp() for g in table]
            alive = sum(survivals, Decimal(0))
            weighted = (g * s for g, s in zip(table, survivals, strict=True))
            slope = sum(weighted, Decimal(0)) / alive
            step = ((alive / QUANTILES).ln() - wanted) / slope
            h += step
            if step <= h * Decimal("1e-30"):
                return tuple(h * g for g in table)


def survival(hazard: Decimal) -> Fraction:
    """Compute the probability exp(-hazard) of staying healthy, to 50 digits."""
    return Fraction((-hazard).exp(_CONTEXT))
