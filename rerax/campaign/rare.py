"""The chance that a chip fails, where that is rare: by splitting over the rate.

See `stats.splitting` for the estimator, `evaluate.descendants` for what a descendant is.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from rerax.campaign.point import Point
from rerax.campaign.sampling import FIRST_PILOT
from rerax.campaign.worker import Worker, rates_of
from rerax.campaign.workload import Progress, Settings, Workload
from rerax.evaluate.descendants import MOST_STAGES, descendants
from rerax.faults import Bitline, Uniform, Wordline
from rerax.stats import passes
from rerax.stats.splitting import (
    Generation,
    Split,
    Verdict,
    chance_interval,
    first_generation,
    rate_of,
    split,
)

STEP = 0.7
"""Each rate over the one before."""
COMMON, HIGHEST = 0.25, 0.4
"""Share of pilots that fail at the first rate, at least, and the highest rate there is."""
BATCHES = 16
"""Batches of root chips."""
FEWEST_PILOTS = 32
FAR_BELOW = 0.1
"""Of the chance that is looked for: rates are tried down to there, so that both ends are met."""


@dataclass(frozen=True)
class RareFailures:
    """How probably chips fail at each of some rates.

    Attributes:
        rates: descending.
        chances: estimates of the chance of failing.
        intervals: 95 % intervals (`stats.splitting.chance_interval`); None where no descendant
            has failed.
        evaluated: chips evaluated at each rate.
        pilots: chips evaluated to choose the rates.
        roots: root chips, in `BATCHES` batches.
        crossing: rate at which the chance is what was asked, and its interval, whose lower end is
            0 where that lies below all rates, and whose upper end is 1 where that lies above them;
            None: not asked, or not between two of the rates.
    """

    rates: tuple[float, ...]
    chances: tuple[float, ...]
    intervals: tuple[tuple[float, float] | None, ...]
    evaluated: tuple[int, ...]
    pilots: int
    roots: int
    crossing: tuple[float, float, float] | None = None

    def counted(self, k: int) -> float:
        """Tell how many chips, counted one by one, would give as narrow an interval at a rate."""
        ends = self.intervals[k]
        p = self.chances[k]
        if ends is None or not 0 < ends[0] < ends[1] < 1:  # cut off: tells no width
            return math.nan
        return p * (1 - p) * (2 * 1.96 / (ends[1] - ends[0])) ** 2


def check_point(point: Point) -> None:
    """Refuse points whose faults cannot be thinned.

    Raises:
        ValueError: which.
    """
    if not isinstance(point.fault, Uniform | Wordline | Bitline):
        raise ValueError(
            f"fault {point.fault.text} is not thinned to lower rates: use uniform, wordline or "
            "bitline"
        )
    if point.tested.rate < 1:
        raise ValueError(
            f"tested {point.tested.text} has a rate of its own: use all, or a share of the cells"
        )
    if point.misread:
        raise ValueError(f"misread {point.misread:g} is not split: use misread 0")
    if point.faulty is not None:
        raise ValueError(
            f"faults in {point.faulty.text} alone are not split: let them act all over"
        )


def rare_failures(
    workload: Workload,
    point: Point,
    settings: Settings,
    budget: float,
    failing: float | None = None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> RareFailures:
    """Estimate how probably a chip fails at a rate, or find the rate at which few enough do.

    Args:
        workload: model and examples.
        point: its rate is the lowest one that is looked at.
        settings: `chips` root chips, seed and lanes.
        budget: a chip fails whose score is further below the float score.
        failing: go down until the chance of failing is so small, and find that rate; None: to the
            point's rate.
        on_progress: told after every generation.

    Raises:
        ValueError: faults that cannot be thinned, a rate that is too high, chips that never fail
            often enough, or a chip without faults that fails.
    """
    check_point(point)
    worker = Worker.start(workload.complete(), settings, [point])
    top = worker.float_score(point, {})
    clean = worker.clean_score(point, {})
    if not passes(np.array([clean]), top, budget)[0]:
        raise ValueError(
            f"a chip without faults scores {clean:.4g} where the float model scores {top:.4g}, and "
            f"fails a budget of {budget:g} already: give a larger --budget"
        )
    evaluator = worker.whole(point)
    done = 0

    def judge_at(rates: Sequence[float]) -> Callable[[Generation], Verdict]:
        table = rates_of(dataclasses.replace(point, rate=rates[0]))

        def judge(generation: Generation) -> Verdict:
            nonlocal done
            k = generation.branches.shape[1]
            found = []
            for logits in descendants(evaluator, settings.seed, table, rates[: k + 1], generation):
                found.append(worker.scored(logits)["score"])
                done += len(logits)
                at = dataclasses.replace(point, rate=rates[k])
                on_progress(Progress(done, 0, at, f"stage {k + 1}"))  # of how many is not known
            own = np.concatenate(found) if found else np.zeros(0)
            fails = ~passes(own, top, budget)
            return Verdict(fails, np.maximum(top - own, 0.0) / max(budget, 1e-9))

        return judge

    size = -(-settings.chips // BATCHES)
    many = max(FEWEST_PILOTS, size)
    first, pilots = _first_rate(point.rate, range(FIRST_PILOT, FIRST_PILOT + many), judge_at)
    rates = _stages(first, point.rate, failing is None)
    if failing is not None:
        tried = split(
            FIRST_PILOT + many, 2, many, rates, judge_at(rates), settings.seed,
            lambda rate, chance: chance < FAR_BELOW * failing,
        )  # fmt: skip
        pilots += sum(tried.evaluated)
        rates = rates[: len(tried.evaluated)]
    whole = split(0, BATCHES, size, rates, judge_at(rates), settings.seed)
    return _result(whole, rates, pilots, BATCHES * size, failing)


def _stages(first: float, last: float, whole: bool) -> tuple[float, ...]:
    """List rates from one to another, each `STEP` times the one before.

    Args:
        first, last: the ends.
        whole: whether all have to be there, in place of as many as there may be.

    Raises:
        ValueError: they are too many.
    """
    rates = [first]
    while rates[-1] * STEP > last * 1.05 and len(rates) < MOST_STAGES - 1:
        rates.append(float(f"{rates[-1] * STEP:.4g}"))
    if rates[-1] * STEP > last * 1.05:
        if not whole:
            return tuple(rates)
        raise ValueError(
            f"rate {last:g} is more than {MOST_STAGES} stages below {first:g}, where chips fail "
            "often: give a higher one"
        )
    return (*rates, last) if last < first else (first,)


def _first_rate(
    rate: float, pilots: range, judge_at: Callable[[Sequence[float]], Callable[..., Verdict]]
) -> tuple[float, int]:
    """Find a rate at which a quarter of the pilots fail, and count the chips that it took.

    Raises:
        ValueError: there is none.
    """
    at, taken = HIGHEST, 0
    while at >= rate:  # downwards: most rates that may be asked for are low
        found = judge_at([at])(first_generation(pilots)).fails.mean()
        taken += len(pilots)
        if found < COMMON:
            break
        at = float(f"{at / 1.5:.4g}")
    if at == HIGHEST:
        raise ValueError(
            f"fewer than a quarter of {len(pilots)} pilot chips fail at rate {HIGHEST:g}: give a "
            "smaller --budget"
        )
    return max(rate, float(f"{at * 1.5:.4g}")), taken


def _result(
    whole: Split, rates: Sequence[float], pilots: int, roots: int, failing: float | None
) -> RareFailures:
    chances = tuple(float(own.mean()) for own in whole.failing)
    intervals = []
    for own, chance in zip(whole.failing, chances, strict=True):
        ends = chance_interval(own, BATCHES) if own.any() else None
        intervals.append(ends and (ends[0], min(ends[1], max(1.0, chance))))
    found = (tuple(rates), chances, tuple(intervals), whole.evaluated)
    crossing = None if failing is None else rate_of(failing, rates, chances, intervals)
    return RareFailures(*found, pilots, roots, crossing)
