"""Which points belong into one chart, what its curves are called, and what they gain. No JAX here.

A panel is one model on one task under one fault model; its series are the ways of storing the
model that are compared there. The plainest series comes first and is what the others are
measured against.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rerax.report.lines import SCHEME, Line, plainness, scheme_of, shown, workload_of
from rerax.stats import Summary, paired_difference

LONGEST_LABEL = 40


@dataclass(frozen=True)
class Series:
    """Points of a panel that differ in rate alone.

    Attributes:
        label: what tells it from the other series of the panel.
        lines: its points, rates ascending.
    """

    label: str
    lines: tuple[Line, ...]

    def at(self, rate: float) -> Line | None:
        """The point of a rate."""
        return next((line for line in self.lines if line.rate == rate), None)


@dataclass(frozen=True)
class Panel:
    """What is compared in one chart.

    Attributes:
        title: model and task, and the fault model where panels differ in it.
        series: the plainest first.
    """

    title: str
    series: tuple[Series, ...]

    @property
    def rates(self) -> list[float]:
        """All its rates, ascending."""
        return sorted({line.rate for series in self.series for line in series.lines})

    @property
    def lines(self) -> list[Line]:
        """All its points."""
        return [line for series in self.series for line in series.lines]


@dataclass(frozen=True)
class Gain:
    """What one series gains over the first of its panel, at one rate.

    Attributes:
        series: its place in the panel.
        over: the first series' label.
        rate: fault rate.
        summary: of the differences of scores, chip by chip (`rerax.stats.paired_difference`).
        same_cells: whether both have equally many base cells, so that the same ones are stuck.
        cells: cells of the one, spare arrays included, over those of the other; None where rows of
            an early version do not say.
    """

    series: int
    over: str
    rate: float
    summary: Summary
    same_cells: bool
    cells: float | None


def make_panels(lines: Sequence[Line]) -> list[Panel]:
    """Panels of a campaign, those of one task and model next to each other.

    Points whose faults are restricted to some places are in none (`rerax.report.places`).

    Args:
        lines: points of a campaign (`summarise_points`).
    """
    workloads: dict[tuple[str, ...], list[Line]] = {}
    for line in lines:
        if line.settings["faulty"] is None:
            workloads.setdefault(workload_of(line), []).append(line)
    titles = titles_of(lines)
    return [Panel(titles[workload], _series(workloads[workload])) for workload in sorted(workloads)]


def titles_of(lines: Sequence[Line]) -> dict[tuple[str, ...], str]:
    """Title of each panel: model and task, and whatever else tells it from the others."""
    workloads = sorted({workload_of(line) for line in lines})
    titles: dict[tuple[str, ...], str] = {}
    for task, model, fault, share in workloads:
        alike = [other for other in workloads if other[:2] == (task, model)]
        title = f"{model} on {task}"
        if len({other[2] for other in alike}) > 1:
            title += f", {fault} faults"
        if len({other[3] for other in alike if other[2] == fault}) > 1:
            title += f", share of SA1 {share}"
        titles[task, model, fault, share] = title
    return titles


def gains(panel: Panel) -> list[Gain]:
    """Paired gains of all series over the first one, wherever they have chips in common."""
    found = []
    first, *others = panel.series
    for place, series in enumerate(others, 1):
        for line in series.lines:
            against = first.at(line.rate)
            if against is None or not len(np.intersect1d(line.chips, against.chips)):
                continue
            summary = paired_difference(line.chips, line.scores, against.chips, against.scores)
            same = line.cells_dense == against.cells_dense
            cells = line.cells / against.cells if line.cells and against.cells else None
            found.append(Gain(place, first.label, line.rate, summary, same, cells))
    return found


def scheme_labels(schemes: Sequence[tuple[Any, ...]]) -> list[str]:
    """What tells schemes apart, short enough for a chart; equal ones are numbered.

    Args:
        schemes: values in the order of `SCHEME`.
    """
    vary = [k for k in range(len(SCHEME)) if len({scheme[k] for scheme in schemes}) > 1]
    vary = vary or [SCHEME.index("encoding"), SCHEME.index("protection")]
    whole = [", ".join(_word(SCHEME[k], scheme[k]) for k in vary) for scheme in schemes]
    short = [text if len(text) <= LONGEST_LABEL else f"{text[:34]}…" for text in whole]
    return [
        text if short.count(text) == 1 else f"{text} #{short[: k + 1].count(text)}"
        for k, text in enumerate(short)
    ]


def _series(lines: Sequence[Line]) -> tuple[Series, ...]:
    schemes: dict[tuple[Any, ...], list[Line]] = {}
    for line in lines:
        schemes.setdefault(scheme_of(line), []).append(line)
    ordered = sorted(schemes, key=plainness)
    return tuple(
        Series(label, tuple(sorted(schemes[scheme], key=lambda line: line.rate)))
        for scheme, label in zip(ordered, scheme_labels(ordered), strict=True)
    )


def _word(name: str, value: Any) -> str:
    """A setting as a label says it."""
    if name == "protection" and value == "none":
        return "unprotected"
    if name == "input_bits":
        return "float inputs" if value is None else f"{value}-bit inputs"
    unit = {"bits": " bits", "bits_per_cell": " bits a cell"}.get(name, "")
    return f"{shown(value)}{unit}"
