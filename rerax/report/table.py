"""The closing table on the terminal. No JAX here."""

from collections.abc import Mapping, Sequence
from typing import IO, Any

import pyarrow as pa
import pyarrow.compute as pc

from rerax.report.lines import (
    Line,
    coarse_yields,
    doubt_text,
    mark,
    percent,
    shown,
    split_settings,
    summarise_points,
    unprotected,
)
from rerax.report.panels import Gain, gains, make_panels
from rerax.report.terminal import Column, print_columns
from rerax.report.wording import budget_text, points
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
        rows: rows of a campaign.
        budget: see `summarise_points`.
        file: where to; standard output by default.
        stopped: see `summarise_points`.
        runs: lines of the folder's provenance (`campaign.manifest.read_provenance`).
        more: further notes below the table.
        wide: all columns, however narrow the terminal.
    """
    budget = read_budget(budget)
    lines = summarise_points(rows, budget, stopped, runs)
    vary, common = split_settings(lines)
    columns = [
        Column(name.replace("_", " "), [shown(x.settings[name]) for x in lines], number=False)
        for name in vary
    ]
    found = {
        id(panel.series[gain.series].at(gain.rate)): gain
        for panel in make_panels(lines)
        for gain in gains(panel)
    }
    beside, notes = _beside(lines, found)
    notes = [*_footnotes(rows, lines, common, budget), *notes]
    summaries = [*(line.summary for line in lines), *(gain.summary for gain in found.values())]
    notes += filter(None, [doubt_text(summaries)])
    notes += [] if stopped is None else [_stopping_note(lines, stopped)]
    notes += [*unprotected(lines, runs), *more]
    print_columns([*columns, *_statistics(lines), *beside], notes, file, wide)


def _statistics(lines: Sequence[Line]) -> list[Column]:
    """What the chips of each point say."""
    found = [line.summary for line in lines]
    return [
        Column("rate", [rate_text(line.rate) for line in lines]),
        Column("chips", [str(s.chips) for s in found], rank=3),
        Column("mean", [percent(s.mean) for s in found]),
        Column("SE", ["" if s.se is None else percent(s.se) for s in found], rank=8),
        Column("95 % interval", [_range(s.interval, 2) + mark(s) for s in found], rank=2),
        Column("worst", [percent(s.worst) for s in found], rank=7),
        Column("yield", [f"{100 * line.passed:.0f} %" for line in lines], rank=1),
        Column("(95 %)", [_range(line.passed_interval, 0) for line in lines], rank=6),
    ]


def _beside(lines: Sequence[Line], found: Mapping[int, Gain]) -> tuple[list[Column], list[str]]:
    """What each scheme gains over the plainest one, beside what it costs; nothing for one alone."""
    if not found:
        return [], []
    mine = [found.get(id(line)) for line in lines]
    means = ["" if g is None else points(g.summary.mean, sign=True) for g in mine]
    columns = [
        Column("gain", means, rank=1),
        Column("(gain 95 %)", ["" if g is None else _signed(g.summary) for g in mine], rank=9),
    ]
    plainest = dict.fromkeys(gain.over for gain in found.values())
    note = f"gain: points over {', '.join(plainest)} on the same chips"
    if any(gain.cells for gain in found.values()):
        cells = [f"{g.cells:.2f}" if g is not None and g.cells else "" for g in mine]
        columns.append(Column("cells", cells, rank=4))
        note += "; cells: times those that it takes"
    if any(line.reads for line in lines):
        reads = [f"{line.reads:.1f}" if line.reads else "" for line in lines]
        columns.append(Column("reads", reads, rank=5))
        note += "; reads: cells sensed for a weight"
    if any(line.knows not in (None, "nothing") for line in lines):
        known = [line.knows or "" for line in lines]
        columns.append(Column("knows", known, number=False, rank=4))
        note += "; knows: what a scheme must know of the chip"
    return columns, [note]


def _footnotes(
    rows: pa.Table, lines: Sequence[Line], common: dict[str, Any], budget: float
) -> list[str]:
    floats = sorted({line.float_score for line in lines})
    notes = [
        "scores in %, SE and intervals over chips; "
        f"yield: chips within {budget_text(budget)} of the float score",
        "float score " + ", ".join(percent(score) for score in floats),
        ", ".join(f"{name.replace('_', ' ')} {shown(value)}" for name, value in common.items()),
        *coarse_yields(lines, budget),
    ]
    clean = {
        tuple(line.settings[n] for n in ("encoding", "bits", "protection")): line.clean_score
        for line in lines
    }
    if len(set(clean.values())) == 1:
        notes[1] += f"; clean score {percent(lines[0].clean_score)}"
    else:
        notes[1] += "; clean score " + ", ".join(
            f"{percent(score)} ({' '.join(map(str, key))})" for key, score in clean.items()
        )
    degenerate = sum(line.degenerate for line in lines)
    if degenerate:
        notes.append(f"degenerate chips (constant or not finite predictions): {degenerate}")
    platforms = pc.unique(rows["platform"]).to_pylist()
    if len(platforms) > 1:
        notes.append(f"scores come from mixed platforms: {', '.join(sorted(platforms))}")
    return notes


def _stopping_note(lines: Sequence[Line], stopped: Rule) -> str:
    """The rule in words, and how many points it left unsettled."""
    short = sum((line.summary.se or 0.0) > stopped.until_se for line in lines)
    missed = f"; {short} of {len(lines)} points end above it" if short else ""
    return (
        f"chips added at {', '.join(map(str, looks(stopped.max_chips)))} until the SE is at most "
        f"{100 * stopped.until_se:g}{missed}; yield intervals are Clopper and Pearson's"
    )


def _range(ends: tuple[float, float] | None, digits: int) -> str:
    return "" if ends is None else " .. ".join(f"{100 * end:.{digits}f}" for end in ends)


def _signed(gain: Summary) -> str:
    return " .. ".join(points(end, sign=True) for end in gain.interval or ()) + mark(gain)
