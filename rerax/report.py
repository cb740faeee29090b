"""Tables and figures, functions of rows. No JAX here."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from rerax.campaign.stopping import Rule
from rerax.stats import Summary, looks, passes, summarise, yield_interval

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
)
"""Columns that tell points apart, the rate aside."""


@dataclass(frozen=True)
class Line:
    """One point of the closing table.

    Attributes:
        settings: its value in each of `SETTINGS`.
        rate: fault rate.
        summary: statistics of its chips' scores.
        passed: share of chips within the budget of the float score.
        passed_interval: 95 % interval of that share (`yield_interval`), None for a single chip.
        float_score, clean_score: the references.
        degenerate: chips whose predictions are constant or not finite.
        scores: the scores, one for each chip.
    """

    settings: dict[str, Any]
    rate: float
    summary: Summary
    passed: float
    passed_interval: tuple[float, float] | None
    float_score: float
    clean_score: float
    degenerate: int
    scores: np.ndarray


def summarise_points(
    rows: pa.Table, budget: float = 0.01, stopped: Rule | None = None
) -> list[Line]:
    """One line for each point: series in the order in which they first appear, rates ascending.

    Args:
        rows: rows of a campaign.
        budget: how far below the float score a chip may be and still pass (0.01 is one point).
        stopped: the rule that decided how many chips there are, if one did.
    """
    hashes = rows["point_hash"]
    points = [rows.filter(pc.equal(hashes, h)) for h in pc.unique(hashes)]
    lines = [_line(point, budget, stopped) for point in points]
    series: dict[tuple[Any, ...], list[Line]] = {}
    for line in lines:
        series.setdefault(tuple(line.settings.values()), []).append(line)
    return [line for group in series.values() for line in sorted(group, key=lambda x: x.rate)]


def _line(rows: pa.Table, budget: float, stopped: Rule | None) -> Line:
    first = rows.slice(0, 1).to_pylist()[0]
    scores = rows["score"].to_numpy()
    if first["rate"] == 0:  # the same chip written many times counts once
        scores = scores[:1]
    passed = int(passes(scores, first["float_score"], budget).sum())
    n = len(scores)
    early = stopped is not None and n <= stopped.max_chips  # more were asked for without it
    return Line(
        {name: first[name] for name in SETTINGS},
        first["rate"],
        summarise(scores),
        passed / n,
        yield_interval(passed, n, stopped_early=early) if n > 1 else None,
        first["float_score"],
        first["clean_score"],
        int(pc.sum(rows["degenerate"]).as_py()) if n > 1 else int(first["degenerate"]),
        scores,
    )


def print_table(
    rows: pa.Table,
    budget: float = 0.01,
    file: IO[str] | None = None,
    stopped: Rule | None = None,
) -> None:
    """Print the closing table: one line per point, settings that all share below it.

    Args:
        rows: rows of a campaign.
        budget: see `summarise_points`.
        file: where to; standard output by default.
        stopped: see `summarise_points`.
    """
    from rich import box
    from rich.table import Table

    lines = summarise_points(rows, budget, stopped)
    vary, common = split_settings(lines)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in vary:
        table.add_column(name.replace("_", " "))
    for name in ("rate", "chips", "mean", "SE", "95 % interval", "worst", "yield", "(95 %)"):
        table.add_column(name, justify="right")
    for line in lines:
        table.add_row(*(shown(line.settings[name]) for name in vary), *_cells(line))
    notes = _footnotes(rows, lines, common, budget)
    notes += [] if stopped is None else [_stopping_note(lines, stopped)]
    print_whole(table, *notes, file=file)


def print_whole(table: Any, *notes: str, file: IO[str] | None = None) -> None:
    """Print a rich table neither wrapped nor cut short, however narrow the terminal, and notes.

    Args:
        table: a `rich.table.Table`.
        notes: lines to follow it.
        file: where to; standard output by default.
    """
    from rich.console import Console
    from rich.measure import Measurement

    console = Console(file=file)
    natural = Measurement.get(console, console.options.update(max_width=10_000), table)
    console.width = max(console.width, natural.maximum)
    console.print(table)
    for text in notes:
        console.print(text, highlight=False, markup=False, soft_wrap=True)


def _cells(line: Line) -> list[str]:
    s = line.summary
    return [
        f"{line.rate:g}",
        str(s.chips),
        _percent(s.mean),
        "" if s.se is None else _percent(s.se),
        "" if s.interval is None else f"{_percent(s.interval[0])} .. {_percent(s.interval[1])}",
        _percent(s.worst),
        f"{100 * line.passed:.0f} %",
        "" if line.passed_interval is None else _range(line.passed_interval),
    ]


def _footnotes(
    rows: pa.Table, lines: Sequence[Line], common: dict[str, Any], budget: float
) -> list[str]:
    floats = sorted({line.float_score for line in lines})
    notes = [
        "scores in %, SE and intervals over chips; "
        f"yield: chips within {100 * budget:g} points of the float score",
        "float score " + ", ".join(_percent(score) for score in floats),
        ", ".join(f"{name.replace('_', ' ')} {shown(value)}" for name, value in common.items()),
    ]
    clean = {
        tuple(line.settings[n] for n in ("encoding", "bits", "protection")): line.clean_score
        for line in lines
    }
    if len(set(clean.values())) == 1:
        notes[1] += f"; clean score {_percent(lines[0].clean_score)}"
    else:
        notes[1] += "; clean score " + ", ".join(
            f"{_percent(score)} ({' '.join(map(str, key))})" for key, score in clean.items()
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


def split_settings(lines: Sequence[Line]) -> tuple[list[str], dict[str, Any]]:
    """Settings that vary over the points, and those that all share."""
    values = {name: {line.settings[name] for line in lines} for name in SETTINGS}
    vary = [name for name in SETTINGS if len(values[name]) > 1]
    common = {name: next(iter(v)) for name, v in values.items() if len(v) == 1}
    return vary, {name: value for name, value in common.items() if value is not None}


def figure_score_against_rate(rows: pa.Table, path: str | Path, title: str | None = None) -> None:
    """Write a PNG of score against fault rate, every chip a dot.

    Args:
        rows: rows of a campaign.
        path: where to.
        title: first line of the heading; the settings that all points share come below it.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    lines = summarise_points(rows)
    vary, common = split_settings(lines)
    series: dict[tuple[str, ...], list[Line]] = {}
    for line in lines:
        label = tuple(shown(line.settings[name]) for name in vary)
        series.setdefault(label, []).append(line)
    figure = Figure(figsize=(8.0, 5.0), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    positive = sorted({line.rate for line in lines if line.rate > 0})
    zero = positive[0] / 6 if positive else 1.0  # where rate 0 is drawn on the log axis
    noise = np.random.Generator(np.random.PCG64(0))
    room = min([3.0, *(b / a for a, b in itertools.pairwise(positive))]) ** (0.6 / len(series))
    for k, (label, points) in enumerate(series.items()):
        shift = room ** (k - (len(series) - 1) / 2)
        _draw_series(axes, ", ".join(label) or "chips", points, zero, shift, room, f"C{k}", noise)
    for score in sorted({line.float_score for line in lines}):
        axes.axhline(
            100 * score, ls="--", lw=1, color="0.4", label=f"float score {_percent(score)}"
        )
    axes.set_xscale("log")
    ticks = [zero, *positive] if any(line.rate == 0 for line in lines) else positive
    axes.set_xticks(ticks, [f"{t:g}" if t in positive else "0" for t in ticks])
    axes.minorticks_off()
    if positive and len(ticks) > len(positive):  # the log axis breaks between 0 and the rates
        axes.axvline((zero * positive[0]) ** 0.5, color="0.75", lw=1, ls=":")
    axes.set_xlabel("fault rate (expected fraction of faulty cells), log scale")
    axes.set_ylabel("score, %")
    axes.grid(axis="y", color="0.9")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="lower left", edgecolor="none")
    heading = ("task", "model", "fault", "bits", "bits_per_cell", "input_bits", "protection")
    below = ", ".join(
        f"{name.replace('_', ' ')} {shown(common[name])}" for name in heading if name in common
    )
    most = max(line.summary.chips for line in lines)
    axes.set_title(
        f"{title or 'Score of faulty chips'}\n{below}; {most} chips a point", fontsize=9, loc="left"
    )
    figure.savefig(path)


def _draw_series(
    axes: Any,
    label: str,
    points: Sequence[Line],
    zero: float,
    shift: float,
    room: float,
    colour: str,
    noise: np.random.Generator,
) -> None:
    """Dots of all chips, the mean with its 95 % interval, a line through the rates above 0."""
    points = sorted(points, key=lambda line: line.rate)
    place = np.array([(line.rate or zero) * shift for line in points])
    for x, line in zip(place, points, strict=True):
        spread = x * room ** noise.uniform(-0.35, 0.35, len(line.scores))
        axes.plot(spread, 100 * line.scores, ".", ms=4, alpha=0.35, color=colour, mew=0, zorder=2)
    mean = np.array([line.summary.mean for line in points])
    half = np.array([0 if i is None else i[1] - i[0] for i in _intervals(points)]) / 2
    axes.errorbar(
        place,
        100 * mean,
        100 * half,
        color=colour,
        fmt="o",
        elinewidth=1.5,
        capsize=2.5,
        ms=5,
        mec="white",
        mew=0.7,
        label=label,
        zorder=4,
    )
    faulty = np.array([line.rate > 0 for line in points])
    axes.plot(place[faulty], 100 * mean[faulty], color=colour, lw=1.5, zorder=3)


def _intervals(points: Sequence[Line]) -> list[tuple[float, float] | None]:
    return [line.summary.interval for line in points]


def _percent(score: float) -> str:
    return f"{100 * score:.2f}"


def _range(interval: tuple[float, float]) -> str:
    return f"{100 * interval[0]:.0f} .. {100 * interval[1]:.0f}"


def shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
