"""The tables of the page as HTML, and heat maps, which are tables too. No JAX here."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from rerax.report.compare import Gain, Panel, gains
from rerax.report.format import count, hundredths, interval, setting_text
from rerax.report.heat_maps import HeatMap, mean_loss
from rerax.report.palette import SHADES, shade
from rerax.report.summary import PointSummary, doubt_mark, split_settings
from rerax.stats import Summary
from rerax.values import rate_text

Cell = tuple[str, int | float | str]
"""What a cell shows, and what its column is sorted by."""
DASH: Cell = ("", float("-inf"))
MOST_ROWS = 40
"""Rows of a table that are all in sight; a longer one scrolls."""
LONG = 44
"""Letters from which on a cell is broken into lines."""


def points_table(points: Sequence[PointSummary]) -> str:
    """Every point of the campaign.

    Args:
        points: the points.
    """
    vary = split_settings(points)[0]
    head = [name.replace("_", " ") for name in vary]
    head += ["rate", "chips", "mean, %", "SE", "95 % interval", "worst, %", "pass, %", "95 %"]
    rows = []
    for point in points:
        s, ends = point.summary, point.passed_interval
        rows.append(
            [
                *(_setting(point.settings[name]) for name in vary),
                (rate_text(point.rate), point.rate),
                (f"{s.chips:,}", s.chips),
                (hundredths(s.mean), s.mean),
                DASH if s.se is None else (hundredths(s.se), s.se),
                DASH
                if s.interval is None
                else (interval(s.interval) + doubt_mark(s), s.interval[0]),
                (hundredths(s.worst), s.worst),
                (hundredths(point.passed, digits=0), point.passed),
                DASH if ends is None else (interval(ends, digits=0), ends[0]),
            ]
        )
    return table("All points", head, rows)


def gains_table(panels: Sequence[Panel]) -> str:
    """Every paired gain of the campaign.

    Args:
        panels: what is compared.
    """
    rows = [
        [
            *([_text(panel.title)] if len(panels) > 1 else []),
            _text(panel.series[gain.series].label),
            (rate_text(gain.rate), gain.rate),
            *_gain(gain.summary),
            *_cost(gain, panel.series[gain.series].at(gain.rate)),
            (f"{gain.summary.chips:,}", gain.summary.chips),
            _text(gain.over),
        ]
        for panel in panels
        for gain in gains(panel)
    ]
    head = ["subject"] if len(panels) > 1 else []
    head += ["scheme", "rate", "gain, points", "95 % interval", "SE"]
    head += ["cells, ×", "reads a weight", "common chips", "over"]
    return table("Paired gains", head, rows) if rows else ""


def ledger_table(points: Sequence[PointSummary]) -> str:
    """Cells that each way of storing a model takes, beside those of the dense model.

    Args:
        points: the points.
    """
    head = ["model", "protection", "encoding", "bits", "bits a cell", "cells"]
    head += ["of the dense model", "further, %", "pruned, %", "reads a weight"]
    told = any(point.knows not in (None, "nothing") for point in points)
    head += ["knows", "metadata bits"] if told else []
    names = ("model", "protection", "encoding", "bits", "bits_per_cell")
    rows: dict[tuple[Any, ...], list[Cell]] = {}
    for point in points:
        if point.cells is None or not point.cells_dense:
            continue
        more, pruned = point.cells / point.cells_dense - 1, point.sparsity
        key = (*(point.settings[n] for n in names), point.cells, point.cells_dense, pruned)
        rows[key] = [
            *(_setting(point.settings[name]) for name in names),
            (f"{point.cells:,}", point.cells),
            (f"{point.cells_dense:,}", point.cells_dense),
            (hundredths(more, sign=True), more),
            DASH if pruned is None else (hundredths(pruned), pruned),
            _reads(point),
            *(_knowledge(point) if told else ()),
        ]
    return table("Cells", head, list(rows.values())) if rows else ""


def _knowledge(point: PointSummary) -> tuple[Cell, Cell]:
    """What a scheme must know of the chip, and the bits of what it decides for it."""
    bits = point.metadata
    return _text(point.knows or ""), DASH if bits is None else (f"{bits:,}", bits)


def runs_table(runs: Sequence[Mapping[str, Any]]) -> str:
    """What the runs have said of themselves, without the names of machines or folders.

    Args:
        runs: lines of a folder's provenance.
    """
    head = ["time", "platform", "revision", "versions", "work"]
    return table("Runs", head, [_run(run) for run in runs]) if runs else ""


def heat_table(heat: HeatMap, largest: float) -> str:
    """A heat map: a table whose cells are shaded by the loss that they show.

    Args:
        heat: the map.
        largest: the loss that has the last shade.
    """
    head = "".join(f'<th scope="col">{escape(_spaced(name))}</th>' for name in heat.columns)
    body = ""
    for row in heat.rows:
        cells = "".join(_heat_cell(heat, row, column, largest) for column in heat.columns)
        body += f'<tr><th scope="row">{escape(_spaced(row))}</th>{cells}</tr>'
    corner = f"{escape(heat.row_name)} \\ {escape(heat.column_name)}"
    return (
        f'<div class="box" tabindex="0" role="region" aria-label="{escape(heat.title)}">'
        f'<table class="heat"><caption>{escape(heat.title)}</caption>'
        f'<thead><tr><th scope="col">{corner}</th>{head}</tr></thead><tbody>{body}</tbody>'
        "</table></div>"
    )


def heat_key(largest: float) -> str:
    """What the shades mean."""
    steps = "".join(f'<i class="h{k}"></i>' for k in range(SHADES))
    return (
        f'<p class="key"><span>0</span><span class="steps" aria-hidden="true">{steps}</span>'
        f"<span>{hundredths(max(largest, 0.0))} points lost</span></p>"
    )


def table(caption: str, head: Sequence[str], rows: Sequence[Sequence[Cell]]) -> str:
    """A table in its own scroll box, which the page's script makes sortable.

    Args:
        caption: its name.
        head: names of the columns.
        rows: what they show, with what they are sorted by; numbers stand at the right edge.
    """
    kinds = [
        "" if any(isinstance(key, str) for _, key in column) else ' class="n"'
        for column in zip(*rows, strict=True)
    ]
    columns = "".join(
        f'<th scope="col"{kind}>{escape(name)}</th>' for name, kind in zip(head, kinds, strict=True)
    )
    body = "".join(f"<tr>{''.join(map(_cell, row, kinds))}</tr>" for row in rows)
    kind = "box tall" if len(rows) > MOST_ROWS else "box"
    return (
        f'<div class="{kind}" tabindex="0" role="region" aria-label="{escape(caption)}">'
        f'<table class="sortable"><caption>{escape(caption)}</caption>'
        f"<thead><tr>{columns}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _cell(cell: Cell, kind: str) -> str:
    text, key = cell
    value = "" if isinstance(key, str) else f' data-v="{float(key)!r}"'
    kind = ' class="long"' if len(text) > LONG else kind
    return f"<td{kind}{value}>{escape(text)}</td>"


def _setting(value: Any) -> Cell:
    text = "" if value is None else setting_text(value)
    return text, float(value) if isinstance(value, int | float) else text


def _text(text: str) -> Cell:
    return text, text


def _gain(s: Summary) -> list[Cell]:
    return [
        (hundredths(s.mean, sign=True), s.mean),
        DASH
        if s.interval is None
        else (interval(s.interval, sign=True) + doubt_mark(s), s.interval[0]),
        DASH if s.se is None else (hundredths(s.se), s.se),
    ]


def _cost(gain: Gain, point: PointSummary | None) -> list[Cell]:
    """What a scheme takes: its cells beside those of the one that it gains over, and its reads."""
    times = gain.cells
    cells = DASH if times is None else (f"{times:.2f}", times)
    return [cells, DASH if point is None else _reads(point)]


def _reads(point: PointSummary) -> Cell:
    return DASH if point.reads is None else (f"{point.reads:.1f}", point.reads)


def _heat_cell(heat: HeatMap, row: str, column: str, largest: float) -> str:
    point = heat.cells.get((row, column))
    if point is None:
        return '<td class="none"></td>'
    s = point.summary
    told = [
        f"{heat.row_name} {row}, {heat.column_name} {column}",
        f"{hundredths(mean_loss(point))} points lost; mean {hundredths(s.mean)} %",
    ]
    if s.interval is not None:
        told.append(f"95 % interval of the mean {interval(s.interval)}")
    told.append(f"{count(s.chips, 'chip')}, worst {hundredths(s.worst)} %")
    return (
        f'<td class="h{shade(mean_loss(point), largest)}" tabindex="0" '
        f'title="{escape(chr(10).join(told))}">{hundredths(mean_loss(point))}</td>'
    )


def _run(run: Mapping[str, Any]) -> list[Cell]:
    """Only what is known to name no machine and no folder."""
    versions = run.get("versions") or {}
    work = []
    if "seconds" in run:
        work.append(f"{run.get('chips', 0):,} chips in {run['seconds']:,.0f} s")
    if "pair" in run:
        work.append(str(run["pair"]))
    work += [f"{run[name]} {name}" for name in ("devices", "processes") if name in run]
    if run.get("stopping"):
        work.append(f"until the SE is {run['stopping']['until_se']:g}")
    texts = (
        _time(run),
        str(run.get("platform", "")),
        str(run.get("revision") or "")[:12],
        ", ".join(f"{name} {version}" for name, version in versions.items()),
        ", ".join(work),
    )
    return [(text, text) for text in texts]


def _time(run: Mapping[str, Any]) -> str:
    """When a run began or ended, to the minute."""
    what = "began" if "started" in run else "ended"
    time = str(run.get("started") or run.get("finished") or "")
    return f"{what} {time[:16].replace('T', ' ')}" if time else ""


def _spaced(label: str) -> str:
    return label.replace("+", " + ").replace("_", " ")
