"""With which chance an example is drawn, so that few tell a chip's score."""

import math

import numpy as np
from jaxtyping import Float, Int

WHOLE = 1 << 16
"""A chance of 1 where chances are whole numbers, as they are drawn by and kept."""
PSEUDO_CHIPS = 4
"""Pilot chips that an example's place on the curve counts for, beside those that answered it."""
READING_TOKENS = 1000
"""What reading the cells of a chip costs, in tokens: 700 unprotected, 1,400 voted, on two cores."""
FEWEST = 32
"""Examples a chip that `best_size` chooses at least."""


def flip_chances(
    margins: Float[np.ndarray, " E"],
    flips: Int[np.ndarray, " E"],
    chips: int | Int[np.ndarray, " E"],
) -> Float[np.ndarray, " E"]:
    """Estimate how probably a chip answers each example otherwise than the clean chip.

    A curve that falls with the clean margin, fitted to pilot chips (isotonic regression), and the
    example's own flips beside it; none is below a tenth of the mean, so that no example that flips
    against expectation weighs too much.

    Args:
        margins: how far the clean chip's answer lies above its next best.
        flips: how many pilot chips answered otherwise.
        chips: how many pilot chips there are, or have answered each example.
    """
    from scipy.optimize import isotonic_regression

    order = np.argsort(margins, kind="stable")
    chips = np.broadcast_to(np.asarray(chips), flips.shape)
    seen = np.where(chips > 0, flips / np.maximum(chips, 1), flips.sum() / chips.sum())
    weights = np.maximum(chips, 0.01)  # what nobody has answered says next to nothing
    curve = np.empty(len(margins))
    curve[order] = isotonic_regression(seen[order], weights=weights[order], increasing=False).x
    found = (PSEUDO_CHIPS * curve + flips) / (PSEUDO_CHIPS + chips)
    return np.maximum(found, 0.1 * found.mean() + 1e-4)


def inclusion_chances(
    flips: Float[np.ndarray, " R"],
    cost: Float[np.ndarray, " R"],
    examples: Float[np.ndarray, " R"],
    size: float,
) -> Float[np.ndarray, " R"]:
    """Choose chances of rows of examples that give the least variance at their cost.

    They are proportional to sqrt(flips / cost) and 1 at most (Neyman's allocation).

    Args:
        flips: flips expected in each row.
        cost: of answering it.
        examples: in it.
        size: examples drawn on average.
    """
    weight = np.sqrt(flips / cost)
    low, high = 0.0, 1.0 / float(weight.min())
    for _ in range(100):
        middle = (low + high) / 2
        if np.minimum(1.0, middle * weight) @ examples < size:
            low = middle
        else:
            high = middle
    return np.minimum(1.0, high * weight)


def best_size(
    flips: Float[np.ndarray, " E"], changes: Float[np.ndarray, "chips E"], tokens: float
) -> int:
    """Choose how many examples a chip should answer, for the narrowest interval of a mean.

    With m examples a chip the mean's variance is (V + A (1 - m / E) / m) over the chips, V being
    the variance of whole scores and A that of the draw, and a chip costs m + c examples, c being
    the reading of its cells: the best m is about sqrt(A c / V).

    Args:
        flips: chances of the examples (`flip_chances`).
        changes: of pilot chips, by how much each example's score has changed: -1, 0 or 1.
        tokens: of an example, on average.
    """
    root = np.sqrt(flips)
    whole = max(float(changes.mean(axis=1).var(ddof=1)), 1e-12)
    drawn = float(root.mean() * (changes**2 / root).mean())
    wanted = math.sqrt(drawn * READING_TOKENS / tokens / whole)
    return int(min(max(wanted, FEWEST), max(1, len(flips) // 2)))


def estimate(clean: float, changes: Float[np.ndarray, " m"], chances: Float[np.ndarray, " m"],
             examples: int) -> float:  # fmt: skip
    """Estimate a chip's score from the examples that it has drawn, without bias.

    The clean chip's score, and each drawn example's change over its chance (Horvitz and Thompson,
    1952, of a difference). It may lie outside 0..1 by chance.

    Args:
        clean: the clean chip's score on all examples.
        changes: of the drawn examples, how much their score differs from the clean chip's.
        chances: with which they were drawn.
        examples: how many there are in all.
    """
    return clean + float((changes / chances).sum()) / examples
