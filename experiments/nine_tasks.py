"""The nine GLUE tasks under faults: what each protection bears, and how many chips pass.

    python experiments/nine_tasks.py --work WORK --data DATA [--own OWN] [--train MODEL] \
        [--tasks rte]

WORK holds what `pruning.py` leaves, TASK-SEED-dense and TASK-SEED-35; with --train, what lacks is
made from a pretrained MODEL such as sentence-transformers/all-MiniLM-L6-v2 by its recipe. DATA is a
GLUE folder or the hub's nyu-mll/glue, OWN a folder of splits of one's own for tasks of which DATA
lacks one. Three seeds of SST-2 and STS-B, one of the other tasks. Rows are in
experiments/results/nine_tasks, compacted; those of seed 0 of SST-2 and STS-B are in
results/zero_cells and results/rivals, of the same models. Stop and start it at will.

CURVES on the same chips, SA1 : SA0 = 9.04 : 1.75, the first 400 examples (QNLI: all 5,463, of
which each chip draws its own, estimator `difference`): 64 chips and rates that bracket a loss of
two points on SST-2, STS-B and QNLI, 32 chips on the others. At a rate of AT there are 128 chips on
those three, and 256 where scores spread by more than two points: these are the headlines. A task
whose dense model is not two standard errors above its larger class counts as not learned: it is run
at rate 0 and at AT, and stands in the tables, but has no rates and no share in means.

Leaves `nine_tasks.json`. About an hour a task and seed on two CPU cores, trained models included;
`--print` shows the tables from the rows alone. Expected: T_2 of the code above that of the vote in
every task that was learned.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pandas as pd
from pruning import finished, name, run_stage
from zero_cells import (
    Curve,
    dense_score,
    fold,
    measure,
    parser_of_models,
    run_points,
    scores,
    span,
)

from rerax.campaign import store
from rerax.campaign.maintain import compact
from rerax.campaign.manifest import MANIFEST
from rerax.campaign.workload import Workload, read_workload
from rerax.evaluate.devices import ask_for_devices, cores
from rerax.glue import metrics
from rerax.glue.tasks import TASKS, find_task
from rerax.report.format import hundredths
from rerax.stats import first_misses, mean_interval, passes, yield_interval

AT = 0.01
"""Rate of the headlines."""
CHIPS, SPREAD, WIDE = 128, 0.02, 256
"""Chips of a headline, and how many where scores spread by more than so much."""
EXAMPLES = 400
KEY = ["model", "encoding", "polarity", "protection", "fault", "rate", "chip", "sampled"]
FACTS = ("task", "seed", "split", "seen", "majority", "se", "learned", "models")
"""What the rows do not say."""
LINE = ("rate_1", "rate_2", "T_1", "T_2", "rates")
"""What is kept of a line of `zero_cells.py`."""
BUDGETS = (0.01, 0.02, 0.05)
FOLDERS = ("nine_tasks", "zero_cells", "rivals")
SCORES = {"cola": "Matthews", "mrpc": "acc., F1", "qqp": "acc., F1", "stsb": "Pearson, Spearman"}
SEEN = {"mnli", "qqp"}
"""Tasks whose source the base model has seen, by its model card."""


@dataclass(frozen=True)
class Plan:
    """How much of a task is run.

    Attributes:
        chips: of each point.
        rates: most of a curve, AT among them.
        seeds: of its models.
        headline: whether AT has CHIPS chips.
        drawn: whether chips draw their examples from the whole dev set.
    """

    chips: int = 32
    rates: int = 5
    seeds: tuple[int, ...] = (0,)
    headline: bool = False
    drawn: bool = False


PLANS = {
    **{task: Plan() for task in TASKS},
    "sst2": Plan(64, 6, (0, 1, 2), headline=True),
    "stsb": Plan(64, 6, (0, 1, 2), headline=True),
    "qnli": Plan(64, 6, headline=True, drawn=True),
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
"""The paper's vote, the best for chips that nobody has tested, and for tested ones, and copies."""
MODELS = ("dense", "35")


def source(task: str, data: str, own: str | None) -> tuple[str, str]:
    """Find the data of a task.

    Returns:
        The folder or hub id, and which split its examples are of.

    Raises:
        ValueError: neither place has a train and a validation split.
    """
    for place, split in ((data, "validation"), (own, "own split")):
        if place is None:
            continue
        if place == data and not Path(place).is_dir():  # the hub has all nine
            return place, split
        parts = [find_task(task).parts(part)[0] for part in ("train", "validation")]
        if all(Path(place, task, f"{part}.parquet").is_file() for part in parts):
            return place, split
    raise ValueError(f"no train and validation split of {task} in {data} and {own}")


def train(task: str, seed: int, args: Any, data: str) -> None:
    """Make the models of a task that lack, by the recipe of the pruning study."""
    places = {"MODEL": args.train, "DATA": data, "WORK": str(args.work)}
    for sparsity in (0.0, 0.21, 0.35):
        if not finished(args.work / name(task, seed, sparsity)):
            rows = args.out / "pruning" / "rows.jsonl"
            run_stage(task, seed, sparsity, places, rows, args.most_training)


def workload_of(args: Any, task: str, seed: int, kind: str, data: str) -> Workload:
    """One model, whose name in the rows is TASK-SEED-KIND-HASH."""
    named = f"{task}-{seed}-{kind}"
    most = None if PLANS[task].drawn else args.max_examples
    found = read_workload(str(args.work / named), task, named, data=data, max_examples=most)
    return replace(found, model=f"{named}-{found.model_hash[:8]}")


def against_chance(workload: Workload, row: pd.Series) -> tuple[float, float]:
    """Score of who always answers the larger class, and the standard error of a score.

    Args:
        workload: of the dense model.
        row: its chip at rate 0.
    """
    workload = workload.complete()
    task, labels, parts = workload.labelled_task, workload.labels, workload.parts
    draw = np.random.Generator(np.random.PCG64(0))
    if task.is_regression:
        constant, answers = 0.0, np.asarray(row.prediction, np.float32)
    else:
        larger = np.full_like(labels, np.bincount(labels).argmax())
        constant = float(metrics.scores(task, larger[None], labels, parts)["score"][0])
        right = np.unpackbits(np.frombuffer(row.correct, np.uint8), bitorder="little")
        answers = np.where(right[: len(labels)], labels, (labels + 1) % task.num_labels)
    n = parts[0][1]
    drawn = [
        metrics.scores(task, answers[None, at], labels[at], (("drawn", n),))["score"][0]
        for at in draw.integers(0, n, (200, n))
    ]
    return constant, float(np.std(drawn))


def run_task(task: str, seed: int, args: Any, folder: Path) -> dict[str, Any]:
    """Train and sweep what lacks of a task and seed, and say what its rows do not."""
    data, split = source(task, args.data, args.own)
    if args.train:
        train(task, seed, args, data)
    loads = {kind: workload_of(args, task, seed, kind, data) for kind in MODELS}
    dense, plan = loads["dense"], PLANS[task]
    top = dense_score(dense, folder)
    rows = store.read_rows(folder).to_pandas()
    clean = rows[(rows.model == dense.model) & (rows.rate == 0) & rows.sampled.isna()].iloc[0]
    constant, error = against_chance(dense, clean)
    found = {
        "task": task,
        "seed": seed,
        "split": split,
        "seen": task in SEEN,
        "majority": constant,
        "se": error,
        "learned": top - constant > 2 * error,
        "models": {kind: load.model_hash for kind, load in loads.items()},
    }
    others = rows_of(args.out, found, FOLDERS[1:])
    examples = "auto" if plan.drawn else None
    chips, most = min(plan.chips, args.chips), min(plan.rates, args.most_rates)
    for label in args.curves.split(","):
        curve = CURVES[label]
        workload = loads[curve.model]
        alone = not found["learned"] or len(scores(others, curve)) > 0
        tried = replace(curve, rates=(AT,) if alone else tuple(sorted({*curve.rates, AT})))
        measure(workload, tried, top, chips, 1 if alone else most, folder, examples)
        if plan.headline:
            point = curve.point(workload, AT)
            for n in (CHIPS, WIDE):
                scored = run_points(workload, [point], min(n, args.chips), folder, examples).score
                if scored.std() <= SPREAD:
                    break
    return found


def rows_of(out: Path, facts: dict[str, Any], folders: Sequence[str] = FOLDERS) -> pd.DataFrame:
    """Rows of a task and seed, models named TASK-KIND as in `zero_cells.py`.

    Args:
        out: where the folders are.
        facts: the task, and the hashes of its models.
        folders: which of them.
    """
    task, parts = facts["task"], []
    for folder in folders:
        if (out / folder / MANIFEST).is_file():
            rows = store.read_rows(out / folder).to_pandas()
            parts.append(rows[(rows.task == task) & rows.model_hash.isin(facts["models"].values())])
    rows = pd.concat(parts) if parts else pd.DataFrame(columns=["model_hash", "score", *KEY])
    kinds = {hashed: f"{task}-{kind}" for kind, hashed in facts["models"].items()}
    rows = rows.assign(model=rows.model_hash.map(kinds))
    return rows.drop_duplicates(KEY)


def tables_of(facts: dict[str, Any], args: Any) -> dict[str, Any]:
    """What the rows of a task and seed say: rates, headlines and yields."""
    task, rows = facts["task"], rows_of(args.out, facts)
    few = rows[rows.chip < min(PLANS[task].chips, args.chips)]
    lines = {
        (line["model"], line["polarity"], line["protection"]): line
        for line in (fold(few, task, list(CURVES.values())) if facts["learned"] else [])
    }
    found: dict[str, Any] = {**facts, "examples": int(rows.examples.iloc[0])}
    found["float_scores"] = {kind: float_score(rows, task, kind) for kind in MODELS}
    found["curves"] = {}
    for label, curve in CURVES.items():
        own = rows[(rows.rate == AT) & (rows.fault == "uniform")]
        score = scores(own, curve)
        if score.empty:
            continue
        one = headline(score, rows, curve, task)
        line = lines.get((curve.model, curve.polarity, curve.protection), {})
        one |= {key: line[key] for key in LINE if key in line}
        if line:
            one["fails first at"] = first_failure(
                scores(few, curve), found["float_scores"][curve.model]
            )
        found["curves"][label] = one
    return found


def float_score(rows: pd.DataFrame, task: str, kind: str) -> float | None:
    """Float score of a model, None without rows of it."""
    own = rows[rows.model == f"{task}-{kind}"].float_score
    return None if own.empty else float(own.iloc[0])


def headline(score: pd.DataFrame, rows: pd.DataFrame, curve: Curve, task: str) -> dict[str, Any]:
    """Mean at AT with its interval, and the yields by each budget below the model's float score."""
    chips = score.loc[AT].to_numpy()
    own = float_score(rows, task, curve.model)
    low, high = mean_interval(chips) if len(chips) > 1 else (math.nan, math.nan)
    good = {f"{b:g}": int(passes(chips, own, b).sum()) for b in BUDGETS}
    return {
        "chips": len(chips),
        "mean": float(chips.mean()),
        "sd": float(chips.std(ddof=1)) if len(chips) > 1 else None,
        "interval": [float(low), float(high)],
        "yields": {b: [k / len(chips), *yield_interval(k, len(chips))] for b, k in good.items()},
    }


def first_failure(score: pd.DataFrame, reference: float) -> list[float | None]:
    """Quartiles of the rate at which a chip is first a point below its float score."""
    rates = score.index.to_numpy()
    failed = first_misses(rates, passes(score.to_numpy(), reference, BUDGETS[0]))
    ends = np.quantile(np.nan_to_num(failed, nan=np.inf), (0.25, 0.5, 0.75), method="inverted_cdf")
    return [float(end) if np.isfinite(end) else None for end in ends]


def title(one: dict[str, Any]) -> str:
    """Task, score, seed, and what is to be known of its data."""
    notes = [SCORES.get(one["task"], "accuracy"), f"seed {one['seed']}"]
    notes += ["own split"] * (one["split"] != "validation") + ["source seen"] * one["seen"]
    return f"{one['task']} ({', '.join(notes)})"


def markdown(found: Sequence[dict[str, Any]]) -> str:
    """Rates at which means are two points below the dense model, a row for each task and seed."""
    heads = ["task", "examples", "larger class", "dense, float (SE)", "pruned, float"]
    table = [heads + [_said(label) for label in CURVES]]
    for one in found:
        curves = one["curves"]
        row = [title(one), f"{one['examples']:,}", hundredths(one["majority"], digits=1)]
        floats = one["float_scores"]
        dense, pruned = ("" if floats[k] is None else hundredths(floats[k]) for k in MODELS)
        row += [f"{dense} ({hundredths(one['se'], digits=1)})", pruned]
        for curve in (curves.get(label, {}) for label in CURVES):
            text = "not learned"
            if one["learned"]:
                text = span(curve.get("rate_2"), ".2g", min(curve.get("rates", [0.0])))
                T = (curve.get("T_2") or [None])[0]
                text += f"; {T:.1f} ×" if T else ""
            row.append(text)
        table.append(row)
    means = ["geometric mean of T"] + [""] * 4
    for label in CURVES:
        every = [o["curves"].get(label, {}).get("T_2") or [None] for o in found if o["learned"]]
        every = [T[0] for T in every if T[0]]
        means.append(f"{math.exp(np.mean(np.log(every))):.1f} × ({len(every)})" if every else "")
    return _table([*table, means])


def headlines(found: Sequence[dict[str, Any]]) -> str:
    """Mean scores at AT with intervals, a row for each task and seed."""
    table = [["task", *(_said(label) for label in CURVES)]]
    for one in found:
        row = [title(one)]
        for curve in (one["curves"].get(label) for label in CURVES):
            if curve is None:
                row.append("")
                continue
            low, high = (hundredths(end, digits=1) for end in curve["interval"])
            text = f"{hundredths(curve['mean'], digits=1)} ({low} to {high})"
            row.append(f"{text}, {curve['chips']}")
        table.append(row)
    return _table(table)


def yields(found: Sequence[dict[str, Any]]) -> str:
    """Shares of chips within budgets at AT, and when chips first fail, of the headline tasks."""
    budgets = [f"within {100 * b:g} points, %" for b in BUDGETS]
    table = [["task", "scheme", "chips", *budgets, "first a point below: quartiles of chips"]]
    for one in found:
        for label, curve in one["curves"].items():
            if not PLANS[one["task"]].headline or "fails first at" not in curve:
                continue
            shares = [
                "{:.0f} ({:.0f} to {:.0f})".format(*(100 * x for x in curve["yields"][f"{b:g}"]))
                for b in BUDGETS
            ]
            ends = ["never" if x is None else f"{x:g}" for x in curve["fails first at"]]
            row = [title(one), _said(label), str(curve["chips"]), *shares, ", ".join(ends)]
            table.append(row)
    return _table(table)


def _said(label: str) -> str:
    curve = CURVES[label]
    freed = "" if curve.model == "dense" else f", {curve.model} % freed"
    return f"`{curve.protection}`{freed}" if label != "bare" else "bare"


def _table(rows: Sequence[Sequence[str]]) -> str:
    lines = [rows[0], ["---"] * len(rows[0]), *rows[1:]]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def main() -> None:
    """Run what is missing and print the tables."""
    parser = parser_of_models(__doc__)
    parser.set_defaults(tasks=",".join(TASKS))
    parser.add_argument("--own", help="folder of splits of one's own")
    parser.add_argument("--train", help="pretrained BERT to make lacking models from")
    parser.add_argument("--most-training", type=int, help="examples to learn from, at most")
    parser.add_argument("--seeds", help="comma list; by default those of each task")
    parser.add_argument("--curves", default=",".join(CURVES), help="comma list")
    parser.add_argument("--chips", type=int, default=WIDE, help="of each point, at most")
    parser.add_argument("--most-rates", type=int, default=max(p.rates for p in PLANS.values()))
    parser.add_argument("--print", action="store_true", help="only print the tables")
    args = parser.parse_args()
    ask_for_devices(cores())
    file, folder = args.out / "nine_tasks.json", args.out / "nine_tasks"
    known = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else []
    found = {(one["task"], one["seed"]): one for one in known}
    asked = None if args.seeds is None else list(map(int, args.seeds.split(",")))
    wanted = [
        (task, seed)
        for task in args.tasks.split(",")
        for seed in PLANS[task].seeds
        if asked is None or seed in asked
    ]
    for key in [] if args.print else wanted:
        facts = run_task(*key, args, folder)
        found[key] = tables_of(facts, args)
        jax.clear_caches()
        compact(folder)
        _write(file, found)
    if args.print:
        for key, one in found.items():
            found[key] = tables_of({name: one[name] for name in FACTS}, args)
        _write(file, found)
    ordered = [found[key] for key in sorted(found, key=_place)]
    print(markdown(ordered), headlines(ordered), yields(ordered), sep="\n\n")


def _place(key: tuple[str, int]) -> tuple[int, int]:
    return list(TASKS).index(key[0]), key[1]


def _write(file: Path, found: dict[tuple[str, int], dict[str, Any]]) -> None:
    ordered = [found[key] for key in sorted(found, key=_place)]
    file.write_text(json.dumps(ordered, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
