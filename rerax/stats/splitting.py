"""Chances of rare failures: chips that fail are given many descendants at lower rates.

A root chip begins at a rate at which failures are common. Its descendants at the next, lower rate
keep each of its faults with the chance that the rates ask for, each descendant by itself; those of
a chip that has lost much are many and light, those of one that has lost little few and heavy. The
sum of the weights of failing descendants has the chance of failing as its expectation at every
rate, however many descendants there are (multilevel splitting, Kahn and Harris, 1951). How many
there are is balanced within a batch of root chips, so that batches are independent.
"""

import math
from collections.abc import Callable, Sequence
from itertools import accumulate, takewhile
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, UInt32

from rerax.stats.quantiles import check_level

FEWEST, MOST = 0.5, 8.0
"""Descendants that a chip has at least and at most, on average.

Fewer than a half would save chips, and give a chip that fails against expectation the weight to
spoil an estimate.
"""
POWER = 2
"""Descendants grow with this power of what a chip has lost."""
LEAST_LOST = 0.01
"""What a chip counts as having lost at least, over the most that one of its batch has lost."""


class Generation(NamedTuple):
    """Chips of one rate.

    Attributes:
        root: [n] the root chip that each descends from.
        branches: [n, k] random numbers that tell each from its siblings, one a rate before this.
        weight: [n] how many chips each stands for.
    """

    root: Int[np.ndarray, " n"]
    branches: UInt32[np.ndarray, "n k"]
    weight: Float[np.ndarray, " n"]


class Verdict(NamedTuple):
    """What a generation scored.

    Attributes:
        fails: [n] whether each chip fails.
        lost: [n] what it has lost, in units of what it may lose; 0 where it has gained.
    """

    fails: Bool[np.ndarray, " n"]
    lost: Float[np.ndarray, " n"]


Judge = Callable[[Generation], Verdict]
"""Evaluates a generation at its own rate."""


def first_generation(roots: Sequence[int]) -> Generation:
    """Make the generation of root chips."""
    number = np.array(roots, np.int64)
    return Generation(number, np.zeros((len(number), 0), np.uint32), np.ones(len(number)))


def balanced(lost: Float[np.ndarray, " n"], target: int) -> Float[np.ndarray, " n"]:
    """Choose how many descendants each chip of a batch has on average.

    Args:
        lost: of each chip (`Verdict`).
        target: how many there should be in all, as far as the least and the most allow.
    """
    most = lost.max(initial=0.0)
    share = np.maximum(lost / (most or 1.0), LEAST_LOST) ** POWER
    low, high = 0.0, MOST / LEAST_LOST**POWER
    for _ in range(60):
        middle = (low + high) / 2
        many = np.clip(middle * share, FEWEST, MOST).sum() > target
        low, high = (low, middle) if many else (middle, high)
    return np.clip(low * share, FEWEST, MOST)


def descend(before: Generation, wanted: Float[np.ndarray, " n"], seed: int) -> Generation:
    """Make the descendants of a generation at the next rate.

    Args:
        before: the generation.
        wanted: descendants of each chip on average.
        seed: of all chips.
    """
    root, branches, weight = [], [], []
    for number, path, heavy, mean in zip(*before, wanted, strict=True):
        draw = np.random.Generator(np.random.PCG64([seed, int(number), *map(int, path)]))
        children = int(mean) + int(draw.random() < mean - int(mean))
        root += [number] * children
        branches += [[*path, one] for one in draw.integers(0, 1 << 32, children, np.uint32)]
        weight += [heavy / mean] * children
    depth = before.branches.shape[1] + 1
    return Generation(
        np.array(root, np.int64),
        np.array(branches, np.uint32).reshape(len(root), depth),
        np.array(weight, np.float64),
    )


class Split(NamedTuple):
    """What batches of root chips and their descendants came to.

    Attributes:
        failing: [rates, roots] weight of each root chip's descendants that fail; its mean is the
            chance of failing.
        evaluated: chips evaluated at each rate.
    """

    failing: Float[np.ndarray, "K roots"]
    evaluated: tuple[int, ...]


def split(
    first: int,
    batches: int,
    size: int,
    rates: Sequence[float],
    judge: Judge,
    seed: int,
    enough: Callable[[float, float], bool] = lambda rate, chance: False,
) -> Split:
    """Follow root chips down through rates.

    Args:
        first: number of the first root chip.
        batches, size: how many batches of how many root chips.
        rates: descending; the first is that of the root chips.
        judge: evaluates a generation.
        seed: of all chips; what a chip's descendants are follows from it, the chip and its batch.
        enough: of a rate and the chance of failing there, whether to go no lower. Where it decides
            by these chips, they are no longer without bias.
    """
    generation = first_generation(range(first, first + batches * size))
    failing, evaluated = [], []
    for rate in rates:
        verdict = judge(generation)
        root = generation.root - first
        failing.append(np.bincount(root, generation.weight * verdict.fails, batches * size))
        evaluated.append(len(root))
        if rate == rates[-1] or enough(rate, float(failing[-1].mean())):
            break
        batch, wanted = root // size, np.ones(len(root))
        for b in range(batches):
            mine = batch == b
            wanted[mine] = balanced(verdict.lost[mine], size)
        generation = descend(generation, wanted, seed)
    return Split(np.array(failing), tuple(evaluated))


def chance_interval(
    failing: Float[np.ndarray, " roots"], batches: int, level: float = 0.95
) -> tuple[float, float]:
    """Compute an interval of the chance of failing.

    A chance is a sum of few, unequal weights, and has seldom met the heaviest there could be. So
    its law is taken to be a gamma law with the mean and the variance of the estimate, and for the
    upper end of one with another root chip as heavy as the heaviest. The variance is that over
    root chips or that over batches, whichever is larger. `experiments/rare_coverage.py` shows
    how often it holds.

    Args:
        failing: of each root chip (`Split`), not all 0.
        batches: of root chips.
        level: confidence level.

    Source: Fay and Feuer, Statistics in Medicine 16, 1997.
    """
    from scipy.special import betaincinv, gammaincinv

    check_level(level)
    chance, n = float(failing.mean()), len(failing)
    parts = failing.reshape(batches, -1).mean(axis=1)
    variance = max(failing.var(ddof=1) / n, parts.var(ddof=1) / batches)
    heaviest = float(failing.max()) / n
    tail = (1 - level) / 2
    if not variance:  # every root chip fails, so that Clopper and Pearson's is the lower end
        return chance * float(betaincinv(n, 1, tail)), chance + heaviest
    low = variance / chance * gammaincinv(chance**2 / variance, tail)
    above, wide = chance + heaviest, variance + heaviest**2
    return float(low), float(wide / above * gammaincinv(above**2 / wide, 1 - tail))


def rate_of(
    chance: float,
    rates: Sequence[float],
    chances: Sequence[float],
    intervals: Sequence[tuple[float, float] | None],
) -> tuple[float, float, float] | None:
    """Find the rate at which chips fail with a chance, and its interval.

    The interval is from where the upper ends of the chances' intervals come down to the chance to
    where their lower ends do, since the chance falls with the rate.

    Args:
        chance: of failing.
        rates: descending.
        chances: estimated at the rates.
        intervals: of the chances; None where no chip has failed.

    Returns:
        The rate and the ends of its interval, the lower one 0 where it lies below all rates and
        the upper one 1 where it lies above them; None where the rate does not lie between two of
        those at which chips have failed.
    """
    met = len(list(takewhile(lambda one: one > 0, chances)))
    found = _crossing(chance, rates[:met], chances[:met])
    if not 0 < found < rates[0]:
        return None
    lower = list(accumulate((0.0 if ends is None else ends[0] for ends in intervals), min))
    upper = list(accumulate((1.0 if ends is None else ends[1] for ends in intervals), min))
    high = 1.0 if lower[0] < chance else _crossing(chance, rates, lower)
    return found, _crossing(chance, rates, upper), high


def _crossing(chance: float, rates: Sequence[float], curve: Sequence[float]) -> float:
    """Find where a curve comes down to a chance, between two rates by the logarithms of both.

    Returns:
        The rate; 0 where the curve stays above, the last rate before that where it comes down to
        nothing at once, the first one where it begins below.
    """
    k = next((k for k, one in enumerate(curve) if one < chance), None)
    if k is None:
        return 0.0
    if not k or not curve[k]:
        return float(rates[max(k - 1, 0)])
    share = math.log(curve[k - 1] / chance) / math.log(curve[k - 1] / curve[k])
    return float(rates[k - 1] * (rates[k] / rates[k - 1]) ** share)
