"""The tables of the page as HTML, and heat maps, which are tables too. No JAX here."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from rerax.report.lines import Line, mark, percent, shown, split_settings
from rerax.report.palette import SHADES, shade
from rerax.report.panels import Gain, Panel, gains
from rerax.report.places import HeatMap, loss
from rerax.report.wording import count, interval, points
from rerax.stats import Summary
from rerax.values import rate_text

Cell = tuple[str, int | float | str]
"""What a cell shows, and what its column is sorted by."""
DASH: Cell = ("", float("-inf"))
MOST_ROWS = 40
"""Rows of a table that are all in sight; a longer one scrolls."""
LONG = 44
"""Letters from which on a cell is broken into lines."""


def points_table(lines: Sequence[Line]) -> str:
    """Every point of the campaign.

    Args:
        lines: the points.
    """
    vary = split_settings(lines)[0]
    head = [name.replace("_", " ") for name in vary]
    head += ["rate", "chips", "mean, %", "SE", "95 % interval", "worst, %", "pass, %", "95 %"]
    rows = []
    for line in lines:
        s, ends = line.summary, line.passed_interval
        rows.append(
            [
                *(_setting(line.settings[name]) for name in vary),
                (rate_text(line.rate), line.rate),
                (f"{s.chips:,}", s.chips),
                (percent(s.mean), s.mean),
                DASH if s.se is None else (percent(s.se), s.se),
                DASH if s.interval is None else (interval(s.interval) + mark(s), s.interval[0]),
                (percent(s.worst), s.worst),
                (points(line.passed, digits=0), line.passed),
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
    head = ["workload"] if len(panels) > 1 else []
    head += ["scheme", "rate", "gain, points", "95 % interval", "SE"]
    head += ["cells, ×", "reads a weight", "common chips", "over"]
    return table("Paired gains", head, rows) if rows else ""


def ledger_table(lines: Sequence[Line]) -> str:
    """Cells that each way of storing a model takes, beside those of the dense model.

    Args:
        lines: the points.
    """
    head = ["model", "protection", "encoding", "bits", "bits a cell", "cells"]
    head += ["of the dense model", "further, %", "pruned, %", "reads a weight"]
    told = any(line.knows not in (None, "nothing") for line in lines)
    head += ["knows", "metadata bits"] if told else []
    names = ("model", "protection", "encoding", "bits", "bits_per_cell")
    rows: dict[tuple[Any, ...], list[Cell]] = {}
    for line in lines:
        if line.cells is None or not line.cells_dense:
            continue
        more, pruned = line.cells / line.cells_dense - 1, line.sparsity
        key = (*(line.settings[n] for n in names), line.cells, line.cells_dense, pruned)
        rows[key] = [
            *(_setting(line.settings[name]) for name in names),
            (f"{line.cells:,}", line.cells),
            (f"{line.cells_dense:,}", line.cells_dense),
            (points(more, sign=True), more),
            DASH if pruned is None else (points(pruned), pruned),
            _reads(line),
            *(_knowledge(line) if told else ()),
        ]
    return table("Cells", head, list(rows.values())) if rows else ""


def _knowledge(line: Line) -> tuple[Cell, Cell]:
    """What a scheme must know of the chip, and the bits of what it decides for it."""
    bits = line.metadata
    return _text(line.knows or ""), DASH if bits is None else (f"{bits:,}", bits)


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
        f"<span>{points(max(largest, 0.0))} points lost</span></p>"
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
    text = "" if value is None else shown(value)
    return text, float(value) if isinstance(value, int | float) else text


def _text(text: str) -> Cell:
    return text, text


def _gain(s: Summary) -> list[Cell]:
    return [
        (points(s.mean, sign=True), s.mean),
        DASH if s.interval is None else (interval(s.interval, sign=True) + mark(s), s.interval[0]),
        DASH if s.se is None else (percent(s.se), s.se),
    ]


def _cost(gain: Gain, line: Line | None) -> list[Cell]:
    """What a scheme takes: its cells beside those of the one that it gains over, and its reads."""
    times = gain.cells
    cells = DASH if times is None else (f"{times:.2f}", times)
    return [cells, DASH if line is None else _reads(line)]


def _reads(line: Line) -> Cell:
    return DASH if line.reads is None else (f"{line.reads:.1f}", line.reads)


def _heat_cell(heat: HeatMap, row: str, column: str, largest: float) -> str:
    line = heat.cells.get((row, column))
    if line is None:
        return '<td class="none"></td>'
    s = line.summary
    told = [
        f"{heat.row_name} {row}, {heat.column_name} {column}",
        f"{points(loss(line))} points lost; mean {points(s.mean)} %",
    ]
    if s.interval is not None:
        told.append(f"95 % interval of the mean {interval(s.interval)}")
    told.append(f"{count(s.chips, 'chip')}, worst {points(s.worst)} %")
    return (
        f'<td class="h{shade(loss(line), largest)}" tabindex="0" '
        f'title="{escape(chr(10).join(told))}">{points(loss(line))}</td>'
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
