"""The fault rate at which the mean over chips has lost so much."""

import math

import numpy as np
from jaxtyping import Float, Int

DRAWS = 2000


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
    if at_zero >= level:
        return [0.0] * losses.shape[1]
    over = losses >= level
    first, ever, every = over.argmax(0), over.any(0), np.arange(losses.shape[1])
    logs = np.array([math.log(rates[0] / 10), *map(math.log, rates)])
    before = np.where(first, np.maximum(losses[first - 1, every], min(at_zero, 0.0)), at_zero)
    passed = np.where(ever, losses[first, every], np.inf)
    found = logs[first] + (logs[first + 1] - logs[first]) * (level - before) / (passed - before)
    # not NumPy's exp, whose last bit depends on the processor
    return [math.exp(x) for x in np.where(ever, found, np.nan).tolist()]


def resampled(chips: int, draws: int = DRAWS) -> Int[np.ndarray, "draws_and_one chips"]:
    """Draw chips with replacement, behind all of them once; the same ones for the same number.

    Curves over the same chips that are resampled alike are compared chip by chip.
    """
    drawn = np.random.Generator(np.random.PCG64(0)).integers(0, chips, (draws, chips))
    return np.vstack([np.arange(chips), drawn])


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
        The rate of all chips, and of chips drawn from them with replacement (`resampled`);
        infinite where the mean never loses so much.
    """
    lost = reference - scores.T[resampled(scores.shape[1])].mean(1).T
    found = crossings(rates, lost, level, reference - clean)
    return np.nan_to_num(np.array(found), nan=np.inf)


def with_interval(
    drawn: Float[np.ndarray, " draws_and_one"],
) -> tuple[float | None, float | None, float | None]:
    """Give an estimate and its 95 % interval by bootstrap; None for what is infinite."""
    ends = np.quantile(drawn[1:], [0.025, 0.975], method="inverted_cdf")
    value, low, high = (float(x) if np.isfinite(x) else None for x in (drawn[0], *ends))
    return value, low, high
