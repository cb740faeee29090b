"""The findings of a campaign in plain sentences, each computed from its rows. No JAX here."""

import re
import shlex
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from rerax.report.lines import Line, told_apart
from rerax.report.panels import Gain, Panel, Series, gains
from rerax.report.places import HeatMap, loss
from rerax.report.wording import budget_text, count, interval, listed, points
from rerax.stats import passes
from rerax.stats.stopping import Rule
from rerax.values import rate_text

MOST_RATES = 6
"""Rates of a panel that get a sentence each; the rest is in the tables."""
MOST_PLACES = 4
"""Places of a heat map that a sentence names."""
HOW_TO_CITE = (
    "Name the version of rerax and the command that stand under the runs, and publish the folder. "
    "Pruning with trainable masks and copies of the most significant bits in the freed cells "
    "follow Li et al., Zero-Space Cost Fault Tolerance for Transformer-based Language Models on "
    "ReRAM, arXiv 2401.11664; other fault models and protections name their sources in the "
    "documentation."
)
_HUB_ID = re.compile(r"[A-Za-z0-9_-][\w.-]*/[\w.-]+")


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
    workload = f"{kinds} pairs of model and task, " if kinds > 1 else ""
    chips = sorted({line.summary.chips for line in lines if line.rate > 0})
    each = ""
    if chips:
        low = f"{chips[0]:,} to " if len(chips) > 1 else ""
        each = f" {low}{count(chips[-1], 'chip')} a point,"
    examples = listed([f"{n:,}" for n in sorted({line.examples for line in lines})])
    text = (
        f"{workload}{schemes}{count(len(rates), 'fault rate')} ({span});{each} every chip scored "
        f"on {examples} examples. {count(rows, 'row')} of {count(len(lines), 'point')}."
    )
    return text[0].upper() + text[1:]


def without_folders(command: str) -> str:
    """A command line whose paths are their last part alone, since a page names no folders.

    Example:
        >>> without_folders("rerax sweep --model /home/anna/mini --fault map:/data/a.parquet")
        'rerax sweep --model mini --fault map:a.parquet'
    """
    parts = [
        word if _HUB_ID.fullmatch(word) else re.sub(r"[^:,\s]*/", "", word.rstrip("/"))
        for word in shlex.split(command)
    ]
    return shlex.join(parts)


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
    return [Finding(heat.title, _worst_place(heat)) for heat in maps]


def _worst_place(heat: HeatMap) -> str:
    """Where faults cost most, the places that tie, and those that are not told apart from it."""
    ranked = sorted(heat.cells.items(), key=lambda item: -loss(item[1]))
    worst, most = ranked[0][1], points(loss(ranked[0][1]))
    names = [f"{heat.row_name} {row}, {heat.column_name} {column}" for (row, column), _ in ranked]
    lines = [line for _, line in ranked]
    top = [k for k, line in enumerate(lines) if points(loss(line)) == most]
    near = [k for k, line in enumerate(lines) if k not in top and not told_apart(line, worst)]
    cost = f"{most} points of the clean score on average over {count(worst.summary.chips, 'chip')}"
    if len(top) == len(ranked) > 1:
        return f"Faults cost the same at all {len(ranked)} places: {cost}."
    text = f"Of {count(len(ranked), 'place')}, faults cost most at {_places(names, top)}: {cost}."
    return f"{text} Not told apart from it: {_places(names, near)}." if near else text


def _places(names: Sequence[str], picked: Sequence[int]) -> str:
    """The first few of the places picked, and how many more there are."""
    more = [f"and {len(picked) - MOST_PLACES} more"] if len(picked) > MOST_PLACES else []
    return "; ".join([*(names[k] for k in picked[:MOST_PLACES]), *more])


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
    text = f"The float score is {listed(floats)} %; without faults "
    ends = [pick(panel.series, key=_clean_score) for pick in (min, max)]
    low, high = (points(_clean_score(series)) for series in ends)
    if low == high:
        return f"{text}the stored codes score {low} %."
    names = [
        listed([s.label for s in panel.series if points(_clean_score(s)) == end])
        for end in (low, high)
    ]
    return f"{text}the stored codes score {low} % ({names[0]}) to {high} % ({names[1]})."


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
    """The highest mean at a rate and who shares it, its gain, and how many chips pass."""
    here = [(k, line) for k, s in enumerate(panel.series) if (line := s.at(rate)) is not None]
    mean = points(max(line.summary.mean for _, line in here))
    top = [k for k, line in here if points(line.summary.mean) == mean]
    best, line = next(item for item in here if item[0] == top[0])  # of equals the plainest
    label = panel.series[best].label
    if len(here) == 1:
        who = f" with {label}" if len(panel.series) > 1 else ""
        return f"The mean is {mean} %{who}. {_pass(line)}."
    text = _highest(panel, here, top, line, mean)
    passed = _pass(line) if len(top) == 1 else f"{_pass(line)} with {label}"
    (base, reference), name = here[0], panel.series[0].label
    gain = next((g for g in paired if g.rate == rate and g.series == best), None)
    if best == 0 or base != 0 or gain is None:
        return f"{text}. {passed}."
    s = gain.summary
    whose = "" if len(top) == 1 else f"{label} is "
    text += f", {whose}{points(s.mean, sign=True)} points over {name}"
    text += f" on {count(s.chips, 'common chip')}"
    if s.interval is not None:
        text += f" (95 % interval {interval(s.interval, sign=True)}"
        text += ": no sure gain)" if s.interval[0] <= 0 <= s.interval[1] else ")"
    return f"{text}. {passed}; {_passed(reference)} with {name}."


def _highest(
    panel: Panel, here: Sequence[tuple[int, Line]], top: Sequence[int], best: Line, mean: str
) -> str:
    """Who has the highest mean of a rate, alone or not, and from whom it is not told apart."""
    names = listed([panel.series[k].label for k in top])
    near = [
        panel.series[k].label for k, line in here if k not in top and not told_apart(line, best)
    ]
    if len(top) == len(here):
        return f"{names} have the same mean, {mean} %"
    if len(top) > 1:
        text = f"{names} share the highest mean of {len(here)}, {mean} %"
    elif near:
        text = f"{names} has the highest mean of {len(here)}, {mean} %"
    else:
        return f"{names} is best of {len(here)} with a mean of {mean} %"
    return f"{text}, but not told apart from {listed(near)}" if near else text


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
