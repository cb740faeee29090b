"""The statistics of every point of a campaign, over its chips."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from rerax.campaign.point import DEFAULTS
from rerax.campaign.schema import FIRST_COLUMNS
from rerax.campaign.workload import unprotected_text
from rerax.crossbar.spec import ENCODINGS
from rerax.glue.tasks import find_task
from rerax.report.format import budget_text, count, digits_of_share, hundredths, setting_text
from rerax.stats import Summary, paired_difference, passes, summarise, yield_interval
from rerax.stats.stopping import Rule
from rerax.values import read_budget

SETTINGS = (
    "task",
    "model",
    "encoding",
    "bits",
    "bits_per_cell",
    "input_bits",
    "dtype",
    "layout",
    "tile",
    "matrices",
    "protection",
    "fault",
    "faulty",
    "sa1_share",
    "polarity",
    "tested",
    "misread",
    "sampled",
)
"""Columns that tell points apart, the rate aside."""
NULL_MEANS = {"polarity": "plain", "tested": "all", "misread": 0.0}
"""What rows mean that are null in a setting, if it is more than nothing."""
PANEL_SETTINGS = ("task", "model", "fault", "sa1_share", "sampled")
"""Settings that tell panels apart."""
SERIES_SETTINGS = tuple(name for name in SETTINGS if name not in (*PANEL_SETTINGS, "faulty"))
"""Settings that tell the series of a panel apart."""


@dataclass(frozen=True)
class PointSummary:
    """One point of a campaign and the statistics of its chips.

    Attributes:
        settings: its value in each of `SETTINGS`.
        rate: fault rate.
        summary: statistics of its chips' scores.
        passed: share of chips within the budget of the float score; None where scores are
            estimated from drawn examples, whose noise would decide.
        passed_interval: 95 % interval of that share (`yield_interval`), None for a single chip.
        float_score, clean_score: the references.
        degenerate: chips whose predictions are constant or not finite.
        scores: the scores, one for each chip.
        chips: the numbers of those chips.
        cells, cells_dense: cells that the point stores, and that the unprotected dense model does.
        sparsity: share of the weights that are pruned; None where no row says so.
        examples: examples that each chip was scored on.
        reads: cells sensed for one kept weight, on average over the matrices; None where no run
            of the folder has recorded it.
        knows: what its protection knows of a chip (`protection.base.KNOWLEDGE`); None where no
            row says so.
        metadata: bits that a chip's own choices take outside its arrays; None likewise.
    """

    settings: dict[str, Any]
    rate: float
    summary: Summary
    passed: float | None
    passed_interval: tuple[float, float] | None
    float_score: float
    clean_score: float
    degenerate: int
    scores: np.ndarray
    chips: np.ndarray
    cells: int | None
    cells_dense: int | None
    sparsity: float | None
    examples: int
    reads: float | None
    knows: str | None = None
    metadata: int | None = None

    @property
    def clean(self) -> bool:
        """Whether nothing is wrong with its chips, so that they are one."""
        return not (self.rate or self.settings["misread"])

    @property
    def worst(self) -> float | None:
        """The lowest score; None where the noise of estimates would choose it."""
        return None if self.passed is None else self.summary.worst


def summarise_points(
    rows: pa.Table,
    budget: float | str = 0.01,
    stopped: Rule | None = None,
    runs: Sequence[Mapping[str, Any]] = (),
) -> list[PointSummary]:
    """Summarise the chips of each point, in the order of every table (`table_order`).

    Args:
        rows: rows of a campaign.
        budget: how far below the float score a chip may be and still pass: 0.01 or "1%" is one
            point.
        stopped: the rule that decided how many chips there are, if one did.
        runs: lines of the folder's provenance (`campaign.sidecars.read_provenance`).

    Raises:
        ValueError: a bad budget (`values.read_budget`), or rows of something else.
    """
    budget = read_budget(budget)
    lacks = [name for name in FIRST_COLUMNS if name not in getattr(rows, "column_names", ())]
    if lacks:
        raise ValueError(
            f"rows are none of a campaign, without {lacks[0]}: give what rerax.sweep gave, or for "
            "those of rerax.simulate call rerax.summarise"
        )
    _check_one_model(rows)
    told = [entry for run in runs for entry in run.get("reads", ())]
    hashes = rows["point_hash"]
    points = [rows.filter(pc.equal(hashes, h)) for h in pc.unique(hashes)]
    return sorted(
        (_summarise_point(point, budget, stopped, told) for point in points), key=table_order
    )


def _summarise_point(
    rows: pa.Table, budget: float, stopped: Rule | None, told: Sequence[Mapping[str, Any]]
) -> PointSummary:
    first = rows.slice(0, 1).to_pylist()[0]
    scores = rows["score"].to_numpy()
    clean = not (first["rate"] or first.get("misread"))
    if clean:  # the same chip written many times counts once
        scores = scores[:1]
    chips = rows["chip"].to_numpy()[: len(scores)]
    passed = int(passes(scores, rows["float_score"].to_numpy()[: len(scores)], budget).sum())
    n, drawn = len(scores), first.get("sampled") is not None and not clean
    lowest, mean = find_task(first["task"]).lowest_score, float(np.mean(scores))
    # Of more chips than the rule allows, somebody else decided the number.
    early = stopped is not None and n <= stopped.max_chips
    return PointSummary(
        {name: first.get(name) or NULL_MEANS.get(name, first.get(name)) for name in SETTINGS},
        first["rate"],
        # estimates of a mean may lie beyond the scores that there can be
        summarise(scores, highest=max(1.0, mean), lowest=min(lowest, mean)),
        None if drawn else passed / n,
        yield_interval(passed, n, stopped_early=early) if n > 1 and not drawn else None,
        first["float_score"],
        first["clean_score"],
        int(pc.sum(rows["degenerate"]).as_py()) if n > 1 else int(first["degenerate"]),
        scores,
        chips,
        first["cells"],
        first["cells_dense"],
        first["sparsity"],
        first["examples"],
        _reads(first, told),
        first.get("knows"),
        first.get("metadata_bits"),
    )


def _check_one_model(rows: pa.Table) -> None:
    """Refuse rows of two models under one name, which tables and pairs would take for one.

    Raises:
        ValueError: of two models, data sets or seeds, or a chip of a point twice.
    """
    for one in rows.group_by(["task", "model"]).aggregate(
        [(name, "count_distinct", pc.CountOptions(mode="all")) for name in _ALIKE]
    ).to_pylist():  # fmt: skip
        for name in _ALIKE:
            if one[f"{name}_count_distinct"] > 1:
                raise ValueError(
                    f"rows of {one['task']}/{one['model']} have more than one {name}: give each "
                    "model a name of its own, or report them one by one"
                )
    if len(rows.group_by(["point_hash", "chip"]).aggregate([])) < len(rows):
        raise ValueError("rows name a chip of a point twice: give each row once")


_ALIKE = ("model_hash", "data_hash", "seed")


def _reads(first: Mapping[str, Any], told: Sequence[Mapping[str, Any]]) -> float | None:
    """Find what a run has said of the point's reads: no row does."""
    for entry in told:
        if all(first.get(name) == value for name, value in entry.items() if name != "reads"):
            return float(entry["reads"])
    return None


def unprotected_matrices(
    points: Sequence[PointSummary], runs: Sequence[Mapping[str, Any]]
) -> list[str]:
    """Name the matrices that protections leave as they are, a line for each set of matrices.

    The rows do not know.

    Args:
        points: points of the campaign.
        runs: lines of the folder's provenance (`campaign.sidecars.read_provenance`); runs of
            versions that did not record it say nothing.
    """
    here = {tuple(point.settings[n] for n in ("task", "model", "protection")) for point in points}
    pairs = {f"{task}/{model}" for task, model, _ in here}
    shown_under = {(f"{task}/{model}", protection) for task, model, protection in here}
    told: dict[tuple[str, ...], set[tuple[str, str]]] = {}
    for run in runs:
        for pair, found in (run.get("unprotected") or {}).items():
            for protection, matrices in found.items():
                if (pair, protection) in shown_under:
                    told.setdefault(tuple(matrices), set()).add((pair, protection))
    lines = []
    for matrices, named in sorted(told.items()):
        of, schemes = (sorted(set(parts)) for parts in zip(*named, strict=True))
        where = f" ({', '.join(of)})" if len(pairs) > 1 else ""
        lines.append(unprotected_text(schemes, matrices) + where)
    return lines


def sampled_note(points: Sequence[PointSummary]) -> list[str]:
    """Say that scores are estimates, where some are."""
    if all(point.passed is not None for point in points):
        return []
    return [
        "scores of sampled points are estimated from examples that each chip has drawn: their "
        "means are unbiased, and of single chips, yields and worst scores they say nothing"
    ]


def coarse_yields(points: Sequence[PointSummary], budget: float) -> list[str]:
    """Warn where one example is more than half the budget: the yield then hangs on a few.

    Args:
        points: points of the campaign.
        budget: loss of score that a passing chip may have.
    """
    told = [point for point in points if point.passed is not None]
    # of mnli the matched half decides
    few = min(
        (p.examples // len(find_task(p.settings["task"]).parts("validation")) for p in told),
        default=0,
    )
    if not few or not 0 < budget < 2 / few:
        return []
    whole = math.floor(budget * few + 1e-9)
    return [
        f"yield is coarse: one of {few} examples is {100 / few:.2f} points, and the budget of "
        f"{budget_text(budget)} is {'less than one' if not whole else 'one'} of them"
    ]


def paired(one: PointSummary, other: PointSummary) -> Summary | None:
    """Compute the gain of one point over another, chip by chip; None: no chip is in both.

    A clean chip is every chip, so it is compared with all of the other point's.

    Args:
        one, other: the points.
    """
    chips = [one.chips, other.chips]
    scores = [one.scores, other.scores]
    for k, (mine, theirs) in enumerate(((one, other), (other, one))):
        if mine.clean and not theirs.clean:
            chips[k], scores[k] = theirs.chips, np.full(len(theirs.chips), mine.scores[0])
    if not len(np.intersect1d(chips[0], chips[1])):
        return None
    return paired_difference(chips[0], scores[0], chips[1], scores[1])


def differ_beyond_chance(one: PointSummary, other: PointSummary) -> bool:
    """Decide whether two mean scores differ, as printed and beyond chance.

    Beyond chance means that the 95 % interval of the paired difference does not hold 0. Points
    with fewer than two chips in common are compared by their own intervals, which may not meet.

    Args:
        one, other: the points.
    """
    if hundredths(one.summary.mean) == hundredths(other.summary.mean):
        return False
    gain = paired(one, other)
    if gain is not None and gain.chips > 1:
        return gain.interval is not None and not gain.interval[0] <= 0 <= gain.interval[1]
    low, high = sorted((one, other), key=lambda point: point.summary.mean)
    if low.summary.interval is None or high.summary.interval is None:
        return False
    return low.summary.interval[1] < high.summary.interval[0]


def split_settings(points: Sequence[PointSummary]) -> tuple[list[str], dict[str, Any]]:
    """Split settings into those that vary over the points and those that all share."""
    values = {name: {point.settings[name] for point in points} for name in SETTINGS}
    vary = [name for name in SETTINGS if len(values[name]) > 1]
    common = {name: next(iter(v)) for name, v in values.items() if len(v) == 1}
    return vary, {name: v for name, v in common.items() if v not in (None, NULL_MEANS.get(name))}


def panel_key(point: PointSummary) -> tuple[str, ...]:
    """Say to which panel a point belongs."""
    return tuple(str(point.settings[name]) for name in PANEL_SETTINGS)


def series_key(point: PointSummary) -> tuple[Any, ...]:
    """Say to which series a point belongs: its values of `SERIES_SETTINGS`."""
    return tuple(point.settings[name] for name in SERIES_SETTINGS)


def plainest_first(key: tuple[Any, ...]) -> tuple[Any, ...]:
    """Sort series by how far they are from a point's defaults."""
    usual = {**DEFAULTS, **NULL_MEANS}
    away = [value != usual.get(name) for name, value in zip(SERIES_SETTINGS, key, strict=True)]
    encoding = key[SERIES_SETTINGS.index("encoding")]
    rank = ENCODINGS.index(encoding) if encoding in ENCODINGS else len(ENCODINGS)
    return sum(away), away, rank, tuple(map(setting_text, key))


def table_order(point: PointSummary) -> tuple[Any, ...]:
    """Sort points as all tables show them: by panel, series, place of faults, rate."""
    place = re.split(r"([0-9]+)", point.settings["faulty"] or "")
    numbered = [int(part) if part.isdigit() else part for part in place]  # layer 2 before 10
    return panel_key(point), plainest_first(series_key(point)), numbered, point.rate


def yield_interval_kind(points: Sequence[PointSummary], stopped: Rule | None) -> str:
    """Say whose intervals those of shares are.

    Args:
        points: all points.
        stopped: the rule that decided how many chips there are, if one did.
    """
    told = [point for point in points if point.passed_interval is not None]
    more = {stopped is not None and one.summary.chips > stopped.max_chips for one in told}
    if stopped is None or more == {True}:
        return "Wilson's"
    return "Clopper and Pearson's" + (
        ", Wilson's where more chips were run" if True in more else ""
    )


def chips_text(points: Sequence[PointSummary]) -> str:
    """Say how many chips a point has; those that are clean count where all are."""
    chips = sorted({point.summary.chips for point in points if not point.clean})
    chips = chips or sorted({point.summary.chips for point in points})
    return f"{f'{chips[0]:,} to ' if len(chips) > 1 else ''}{count(chips[-1], 'chip')} a point"


def share_digits(point: PointSummary) -> int:
    """Choose the digits in which the share of its chips that pass is written."""
    return digits_of_share(point.passed or 0.0, point.passed_interval)


def doubt_mark(summary: Summary) -> str:
    """Mark an interval that may cover the mean too seldom (`doubt_text`)."""
    return " *" if summary.doubtful else ""


def doubt_text(summaries: Iterable[Summary]) -> str:
    """Say what the mark * means; nothing where no interval has one."""
    if not any(summary.doubtful for summary in summaries):
        return ""
    return (
        "intervals marked * may cover the mean too seldom: "
        "fewer than five distinct scores, or scores too skewed for so few chips"
    )
