"""What the rows of a campaign say, in plain sentences."""

import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from rerax.report.compare import Panel, Series
from rerax.report.format import budget_text, count, hundredths, interval, listed, sentence
from rerax.report.heat_maps import HeatMap, mean_loss
from rerax.report.summary import (
    PointSummary,
    chips_text,
    coarse_yields,
    differ_beyond_chance,
    sampled_note,
    share_digits,
    unprotected_matrices,
    yield_interval_kind,
)
from rerax.stats import passes
from rerax.stats.stopping import Rule
from rerax.values import rate_text

MOST_NAMED = 4
"""Series, rates or places that one sentence names; of more it says how many there are."""
_HUB_ID = re.compile(r"[A-Za-z0-9_-][\w.-]*/[\w.-]+")


class Finding(NamedTuple):
    """A sentence or two, and what they are about."""

    topic: str
    text: str


def describe_campaign(points: Sequence[PointSummary], panels: Sequence[Panel]) -> str:
    """Say in one sentence what was run.

    Args:
        points: points of the campaign.
        panels: their panels (`make_panels`).
    """
    rates = sorted({point.rate for point in points})
    texts = list(map(rate_text, rates))
    span = f"({listed(texts)})" if len(texts) <= 6 else f"up to {texts[-1]}"
    pairs = len({(point.settings["model"], point.settings["task"]) for point in points})
    series = {len(panel.series) for panel in panels} or {1}
    parts = [
        f"{pairs} pairs of model and task" if pairs > 1 else "",
        f"{'up to ' if len(series) > 1 else ''}{max(series)} ways of storing the model"
        if max(series) > 1
        else "",
        f"{count(len(rates), 'fault rate')} {span}",
        chips_text(points) if any(not point.clean for point in points) else "",
    ]
    answered = {(point.examples, _drawn(point)) for point in points if not point.clean}
    answered = answered or {(point.examples, "") for point in points}
    examples = listed(
        [f"about {drawn} of {n:,}" if drawn else f"{n:,}" for n, drawn in sorted(answered)]
    )
    return sentence(f"{', '.join(filter(None, parts))}; every chip scored on {examples} examples")


def _drawn(point: PointSummary) -> str:
    """Give the number of examples that each chip draws; nothing where it answers all."""
    return str(point.settings["sampled"] or "").partition(":")[0]


def panel_findings(panel: Panel, budget: float) -> list[Finding]:
    """Say what a panel scores without faults, where it loses the budget, and what helps.

    Two rates are told: the first at which the plainest series loses the budget, and the highest
    one that most series have. Neither is picked for a large gain; the others are in the tables.

    Args:
        panel: what is compared.
        budget: loss of score that a passing chip may have.
    """
    found = [Finding("No faults", _clean_scores(panel)), *_losses(panel, budget)]
    faulty = sorted({point.rate for point in panel.points if not point.clean})
    first = _first_loss(panel.series[0], budget)
    told = {max(faulty, key=lambda rate: (len(_series_at(panel, rate)), rate))} if faulty else set()
    told |= set() if first is None else {first.rate}
    found += [Finding(f"Rate {rate_text(rate)}", _at_rate(panel, rate)) for rate in sorted(told)]
    others = dict.fromkeys(
        panel.series[gain.series].label for gain in panel.gains if not gain.same_cells
    )
    if others:
        text = (
            f"{_named(list(others))} and {panel.series[0].label} take different numbers of cells, "
            "or other tiles: their chips are paired by number, but other cells are stuck."
        )
        found.append(Finding("Pairing", text))
    return found


def worst_places(maps: Sequence[HeatMap]) -> list[Finding]:
    """Name the place of each heat map where faults cost most."""
    return [Finding(heat.title, _worst_place(heat)) for heat in maps]


def find_warnings(
    points: Sequence[PointSummary],
    platforms: Sequence[str],
    budget: float,
    runs: Sequence[Mapping[str, Any]],
) -> list[Finding]:
    """Say what makes the numbers of a campaign less sure than they look.

    Args:
        points: points of the campaign.
        platforms: platforms that the rows name.
        budget: loss of score that a passing chip may have.
        runs: lines of the folder's provenance (`campaign.sidecars.read_provenance`).
    """
    told = [*map(sentence, (*coarse_yields(points, budget), *sampled_note(points)))]
    degenerate = sum(point.degenerate for point in points)
    if degenerate:
        told.append(
            f"{count(degenerate, 'chip')} gave constant or not finite predictions; "
            f"{'it counts' if degenerate == 1 else 'they count'} with the score that is left."
        )
    if len(platforms) > 1:
        told.append(
            f"Rows come from {len(platforms)} platforms ({listed(sorted(platforms))}), whose "
            "scores may differ in the last examples."
        )
    told += [f"{text}." for text in unprotected_matrices(points, runs)]
    return [Finding("Warning", text) for text in told]


def explain_statistics(
    points: Sequence[PointSummary], stopped: Rule | None, budget: float
) -> list[str]:
    """Say how the numbers of the page are to be read.

    Args:
        points: all points.
        stopped: the rule that decided how many chips there are, if one did.
        budget: loss of score that a passing chip may have.
    """
    kind = yield_interval_kind(points, stopped)
    told = [
        "Intervals are over chips, never over examples; those of a share are "
        f"{kind}. A chip passes when its score is at least the float score less "
        f"{budget_text(budget)}. Without faults and without noise, all chips are one.",
        "Each interval is for one comparison, and not widened for the number of them.",
    ]
    if stopped is not None:
        told.append(
            f"Chips were added until the standard error was at most {hundredths(stopped.until_se)} "
            f"points, up to {stopped.max_chips:,}."
        )
    return told


def without_folders(command: str) -> str:
    """Shorten the paths of a command line to their last part: a page names no folders.

    Example:
        >>> without_folders("rerax sweep --model /home/anna/mini --fault map:/data/a.parquet")
        'rerax sweep --model mini --fault map:a.parquet'
    """
    try:
        words = shlex.split(command)
    except ValueError:  # nobody checks a log
        return ""
    return shlex.join(",".join(map(_last_part, word.split(","))) for word in words)


def _last_part(text: str) -> str:
    """Take the last part of a path, which may stand behind what it is a file of."""
    kind, path = re.fullmatch(r"(map:|plan:|)(.*)", text, re.DOTALL).groups()  # type: ignore[union-attr]
    short = text if _HUB_ID.fullmatch(path) else kind + path.rstrip("/").rpartition("/")[2]
    return short if "/" in path else text


def _named(names: Sequence[str]) -> str:
    return listed(names, most=MOST_NAMED)


def _clean_scores(panel: Panel) -> str:
    floats = sorted({hundredths(point.float_score) for point in panel.points})
    clean: dict[str, list[str]] = {}
    for series in sorted(panel.series, key=lambda series: series.points[0].clean_score):
        clean.setdefault(hundredths(series.points[0].clean_score), []).append(series.label)
    ends = dict.fromkeys((next(iter(clean)), list(clean)[-1]))
    stored = [f"{end} %{f' ({_named(clean[end])})' if len(ends) > 1 else ''}" for end in ends]
    return (
        f"The model scores {listed(floats)} % as loaded (float score) and "
        f"{' to '.join(stored)} as stored without faults (clean score)."
    )


def _losses(panel: Panel, budget: float) -> list[Finding]:
    """Say at which rate the mean of each series first loses more than the budget."""
    lost: dict[float, list[str]] = {}
    kept: dict[float, list[str]] = {}
    unsure = []
    for series in panel.series:
        first = _first_loss(series, budget)
        highest = series.points[-1].rate
        if first is not None:
            lost.setdefault(first.rate, []).append(series.label)
            ends = first.summary.interval
            if ends is not None and _within(ends[1], first, budget):
                unsure.append(series.label)
        elif not series.points[-1].clean:
            kept.setdefault(highest, []).append(series.label)
    points, told = budget_text(budget), []
    if lost:
        told.append(
            f"Of the rates run, the mean first loses more than {points} of the float score "
            f"{_steps('at', panel, lost)}."
        )
    if unsure:
        every = len(unsure) == sum(map(len, lost.values()))
        whose = "" if every else f" for {_named(unsure)}"
        told.append(f"The 95 % interval there still reaches the budget{whose}: run more chips.")
    if kept:
        told.append(
            f"The mean stays within {points} of the float score {_steps('up to', panel, kept)}."
        )
    return [Finding("Score lost", " ".join(told))] if told else []


def _steps(how: str, panel: Panel, names: Mapping[float, Sequence[str]]) -> str:
    """Name rates and the series of each; of many rates the first few and the last."""
    texts = [
        f"{how} {rate_text(rate)}"
        + ("" if len(panel.series) == 1 else f" with {_named(names[rate])}")
        for rate in sorted(names)
    ]
    if len(texts) > MOST_NAMED:
        texts[2:-1] = [f"{how} {len(texts) - 3} rates between with others"]
    return "; ".join(texts)


def _first_loss(series: Series, budget: float) -> PointSummary | None:
    """Find the lowest rate at which the mean of a series loses the budget."""
    faulty = (point for point in series.points if not point.clean)
    return next((p for p in faulty if not _within(p.summary.mean, p, budget)), None)


def _within(score: float, point: PointSummary, budget: float) -> bool:
    """Decide whether a score is within the budget, as it is decided for chips."""
    return bool(passes(np.array([score]), point.float_score, budget)[0])


def _series_at(panel: Panel, rate: float) -> dict[int, PointSummary]:
    """Find the points of a rate, by the places of their series."""
    found = {place: series.at(rate) for place, series in enumerate(panel.series)}
    return {place: point for place, point in found.items() if point is not None}


def _at_rate(panel: Panel, rate: float) -> str:
    """Say which series has the highest mean of a rate, what it gains, and how many chips pass."""
    here, first = _series_at(panel, rate), panel.series[0].label
    highest = hundredths(max(point.summary.mean for point in here.values()))
    top = [place for place, point in here.items() if hundredths(point.summary.mean) == highest]
    best, point = top[0], here[top[0]]  # the plainest of those that print alike
    near = [
        panel.series[place].label
        for place, other in here.items()
        if place not in top and not differ_beyond_chance(other, point)
    ]
    text = _name_highest(panel, here, top, highest, bool(near))
    label = panel.series[best].label
    gain = next((g for g in panel.gains if g.rate == rate and g.series == best), None)
    passed = _passing(point)
    passed += f" with {label}" if passed and len(top) > 1 else ""
    if gain is not None:
        s = gain.summary
        text += f"{', ' if len(top) == 1 else f'; {label} is '}{hundredths(s.mean, sign=True)}"
        text += f" points over {first}"
        if s.chips < max(point.summary.chips, here[0].summary.chips):
            text += f" on {count(s.chips, 'common chip')}"
        if s.interval is not None:
            text += f" (95 % interval {interval(s.interval, sign=True)})"
        passed += f", {_passed(here[0])} with {first}" if passed else ""
    if near:
        text += f"; chance may explain the lead over {_named(near)}"
    return f"{text}. {passed}." if passed else f"{text}."


def _name_highest(
    panel: Panel, here: Mapping[int, PointSummary], top: Sequence[int], mean: str, unsure: bool
) -> str:
    """Say whose mean is highest at a rate; "best" only where chance does not explain it."""
    if len(panel.series) == 1:
        return f"The mean is {mean} %"
    names = listed([panel.series[place].label for place in top])
    some = f" of the {len(here)} run there" if len(here) < len(panel.series) else ""
    if len(here) == 1:
        return f"The mean is {mean} % with {names}"
    if len(top) == len(here):
        return f"{names} have the same mean{some}, {mean} %"
    if len(top) > 1:
        return f"{names} share the highest mean{some}, {mean} %"
    if unsure:
        return f"{names} has the highest mean{some}, {mean} %"
    return f"{names} is best{some} with a mean of {mean} %"


def _passed(point: PointSummary) -> str:
    return f"{round((point.passed or 0.0) * point.summary.chips)} of {point.summary.chips:,}"


def _passing(point: PointSummary) -> str:
    """Say how many chips pass; nothing where scores are estimates."""
    if point.passed is None:
        return ""
    if point.passed_interval is None:
        return f"The only chip {'passes' if point.passed else 'fails'}"
    ends = interval(point.passed_interval, digits=share_digits(point))
    return f"{_passed(point)} chips pass (95 % interval {ends} %)"


def _worst_place(heat: HeatMap) -> str:
    """Name the place where faults cost most, those that tie, and those that may."""
    ranked = sorted(heat.cells.items(), key=lambda item: -mean_loss(item[1]))
    worst, most = ranked[0][1], hundredths(mean_loss(ranked[0][1]))
    names = [f"{heat.row_name} {row}, {heat.column_name} {column}" for (row, column), _ in ranked]
    top, near = [], []
    for name, (_, point) in zip(names, ranked, strict=True):
        if hundredths(mean_loss(point)) == most:
            top.append(name)
        elif not differ_beyond_chance(point, worst):
            near.append(name)
    cost = f"{most} points of the clean score on average over {count(worst.summary.chips, 'chip')}"
    if len(top) == len(ranked) > 1:
        return f"Faults cost the same at all {len(ranked)} places: {cost}."
    text = f"Of {count(len(ranked), 'place')}, faults cost most at {_named(top)}: {cost}."
    return f"{text} Chance may explain the lead over {_named(near)}." if near else text
