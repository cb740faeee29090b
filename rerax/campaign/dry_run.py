"""What a run would cost, before it is begun: for `rerax sweep --dry-run`. No JAX here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rerax.campaign import store
from rerax.campaign.block import missing
from rerax.campaign.folder import check_folder
from rerax.campaign.grid import chips_of
from rerax.campaign.runner import Part, columns_of, count_chips, pairs_of
from rerax.campaign.sidecars import read_provenance
from rerax.campaign.workload import Settings, Workload
from rerax.crossbar.spec import SEMANTICS
from rerax.evaluate.resources import operations, peak_bytes
from rerax.io import Place
from rerax.stats.inclusion import READING_TOKENS
from rerax.stats.stopping import Rule

OPERATIONS_A_SECOND = 1.5e11
"""A guess for two CPU cores with 8-bit dot products: a MiniLM, SST-2, `experiments/cost.py`."""
START_SECONDS = 15
"""Loading and compiling, once a workload."""


@dataclass(frozen=True)
class Cost:
    """What one workload of a run would cost.

    Attributes:
        workload: model and task.
        points: how many.
        chips: chips asked for, over all points; with a rule, those that there may be at most.
        done: those of them that the folder has.
        seconds: time for the others, None where it cannot be told.
        measured: whether the time comes from this folder's own runs.
        peak: memory at the most, in bytes.
        at_most: whether a rule may stop points earlier.
    """

    workload: Workload
    points: int
    chips: int
    done: int
    seconds: float | None
    measured: bool
    peak: float
    at_most: bool = False

    @property
    def text(self) -> str:
        """The cost in a line."""
        todo, most = self.chips - self.done, "at most " if self.at_most else ""
        line = (
            f"{self.workload.name}: {self.points} points, {most}{self.chips} chips: {self.done} "
            f"done, {most}{todo} to do"
        )
        if not todo:
            return line
        if self.seconds is None:
            when = "time unknown"
        else:
            how = "at this folder's pace" if self.measured else "guessed for two CPU cores"
            when = f"about {_duration(self.seconds)} ({how})"
        return f"{line}, {when}, about {self.peak / 1e9:.1f} GB of memory"


def dry_run(
    parts: Sequence[Part], settings: Settings, out: Place, rule: Rule | None = None
) -> list[Cost]:
    """Estimate what a run would cost; nothing is written.

    Args:
        parts: workloads and their points.
        settings: chips, seed and pace.
        out: the campaign folder, which need not exist.
        rule: when a point has chips enough, instead of their number.

    Raises:
        ValueError: a folder of another campaign.
    """
    check_folder(out, settings.seed, SEMANTICS, pairs_of(parts), columns_of(parts))
    here, runs, costs = store.survey(out).blocks, read_provenance(out), []
    for workload, points in parts:
        chips = chips_of(points, settings.chips if rule is None else rule.max_chips, rule)
        asked = len(points) * (chips if isinstance(chips, int) else len(chips))
        work = missing(here, points, chips)
        passes = sum(1 if point.is_clean else block.chips for point, block in work)
        sampled = points[0].sampled
        pace, seconds = _seconds_a_chip(runs, workload.name, sampled or ""), None
        if pace is not None:
            seconds = passes * pace
        elif workload.words:
            whole = passes * operations(workload.config, _tokens_a_chip(workload, sampled))
            seconds = START_SECONDS + whole / OPERATIONS_A_SECOND
        size = (workload.config, workload.tokens)
        peak = max((peak_bytes(*size, point.spec) for point in points), default=0.0)
        done = asked - count_chips(work)
        counts = len(points), asked, done
        measured, open_ = pace is not None, rule is not None
        costs.append(Cost(workload, *counts, seconds, measured, peak, open_))
    return costs


def _tokens_a_chip(workload: Workload, sampled: str | None) -> float:
    """Estimate the tokens that a chip answers, reading its cells included where they are few."""
    size = (sampled or "").partition(":")[0]
    if not size.isdigit() or not len(workload.labels):
        return workload.tokens
    return workload.tokens * int(size) / len(workload.labels) + READING_TOKENS


def _seconds_a_chip(runs: Sequence[Mapping[str, Any]], pair: str, sampled: str) -> float | None:
    """Average the seconds a chip over all runs of a pair that drew examples by the same table."""
    own = [
        run
        for run in runs
        if run.get("pair") == pair and run.get("chips") and "seconds" in run
        if run.get("sampled", "") == sampled
    ]
    chips = sum(run["chips"] for run in own)
    return sum(run["seconds"] for run in own) / chips if chips else None


def _duration(seconds: float) -> str:
    """Put seconds in words.

    Example:
        >>> _duration(40.0), _duration(400.0), _duration(40_000.0)
        ('40 s', '7 min', '11.1 h')
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
