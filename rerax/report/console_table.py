"""The table of a campaign's points on the terminal."""

from collections.abc import Mapping, Sequence
from typing import IO, Any

import pyarrow as pa
import pyarrow.compute as pc

from rerax.report.compare import Gain, make_panels
from rerax.report.console import Column, print_columns
from rerax.report.format import budget_text, hundredths, setting_text, setting_texts
from rerax.report.summary import (
    PointSummary,
    coarse_yields,
    doubt_mark,
    doubt_text,
    sampled_note,
    share_digits,
    split_settings,
    summarise_points,
    unprotected_matrices,
    yield_interval_kind,
)
from rerax.stats import Summary, looks
from rerax.stats.stopping import Rule
from rerax.values import rate_text, read_budget


def print_table(
    rows: pa.Table,
    budget: float | str = 0.01,
    file: IO[str] | None = None,
    stopped: Rule | None = None,
    runs: Sequence[Mapping[str, Any]] = (),
    more: Sequence[str] = (),
    wide: bool = False,
) -> None:
    """Print the closing table: one line per point, settings that all share below it.

    Args:
        rows, budget, stopped, runs, more: see `table_of`.
        file: where to; standard output by default.
        wide: all columns, however narrow the terminal.
    """
    print_columns(*table_of(rows, budget, stopped, runs, more), file, wide)


def table_of(
    rows: pa.Table,
    budget: float | str = 0.01,
    stopped: Rule | None = None,
    runs: Sequence[Mapping[str, Any]] = (),
    more: Sequence[str] = (),
) -> tuple[list[Column], list[str]]:
    """Make the columns of the closing table, and the notes below it.

    Args:
        rows: rows of a campaign.
        budget: see `summarise_points`.
        stopped: see `summarise_points`.
        runs: lines of the folder's provenance (`campaign.sidecars.read_provenance`).
        more: further notes.
    """
    budget = read_budget(budget)
    points = summarise_points(rows, budget, stopped, runs)
    common = split_settings(points)[1]
    columns = setting_columns(points)
    # By identity: points hold arrays, so they have no hash.
    found = {
        id(panel.series[gain.series].at(gain.rate)): gain
        for panel in make_panels(points)
        for gain in panel.gains
    }
    beside, notes = _beside(points, found)
    notes = [*_footnotes(rows, points, common, budget), *notes]
    summaries = [*(point.summary for point in points), *(gain.summary for gain in found.values())]
    notes += filter(None, [doubt_text(summaries)])
    notes += [] if stopped is None else [_stopping_note(points, stopped)]
    notes += [*unprotected_matrices(points, runs), *more]
    return [*columns, *_statistics(points), *beside], notes


def setting_columns(points: Sequence[PointSummary]) -> list[Column]:
    """Make a column of each setting that varies over points."""
    return [
        Column(
            name.replace("_", " "), setting_texts([x.settings[name] for x in points]), number=False
        )
        for name in split_settings(points)[0]
    ]


def _statistics(points: Sequence[PointSummary]) -> list[Column]:
    """Make the columns of the chips' statistics."""
    found = [point.summary for point in points]
    worst = [point.worst for point in points]
    return [
        Column("rate", [rate_text(point.rate) for point in points]),
        Column("chips", [str(s.chips) for s in found], rank=3),
        Column("mean", [hundredths(s.mean) for s in found]),
        Column("SE", ["" if s.se is None else hundredths(s.se) for s in found], rank=8),
        Column("95 % interval", [_range(s.interval, 2) + doubt_mark(s) for s in found], rank=2),
        Column("worst", ["" if w is None else hundredths(w) for w in worst], rank=7),
        Column("yield", [_yield(point) for point in points], rank=1),
        Column("(95 %)", [_range(p.passed_interval, share_digits(p)) for p in points], rank=6),
    ]


def _beside(
    points: Sequence[PointSummary], found: Mapping[int, Gain]
) -> tuple[list[Column], list[str]]:
    """Make the columns of gains over the plainest series and of costs, and a note on both."""
    if not found:
        return [], []
    mine = [found.get(id(point)) for point in points]
    means = ["" if g is None else hundredths(g.summary.mean, sign=True) for g in mine]
    columns = [
        Column("gain", means, rank=1),
        Column("(gain 95 %)", ["" if g is None else _signed(g.summary) for g in mine], rank=9),
    ]
    plainest = dict.fromkeys(gain.over for gain in found.values())
    note = f"gain: points over {' or '.join(plainest)} on the same chips"
    if any(gain.cells for gain in found.values()):
        cells = [f"{g.cells:.2f}" if g is not None and g.cells else "" for g in mine]
        columns.append(Column("cells", cells, rank=4))
        note += "; cells: times those that it takes"
    if any(point.reads for point in points):
        reads = [f"{point.reads:.1f}" if point.reads else "" for point in points]
        columns.append(Column("reads", reads, rank=5))
        note += "; reads: cells sensed for a kept weight"
    if any(point.knows not in (None, "nothing") for point in points):
        known = [point.knows or "" for point in points]
        columns.append(Column("knows", known, number=False, rank=4))
        note += "; knows: what a scheme must know of the chip"
    return columns, [note]


def _first_of(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"


def _footnotes(
    rows: pa.Table, points: Sequence[PointSummary], common: dict[str, Any], budget: float
) -> list[str]:
    floats = sorted({point.float_score for point in points})
    notes = [
        "scores in %, SE and intervals over chips; "
        f"yield: chips within {budget_text(budget)} of the float score",
        "float score " + ", ".join(hundredths(score) for score in floats),
        ", ".join(
            f"{name.replace('_', ' ')} {setting_text(value)}" for name, value in common.items()
        ),
        *coarse_yields(points, budget),
        *sampled_note(points),
    ]
    several = [
        name for name in ("task", "model") if len({point.settings[name] for point in points}) > 1
    ]
    clean: dict[str, dict[str, None]] = {}  # score -> which have it
    for point in points:
        key = (point.settings[n] for n in (*several, "encoding", "bits", "protection"))
        clean.setdefault(hundredths(point.clean_score), {})[" ".join(map(str, key))] = None
    notes[1] += "; clean score " + ", ".join(
        score if len(clean) == 1 else f"{score} ({_first_of(list(those))})"
        for score, those in clean.items()
    )
    degenerate = sum(point.degenerate for point in points)
    if degenerate:
        notes.append(f"degenerate chips (constant or not finite predictions): {degenerate}")
    platforms = pc.unique(rows["platform"]).to_pylist()
    if len(platforms) > 1:
        notes.append(f"scores come from mixed platforms: {', '.join(sorted(platforms))}")
    return notes


def _stopping_note(points: Sequence[PointSummary], stopped: Rule) -> str:
    """Say by what rule chips were added, and how many points it left unsettled."""
    short = sum((point.summary.se or 0.0) > stopped.until_se for point in points)
    missed = f"; {short} of {len(points)} points end above it" if short else ""
    kind = yield_interval_kind(points, stopped)
    return (
        f"chips added at {', '.join(map(str, looks(stopped.max_chips)))} until the SE is at most "
        f"{100 * stopped.until_se:g}{missed}; yield intervals are {kind}"
    )


def _yield(point: PointSummary) -> str:
    share = point.passed
    return "" if share is None else f"{hundredths(share, digits=share_digits(point))} %"


def _range(ends: tuple[float, float] | None, digits: int) -> str:
    return "" if ends is None else " .. ".join(f"{100 * end:.{digits}f}" for end in ends)


def _signed(gain: Summary) -> str:
    return " .. ".join(hundredths(end, sign=True) for end in gain.interval or ()) + doubt_mark(gain)
