"""What is compared with what: panels, their series, and what each series gains.

A panel is one model on one task under one fault model; its series are the ways of storing the
model that are compared there. The plainest series comes first and is what the others are
measured against.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from rerax.report.format import setting_text, setting_texts
from rerax.report.summary import (
    SERIES_SETTINGS,
    PointSummary,
    paired,
    panel_key,
    plainest_first,
    series_key,
)
from rerax.stats import Summary

LONGEST_LABEL = 40


@dataclass(frozen=True)
class Series:
    """Points of a panel that differ in rate alone.

    Attributes:
        label: what tells it from the other series of the panel.
        points: its points, rates ascending.
    """

    label: str
    points: tuple[PointSummary, ...]

    @property
    def counted(self) -> tuple[PointSummary, ...]:
        """Its points whose chips are known to pass or fail."""
        return tuple(point for point in self.points if point.passed is not None)

    def at(self, rate: float) -> PointSummary | None:
        """Find the point of a rate."""
        return next((point for point in self.points if point.rate == rate), None)


@dataclass(frozen=True)
class Gain:
    """What one series gains over the first of its panel, at one rate.

    Attributes:
        series: its place in the panel.
        over: the first series' label.
        rate: fault rate.
        summary: of the differences of scores, chip by chip (`rerax.stats.paired_difference`).
        same_cells: whether both have equally many base cells, for line faults and clusters in
            tiles alike, so that the same ones are stuck.
        cells: cells of the one, spare arrays included, over those of the other; None where rows of
            an early version do not say.
    """

    series: int
    over: str
    rate: float
    summary: Summary
    same_cells: bool
    cells: float | None


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
        return sorted({point.rate for series in self.series for point in series.points})

    @property
    def is_faulty(self) -> bool:
        """Whether anything is wrong with any of its chips."""
        return not all(point.clean for point in self.points)

    @property
    def has_yields(self) -> bool:
        """Whether there are faulty chips that are known to pass or fail."""
        return any(point.rate for series in self.series for point in series.counted)

    @property
    def points(self) -> list[PointSummary]:
        """All its points."""
        return [point for series in self.series for point in series.points]

    @cached_property
    def gains(self) -> list[Gain]:
        """What each series gains over the first one, wherever they have chips in common."""
        first, *others = self.series
        return [
            _gain(place, point, first.label, base, summary)
            for place, series in enumerate(others, 1)
            for point in series.points
            if (base := first.at(point.rate)) is not None
            and (summary := paired(point, base)) is not None
        ]


def make_panels(points: Sequence[PointSummary]) -> list[Panel]:
    """Sort the points of a campaign into panels, those of one task and model side by side.

    Points whose faults are restricted to some places are in none (`rerax.report.heat_maps`).

    Args:
        points: points of a campaign (`summarise_points`).
    """
    panels: dict[tuple[str, ...], list[PointSummary]] = {}
    for point in points:
        if point.settings["faulty"] is None:
            panels.setdefault(panel_key(point), []).append(point)
    titles = panel_titles(points)
    return [Panel(titles[key], _series(panels[key])) for key in sorted(panels)]


def panel_titles(points: Sequence[PointSummary]) -> dict[tuple[str, ...], str]:
    """Name each panel by model and task, and whatever else tells it from the others."""
    shares = {panel_key(point): point.settings["sa1_share"] for point in points}
    panels = sorted(shares)
    share_of = dict(zip(shares, setting_texts(list(shares.values())), strict=True))
    titles: dict[tuple[str, ...], str] = {}
    for task, model, fault, share, sampled in panels:
        alike = [other for other in panels if other[:2] == (task, model)]
        title = f"{model} on {task}"
        if len({other[2] for other in alike}) > 1:
            title += f", {fault} faults"
        if len({other[3] for other in alike if other[2] == fault}) > 1:
            title += f", share of SA1 {share_of[task, model, fault, share, sampled]}"
        if sampled != "None" and len({other[4] for other in alike}) > 1:
            title += f", about {sampled.partition(':')[0]} examples a chip"
        titles[task, model, fault, share, sampled] = title
    return titles


def series_labels(keys: Sequence[tuple[Any, ...]]) -> list[str]:
    """Name series by the settings in which they differ; long names are cut and numbered.

    Args:
        keys: what `series_key` says of each.
    """
    vary = [k for k in range(len(SERIES_SETTINGS)) if len({key[k] for key in keys}) > 1]
    vary = vary or [SERIES_SETTINGS.index("encoding"), SERIES_SETTINGS.index("protection")]
    whole = [", ".join(_setting_label(SERIES_SETTINGS[k], key[k]) for k in vary) for key in keys]
    short = [text if len(text) <= LONGEST_LABEL else f"{text[:34]}…" for text in whole]
    return [
        text if short.count(text) == 1 else f"{text} #{short[: k + 1].count(text)}"
        for k, text in enumerate(short)
    ]


def _gain(place: int, point: PointSummary, over: str, base: PointSummary, summary: Summary) -> Gain:
    return Gain(
        place,
        over,
        point.rate,
        summary,
        point.cells_dense == base.cells_dense and _are_tiled_alike(point, base),
        point.cells / base.cells if point.cells and base.cells else None,
    )


def _are_tiled_alike(point: PointSummary, base: PointSummary) -> bool:
    """Tell whether faults of whole lines and clusters, which know tiles, can be on the same cells.

    A wordline ends with its tile's width, a bitline with its height. The places of other faults
    depend on the cell's number alone.
    """
    kind = str(point.settings["fault"]).partition(":")[0]
    sides = {"uniform": (), "flip": (), "map": (), "wordline": (1,), "bitline": (0,)}
    tiles = [str(one.settings["tile"]).split("x") for one in (point, base)]
    return all(tiles[0][side] == tiles[1][side] for side in sides.get(kind, (0, 1)))


def _series(points: Sequence[PointSummary]) -> tuple[Series, ...]:
    found: dict[tuple[Any, ...], list[PointSummary]] = {}
    for point in points:
        found.setdefault(series_key(point), []).append(point)
    ordered = sorted(found, key=plainest_first)
    return tuple(
        Series(label, tuple(sorted(found[key], key=lambda point: point.rate)))
        for key, label in zip(ordered, series_labels(ordered), strict=True)
    )


def _setting_label(name: str, value: Any) -> str:
    """Write a setting as a label says it."""
    if name == "protection" and value == "none":
        return "unprotected"
    if name == "input_bits":
        return "float inputs" if value is None else f"{value}-bit inputs"
    if name == "misread":
        return f"misread {setting_text(value)}"
    unit = {"bits": " bits", "bits_per_cell": " bits a cell"}.get(name, "")
    return f"{setting_text(value)}{unit}"
