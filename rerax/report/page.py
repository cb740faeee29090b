"""The report as one HTML file that asks for nothing from anywhere. No JAX here.

Style and script stand in the file itself, and its content security policy forbids everything
else: no address is fetched, and no script runs but the one whose hash the policy names.
"""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from rerax.io import whole_file
from rerax.report import charts, tables, words
from rerax.report.lines import (
    Line,
    coarse_yields,
    doubt_text,
    split_settings,
    summarise_points,
    unprotected,
)
from rerax.report.palette import DARK, LIGHT, variables
from rerax.report.panels import Panel, gains, make_panels
from rerax.report.places import HeatMap, make_heat_maps
from rerax.report.wording import budget_text, listed
from rerax.stats.stopping import Rule
from rerax.values import read_budget

MOST_OPEN = 4
"""Panels up to which all findings are in sight; those of more open on request."""


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
        runs: lines of the folder's provenance (`campaign.manifest.read_provenance`).
        more: further notes on how to read it.

    Raises:
        ValueError: no rows, a bad budget, or a path where no file can be.
    """
    path = check_path(path)
    text = make_page(rows, budget, stopped, runs, more)
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as out:
        out.write(text.encode())


def check_path(path: str | Path) -> Path:
    """The path of a page to be written.

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
    """The report of a campaign as HTML text.

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
    lines = summarise_points(rows, budget, stopped, runs)
    drawn = [panel for panel in make_panels(lines) if any(panel.rates)]
    maps = make_heat_maps(lines)
    platforms = pc.unique(rows["platform"]).to_pylist()
    paired = [gain.summary for panel in drawn for gain in gains(panel)]
    doubt = doubt_text([*(line.summary for line in lines), *paired])
    sections = [
        _summary(lines, drawn, maps, len(rows), budget),
        _scores(drawn, budget),
        _yields(drawn, budget),
        _gains(drawn),
        _places(maps),
        _section("points", "All points", "", tables.points_table(lines)),
        _section(
            "cells",
            "Cells",
            "What each way of storing the model takes, exact to the cell.",
            tables.ledger_table(lines)
            + _paragraphs([f"{text}." for text in unprotected(lines, runs)]),
        ),
        _section(
            "method",
            "How to read this",
            "",
            _paragraphs(
                [
                    *words.cautions(lines, platforms, stopped, budget),
                    *([_sentence(doubt)] if doubt else []),
                    *map(_sentence, more),
                ]
            ),
        ),
        _section(
            "runs",
            "Where the rows come from",
            "One line for each start and each end of a run.",
            _commands(runs) + tables.runs_table(runs),
        ),
        _section("cite", "How to cite", "", _paragraphs([words.HOW_TO_CITE])),
    ]
    return _document(_title(lines), lines, "".join(sections))


def _document(title: str, lines: Sequence[Line], body: str) -> str:
    style, script = _style(), _asset("page.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    common = split_settings(lines)[1]
    facts = "".join(
        f"<div><dt>{escape(name.replace('_', ' '))}</dt>"
        f"<dd>{escape(tables.shown(value))}</dd></div>"
        for name, value in common.items()
        if name not in ("task", "model")
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{escape(title)}: rerax report</title><style>{style}</style></head>\n"
        '<body><header><p class="kicker">rerax report</p>'
        '<button id="theme" type="button" hidden>theme</button>'
        f"<h1>{escape(title)}</h1>"
        f'<dl class="facts">{facts}</dl></header>\n<main>{body}</main>\n'
        f'<div id="tip" role="status" hidden></div><script>{script}</script></body></html>\n'
    )


def _style() -> str:
    """The style sheet with the colours of light and dark paper in front."""
    light, dark = variables(LIGHT), variables(DARK)
    return (
        f":root{{color-scheme:light;{light}}}"
        f"@media (prefers-color-scheme:dark){{:root{{color-scheme:dark;{dark}}}}}"
        f":root[data-theme=light]{{color-scheme:light;{light}}}"
        f":root[data-theme=dark]{{color-scheme:dark;{dark}}}\n{_asset('page.css')}"
    )


def _asset(name: str) -> str:
    return files("rerax.report").joinpath(name).read_text(encoding="utf-8")


def _title(lines: Sequence[Line]) -> str:
    models, tasks = (
        list(dict.fromkeys(str(line.settings[name]) for line in lines))
        for name in ("model", "task")
    )
    return f"{listed(sorted(models), 3)} on {listed(sorted(tasks), 9)}"


def _section(identity: str, heading: str, lead: str, content: str) -> str:
    """A section; nothing at all where it has no content."""
    if not content:
        return ""
    lead = f"<p>{escape(lead)}</p>" if lead else ""
    return (
        f'<section id="{identity}" aria-labelledby="{identity}-heading">'
        f'<h2 id="{identity}-heading">{escape(heading)}</h2>{lead}{content}</section>\n'
    )


def _sentence(note: str) -> str:
    """A note of the table as a sentence of the page."""
    return f"{note[0].upper()}{note[1:]}."


def _paragraphs(texts: Sequence[str]) -> str:
    return "".join(f"<p>{_prose(text)}</p>" for text in texts)


def _prose(text: str) -> str:
    """A sentence whose percent signs stay with their numbers."""
    return escape(text).replace(" %", "&nbsp;%")


def _commands(runs: Sequence[Mapping[str, Any]]) -> str:
    """The command lines that asked for the rows."""
    texts = dict.fromkeys(str(run["command"]) for run in runs if run.get("command"))
    return "".join(f"<pre>{escape(words.without_folders(text))}</pre>" for text in texts)


def _summary(
    lines: Sequence[Line],
    panels: Sequence[Panel],
    maps: Sequence[HeatMap],
    rows: int,
    budget: float,
) -> str:
    parts = [f'<p class="lead">{escape(words.what_was_run(lines, panels, rows))}</p>']
    for panel in panels:
        found = _found(words.findings(panel, budget))
        if len(panels) > MOST_OPEN:
            parts.append(f"<details><summary>{escape(panel.title)}</summary>{found}</details>")
        else:
            parts.append(_subheading(panel, panels) + found)
    parts.append(_found(words.hot_spots(maps)))
    return _section("summary", "Summary", "", "".join(parts))


def _found(found: Sequence[words.Finding]) -> str:
    items = "".join(
        f"<div><dt>{escape(topic)}</dt><dd>{_prose(text)}</dd></div>" for topic, text in found
    )
    return f'<dl class="found">{items}</dl>' if items else ""


def _scores(panels: Sequence[Panel], budget: float) -> str:
    keys = f"float score, and what is within {budget_text(budget)} of it"
    extra = f'<li class="fixed"><i class="swatch"></i>{keys}</li>'

    def draw(panel: Panel, part: charts.Numbered, name: str) -> str:
        return charts.score_chart(part, name, budget) + _legend(part, extra)

    lead = (
        "Each dot is a chip. Marks are means over chips, bars and bands their 95 % intervals; "
        "where there are several series, marks are beside their rate by less than 3 % of it."
    )
    return _section("scores", "Score against fault rate", lead, _figures("score", panels, draw))


def _yields(panels: Sequence[Panel], budget: float) -> str:
    def draw(panel: Panel, part: charts.Numbered, name: str) -> str:
        return charts.yield_chart(part, name) + _legend(part)

    lead = (
        f"Share of chips within {budget_text(budget)} of the float score, "
        "with its 95 % binomial interval."
    )
    coarse = coarse_yields([line for panel in panels for line in panel.lines], budget)
    lead += "".join(f" {_sentence(text)}" for text in coarse)
    return _section("yields", "Chips that pass", lead, _figures("yield", panels, draw))


def _gains(panels: Sequence[Panel]) -> str:
    compared = [panel for panel in panels if gains(panel)]

    def draw(panel: Panel, part: charts.Numbered, name: str) -> str:
        found = gains(panel)
        here = [item for item in part if any(gain.series == item[0] for gain in found)]
        if not here:
            return ""
        part = [part[0], *here]
        return charts.gain_chart(part, found, name) + _legend(part[1:])

    lead = (
        "Differences of score chip by chip against the plainest scheme, over the chips that both "
        "have; bars are 95 % intervals of the mean difference."
    )
    content = _figures("gain", compared, draw)
    return _section(
        "gains", "Paired gains", lead, content + tables.gains_table(compared) if content else ""
    )


def _places(maps: Sequence[HeatMap]) -> str:
    if not maps:
        return ""
    largest = max(heat.largest for heat in maps)
    content = "".join(tables.heat_table(heat, largest) for heat in maps)
    lead = "Points of the clean score that are lost when faults act in one place only."
    return _section("places", "Where faults hurt", lead, tables.heat_key(largest) + content)


def _figures(kind: str, panels: Sequence[Panel], draw: Any) -> str:
    """One figure for each chart of each panel."""
    found = []
    for k, panel in enumerate(panels):
        heading = _subheading(panel, panels)
        for j, part in enumerate(charts.split(panel)):
            drawn = draw(panel, part, f"{kind}-{k}-{j}")
            if drawn:
                found.append(f"{heading}<figure>{drawn}</figure>")
                heading = ""
    return "".join(found)


def _subheading(panel: Panel, panels: Sequence[Panel]) -> str:
    return f"<h3>{escape(panel.title)}</h3>" if len(panels) > 1 else ""


def _legend(part: charts.Numbered, extra: str = "") -> str:
    """Names of the curves with their marks; the script lets each be hidden."""
    items = "".join(
        f'<li data-series="{place}" class="s{charts.colour_of(place)}">'
        f'<svg viewBox="-14 -7 28 14" aria-hidden="true"><path class="curve" d="M-14 0H14"/>'
        f"{charts.mark(place, 0.0, 0.0)}</svg>{escape(series.label)}</li>"
        for place, series in part
    )
    return f'<ul class="legend">{items}{extra}</ul>'
