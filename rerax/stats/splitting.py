"""Chances of rare failures: chips that fail are given many descendants at lower rates.

A root chip begins at a rate at which failures are common. Its descendants at the next, lower rate
keep each of its faults with the chance that the rates ask for, each descendant by itself; those of
a chip that has lost much are many and light, those of one that has lost little few and heavy. The
sum of the weights of failing descendants has the chance of failing as its expectation at every
rate, however many descendants there are (multilevel splitting, Kahn and Harris, 1951). How many
there are is balanced within a batch of root chips, so that batches are independent: they are the
unit of intervals.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, UInt32

FEWEST, MOST = 0.5, 8.0
"""Descendants that a chip has at least and at most, on average.

Fewer than a half would save chips, and give a chip that fails against expectation the weight to
spoil an estimate.
"""
POWER = 2
"""Descendants grow with this power of what a chip has lost."""


class Generation(NamedTuple):
    """Chips of one rate.

    Attributes:
        root: [n] the root chip that each descends from.
        branches: [n, k] random numbers that tell each from its siblings, one a rate before this.
        weight: [n] how many chips each stands for.
    """

    root: Int[np.ndarray, "n"]
    branches: UInt32[np.ndarray, "n k"]
    weight: Float[np.ndarray, "n"]


class Verdict(NamedTuple):
    """What a generation scored.

    Attributes:
        fails: [n] whether each chip fails.
        lost: [n] what it has lost, in units of what it may lose; 0 where it has gained.
    """

    fails: Bool[np.ndarray, "n"]
    lost: Float[np.ndarray, "n"]


Judge = Callable[[Generation], Verdict]
"""Evaluates a generation at its own rate."""


def first_generation(roots: Sequence[int]) -> Generation:
    """Make the generation of root chips."""
    number = np.array(roots, np.int64)
    return Generation(number, np.zeros((len(number), 0), np.uint32), np.ones(len(number)))


def balanced(lost: Float[np.ndarray, "n"], target: int) -> Float[np.ndarray, "n"]:
    """Choose how many descendants each chip of a batch has on average.

    Args:
        lost: of each chip (`Verdict`).
        target: how many there should be in all, as far as the least and the most allow.
    """
    low, high = 0.0, 1e6
    for _ in range(60):
        middle = (low + high) / 2
        many = np.clip(middle * lost**POWER, FEWEST, MOST).sum() > target
        low, high = (low, middle) if many else (middle, high)
    return np.clip(low * lost**POWER, FEWEST, MOST)


def descend(before: Generation, wanted: Float[np.ndarray, "n"], seed: int) -> Generation:
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
        chances: [rates, batches] share of the chips that fail, as each batch estimates it.
        evaluated: chips evaluated at each rate.
    """

    chances: Float[np.ndarray, "K batches"]
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
    chances, evaluated = [], []
    for rate in rates:
        verdict = judge(generation)
        batch = (generation.root - first) // size
        heavy = generation.weight * verdict.fails
        chances.append(np.bincount(batch, heavy, batches) / size)
        evaluated.append(len(generation.root))
        if rate == rates[-1] or enough(rate, float(chances[-1].mean())):
            break
        wanted = np.ones(len(generation.root))
        for b in range(batches):
            mine = batch == b
            wanted[mine] = balanced(verdict.lost[mine], size)
        generation = descend(generation, wanted, seed)
    return Split(np.array(chances), tuple(evaluated))
