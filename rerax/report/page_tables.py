"""What the tables and heat maps of the page show, as text; the templates make HTML of it."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from rerax.report.compare import Panel, series_labels
from rerax.report.format import count, hundredths, interval, setting_texts
from rerax.report.heat_maps import HeatMap, mean_loss
from rerax.report.leaderboard import Board, Standing
from rerax.report.palette import shade
from rerax.report.summary import (
    PointSummary,
    doubt_mark,
    series_key,
    share_digits,
    split_settings,
)
from rerax.stats.tolerated import Ends
from rerax.values import rate_text

Cell = tuple[str, int | float | str]
"""What a cell shows, and what its column is sorted by."""
DASH: Cell = ("", float("-inf"))
MOST_ROWS = 40
"""Rows of a table that are all in sight; a longer one scrolls."""
LONG = 44
"""Letters from which on a cell is broken into lines."""
_WHOLE, _TENTHS = "{:,}".format, "{:.1f}".format


class Table(NamedTuple):
    """A table of the page.

    Attributes:
        caption: its name.
        head: name and CSS class of each column.
        rows: text, CSS class and sort key of each cell; cells of words have no key.
        tall: whether it scrolls.
    """

    caption: str
    head: list[tuple[str, str | None]]
    rows: list[list[tuple[str, str | None, str | None]]]
    tall: bool


class HeatCell(NamedTuple):
    """A cell of a heat map: its shade, the points lost, and the numbers behind them."""

    shade: int
    lost: str
    told: str


class HeatTable(NamedTuple):
    """A heat map of the page: labels, and the cells of each row; None where nothing was run."""

    title: str
    corner: str
    columns: list[str]
    rows: list[tuple[str, list[HeatCell | None]]]


def points_table(points: Sequence[PointSummary]) -> Table:
    """Make the table of all points.

    Args:
        points: the points.
    """
    vary = split_settings(points)[0]
    head = [name.replace("_", " ") for name in vary]
    head += ["rate", "chips", "mean, %", "SE", "95 % interval", "worst, %", "pass, %", "95 %"]
    rows = [
        [
            *settings,
            _number(point.rate, rate_text),
            _number(point.summary.chips, _WHOLE),
            _number(point.summary.mean, hundredths),
            _number(point.summary.se, hundredths),
            _interval(point.summary.interval, interval, doubt_mark(point.summary)),
            _number(point.worst, hundredths),
            _number(point.passed, partial(hundredths, digits=share_digits(point))),
            _interval(point.passed_interval, partial(interval, digits=share_digits(point))),
        ]
        for point, settings in zip(points, _settings(points, vary), strict=True)
    ]
    return _table("All points", head, rows)


def gains_table(panels: Sequence[Panel]) -> Table:
    """Make the table of all paired gains.

    Args:
        panels: what is compared.
    """
    signed = partial(hundredths, sign=True)
    rows = [
        [
            *([_text(panel.title)] if len(panels) > 1 else []),
            _text(panel.series[gain.series].label),
            _number(gain.rate, rate_text),
            _number(gain.summary.mean, signed),
            _interval(
                gain.summary.interval, partial(interval, sign=True), doubt_mark(gain.summary)
            ),
            _number(gain.summary.se, hundredths),
            _number(gain.cells, "{:.2f}".format),
            _number(point.reads, _TENTHS),
            _number(gain.summary.chips, _WHOLE),
            _text(gain.over),
        ]
        for panel in panels
        for gain in panel.gains
        if (point := panel.series[gain.series].at(gain.rate)) is not None
    ]
    head = ["workload"] if len(panels) > 1 else []
    head += ["scheme", "rate", "gain, points", "95 % interval", "SE"]
    head += ["cells, ×", "reads a kept weight", "common chips", "over"]
    return _table("Paired gains", head, rows)


def board_table(board: Board, caption: str) -> Table:
    """Make the table of what fault rate each way of storing the models of a task bears.

    Args:
        board: ways and what they bear.
        caption: of the table.
    """
    first = [standing.points[0] for standing in board.standings]
    keys = list(dict.fromkeys(map(series_key, first)))
    labels = dict(zip(keys, series_labels(keys), strict=True))
    several = len({point.settings["model"] for point in first}) > 1
    rows = []
    for standing, point in zip(board.standings, first, strict=True):
        cells = point.cells / point.cells_dense if point.cells and point.cells_dense else None
        rows.append(
            [
                *([_text(point.settings["model"])] if several else []),
                _text(labels[series_key(point)]),
                _borne(standing),
                _ends(standing.borne, _two_digits),
                DASH if standing.ratio is None else _number(standing.ratio[0], _TENTHS),
                DASH if standing.ratio is None else _ends(standing.ratio, _TENTHS),
                _text(point.knows or ""),
                _number(cells, "{:.2f}".format),
                _number(standing.metadata_per_weight, "{:.3f}".format),
                _number(point.reads, _TENTHS),
                _number(standing.chips, _WHOLE),
            ]
        )
    head = ["model"] if several else []
    head += ["scheme", "rate borne", "95 %", "over bare, ×", "95 %"]
    head += ["knows", "cells, ×", "bits beside", "reads", "chips"]
    return _table(caption, head, rows)


def cells_table(points: Sequence[PointSummary]) -> Table:
    """Make the table of the cells that each way of storing a model takes.

    Args:
        points: the points.
    """
    names = ["model", "protection", "encoding", "bits", "bits_per_cell"]
    # on which the choices of a chip may depend
    names += [name for name in ("layout", "tile") if name in split_settings(points)[0]]
    head = [{"bits_per_cell": "bits a cell"}.get(name, name) for name in names]
    head += ["cells", "of the dense model", "further, %", "pruned, %", "reads a kept weight"]
    told = any(point.knows not in (None, "nothing") for point in points)
    head += ["knows", "metadata bits"] if told else []
    rows: dict[tuple[Any, ...], list[Cell]] = {}
    for point, settings in zip(points, _settings(points, names), strict=True):
        if point.cells is None or not point.cells_dense:
            continue
        more, pruned = point.cells / point.cells_dense - 1, point.sparsity
        counts = (point.cells, point.cells_dense, pruned, point.knows, point.metadata)
        rows[*(point.settings[name] for name in names), *counts] = [
            *settings,
            _number(point.cells, _WHOLE),
            _number(point.cells_dense, _WHOLE),
            _number(more, partial(hundredths, sign=True)),
            _number(pruned, hundredths),
            _number(point.reads, _TENTHS),
            *([_text(point.knows or ""), _number(point.metadata, _WHOLE)] if told else []),
        ]
    return _table("Cells", head, list(rows.values()))


def runs_table(runs: Sequence[Mapping[str, Any]]) -> Table:
    """Make the table of runs, without the names of machines or folders.

    Args:
        runs: lines of a folder's provenance.
    """
    head = ["time", "platform", "revision", "versions", "work"]
    return _table("Runs", head, [_run(run) for run in runs])


def heat_table(heat: HeatMap, largest: float) -> HeatTable:
    """Shade the cells of a heat map by the loss that they show.

    Args:
        heat: the map.
        largest: the loss that has the last shade.
    """
    return HeatTable(
        heat.title,
        f"{heat.row_name} \\ {heat.column_name}",
        list(map(_spaced, heat.columns)),
        [
            (_spaced(row), [_heat_cell(heat, row, column, largest) for column in heat.columns])
            for row in heat.rows
        ],
    )


def _table(caption: str, head: Sequence[str], rows: Sequence[Sequence[Cell]]) -> Table:
    """Put numbers at the right edge of their columns, and words at the left."""
    kinds = [
        None if any(isinstance(key, str) for _, key in column) else "n"
        for column in zip(*rows, strict=True)
    ]
    return Table(
        caption,
        list(zip(head, kinds, strict=True)) if rows else [],
        [list(map(_cell, row, kinds)) for row in rows],
        len(rows) > MOST_ROWS,
    )


def _cell(cell: Cell, kind: str | None) -> tuple[str, str | None, str | None]:
    text, key = cell
    value = None if isinstance(key, str) else repr(float(key))
    return text, "long" if len(text) > LONG else kind, value


def _settings(points: Sequence[PointSummary], names: Sequence[str]) -> list[list[Cell]]:
    """Make the cells of some settings, for each point."""
    columns = []
    for name in names:
        values = [point.settings[name] for point in points]
        columns.append(list(map(_setting, values, setting_texts(values))))
    return [[column[k] for column in columns] for k in range(len(points))]


def _setting(value: Any, text: str) -> Cell:
    text = "" if value is None else text
    return text, float(value) if isinstance(value, int | float) else text


def _text(text: str) -> Cell:
    return text, text


def _number(value: int | float | None, write: Callable[[Any], str]) -> Cell:
    return DASH if value is None else (write(value), value)


def _interval(
    ends: tuple[float, float] | None, write: Callable[[tuple[float, float]], str], mark: str = ""
) -> Cell:
    return DASH if ends is None else (write(ends) + mark, ends[0])


def _heat_cell(heat: HeatMap, row: str, column: str, largest: float) -> HeatCell | None:
    point = heat.cells.get((row, column))
    if point is None:
        return None
    s, loss = point.summary, mean_loss(point)
    told = [
        f"{heat.row_name} {row}, {heat.column_name} {column}",
        f"{hundredths(loss)} points lost; mean {hundredths(s.mean)} %",
    ]
    if s.interval is not None:
        told.append(f"95 % interval of the mean {interval(s.interval)}")
    worst = "" if point.worst is None else f", worst {hundredths(point.worst)} %"
    told.append(f"{count(s.chips, 'chip')}{worst}")
    return HeatCell(shade(loss, largest), hundredths(loss), "\n".join(told))


def _borne(standing: Standing) -> Cell:
    """Write the rate that is borne, or beyond which of those that were run it lies."""
    value, (lowest, highest) = standing.borne[0], standing.rates
    if value is None:
        return f"> {rate_text(highest)}", highest
    if value < lowest:
        return f"< {rate_text(lowest)}" if value else "lost at 0", value
    return _two_digits(value), value


def _ends(found: Ends, write: Callable[[float], str]) -> Cell:
    """Write an interval; of one with an end beyond the rates that were run the other end."""
    _, low, high = found
    if low is None and high is None:
        return DASH
    texts = ("" if end is None else write(end) for end in (low, high))
    return " .. ".join(texts).strip(), low or 0.0


def _two_digits(rate: float) -> str:
    return rate_text(float(f"{rate:.1e}"))


def _run(run: Mapping[str, Any]) -> list[Cell]:
    """Pick of a run what is known to name no machine and no folder."""
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
    """Say when a run began or ended, to the minute."""
    what = "began" if "started" in run else "ended"
    time = str(run.get("started") or run.get("finished") or "")
    return f"{what} {time[:16].replace('T', ' ')}" if time else ""


def _spaced(label: str) -> str:
    return label.replace("+", " + ").replace("_", " ")
