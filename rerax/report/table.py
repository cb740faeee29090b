"""The closing table on the terminal. No JAX here."""

from collections.abc import Mapping, Sequence
from typing import IO, Any

import pyarrow as pa
import pyarrow.compute as pc

from rerax.campaign.stopping import Rule
from rerax.report.lines import Line, percent, shown, split_settings, summarise_points, unprotected
from rerax.report.wording import budget_text
from rerax.stats import looks
from rerax.values import printable, read_budget


def print_table(
    rows: pa.Table,
    budget: float | str = 0.01,
    file: IO[str] | None = None,
    stopped: Rule | None = None,
    runs: Sequence[Mapping[str, Any]] = (),
    more: Sequence[str] = (),
) -> None:
    """Print the closing table: one line per point, settings that all share below it.

    Args:
        rows: rows of a campaign.
        budget: see `summarise_points`.
        file: where to; standard output by default.
        stopped: see `summarise_points`.
        runs: lines of the folder's provenance (`campaign.manifest.read_provenance`).
        more: further notes below the table.
    """
    from rich import box
    from rich.table import Table

    budget = read_budget(budget)
    lines = summarise_points(rows, budget, stopped)
    vary, common = split_settings(lines)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in vary:
        table.add_column(name.replace("_", " "))
    for name in ("rate", "chips", "mean", "SE", "95 % interval", "worst", "yield", "(95 %)"):
        table.add_column(name, justify="right")
    for line in lines:
        table.add_row(*(cell(line.settings[name]) for name in vary), *_cells(line))
    notes = _footnotes(rows, lines, common, budget)
    notes += [] if stopped is None else [_stopping_note(lines, stopped)]
    notes += [*unprotected(lines, runs), *more]
    print_whole(table, *notes, file=file)


def cell(value: Any) -> Any:
    """A setting as a cell of a rich table, where nothing in it is markup."""
    from rich.text import Text

    return Text(printable(shown(value)))


def print_whole(table: Any, *notes: str, file: IO[str] | None = None) -> None:
    """Print a rich table neither wrapped nor cut short, however narrow the terminal, and notes.

    Args:
        table: a `rich.table.Table`.
        notes: lines to follow it.
        file: where to; standard output by default.
    """
    from rich.console import Console
    from rich.measure import Measurement

    class Terminal(Console):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError  # rich itself would exit with 1; the command line knows better

    console = Terminal(file=file)
    natural = Measurement.get(console, console.options.update(max_width=10_000), table)
    console.width = max(console.width, natural.maximum)
    console.print(table)
    for text in notes:
        console.print(printable(text), highlight=False, markup=False, soft_wrap=True)


def _cells(line: Line) -> list[str]:
    s = line.summary
    return [
        f"{line.rate:g}",
        str(s.chips),
        percent(s.mean),
        "" if s.se is None else percent(s.se),
        "" if s.interval is None else f"{percent(s.interval[0])} .. {percent(s.interval[1])}",
        percent(s.worst),
        f"{100 * line.passed:.0f} %",
        "" if line.passed_interval is None else _range(line.passed_interval),
    ]


def _footnotes(
    rows: pa.Table, lines: Sequence[Line], common: dict[str, Any], budget: float
) -> list[str]:
    floats = sorted({line.float_score for line in lines})
    notes = [
        "scores in %, SE and intervals over chips; "
        f"yield: chips within {budget_text(budget)} of the float score",
        "float score " + ", ".join(percent(score) for score in floats),
        ", ".join(f"{name.replace('_', ' ')} {shown(value)}" for name, value in common.items()),
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


def _range(interval: tuple[float, float]) -> str:
    return f"{100 * interval[0]:.0f} .. {100 * interval[1]:.0f}"
