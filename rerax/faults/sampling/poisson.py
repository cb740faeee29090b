"""Exact tables: from a rate to hazards, and from 64 random bits to a Poisson count.

Everything here runs on the host in whole numbers, fractions and decimals, whose results the
languages's standard fixes to the last digit, so the tables are the same on every machine.
"""

import decimal
import functools
from fractions import Fraction
from itertools import pairwise
from typing import NamedTuple

import numpy as np

LN2 = Fraction(round(decimal.Context(prec=40).ln(decimal.Decimal(2)) * 2**64), 2**64)
EDGES = (Fraction(0), *(Fraction(1, 2**k) for k in range(20, 0, -1)), LN2)
"""Hazard intervals: [0, 2^-20), octaves up to 1/2, and [1/2, ln 2), which ends at rate 0.5."""

INTERVALS = len(EDGES) - 1


def hazard(rate: float) -> Fraction:
    """Compute the hazard h = -ln(1 - rate) to 40 digits, for 0 <= rate < 1."""
    context = decimal.Context(prec=60)
    return -Fraction(context.ln(context.subtract(decimal.Decimal(1), decimal.Decimal(rate))))


class PoissonTable(NamedTuple):
    """Cumulative Poisson probabilities of every hazard interval, in units of 2^-64.

    Attributes:
        first: [K] the count that an interval's first entry stands for.
        start: [K + 1] where each interval's entries begin in `high` and `low`.
        high, low: [entries] upper and lower 32 bits of floor(2^64 P(N <= count)).
    """

    first: np.ndarray
    start: np.ndarray
    high: np.ndarray
    low: np.ndarray


@functools.cache
def poisson_table(cells: int) -> PoissonTable:
    """Tabulate the law of the number of points that `cells` cells get in each hazard interval.

    Args:
        cells: number of cells; interval [a, b) has mean cells * (b - a).
    """
    firsts, entries, start = [], [], [0]
    for a, b in pairwise(EDGES):
        first, cumulative = _cumulative(cells * (b - a))
        firsts.append(first)
        entries += cumulative
        start.append(len(entries))
    table = np.array(entries, np.uint64)
    return PoissonTable(
        np.array(firsts, np.int32),
        np.array(start, np.int32),
        (table >> np.uint64(32)).astype(np.uint32),
        (table & np.uint64(0xFFFFFFFF)).astype(np.uint32),
    )


def _cumulative(mean: Fraction) -> tuple[int, list[int]]:
    """Tabulate floor(2^64 P(N <= n)) from the first count on, between 0 and 2^64 - 1.

    The weights are built outwards from the mode by p(n+1) = p(n) * mean / (n+1) in 192-bit
    fixed point, down to 2^-140 of the mode's; their sum stands in for e^mean.
    """
    up, down = mean.numerator, mean.denominator
    mode, peak, floor = int(mean), 1 << 192, 1 << 52
    below, weight, n = [], peak, mode
    while n > 0 and weight > floor:
        weight = weight * (n * down) // up
        n -= 1
        below.append(weight)
    above, weight, n = [peak], peak, mode
    while weight > floor:
        n += 1
        weight = weight * up // (down * n)
        above.append(weight)
    weights = below[::-1] + above
    total, running = sum(weights), 0
    first, cumulative = mode - len(below), []
    for weight in weights:
        running += weight
        share = (running << 64) // total
        if share == 0:
            first += 1
        elif share < 2**64 - 1:
            cumulative.append(share)
        else:
            break
    return first, cumulative
