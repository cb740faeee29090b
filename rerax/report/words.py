"""The findings of a campaign in plain sentences, each computed from its rows. No JAX here."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from rerax.campaign.stopping import Rule
from rerax.report.lines import Line
from rerax.report.panels import Gain, Panel, Series, gains
from rerax.report.places import HeatMap, loss
from rerax.report.wording import budget_text, count, interval, listed, points, rate_text
from rerax.stats import passes

MOST_RATES = 6
"""Rates of a panel that get a sentence each; the rest is in the tables."""


class Finding(NamedTuple):
    """A sentence or two, and what they are about."""

    topic: str
    text: str


def what_was_run(lines: Sequence[Line], panels: Sequence[Panel], rows: int) -> str:
    """One sentence on what the folder holds.

    Args:
        lines: points of the campaign.
        panels: their panels (`make_panels`).
        rows: rows of the folder.
    """
    rates = sorted({line.rate for line in lines})
    span = listed([rate_text(rate) for rate in rates], most=8)
    most = max((len(panel.series) for panel in panels), default=0)
    schemes = f"{count(most, 'way')} of storing the model at " if most > 1 else ""
    kinds = len({tuple(line.settings[n] for n in ("model", "task")) for line in lines})
    subject = f"{kinds} pairs of model and task, " if kinds > 1 else ""
    chips = sorted({line.summary.chips for line in lines if line.rate > 0})
    each = ""
    if chips:
        low = f"{chips[0]:,} to " if len(chips) > 1 else ""
        each = f" {low}{count(chips[-1], 'chip')} a point,"
    examples = listed([f"{n:,}" for n in sorted({line.examples for line in lines})])
    text = (
        f"{subject}{schemes}{count(len(rates), 'fault rate')} ({span});{each} every chip scored "
        f"on {examples} examples. {count(rows, 'row')} of {count(len(lines), 'point')}."
    )
    return text[0].upper() + text[1:]


def findings(panel: Panel, budget: float) -> list[Finding]:
    """What the rows of a panel say: the clean score, where the budget is lost, who is best.

    Args:
        panel: what is compared.
        budget: loss of score that a passing chip may have.
    """
    found = [Finding("No faults", _clean(panel)), *_losses(panel, budget)]
    rates = [rate for rate in panel.rates if rate > 0]
    paired = gains(panel)
    told = [Finding(rate_text(rate), _at_rate(panel, rate, paired)) for rate in _some(rates)]
    if len(told) < len(rates):
        more = f"{len(rates) - len(told)} more rates are in the table of points."
        told.append(Finding("Other rates", more))
    if any(not gain.same_cells for gain in paired):
        names = [s.label for k, s in enumerate(panel.series) if _other_cells(k, paired)]
        text = (
            f"{listed(names)} and {panel.series[0].label} need different numbers of cells for the "
            "same model, so their chips are paired by number but not cell by cell."
        )
        told.append(Finding("Pairing", text))
    return [*found, *told]


def hot_spots(maps: Sequence[HeatMap]) -> list[Finding]:
    """Which place of each heat map costs most."""
    found = []
    for heat in maps:
        (row, column), worst = max(heat.cells.items(), key=lambda item: loss(item[1]))
        text = (
            f"Of {count(len(heat.cells), 'place')}, faults cost most at {heat.row_name} {row}, "
            f"{heat.column_name} {column}: {points(loss(worst))} points of the clean score on "
            f"average over {count(worst.summary.chips, 'chip')}."
        )
        found.append(Finding(heat.title, text))
    return found


def cautions(
    lines: Sequence[Line], platforms: Sequence[str], stopped: Rule | None, budget: float
) -> list[str]:
    """What a reader must know before trusting the numbers.

    Args:
        lines: points of the campaign.
        platforms: platforms that the rows name.
        stopped: the rule that decided how many chips there are, if one did.
        budget: loss of score that a passing chip may have.
    """
    kind = "Clopper and Pearson's" if stopped is not None else "Wilson's"
    told = [
        "The chip is the unit of every statistic: intervals are over chips, never over examples. "
        f"A chip passes when its score is at least the float score less {budget_text(budget)}; "
        f"intervals of a share are {kind}. Rate 0 has no faults, so all its chips are one.",
        "Where several schemes are compared, each interval is for one comparison and is not "
        "widened for the number of them.",
    ]
    if stopped is not None:
        told.append(
            f"Chips were added until the standard error was at most {points(stopped.until_se)} "
            f"points, up to {stopped.max_chips:,}."
        )
    degenerate = sum(line.degenerate for line in lines)
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
    return told


def _clean(panel: Panel) -> str:
    """The references: parameters as loaded, and codes without faults."""
    floats = sorted({points(line.float_score) for line in panel.lines})
    clean = {series.label: points(series.lines[0].clean_score) for series in panel.series}
    text = f"The float score is {listed(floats)} %; without faults "
    if len(set(clean.values())) == 1:
        return f"{text}the stored codes score {next(iter(clean.values()))} %."
    best = max(panel.series, key=_clean_score)
    worst = min(panel.series, key=_clean_score)
    return (
        f"{text}the stored codes score {clean[worst.label]} % ({worst.label}) to "
        f"{clean[best.label]} % ({best.label})."
    )


def _clean_score(series: Series) -> float:
    return series.lines[0].clean_score


def _losses(panel: Panel, budget: float) -> list[Finding]:
    """At which rate the mean of each series first loses more than the budget."""
    lost: dict[float, list[str]] = {}
    kept, unsure, highest = [], [], 0.0
    for series in panel.series:
        faulty = [line for line in series.lines if line.rate > 0]
        first = next((line for line in faulty if not _mean_passes(line, budget)), None)
        if first is not None:
            lost.setdefault(first.rate, []).append(series.label)
            ends = first.summary.interval
            if ends is not None and _within(ends[1], first, budget):
                unsure.append(f"{series.label} at {rate_text(first.rate)}")
        elif faulty:
            kept.append(series.label)
            highest = max(highest, faulty[-1].rate)
    told = []
    if lost:
        steps = [f"at {rate_text(r)}{_whose('with', panel, lost[r])}" for r in sorted(lost)]
        told.append(
            f"Of the rates run, the mean first loses more than {budget_text(budget)} of the "
            f"float score {', '.join(steps)}."
        )
    if kept:
        told.append(
            f"The mean stays within {budget_text(budget)} of the float score at every rate run, "
            f"up to {rate_text(highest)}{_whose('with', panel, kept)}."
        )
    if unsure:
        whose = _whose("for", panel, unsure)
        told.append(
            f"The 95 % interval still reaches the budget there{whose}: more chips would settle it."
        )
    return [Finding("Budget", " ".join(told))] if told else []


def _whose(how: str, panel: Panel, names: Sequence[str]) -> str:
    """Which series are meant; nothing where there is one only."""
    return "" if len(panel.series) == 1 else f" {how} {listed(names)}"


def _mean_passes(line: Line, budget: float) -> bool:
    return _within(line.summary.mean, line, budget)


def _within(score: float, line: Line, budget: float) -> bool:
    """Whether a score is within the budget, as it is decided for chips."""
    return bool(passes(np.array([score]), line.float_score, budget)[0])


def _at_rate(panel: Panel, rate: float, paired: Sequence[Gain]) -> str:
    """Best mean at a rate with its gain over the first series, and how many chips pass."""
    here = [(k, line) for k, s in enumerate(panel.series) if (line := s.at(rate)) is not None]
    best, line = max(here, key=lambda item: item[1].summary.mean)
    label, mean = panel.series[best].label, f"{points(line.summary.mean)} %"
    if len(here) == 1:
        who = f" with {label}" if len(panel.series) > 1 else ""
        return f"The mean is {mean}{who}. {_pass(line)}."
    (base, reference), name = here[0], panel.series[0].label
    gain = next((g for g in paired if g.rate == rate and g.series == best), None)
    text = f"{label} is best of {len(here)} with a mean of {mean}"
    if best == 0 or base != 0 or gain is None:
        return f"{text}. {_pass(line)}."
    s = gain.summary
    text += f", {points(s.mean, sign=True)} points over {name} on {count(s.chips, 'common chip')}"
    if s.interval is not None:
        text += f" (95 % interval {interval(s.interval, sign=True)}"
        text += ": no sure gain)" if s.interval[0] <= 0 <= s.interval[1] else ")"
    return f"{text}. {_pass(line)}; {_passed(reference)} with {name}."


def _passed(line: Line) -> str:
    return f"{round(line.passed * line.summary.chips)} of {line.summary.chips:,}"


def _pass(line: Line) -> str:
    """How many of its chips pass."""
    if line.passed_interval is None:
        return f"The only chip {'passes' if line.passed else 'fails'}"
    ends = interval(line.passed_interval, digits=0)
    share = points(line.passed, digits=0)
    return f"{_passed(line)} chips pass ({share} %, 95 % interval {ends})"


def _some(rates: Sequence[float]) -> list[float]:
    """At most `MOST_RATES` of them, the ends included."""
    if len(rates) <= MOST_RATES:
        return list(rates)
    picked = np.linspace(0, len(rates) - 1, MOST_RATES).round().astype(int)
    return [rates[k] for k in picked]


def _other_cells(place: int, paired: Sequence[Gain]) -> bool:
    return any(gain.series == place and not gain.same_cells for gain in paired)
