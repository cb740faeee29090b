"""The fault rate at which the mean over chips has lost so much."""

import math

import numpy as np
from jaxtyping import Float

from rerax.stats.share import ROUNDING

DRAWS, FEWEST_DRAWS = 2000, 200
MOST_PLACES, PLACES_AT_ONCE = 8_000_000, 100_000
"""Chips that are drawn in all and at once, over the draws."""


def crossings(
    rates: Float[np.ndarray, " rates"],
    losses: Float[np.ndarray, "rates curves"],
    level: float,
    at_zero: float = 0.0,
) -> list[float]:
    """Find the rate at which each curve first loses a level, by lines over the logarithm of rates.

    Args:
        rates: ascending, all positive.
        losses: of each curve, at each rate.
        level: the loss to pass.
        at_zero: loss at rate 0, from which a curve rises to its lowest rate, from a tenth of it on.

    Returns:
        The rates; NaN where a curve never loses so much, 0 where it does without faults.

    Example:
        >>> crossings(np.array([1e-3, 1e-2]), np.array([[0.0], [0.02]]), 0.01)
        [0.0031622776601683786]
    """
    if at_zero >= level - ROUNDING:
        return [0.0] * losses.shape[1]
    over = losses >= level
    first, ever, every = over.argmax(0), over.any(0), np.arange(losses.shape[1])
    logs = np.array([math.log(rates[0] / 10), *map(math.log, rates)])
    before = np.where(first, np.maximum(losses[first - 1, every], min(at_zero, 0.0)), at_zero)
    passed = np.where(ever, losses[first, every], np.inf)
    found = logs[first] + (logs[first + 1] - logs[first]) * (level - before) / (passed - before)
    # not NumPy's exp, whose last bit depends on the processor
    return [math.exp(x) for x in np.where(ever, found, np.nan).tolist()]


def resampled_means(
    scores: Float[np.ndarray, "rates chips"],
) -> Float[np.ndarray, "rates draws_and_one"]:
    """Compute the means of all chips, and of chips drawn from them with replacement.

    Curves over equally many chips are redrawn alike, so that they are compared chip by chip.
    Of thousands of chips there are fewer draws, for their intervals need less.
    """
    chips = scores.shape[1]
    draw = np.random.Generator(np.random.PCG64(0))
    left, means = min(DRAWS, max(FEWEST_DRAWS, MOST_PLACES // chips)), []
    drawn = np.arange(chips)[None]
    while True:  # not all at once, for memory's sake
        means.append(scores.T[drawn].mean(1).T)
        if not left:
            return np.concatenate(means, axis=1)
        n = min(left, max(1, PLACES_AT_ONCE // chips))
        drawn = draw.integers(0, chips, (n, chips))
        left -= n


def tolerated_rates(
    rates: Float[np.ndarray, " rates"],
    scores: Float[np.ndarray, "rates chips"],
    reference: float,
    clean: float,
    level: float,
) -> Float[np.ndarray, " draws_and_one"]:
    """Find the rate at which the mean over chips is a level below a reference.

    Args:
        rates: ascending, all positive.
        scores: of the same chips at each rate.
        reference: score to lose from.
        clean: score at rate 0.
        level: how much.

    Returns:
        The rate of all chips, and of chips drawn from them with replacement (`resampled_means`);
        infinite where the mean never loses so much.

    Raises:
        ValueError: no chips.
    """
    if not scores.shape[1]:
        raise ValueError("no chip stands at every rate: give chips that do")
    lost = reference - resampled_means(scores)
    found = crossings(rates, lost, level, reference - clean)
    return np.nan_to_num(np.array(found), nan=np.inf)


Range = tuple[float, float]
"""The lowest and the highest rate that was run."""

Ends = tuple[float | None, float | None, float | None]
"""An estimate and its 95 % interval; None where it is beyond the rates that were run."""


def with_interval(
    drawn: Float[np.ndarray, " draws_and_one"],
) -> Ends:
    """Give an estimate and its 95 % interval by bootstrap; None for what is infinite."""
    ends = np.quantile(drawn[1:], [0.025, 0.975], method="inverted_cdf")
    value, low, high = (float(x) if np.isfinite(x) else None for x in (drawn[0], *ends))
    return value, low, high


def ratio_with_interval(
    above: Float[np.ndarray, " draws_and_one"],
    below: Float[np.ndarray, " draws_and_one"],
    tried: tuple[Range, Range] = ((0.0, math.inf), (0.0, math.inf)),
) -> Ends:
    """Give the ratio of two rates that were found on the same chips.

    Of a rate beyond those that were run only a bound is known, so that each end of the interval
    takes the least or the most that it may be, and is None where that is 0 or infinite. So is the
    ratio where one of the two rates of all chips lies beyond those that were run.

    Args:
        above: the one rate (`tolerated_rates`); infinite beyond the highest that was run.
        below: the other, of the same draws.
        tried: the lowest and the highest rate that was run of either; what lies below the lowest
            is a guess.
    """
    if not np.isfinite(below[0]) or not below[0]:
        return None, None, None
    (least_above, most_above), (least_below, most_below) = map(_bounds, (above, below), tried)
    with np.errstate(invalid="ignore", divide="ignore"):
        least, most = least_above / most_below, most_above / least_below
    guess = least_above[0] != most_above[0] or least_below[0] != most_below[0]
    value = None if guess or not np.isfinite(above[0]) else float(above[0] / below[0])
    low = with_interval(np.nan_to_num(least, nan=0.0, posinf=np.inf))[1]
    high = with_interval(np.nan_to_num(most, nan=np.inf, posinf=np.inf))[2]
    return value, low or None, high


def _bounds(drawn: np.ndarray, tried: Range) -> tuple[np.ndarray, np.ndarray]:
    """Say between what each rate lies, which is known among those that were run."""
    (lowest, highest), beyond = tried, np.isinf(drawn)
    guess = (drawn > 0) & (drawn < lowest)
    least = np.where(guess, 0.0, np.where(beyond, highest, drawn))
    return least, np.where(guess, lowest, drawn)
