"""A yield from chips that are left as soon as it is certain whether they pass.

Every chip answers a few examples of its own, then twice as many, and so on. After each round its
score is estimated as in `campaign.estimates`; a chip whose estimate lies far enough from what it
must reach is decided, and so is one that has given as many wrong answers as it may not, or as many
right ones as it must: examples of small margins come first. The others go on, in the end to all
examples.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from jaxtyping import Bool, Float

from rerax.campaign.estimates import changed
from rerax.campaign.point import Point
from rerax.campaign.sample_table import SampleTable
from rerax.campaign.sampling import with_samples
from rerax.campaign.worker import Worker
from rerax.campaign.workload import Progress, Settings, Workload
from rerax.stats import normal_quantile, passes, yield_interval
from rerax.stats.inclusion import WHOLE, flip_chances

SEEN_BEFORE = 2.0
"""Expected changes that count for the level of all chips, beside a chip's own."""


@dataclass(frozen=True)
class SequentialYield:
    """How many chips pass, and what it took to know.

    Attributes:
        point: of which chips.
        passed: [chips] whether each passes.
        answered: [chips] examples that each has answered.
        examples: how many there are.
        error: with which probability a chip is decided wrongly, at most.
        interval: of the share that passes, 95 %, with the error on either side.
        pilots: chips that have answered everything beforehand, the clean chip among them.
    """

    point: Point
    passed: Bool[np.ndarray, " chips"]
    answered: Float[np.ndarray, " chips"]
    examples: int
    error: float
    interval: tuple[float, float]
    pilots: int


def sequential_yields(
    workload: Workload,
    points: Sequence[Point],
    settings: Settings,
    budget: float,
    first: int = 64,
    error: float = 0.01,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> Iterator[SequentialYield]:
    """Decide chip by chip whether it passes, at the price of as few examples as that takes.

    Args:
        workload: model and examples.
        points: whose chips, 0 to `settings.chips` - 1 of each.
        settings: chips, seed and lanes.
        budget: how far below the float score a chip may be and still pass.
        first: examples of the first round.
        error: with which probability a chip may be decided wrongly.
        on_progress: told after every dispatch.

    Yields:
        What each point came to.

    Raises:
        ValueError: scores that are no means, or more examples in the first round than there are.
    """
    ((_, drawing),), tables = with_samples(
        [(workload, points)], first, settings, on_progress=on_progress
    )
    (table,) = tables[workload.name].values()
    workload = workload.complete()
    worker = Worker.start(workload, settings, drawing, [table])
    top = worker.float_score(drawing[0], {})
    for k, point in enumerate(drawing):
        shown = partial(_of_all, on_progress, k, len(drawing))
        yield _decide(worker, point, table, top - budget, error, shown)


def _of_all(tell: Callable[[Progress], None], before: int, points: int, own: Progress) -> None:
    """Report the progress of one point as that of all; as many points came before it."""
    tell(replace(own, done=own.done + before * own.total, total=points * own.total))


def _decide(
    worker: Worker,
    point: Point,
    table: SampleTable,
    wanted: float,
    error: float,
    on_progress: Callable[[Progress], None],
) -> SequentialYield:
    workload, chips = worker.workload, worker.settings.chips
    matched, n = workload.parts[0][1], len(workload.labels)
    clean = worker.clean_right(point)
    margins, rows = np.array(table.margins), [list(r) for of in table.rows.values() for r in of]
    rounds = _rounds(table)
    z = normal_quantile(1 - error / 2 / len(rounds))
    changes, drawn = np.zeros((chips, n)), np.zeros((chips, n), bool)
    passed, open_ = np.zeros(chips, bool), np.ones(chips, bool)
    evaluator = worker.sampled(point)
    before = {width: [0] * len(of) for width, of in table.chances.items()}
    for chances in rounds:
        own = evaluator.between(before, chances)
        for part in _runs(np.flatnonzero(open_)):
            at = part.start
            for outcome in own.outcomes(worker.settings.seed, part, worker.faults_at(point)):
                for examples, _, change in changed(workload, clean, outcome):
                    changes[at, examples], drawn[at, examples] = change, True
                    at += 1
                on_progress(Progress(chips - int(open_.sum()), chips, point, "deciding"))
        before = chances
        share = replace(table, chances=chances).by_example()
        here = slice(0, matched)
        score = clean[here].mean() + (changes / share)[:, here].sum(1) / matched
        right = ((clean + changes) * drawn)[:, here].sum(1) / matched
        wrong = drawn[:, here].sum(1) / matched - right
        score = np.clip(score, right, 1 - wrong)  # whatever the other answers are
        counts = np.abs(changes).sum(0).astype(int), drawn.sum(0)
        flips = flip_chances(margins, *counts)  # at this rate, under this protection
        expected = np.array([flips[row].sum() for row in rows])
        seen, expecting = np.abs(changes).sum(1), (share * flips).sum()
        level = (seen + SEEN_BEFORE) / (expecting + SEEN_BEFORE)
        # Answers of a row change together, so their sum is squared as if all went one way.
        of_rows = level[:, None] * expected[None, :]
        chance = np.concatenate([chances[width] for width in table.rows]) / WHOLE
        spread = ((1 - chance) / chance * (of_rows + of_rows**2)).sum(1)
        sure = np.abs(score - wanted) > z * np.sqrt(spread) / matched
        sure |= passes(right, wanted, 0.0) | ~passes(1 - wrong, wanted, 0.0)
        done = open_ & (sure | (share == 1).all())
        passed[done] = passes(score, wanted, 0.0)[done]
        open_ &= ~done
        if not open_.any():
            break
    low, high = yield_interval(int(passed.sum()), chips)
    ends = max(0.0, low - error), min(1.0, high + error)
    clean_point, pilots = replace(point, sampled=None), table.pilots["chips"] + 1
    return SequentialYield(clean_point, passed, drawn.sum(1).astype(float), n, error, ends, pilots)


def _rounds(table: SampleTable) -> list[dict[str, list[int]]]:
    """List chances that double from round to round, until every row is certain."""
    found = [{width: list(of) for width, of in table.chances.items()}]
    while any(chance < WHOLE for of in found[-1].values() for chance in of):
        found.append({width: [min(WHOLE, 2 * c) for c in of] for width, of in found[-1].items()})
    return found


def _runs(numbers: np.ndarray) -> list[range]:
    """Cut ascending numbers into runs of consecutive ones."""
    if not len(numbers):
        return []
    ends = np.flatnonzero(np.diff(numbers) > 1) + 1
    return [range(int(part[0]), int(part[-1]) + 1) for part in np.split(numbers, ends)]
