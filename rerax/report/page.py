"""The report as one HTML file that asks for nothing from anywhere.

The HTML is in `templates/`. Style and script stand in the file itself, and its content security
policy forbids everything else: no address is fetched, and no script runs but the one whose hash
the policy names.
"""

import base64
import hashlib
from collections.abc import Callable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from rerax.io import whole_file
from rerax.report import charts, findings, page_tables
from rerax.report.compare import Panel, make_panels
from rerax.report.format import (
    budget_text,
    hundredths,
    listed,
    sentence,
    setting_text,
    setting_texts,
)
from rerax.report.heat_maps import make_heat_maps
from rerax.report.leaderboard import Board, make_boards
from rerax.report.palette import DARK, LIGHT, SHADES, variables
from rerax.report.summary import (
    PointSummary,
    doubt_text,
    split_settings,
    summarise_points,
)
from rerax.stats.stopping import Rule
from rerax.values import read_budget

Drawn = tuple[str, charts.Numbered]
"""A chart as SVG, and its curves."""


def write_page(
    rows: pa.Table,
    path: str | Path,
    budget: float | str = 0.01,
    stopped: Rule | None = None,
    runs: Sequence[Mapping[str, Any]] = (),
    more: Sequence[str] = (),
) -> None:
    """Write the report of a campaign, whole or not at all; missing folders are made.

    Args:
        rows: rows of a campaign, at least one.
        path: the HTML file.
        budget: how far below the float score a chip may be and still pass: 0.01 or "1%".
        stopped: the rule that decided how many chips there are, if one did.
        runs: lines of the folder's provenance (`campaign.sidecars.read_provenance`).
        more: further notes on how to read it.

    Raises:
        ValueError: no rows, a bad budget, or a path where no file can be.
    """
    path = check_page_path(path)
    text = make_page(rows, budget, stopped, runs, more)
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as out:
        out.write(text.encode())


def check_page_path(path: str | Path) -> Path:
    """Check the path of a page before anything is computed.

    Raises:
        ValueError: it is a folder, or lies below something that is none.
    """
    path = Path(path)
    if path.is_dir():
        raise ValueError(f"--html {path} is a folder: give a file such as {path / 'report.html'}")
    nearest = next(parent for parent in path.absolute().parents if parent.exists())
    if not nearest.is_dir():
        raise ValueError(f"--html {path} lies below {nearest}, which is no folder: give another")
    return path


def make_page(
    rows: pa.Table,
    budget: float | str = 0.01,
    stopped: Rule | None = None,
    runs: Sequence[Mapping[str, Any]] = (),
    more: Sequence[str] = (),
) -> str:
    """Make the report of a campaign as HTML text.

    Args:
        rows, budget, stopped, runs, more: see `write_page`.

    Raises:
        ValueError: no rows, or a bad budget (`values.read_budget`).

    Example:
        >>> make_page(read_rows(Path("my-campaign")))[:15]
        '<!doctype html>'
    """
    if not len(rows):
        raise ValueError("there are no rows to report on: give those of a finished campaign")
    budget = read_budget(budget)
    points = summarise_points(rows, budget, stopped, runs)
    told = [panel for panel in make_panels(points) if panel.is_faulty]
    drawn = [panel for panel in told if any(panel.rates)]
    maps, boards = make_heat_maps(points), make_boards(points, budget)
    largest = max((heat.largest for heat in maps), default=0.0)
    platforms = pc.unique(rows["platform"]).to_pylist()
    paired = [gain.summary for panel in told for gain in panel.gains]
    doubt = doubt_text([*(point.summary for point in points), *paired])
    notes = [*([doubt] if doubt else []), *more]
    common = split_settings(points)[1]
    commands = dict.fromkeys(str(run["command"]) for run in runs if run.get("command"))
    return _render(
        title=_title(points),
        facts=[
            (name.replace("_", " "), setting_text(value))
            for name, value in common.items()
            if name not in ("task", "model")
        ],
        lead=findings.describe_campaign(points, told),
        panels=[(panel.title, findings.panel_findings(panel, budget)) for panel in told],
        worst_places=findings.worst_places(maps),
        warnings=findings.find_warnings(points, platforms, budget, runs),
        budget=budget_text(budget),
        scores=_figures(
            drawn, "score", lambda _, part, name: (charts.score_chart(part, name, budget), part)
        ),
        yields=_figures(
            [panel for panel in drawn if panel.has_yields],
            "yield",
            lambda _, part, name: (charts.yield_chart(part, name), part),
        ),
        gains=_figures(drawn, "gain", _gain_chart),
        gains_table=page_tables.gains_table(told),
        boards=[page_tables.board_table(board, _board_caption(board, boards)) for board in boards],
        shades=SHADES,
        most_lost=hundredths(max(largest, 0.0)),
        heat_maps=[page_tables.heat_table(heat, largest) for heat in maps],
        points_table=page_tables.points_table(points),
        cells_table=page_tables.cells_table(points),
        explained=[*findings.explain_statistics(points, stopped, budget), *map(sentence, notes)],
        commands=list(filter(None, map(findings.without_folders, commands))),
        runs_table=page_tables.runs_table(runs),
    )


class Curve(NamedTuple):
    """A curve of a chart: its place in the panel, its colour, its mark as SVG, its name."""

    place: int
    colour: int
    mark: str
    label: str


class Figure(NamedTuple):
    """A chart of the page: a heading, its SVG, and what its legend lists."""

    heading: str
    svg: str
    curves: list[Curve]


def _render(**content: Any) -> str:
    """Fill the template of the page; a name that it asks for in vain is an error."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        autoescape=True,
        loader=PackageLoader("rerax.report"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["prose"] = _prose
    script = _asset("page.js")
    return environment.get_template("page.html").render(
        **content,
        light=variables(LIGHT),
        dark=variables(DARK),
        style=_asset("page.css"),
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


def _asset(name: str) -> str:
    return files("rerax.report").joinpath("templates", name).read_text(encoding="utf-8")


def _title(points: Sequence[PointSummary]) -> str:
    models, tasks = (
        sorted({str(point.settings[name]) for point in points}) for name in ("model", "task")
    )
    return f"{listed(models, 3)} on {listed(tasks, 9)}"


def _board_caption(board: Board, boards: Sequence[Board]) -> str:
    """Name a board by its task, and by whatever else tells it from the others."""
    said = {
        "fault": "{} faults".format,
        "sa1_share": "share of SA1 {}".format,
        "sampled": lambda table: "about {} examples a chip (table {})".format(
            *table.partition(":")[::2]
        ),
    }
    parts = [str(board.settings["task"])]
    for name, say in said.items():
        value = board.settings[name]
        values = list(dict.fromkeys(other.settings[name] for other in boards))
        if value is not None and len(values) > 1:
            parts.append(say(setting_texts(values)[values.index(value)]))
    return f"{', '.join(parts)}: {budget_text(board.budget)} below {hundredths(board.reference)} %"


def _prose(text: str) -> str:
    """Keep percent signs on the line of their numbers."""
    return text.replace(" %", "\N{NO-BREAK SPACE}%")


def _figures(
    panels: Sequence[Panel],
    kind: str,
    draw: Callable[[Panel, charts.Numbered, str], Drawn],
) -> list[Figure]:
    """Draw the charts of each panel; `draw` gives the SVG of a chart and its curves."""
    figures = []
    for k, panel in enumerate(panels):
        heading = panel.title if len(panels) > 1 else ""
        for j, part in enumerate(charts.split(panel)):
            svg, drawn = draw(panel, part, f"{kind}-{k}-{j}")
            if svg:
                curves = [
                    Curve(place, charts.colour_of(place), charts.legend_mark(place), series.label)
                    for place, series in drawn
                ]
                figures.append(Figure(heading, svg, curves))
                heading = ""
    return figures


def _gain_chart(panel: Panel, part: charts.Numbered, name: str) -> Drawn:
    """Draw those series of a chart that gain over its first one; nothing where none does."""
    places = {gain.series for gain in panel.gains}
    drawn = [(place, series) for place, series in part if place in places]
    return charts.gain_chart([part[0], *drawn], panel.gains, name) if drawn else "", drawn
