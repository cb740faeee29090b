"""What `nine_tasks.py` compares, and what its rows say: rates borne, headlines, yields, cost."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy.stats import gmean
from study import markdown as as_table
from zero_cells import Curve, fold, rows_of_curve, scores, span

from rerax.campaign import store
from rerax.campaign.manifest import MANIFEST
from rerax.campaign.sidecars import read_provenance
from rerax.glue.tasks import TASKS
from rerax.report.format import budget_text, digits_of_share, hundredths, interval
from rerax.stats import doubtful, first_misses, mean_interval, passes, yield_interval
from rerax.stats.share import ROUNDING

AT = 0.01
"""Rate of the headlines."""
BUDGETS = (0.01, 0.02, 0.05)
MARKS = "os^DvPX"
"""Of the curves in figures."""
FOLDERS = ("nine_tasks", "zero_cells", "rivals")
MODELS = ("dense", "35")
SCORES = {"cola": "Matthews", "mrpc": "acc., F1", "qqp": "acc., F1", "stsb": "Pearson, Spearman"}
FACTS = ("task", "seed", "split", "seen", "majority", "se", "learned", "models", "data_hash")
"""What the rows do not say."""
LINE = ("rate_1", "rate_2", "T_1", "T_2", "rates", "score_at_rate_0")
"""What is kept of a line of `zero_cells.py`."""
KEY = ["model", "encoding", "polarity", "protection", "fault", "rate", "chip", "sampled"]


@dataclass(frozen=True)
class Plan:
    """How much of a task is run.

    Attributes:
        chips: of each point.
        rates: most of a curve, AT among them.
        seeds: of its models.
        headline: whether AT has more chips.
        drawn: whether chips draw their examples from the whole dev set.
    """

    chips: int = 32
    rates: int = 6
    seeds: tuple[int, ...] = (0,)
    headline: bool = False
    drawn: bool = False


PLANS = {
    **{task: Plan() for task in TASKS},
    "sst2": Plan(64, 7, (0, 1, 2), headline=True),
    "stsb": Plan(64, 7, (0, 1, 2), headline=True),
    "qnli": Plan(64, 7, headline=True, drawn=True),
}
CURVES = {
    "bare": Curve("dense", "offset", "plain", "none", (1e-3, 2e-3, 4e-3)),
    "pruned": Curve("35", "offset", "plain", "none", (1e-3, 2e-3, 4e-3)),
    "vote": Curve("35", "offset", "plain", "msb:2x3:pruned", (4e-3, 8e-3, 1.5e-2)),
    "code": Curve("35", "offset", "alternate", "code:golay:4:pruned", (0.03, 0.05, 0.08)),
    "tested": Curve("dense", "offset", "alternate", "closest+sign", (0.03, 0.05, 0.08)),
    "both": Curve("35", "offset", "alternate", "code:golay:4:pruned:closest", (0.05, 0.08, 0.12)),
    "copies": Curve("dense", "offset", "alternate", "duplicate:3", (0.03, 0.05, 0.08)),
}
"""The paper's vote, a good scheme for chips that nobody has tested, two for tested ones, copies."""
IN_WORDS = {
    "bare": "none, dense model",
    "pruned": "none, pruned model",
    "vote": "the two top bits voted three-fold (the paper's)",
    "code": "Golay code words over the four top bits",
    "tested": "nearest values and signs, dense model",
    "both": "Golay code words, written around faults",
    "copies": "three copies of everything, dense model",
}


def rows_of(out: Path, facts: dict[str, Any], folders: Sequence[str] = FOLDERS) -> pd.DataFrame:
    """Rows of a task and seed, models named TASK-KIND as in `zero_cells.py`.

    Args:
        out: where the folders are.
        facts: the task, and the hashes of its models and examples.
        folders: which of them.
    """
    task, parts = facts["task"], []
    for folder in folders:
        if (out / folder / MANIFEST).is_file():
            rows = store.read_rows(out / folder).to_pandas()
            own = rows.model_hash.isin(facts["models"].values())
            parts.append(rows[own & (rows.task == task) & (rows.data_hash == facts["data_hash"])])
    if not parts:
        parts = [pd.DataFrame(columns=["model_hash", "score", "clean_score", *KEY])]
    rows = pd.concat(parts)
    kinds = {hashed: f"{task}-{kind}" for kind, hashed in facts["models"].items()}
    rows = rows.assign(model=rows.model_hash.map(kinds))
    return rows.drop_duplicates(KEY)


def tables_of(facts: dict[str, Any], out: Path, chips: int) -> dict[str, Any]:
    """What the rows of a task and seed say.

    Args:
        facts: FACTS of it.
        out: where the folders are.
        chips: of each point that yield curves go by; rates and headlines go by all.
    """
    task, rows = facts["task"], rows_of(out, facts)
    few = rows[rows.chip < chips]
    lines = {
        (line["model"], line["polarity"], line["protection"]): line
        for line in (fold(rows, task, list(CURVES.values())) if facts["learned"] else [])
    }
    found: dict[str, Any] = {**facts, "examples": int(rows.examples.iloc[0])}
    found["float_scores"] = {kind: float_score(rows, task, kind) for kind in MODELS}
    found["curves"] = {}
    for label, curve in CURVES.items():
        dense = found["float_scores"]["dense"]
        line = lines.get((curve.model, curve.polarity, curve.protection), {})
        one = {key: line[key] for key in LINE if key in line}
        own = rows_of_curve(rows, curve)
        if len(own):
            one |= {"knows": own.knows.iloc[0], "cells": int(own.cells.iloc[0])}
        score = scores(rows[rows.rate == AT], curve)
        if len(score):
            reference = None if PLANS[task].drawn else dense
            one |= headline(score.loc[AT].to_numpy(), reference, PLANS[task].headline)
        if line and not PLANS[task].drawn:
            followed = scores(few, curve)
            one["fails first at"] = first_failure(followed, dense)
            one["yields at"] = yield_curve(followed, dense)
            one["chips followed"] = followed.shape[1]
            one["rates of yields"] = followed.index.to_list()
        if one:
            found["curves"][label] = one
    return found


def float_score(rows: pd.DataFrame, task: str, kind: str) -> float | None:
    """Float score of a model, None without rows of it."""
    own = rows[rows.model == f"{task}-{kind}"].float_score
    return None if own.empty else float(own.iloc[0])


def headline(chips: np.ndarray, reference: float | None, chosen: bool) -> dict[str, Any]:
    """Mean at AT with its interval, and the yields by each budget.

    Args:
        chips: scores.
        reference: float score of the dense model; None where scores are estimates, whose yield
            says nothing.
        chosen: whether the spread of scores decides how many chips there are.
    """
    low, high = mean_interval(chips) if len(chips) > 1 else (math.nan, math.nan)
    found = {
        "chips": len(chips),
        "mean": float(chips.mean()),
        "sd": float(chips.std(ddof=1)) if len(chips) > 1 else None,
        "interval": [float(low), float(high)],
        "doubtful": bool(doubtful(chips)),
    }
    if reference is not None:
        good = {f"{b:g}": int(passes(chips, reference, b).sum()) for b in BUDGETS}
        found["yields"] = {
            b: [k / len(chips), *yield_interval(k, len(chips), stopped_early=chosen)]
            for b, k in good.items()
        }
    return found


def yield_curve(score: pd.DataFrame, reference: float) -> dict[str, list[float]]:
    """Shares of chips within a budget of a reference, one for each rate, by budget."""
    return {f"{b:g}": passes(score.to_numpy(), reference, b).mean(axis=1).tolist() for b in BUDGETS}


def first_failure(score: pd.DataFrame, reference: float) -> list[float | None]:
    """Quartiles of the rate at which a chip is first a point below a reference."""
    rates = score.index.to_numpy()
    failed = first_misses(rates, passes(score.to_numpy(), reference, BUDGETS[0]))
    ends = np.quantile(np.nan_to_num(failed, nan=np.inf), (0.25, 0.5, 0.75), method="inverted_cdf")
    return [float(end) if np.isfinite(end) else None for end in ends]


def cost(out: Path) -> dict[str, float]:
    """Chip evaluations and hours of the runs in FOLDERS that were not cut off."""
    told = [
        entry
        for folder in FOLDERS
        if (out / folder / MANIFEST).is_file()
        for entry in read_provenance(out / folder)
        if "seconds" in entry
    ]
    hours = sum(entry["seconds"] for entry in told) / 3600
    return {"chips": sum(entry["chips"] for entry in told), "hours": hours}


def title(one: dict[str, Any]) -> str:
    """Task, score, seed, and what is to be known of its data."""
    notes = [SCORES.get(one["task"], "accuracy"), f"seed {one['seed']}"]
    notes += ["own split"] * (one["split"] != "validation") + ["source seen"] * one["seen"]
    return f"{one['task']} ({', '.join(notes)})"


def markdown(found: Sequence[dict[str, Any]]) -> str:
    """Rates at which means are two points below the dense model, a row for each task and seed.

    Tasks without rows are named too.
    """
    heads = ["task", "examples", "larger class", "dense (SE)", "pruned"]
    heads += [_said(label) for label in CURVES]
    table = []
    for one in found:
        row = [title(one), f"{one['examples']:,}", hundredths(one["majority"], digits=1)]
        error = f" ({hundredths(one['se'], digits=1)})"
        row += [without_faults(one, "bare", error), without_faults(one, "pruned")]
        for curve in (one["curves"].get(label, {}) for label in CURVES):
            text = "not learned"
            if one["learned"]:
                text = span(curve.get("rate_2"), ".2g", min(curve.get("rates", [0.0])))
                if (curve.get("T_2") or [None])[0]:
                    text += "; " + span(curve["T_2"], ".1f").replace(" (", " × (")
            row.append(text)
        table.append(row)
    lacking = [task for task in TASKS if task not in {one["task"] for one in found}]
    table += [[task, "not run", *[""] * (len(heads) - 2)] for task in lacking]
    return as_table(heads, [*table, mean_of_tasks(found)])


def without_faults(one: dict[str, Any], label: str, error: str = "") -> str:
    """Score of a curve's model in float and, where it has a curve, in codes."""
    score = one["float_scores"][CURVES[label].model]
    codes = one["curves"].get(label, {}).get("score_at_rate_0")
    if score is None:
        return ""
    return f"{hundredths(score)}{error}" + ("" if codes is None else f"; {hundredths(codes)}")


def mean_of_tasks(found: Sequence[dict[str, Any]]) -> list[str]:
    """The last row: geometric means of T over tasks, each a mean over its seeds.

    All columns are of the same tasks: those that were learned and have a T for every protection.
    """
    ratios = ratios_of_tasks(found)
    if ratios.empty:
        return ["no T of all protections yet", *[""] * (4 + len(CURVES))]
    shown = {label: f"{mean:.1f} ×" for label, mean in ratios.agg(gmean).items()}
    first = f"geometric mean of T: {', '.join(ratios.index)}"
    return [first, *[""] * 4, *(shown.get(label, "") for label in CURVES)]


def ratios_of_tasks(found: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """T of each protection, a row for each task: the geometric mean over its seeds.

    Only tasks that were learned, and seeds with a T of every protection.
    """
    labels = [label for label in CURVES if not CURVES[label].is_plain]
    return _of_tasks([one for one in found if _is_whole(one)], labels, "T_2")


def summary(found: Sequence[dict[str, Any]]) -> str:
    """What each scheme knows, takes and bears: geometric mean (its lowest and highest task).

    Over all tasks that have a T of every protection.
    """
    whole, table = [one for one in found if _is_whole(one)], []
    if not whole:
        return "no T of all protections yet"
    ratios, rates = ratios_of_tasks(found), _of_tasks(whole, list(CURVES), "rate_2")
    heads = ["protection", "knows of the chip", "cells", "fault rate borne"]
    heads += ["times that of the same model without"]
    for label, words in IN_WORDS.items():
        first, bare = (whole[0]["curves"][key] for key in (label, "bare"))
        cells = f"{first['cells'] / bare['cells']:.3g}"
        times = "" if label not in ratios else _range(ratios[label], ".1f")
        table.append([words, first["knows"], cells, _range(rates[label], "#.2g"), times])
    return as_table(heads, table)


def _is_whole(one: dict[str, Any]) -> bool:
    """Whether a task was learned, and this seed has a T of every protection."""
    protected = (one["curves"].get(label, {}) for label in CURVES if not CURVES[label].is_plain)
    return one["learned"] and all((curve.get("T_2") or [None])[0] for curve in protected)


def _of_tasks(found: Sequence[dict[str, Any]], labels: Sequence[str], name: str) -> pd.DataFrame:
    """A value of each curve, a row for each task: the geometric mean over its seeds."""
    values = [
        {"task": one["task"], **{label: one["curves"][label][name][0] for label in labels}}
        for one in found
    ]
    rows = pd.DataFrame(values, columns=["task", *labels]).set_index("task").astype(float)
    return rows.groupby("task", sort=False).agg(gmean)


def headlines(found: Sequence[dict[str, Any]]) -> str:
    """Mean scores at AT with intervals and chips, a row a task and seed; * marks `doubtful`."""
    heads, table = ["task", *(_said(label) for label in CURVES)], []
    for one in found:
        row = [title(one)]
        for curve in (one["curves"].get(label) for label in CURVES):
            if "mean" not in (curve or {}):
                row.append("not run")
                continue
            low, high = (hundredths(end, digits=1) for end in curve["interval"])
            text = f"{hundredths(curve['mean'], digits=1)} ({low} to {high})"
            row.append(f"{text}, {curve['chips']}{' *' * curve['doubtful']}")
        table.append(row)
    return as_table(heads, table)


def yields(found: Sequence[dict[str, Any]]) -> str:
    """Shares of chips within budgets at AT, and when chips first fail, of the headline tasks."""
    budgets = [f"within {budget_text(b)} of the dense model, %" for b in BUDGETS]
    heads = ["task", "scheme", "chips", *budgets, "rate at which a chip is first a point below"]
    table = []
    for one in found:
        for label, curve in one["curves"].items():
            if not PLANS[one["task"]].headline or "fails first at" not in curve:
                continue
            shares = ["not run"] * len(BUDGETS)
            below = one["float_scores"]["dense"] - curve["score_at_rate_0"]
            lost = ["; lost without faults" if below > b + ROUNDING else "" for b in BUDGETS]
            if "yields" in curve:
                shares = [_share(*curve["yields"][f"{b:g}"]) for b in BUDGETS]
                shares = [share + more for share, more in zip(shares, lost, strict=True)]
            ends = ["never" if x is None else f"{x:g}" for x in curve["fails first at"]]
            quartiles = f"{', '.join(ends)} (quartiles of {curve['chips followed']}){lost[0]}"
            row = [title(one), _said(label), str(curve.get("chips", "not run")), *shares, quartiles]
            table.append(row)
    return as_table(heads, table)


def _share(share: float, low: float, high: float) -> str:
    digits = digits_of_share(share, (low, high))
    ends = interval((low, high), digits=digits)
    return f"{hundredths(share, digits=digits)} ({ends})"


def draw_yields(found: Sequence[dict[str, Any]], file: Path) -> None:
    """Draw yield against rate, a row of panels for each task that has it, one for each budget.

    Seeds share a colour; the same chips stand on every curve.
    """
    shown: dict[str, list[dict[str, Any]]] = {}
    for one in found:
        if any("yields at" in curve for curve in one["curves"].values()):
            shown.setdefault(one["task"], []).append(one)
    if not shown:
        return
    figure = Figure(figsize=(3.2 * len(BUDGETS), 0.6 + 2.6 * len(shown)), layout="constrained")
    panels = figure.subplots(len(shown), len(BUDGETS), squeeze=False, sharey=True, sharex=True)
    for row, (task, seeds) in zip(panels, shown.items(), strict=True):
        for panel, budget in zip(row, BUDGETS, strict=True):
            for k, label in enumerate(CURVES):
                for curve in (one["curves"].get(label, {}) for one in seeds):
                    if "yields at" in curve:
                        shares = [100 * share for share in curve["yields at"][f"{budget:g}"]]
                        panel.plot(
                            curve["rates of yields"], shares, f"{MARKS[k]}-", color=f"C{k}", ms=3.5
                        )
            panel.set(xscale="log", ylim=(-3, 103))
            panel.set_title(f"{task}, within {budget_text(budget)}", fontsize=9)
            panel.grid(alpha=0.3)
        row[0].set_ylabel("chips that pass, %")
    for panel in panels[-1]:
        panel.set_xlabel("fault rate")
    for k, label in enumerate(CURVES):
        panels[0][0].plot([], [], MARKS[k], color=f"C{k}", ms=3.5, label=_said(label, ""))
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=8)
    _save(figure, file)


def draw(found: Sequence[dict[str, Any]], file: Path) -> None:
    """Draw the rates at which two points are lost, a line for each task and seed.

    What was never lost at the rates that were run stands at the right edge; what is lost at rate 0
    is left out. An end that no rate decides that was run has an arrow, behind the last of them.
    """
    shown = [one for one in found if one["learned"]]
    most = max((max(c["rates"]) for o in shown for c in o["curves"].values()), default=0.0)
    if not most:
        return
    figure = Figure(figsize=(8.0, 1.6 + 0.42 * len(shown)), layout="constrained")
    axes = figure.subplots()
    for k, label in enumerate(CURVES):
        for place, one in enumerate(shown):
            if label not in one["curves"]:
                continue
            curve, y = one["curves"][label], place + 0.09 * (k - (len(CURVES) - 1) / 2)
            rate, low, high = curve["rate_2"]
            beyond = 1.3 * most  # where what was never lost is drawn
            if rate == 0:
                continue  # lost at rate 0
            least, most_run = min(curve["rates"]), max(curve["rates"])
            ends = [least if (low or 0.0) < least else low, high or (most_run if rate else beyond)]
            axes.plot(ends, [y, y], color=f"C{k}", linewidth=1.2)
            for end, given, arrow in zip(ends, (low, high), "<>", strict=True):
                if end != given:
                    axes.plot(end, y, arrow, color=f"C{k}", markersize=3)
            mark = MARKS[k] if rate else ">"
            axes.plot(rate or beyond, y, mark, color=f"C{k}", markersize=4)
        axes.plot([], [], MARKS[k], color=f"C{k}", markersize=4, label=_said(label, ""))
    axes.set_yticks(range(len(shown)), [f"{one['task']}, seed {one['seed']}" for one in shown])
    axes.invert_yaxis()
    axes.set(xscale="log", xlabel="fault rate at two points below the dense model (95 %)")
    axes.grid(axis="x", alpha=0.3)
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=8)
    _save(figure, file)


def _save(figure: Figure, file: Path) -> None:
    figure.savefig(file, dpi=110, metadata={"CreationDate": None} if file.suffix == ".pdf" else {})


def _said(label: str, quote: str = "`") -> str:
    curve = CURVES[label]
    freed = "" if curve.model == "dense" else f", {curve.model} % freed"
    return f"{quote}{curve.protection}{quote}{freed}"


def _range(values: pd.Series, digits: str) -> str:
    if not values.all() or values.isna().any():
        return "not in all tasks"
    low, mean, high = values.min(), gmean(values), values.max()
    return f"{mean:{digits}} ({low:{digits}} to {high:{digits}})"
