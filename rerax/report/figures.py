"""The figures as files, drawn with matplotlib."""

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from rerax.io import whole_file
from rerax.report.chart_axes import FARTHEST
from rerax.report.charts import colour_of
from rerax.report.compare import Panel, make_panels
from rerax.report.format import budget_text, hundredths, setting_text, setting_texts
from rerax.report.heat_maps import HeatMap, make_heat_maps, mean_loss
from rerax.report.palette import LIGHT, SHADES, shade
from rerax.report.summary import (
    PointSummary,
    chips_text,
    split_settings,
    summarise_points,
)
from rerax.stats.stopping import Rule
from rerax.values import rate_text, read_budget

KINDS = ("png", "svg", "pdf")
UNDATED = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}
MOST_NAMED = 16
"""Series up to which a figure has a legend; more leave no room for anything else."""
_BARS = {"elinewidth": 1.5, "capsize": 2.5, "ms": 5, "mec": "white", "mew": 0.7}
_MARKERS = "os^DvPhX"


def draw_figures(
    rows: pa.Table, folder: str | Path, budget: float | str = 0.01, stopped: Rule | None = None
) -> list[Path]:
    """Write all figures that the rows allow, each as PNG, SVG and PDF.

    `score_against_rate` is always there; `yield` where there are faults, `gains` where schemes
    share chips, `sensitivity` where points are restricted to some places.

    Args:
        rows: rows of a campaign.
        folder: where to; made where it is missing.
        budget: how far below the float score a chip may be and still pass: 0.01 or "1%".
        stopped: the rule that decided how many chips there are, if one did.

    Returns:
        The files.

    Raises:
        ValueError: a bad budget (`values.read_budget`).
    """
    folder, budget = Path(folder), read_budget(budget)
    folder.mkdir(parents=True, exist_ok=True)
    points = summarise_points(rows, budget, stopped)
    panels = [panel for panel in make_panels(points) if any(panel.rates)]
    compared = [panel for panel in panels if panel.gains]
    counted = [panel for panel in panels if panel.has_yields]
    maps = make_heat_maps(points)
    written = []
    for kind in KINDS:
        figure_score_against_rate(rows, folder / f"score_against_rate.{kind}")
        written.append(folder / f"score_against_rate.{kind}")
        for name, drawn, draw in (
            ("yield", counted, lambda panel, axes: _draw_yields(panel, axes, budget)),
            ("gains", compared, _draw_gains),
        ):
            if drawn:
                written.append(folder / f"{name}.{kind}")
                _panels_figure(drawn, draw, written[-1])
        if maps:
            written.append(folder / f"sensitivity.{kind}")
            _sensitivity_figure(maps, written[-1])
    return written


def figure_score_against_rate(rows: pa.Table, path: str | Path, title: str | None = None) -> None:
    """Write a figure of score against fault rate, every chip a dot.

    Points whose faults act in some places only are left out where there are others.

    Args:
        rows: rows of a campaign.
        path: where to, a `.png`, `.svg` or `.pdf`.
        title: first line of the heading; the settings that all points share come below it.
    """
    points = summarise_points(rows)
    everywhere = [point for point in points if point.settings["faulty"] is None]
    points = everywhere if any(point.rate for point in everywhere) else points
    vary, common = split_settings(points)
    series: dict[tuple[Any, ...], list[PointSummary]] = {}
    for point in points:
        key = tuple(point.settings[name] for name in vary)
        series.setdefault(key, []).append(point)
    labels = zip(*(setting_texts(values) for values in zip(*series, strict=True)), strict=True)
    figure = _figure(8.0, 5.0)
    axes = figure.add_subplot()
    positive = sorted({point.rate for point in points if point.rate > 0})
    zero = positive[0] / 6 if positive else 1.0  # where rate 0 is drawn on the log axis
    noise = np.random.Generator(np.random.PCG64(0))
    room = min([3.0, *(b / a for a, b in itertools.pairwise(positive))]) ** (0.6 / len(series))
    shifts = _shifts(positive, len(series))[0]
    for k, (label, own) in enumerate(zip(labels if vary else [()], series.values(), strict=True)):
        _draw_series(axes, ", ".join(label) or "chips", own, zero, shifts[k], room, k, noise)
    for score in sorted({point.float_score for point in points}):
        axes.axhline(
            100 * score, ls="--", lw=1, color="0.4", label=f"float score {hundredths(score)}"
        )
    _rate_axis(axes, [point.rate for point in points], zero)
    axes.set_ylabel("score, %")
    if len(series) <= MOST_NAMED:
        axes.legend(loc="lower left", edgecolor="none")
    heading = ("task", "model", "fault", "bits", "bits_per_cell", "input_bits", "protection")
    below = ", ".join(
        f"{name.replace('_', ' ')} {setting_text(common[name])}"
        for name in heading
        if name in common
    )
    axes.set_title(
        f"{title or 'Score of faulty chips'}\n{below}; {chips_text(points)}",
        fontsize=9,
        loc="left",
    )
    _save(figure, Path(path))


def _marker(place: int) -> str:
    """Pick the mark of a series; where colours come again, they come with another."""
    again = max(0, place - 1) // (len(_MARKERS) - 1)
    return _MARKERS[(colour_of(place) + again) % len(_MARKERS)]


def _draw_series(
    axes: Any,
    label: str,
    points: Sequence[PointSummary],
    zero: float,
    shift: float,
    room: float,
    place: int,
    noise: np.random.Generator,
) -> None:
    """Draw all chips, the means with 95 % intervals, and a line through the rates above 0."""
    points = sorted(points, key=lambda point: point.rate)
    kind = colour_of(place)
    colour = LIGHT[f"s{kind}"]
    across = np.array([(point.rate or zero) * shift for point in points])
    for x, point in zip(across, points, strict=True):
        spread = x * room ** noise.uniform(-0.35, 0.35, len(point.scores))
        axes.plot(spread, 100 * point.scores, ".", ms=4, alpha=0.35, color=colour, mew=0, zorder=2)
    mean = np.array([point.summary.mean for point in points])
    ends = [point.summary.interval or (point.summary.mean,) * 2 for point in points]
    low, high = np.array(ends).T
    axes.errorbar(
        across,
        100 * mean,
        100 * np.array([mean - low, high - mean]),  # an interval may be cut at the best score
        color=colour,
        fmt=_marker(place),
        label=label,
        **_BARS,
        zorder=4,
    )
    faulty = np.array([point.rate > 0 for point in points])
    axes.plot(across[faulty], 100 * mean[faulty], color=colour, lw=1.5, zorder=3)


def _figure(width: float, height: float) -> Any:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _save(figure: Any, path: Path) -> None:
    """Write a figure, whole, and the same bytes for the same rows."""
    import matplotlib

    kind = path.suffix.removeprefix(".") or "png"
    settings = {"svg.hashsalt": "rerax", "pdf.fonttype": 42}  # letters that journals can embed
    with matplotlib.rc_context(settings), whole_file(path) as out:
        figure.savefig(out, format=kind, metadata=UNDATED.get(kind))


def _rate_axis(axes: Any, rates: Sequence[float], zero: float) -> None:
    """Make the axis of rates logarithmic, with rate 0 at its left end, drawn at `zero`."""
    positive = sorted({rate for rate in rates if rate > 0})
    ticks = [zero, *positive] if 0 in rates else positive
    near = [b for a, b in itertools.pairwise(positive) if b < 1.25 * a]  # labels would touch
    axes.set_xscale("log")
    axes.set_xticks(
        ticks, ["" if t in near else rate_text(t) if t in positive else "0" for t in ticks]
    )
    axes.minorticks_off()
    if positive and len(ticks) > len(positive):  # the log axis breaks between 0 and the rates
        axes.axvline((zero * positive[0]) ** 0.5, color="0.75", lw=1, ls=":")
    axes.set_xlabel("fault rate, log scale")
    axes.grid(axis="y", color="0.9")
    axes.spines[["top", "right"]].set_visible(False)


def _panels_figure(panels: Sequence[Panel], draw: Callable[[Panel, Any], None], path: Path) -> None:
    """Write a figure with axes for each panel, one below the other."""
    figure = _figure(8.0, 4.2 * len(panels))
    for axes, panel in zip(figure.subplots(len(panels), squeeze=False)[:, 0], panels, strict=True):
        draw(panel, axes)
        axes.set_title(panel.title, fontsize=9, loc="left")
        if len(panel.series) <= MOST_NAMED:
            axes.legend(edgecolor="none", fontsize=8)
    _save(figure, path)


def _draw_yields(panel: Panel, axes: Any, budget: float) -> None:
    shifts, zero = _shifts(panel.rates, len(panel.series))
    for place, (series, shift) in enumerate(zip(panel.series, shifts, strict=True)):
        rates = [point.rate for point in series.counted]
        x = np.array([rate or zero for rate in rates]) * shift
        share = [point.passed or 0.0 for point in series.counted]
        ends = [
            point.passed_interval or (passed, passed)
            for point, passed in zip(series.counted, share, strict=True)
        ]
        _draw_points(axes, place, series.label, rates, x, share, ends)
    _rate_axis(axes, panel.rates, zero)
    axes.set_ylim(-3, 103)
    axes.set_ylabel(f"chips within {budget_text(budget)}, %")


def _draw_gains(panel: Panel, axes: Any) -> None:
    found = panel.gains
    rates = [gain.rate for gain in found]
    shifts, zero = _shifts(rates, len(panel.series) - 1)
    for place, (series, shift) in enumerate(zip(panel.series[1:], shifts, strict=True), 1):
        mine = [gain for gain in found if gain.series == place]
        if not mine:
            continue
        at = [gain.rate for gain in mine]
        x = np.array([rate or zero for rate in at]) * shift
        means = [gain.summary.mean for gain in mine]
        ends = [gain.summary.interval or (gain.summary.mean,) * 2 for gain in mine]
        _draw_points(axes, place, series.label, at, x, means, ends)
    axes.axhline(0, color="0.2", lw=1)
    _rate_axis(axes, rates, zero)
    axes.set_ylabel(f"points above {panel.series[0].label}")


def _shifts(rates: Sequence[float], series: int) -> tuple[list[float], float]:
    """Find factors that put series beside each other, and where rate 0 is drawn."""
    positive = [rate for rate in rates if rate > 0]
    zero = min(positive) / 6 if positive else 1.0
    return [FARTHEST ** (2 * (k - (series - 1) / 2) / series) for k in range(series)], zero


def _draw_points(
    axes: Any,
    place: int,
    label: str,
    rates: Sequence[float],
    x: np.ndarray,
    values: Sequence[float],
    ends: Sequence[tuple[float, ...]],
) -> None:
    """Draw marks with intervals, and a line through the rates above 0."""
    faulty = np.array(rates) > 0
    low, high = (100 * np.array([end[side] for end in ends]) for side in (0, 1))
    y, kind = 100 * np.array(values), colour_of(place)
    axes.errorbar(
        x,
        y,
        [np.maximum(y - low, 0), np.maximum(high - y, 0)],
        color=LIGHT[f"s{kind}"],
        fmt=_marker(place),
        label=label,
        **_BARS,
    )
    axes.plot(x[faulty], y[faulty], color=LIGHT[f"s{kind}"], lw=1.2)


def _sensitivity_figure(maps: Sequence[HeatMap], path: Path) -> None:
    """Write a figure of heat maps, shaded alike."""
    widest = max(len(heat.columns) for heat in maps)
    rows = [len(heat.rows) for heat in maps]
    figure = _figure(2.5 + 0.85 * widest, sum(1.3 + 0.36 * n for n in rows))
    grid = figure.subplots(len(maps), squeeze=False, height_ratios=[n + 2 for n in rows])[:, 0]
    largest = max(heat.largest for heat in maps)
    for axes, heat in zip(grid, maps, strict=True):
        _draw_heat(axes, heat, largest)
    figure.supxlabel("points of the clean score lost", fontsize=9)
    _save(figure, path)


def _draw_heat(axes: Any, heat: HeatMap, largest: float) -> None:
    from matplotlib.colors import ListedColormap

    shades = np.full((len(heat.rows), len(heat.columns)), np.nan)
    for (row, column), point in heat.cells.items():
        place = heat.rows.index(row), heat.columns.index(column)
        shades[place] = shade(mean_loss(point), largest)
        colour = LIGHT["ink"] if shades[place] <= SHADES // 2 else LIGHT["paper"]
        text = hundredths(mean_loss(point))
        axes.text(*place[::-1], text, ha="center", va="center", color=colour, fontsize=8)
    colours = ListedColormap([LIGHT[f"h{k}"] for k in range(SHADES)])
    axes.imshow(shades, colours, vmin=-0.5, vmax=SHADES - 0.5, aspect="auto")
    axes.set_xticks(range(len(heat.columns)), heat.columns, fontsize=8)
    axes.set_yticks(range(len(heat.rows)), heat.rows, fontsize=8)
    axes.set_xlabel(heat.column_name)
    axes.set_ylabel(heat.row_name)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_title(heat.title, fontsize=9, loc="left")
