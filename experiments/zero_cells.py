"""Fault rates that protections bear without an extra cell: vote, codes, and chips written anew.

    python experiments/zero_cells.py --work WORK --data DATA [--tasks sst2]

WORK holds what `experiments/pruning.py` leaves: TASK-SEED-dense, TASK-SEED-21, TASK-SEED-35. Every
curve of CURVES runs on 128 chips and the first 400 examples of the dev set, the same chips
throughout, SA1 : SA0 = 9.04 : 1.75; rates are doubled or halved until the mean has lost one and
two points. Headlines meet dead wordlines, bitlines and clusters too, on 32 chips. Rows are in
experiments/results/zero_cells, compacted; stop and start it at will.

T_1 and T_2 are ratios of the fault rates at which the mean over chips has lost one and two points
against the same model at rate 0, over the same of that model's unprotected chips, stored plainly
in the same encoding. Pruning costs points of its own, so the table is sorted by the rate at which
the mean is one point below the *dense* model's float score. Intervals are 95 %, by bootstrap over
chips. Takes about two hours a task on two CPU cores; `--print` shows the table from the rows alone.
Expected on a chip that nobody has tested: T_2 of 20 for Golay, 10 for the vote with alternating
rows, 6 for Hamming; on a tested one 18 without pruning and 40 with.
"""

import argparse
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rerax.campaign import store
from rerax.campaign.maintain import compact
from rerax.campaign.point import Point
from rerax.campaign.runner import run
from rerax.campaign.sampling import with_samples
from rerax.campaign.workload import Settings, Workload, read_workload
from rerax.evaluate.devices import ask_for_devices, cores
from rerax.progress import reporter
from rerax.protection import protection
from rerax.stats.tolerated import ratio_with_interval, tolerated_rates, with_interval

RESULTS = Path(__file__).parent / "results"
TASKS = ("sst2", "stsb")
EXAMPLES, CHIPS, LINE_CHIPS = 400, 128, 32
LOSSES = (0.01, 0.02)
MOST_RATES = 7
STEEP = 0.1
"""Most that a score may fall between the two rates that a loss lies between."""
LINE_FAULTS = ("wordline", "bitline", "clustered:1")
LINE_RATES = (3e-3, 1e-2)


@dataclass(frozen=True)
class Curve:
    """One scheme on one model, and the rates that it is first tried at.

    Attributes:
        model: `dense`, or the percentage of cells that pruning has freed.
        encoding, polarity, protection: as a point names them.
        rates: ascending.
        headline: whether line and cluster faults are tried as well.
    """

    model: str
    encoding: str
    polarity: str
    protection: str
    rates: tuple[float, ...]
    headline: bool = False

    def point(self, workload: Workload, rate: float, fault: str = "uniform") -> Point:
        """The curve's point at a rate, of a workload of its model."""
        return Point(
            task=workload.task,
            model=workload.model,
            encoding=self.encoding,
            polarity=self.polarity,
            protection=self.protection,
            fault=fault,
            rate=rate,
        )

    @property
    def is_plain(self) -> bool:
        """Whether T of its model and encoding is measured against it."""
        return self.protection == "none" and self.polarity == "plain"


CURVES = (
    Curve("35", "offset", "plain", "none", (1e-3, 2e-3, 4e-3), True),
    Curve("35", "offset", "alternate", "code:golay:4:pruned", (0.03, 0.05, 0.08), True),
    Curve("35", "offset", "alternate", "msb:2x3:pruned", (8e-3, 1.5e-2, 3e-2), True),
    Curve("dense", "offset", "plain", "none", (1e-3, 2e-3, 4e-3)),
    Curve("dense", "offset", "alternate", "closest", (0.03, 0.05, 0.08), True),
    Curve("dense", "offset", "alternate", "closest+sign", (0.03, 0.05, 0.08), True),
    Curve("21", "offset", "plain", "none", (1e-3, 2e-3, 4e-3)),
    Curve("21", "offset", "alternate", "code:hamming:4:pruned", (6e-3, 1.2e-2, 2.4e-2), True),
    Curve("35", "offset", "alternate", "code:golay:4:pruned:closest", (0.05, 0.08, 0.12), True),
    Curve("35", "sign_magnitude", "plain", "none", (2e-3, 4e-3, 8e-3)),
    Curve("35", "sign_magnitude", "inverted", "code:golay:4:pruned", (0.05, 0.08, 0.12)),
    Curve("dense", "sign_magnitude", "plain", "none", (2e-3, 4e-3, 8e-3)),
    Curve("dense", "sign_magnitude", "inverted", "none", (1e-2, 2e-2, 4e-2)),
    Curve("dense", "sign_magnitude", "inverted", "closest", (0.05, 0.08, 0.12)),
    Curve("dense", "offset", "alternate", "spare:4:closest", (), True),
    Curve("dense", "offset", "alternate", "spare:4:bitlines:closest", (), True),
)
"""What is compared, in the order of the runs; spare lines, against line faults only, take cells."""


def workload_of(work: Path, task: str, model: str, seed: int, data: str, examples: int) -> Workload:
    """One model of the pruning study, whose name in the rows is TASK-MODEL."""
    folder = str(work / f"{task}-{seed}-{model}")
    return read_workload(folder, task, f"{task}-{model}", data=data, max_examples=examples)


def scores(rows: pd.DataFrame, curve: Curve) -> pd.DataFrame:
    """Scores of a curve under uniform faults: a line a rate, a column a chip.

    Only chips that stand at all its rates, but for those at which fewer do than at the median rate:
    these rates are left out.
    """
    found = rows_of_curve(rows, curve).pivot_table("score", "rate", "chip")
    chips = found.count(axis=1)
    return found[chips >= chips.median()].dropna(axis=1)


def rows_of_curve(rows: pd.DataFrame, curve: Curve) -> pd.DataFrame:
    """Rows of a curve under uniform faults."""
    return rows[
        (rows.model.str.split("-").str[1] == curve.model)
        & (rows.encoding == curve.encoding)
        & (rows.polarity.fillna("plain").str.split(":").str[0] == curve.polarity)
        & (rows.protection == curve.protection)
        & (rows.fault == "uniform")
        & (rows.rate > 0)
    ]


def round_rate(rate: float) -> float:
    """Round to two significant digits, so that a second run asks for the same points."""
    return float(f"{rate:.1e}")


def next_rate(means: Mapping[float, float], clean: float, dense: float, most: int) -> float | None:
    """The rate still to try so that one and two lost points lie between two rates; None if they do.

    Losses are against the clean score and against the dense model's, where faults come to that.
    Between two rates more than STEEP apart in score comes another, for a line says little there.

    Args:
        means: mean score at each rate, in order of rates.
        clean: the model's score at rate 0.
        dense: float score of the dense model.
        most: rates to try in all.
    """
    rates, scores = list(means), list(means.values())
    if len(rates) >= most:
        return None
    wanted = [of - loss for of in (clean, dense) for loss in LOSSES if of - loss < clean]
    if scores[-1] > min(wanted) and rates[-1] < 0.3:
        return round_rate(rates[-1] * 1.7)
    if scores[0] < max(wanted) and rates[0] > 1e-4:
        return round_rate(rates[0] / 2)
    for score in wanted:
        k = next((k for k, below in enumerate(scores) if below <= score), 0)
        if k and scores[k - 1] - scores[k] > STEEP:
            middle = round_rate(math.sqrt(rates[k - 1] * rates[k]))
            return None if middle in rates else middle
    return None


def measure(
    workload: Workload,
    curve: Curve,
    dense: float,
    chips: int,
    most: int,
    out: Path,
    examples: str | None = None,
) -> None:
    """Compute a curve's rows, of more rates where the losses do not lie between two of them.

    Args:
        dense: float score of the dense model.
        most: rates to try in all.
        examples: `auto` where each chip draws its own.
    """
    rates = list(curve.rates)
    while True:
        points = [curve.point(workload, rate) for rate in rates]
        rows = run_points(workload, points, chips, out, examples)
        means = rows.groupby("rate").score.mean().to_dict()
        more = next_rate(means, rows.clean_score.iloc[0], dense, most)
        if more is None:
            return
        rates = sorted([*rates, more])


def run_points(
    workload: Workload,
    points: Sequence[Point],
    chips: int,
    out: Path,
    examples: str | None = None,
) -> pd.DataFrame:
    """Give the rows of some points, after running what lacks of them.

    Args:
        examples: `auto` where each chip draws its own.
    """
    parts = [(workload, points)]
    with reporter(False) as tell:
        ((_, points),), tables = with_samples(parts, examples, Settings(chips), out, True, tell)
        return run(workload, points, Settings(chips), out, tell, samples=tables).to_pandas()


def measure_lines(workload: Workload, curve: Curve, chips: int, out: Path) -> None:
    """Compute a headline's rows under dead lines and clusters."""
    points = [curve.point(workload, rate, fault) for fault in LINE_FAULTS for rate in LINE_RATES]
    run_points(workload, points, chips, out)


def tolerated(score: pd.DataFrame, start: float, zero: float, loss: float) -> np.ndarray:
    """The rate at which a curve (`scores`) has lost so much, and the same of chips redrawn."""
    return tolerated_rates(score.index.to_numpy(), score.to_numpy(), start, zero, loss)


def ends(score: pd.DataFrame) -> tuple[float, float]:
    """The lowest and the highest rate of a curve."""
    return float(score.index[0]), float(score.index[-1])


def line_of(
    task: str,
    curve: Curve,
    score: pd.DataFrame,
    clean: float,
    top: float,
    base: tuple[pd.DataFrame, float] | None = None,
) -> dict[str, Any]:
    """What a curve bears.

    Args:
        task: of its rows.
        curve: the scheme.
        score: its scores, a line a rate, a column a chip (`scores`).
        clean: its score at rate 0.
        top: float score of the dense model.
        base: scores of the plain chips that T is measured against, and their score at rate 0,
            which is another where a scheme gives low bits up.
    """
    line = {
        "task": task,
        "model": curve.model,
        "encoding": curve.encoding,
        "polarity": curve.polarity,
        "protection": curve.protection,
        "knows": protection(curve.protection).knows,
        "chips": score.shape[1],
        "rates": score.index.to_list(),
        "means": score.mean(axis=1).to_list(),
        "score_at_rate_0": clean,
        "dense_float_score": top,
    }
    rates = [tolerated(score, top, clean, loss) for loss in LOSSES]
    line |= {f"rate_{k}": with_interval(rate) for k, rate in enumerate(rates, 1)}
    shared = score.columns.intersection([] if base is None else base[0].columns)  # chips of both
    if base is not None and len(shared):
        for k, loss in enumerate(LOSSES, 1):
            each = ((score, clean), base)
            above, below = (tolerated(s[shared], own, own, loss) for s, own in each)
            line[f"T_{k}"] = ratio_with_interval(above, below, (ends(score), ends(base[0])))
    return line


def clean_of(rows: pd.DataFrame, task: str, curve: Curve) -> float:
    """Look up the score at rate 0."""
    mine = rows[(rows.model == f"{task}-{curve.model}") & (rows.encoding == curve.encoding)]
    return float(mine[mine.protection == curve.protection].clean_score.iloc[0])


def fold(rows: pd.DataFrame, task: str, curves: Sequence[Curve] = CURVES) -> list[dict[str, Any]]:
    """A line for each curve that has rows, the highest tolerated rate first.

    Args:
        rows: rows of a task.
        curves: which there may be.
    """
    rows = rows[rows.task == task]
    own = {curve: scores(rows, curve) for curve in curves}
    own = {curve: score for curve, score in own.items() if len(score)}
    dense = rows[rows.model == f"{task}-dense"].float_score
    if dense.empty:
        return []
    top, lines = float(dense.iloc[0]), []
    plain = {(c.model, c.encoding): score for c, score in own.items() if c.is_plain}
    for curve, score in own.items():
        bare, base = plain.get((curve.model, curve.encoding)), None
        if bare is not None and not curve.is_plain:
            base = bare, clean_of(rows, task, replace(curve, protection="none"))
        lines.append(line_of(task, curve, score, clean_of(rows, task, curve), top, base))

    def place(line: dict[str, Any]) -> list[float]:
        rates = [line[f"rate_{k}"][0] for k in (1, 2)]
        return [-math.inf if rate is None else -rate for rate in rates]

    return sorted(lines, key=place)


def fold_lines(rows: pd.DataFrame, task: str) -> list[dict[str, Any]]:
    """Points lost against rate 0 under dead lines and clusters, for each headline."""
    rows = rows[(rows.task == task) & rows.fault.isin(LINE_FAULTS)]
    lost = 100 * (rows.clean_score - rows.score)
    groups = lost.groupby([rows.model, rows.protection, rows.fault, rows.rate])
    return [
        {
            "task": task,
            "model": model.split("-")[1],
            "protection": scheme,
            "fault": fault,
            "rate": rate,
            "lost": float(one.mean()),
            "se": float(one.std(ddof=1) / math.sqrt(len(one))) if len(one) > 1 else None,
            "chips": len(one),
        }
        for (model, scheme, fault, rate), one in groups
    ]


def span(found: Sequence[float | None] | None, shown: str, least: float = 0.0) -> str:
    """An estimate and its interval; "?" for what is beyond the rates that were tried.

    What is below the lowest of them (`least`) is not told from a line, only that it is below.
    """
    if found is None:
        return ""
    if found[0] == 0:
        return "lost at rate 0"
    if found[0] is not None and found[0] < least:
        return f"below {least:{shown}}"
    value, low, high = ("?" if x is None else format(x, shown) for x in found)
    if found[1] is not None and found[1] < least:
        low = f"<{least:{shown}}"
    return f"{value} ({low} to {high})"


def markdown(lines: Sequence[dict[str, Any]]) -> str:
    """The table of one task."""
    heads = (
        "| protection | knows | freed | encoding, polarity | 1 point below dense at | 2 points at "
        "| T_1 | T_2 | at rate 0 |"
    )
    table = [heads, "| --- " * 9 + "|"]
    for one in lines:
        freed = "0" if one["model"] == "dense" else f"{one['model']} %"
        cells = [
            f"`{one['protection']}`",
            one["knows"],
            freed,
            f"{one['encoding']}, {one['polarity']}",
            span(one["rate_1"], ".2g", one["rates"][0]),
            span(one["rate_2"], ".2g", one["rates"][0]),
            span(one.get("T_1"), ".1f"),
            span(one.get("T_2"), ".1f"),
            f"{100 * one['score_at_rate_0']:.2f}",
        ]
        table.append(f"| {' | '.join(cells)} |")
    return "\n".join(table)


def lines_markdown(lines: Sequence[dict[str, Any]]) -> str:
    """The table of dead lines and clusters of one task."""
    kinds = [(fault, rate) for fault in LINE_FAULTS for rate in LINE_RATES]
    heads = " | ".join(f"{fault} {rate:g}" for fault, rate in kinds)
    table = [f"| protection | freed | {heads} |", "| --- " * (2 + len(kinds)) + "|"]
    found = {(o["protection"], o["model"], o["fault"], o["rate"]): o for o in lines}
    for scheme, model in dict.fromkeys(key[:2] for key in found):
        cells = []
        for kind in kinds:
            one = found.get((scheme, model, *kind))
            cells.append("" if one is None else f"{one['lost']:.2f} ± {one['se'] or math.nan:.2f}")
        freed = "0" if model == "dense" else f"{model} %"
        table.append(f"| `{scheme}` | {freed} | {' | '.join(cells)} |")
    return "\n".join(table)


def parser_of_models(doc: str, one_seed: bool = True) -> argparse.ArgumentParser:
    """The flags that say which models of the pruning study are measured, on what, and where to.

    Args:
        doc: docstring of the experiment.
        one_seed: whether it takes models of one seed.
    """
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("--work", type=Path, default="pruning-work", help="folder of the models")
    parser.add_argument("--data", default="nyu-mll/glue", help="GLUE folder or hub id")
    if one_seed:
        parser.add_argument("--seed", type=int, default=0, help="seed of the models")
    parser.add_argument("--tasks", default=",".join(TASKS), help="comma list")
    parser.add_argument("--max-examples", type=int, default=EXAMPLES)
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for rows and results")
    return parser


def main() -> None:
    """Run what is missing and print the tables."""
    parser = parser_of_models(__doc__)
    parser.add_argument("--curves", help="numbers of curves, comma list; by default all")
    parser.add_argument("--chips", type=int, default=CHIPS)
    parser.add_argument("--most-rates", type=int, default=MOST_RATES)
    parser.add_argument("--line-chips", type=int, default=LINE_CHIPS)
    parser.add_argument("--print", action="store_true", help="only print the tables")
    args = parser.parse_args()
    ask_for_devices(cores())
    folder = args.out / "zero_cells"
    numbers = map(int, args.curves.split(",")) if args.curves else range(len(CURVES))
    curves = [] if args.print else [CURVES[k] for k in numbers]
    for task in args.tasks.split(","):
        where = (args.work, task)
        how = (args.seed, args.data, args.max_examples)
        for curve in curves:
            workload = workload_of(*where, curve.model, *how)
            dense = workload_of(*where, "dense", *how)
            top = dense_score(dense, folder)
            if curve.rates:
                measure(workload, curve, top, args.chips, args.most_rates, folder)
        for curve in curves:
            if curve.headline:
                workload = workload_of(*where, curve.model, *how)
                measure_lines(workload, curve, args.line_chips, folder)
    if not args.print:
        compact(folder)
    rows = store.read_rows(folder).to_pandas()
    found = {
        task: {"curves": fold(rows, task), "lines": fold_lines(rows, task)}
        for task in TASKS
        if task in set(rows.task)
    }
    file = args.out / "zero_cells.json"
    file.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    for one in found.values():
        print(markdown(one["curves"]), lines_markdown(one["lines"]), sep="\n\n", end="\n\n")


def dense_score(dense: Workload, folder: Path) -> float:
    """Float score of the dense model, in the rows of its unprotected chip 0 at rate 0."""
    point = Point(task=dense.task, model=dense.model, encoding="offset", rate=0.0)
    return float(run_points(dense, [point], 1, folder).float_score.iloc[0])


if __name__ == "__main__":
    main()
