"""The nine GLUE tasks under faults: what each protection bears, and how many chips pass.

    python experiments/nine_tasks.py --work WORK --data DATA [--own OWN] [--train MODEL] \
        [--tasks rte]

WORK holds what `pruning.py` leaves, TASK-SEED-dense and TASK-SEED-35; with --train, what lacks is
made from a pretrained MODEL such as sentence-transformers/all-MiniLM-L6-v2 by its recipe. DATA is a
GLUE folder or the hub's nyu-mll/glue, OWN a folder of splits of one's own for tasks of which DATA
lacks one. Three seeds of SST-2 and STS-B, one of the other tasks. Rows are in
experiments/results/nine_tasks, compacted. Stop and start it at will. A seed 0 whose models are in
WORK no longer, and for which no --train is given, is folded from the rows that results/zero_cells
and results/rivals have of them: they have all rates, and few chips at AT.

CURVES on the same chips, SA1 : SA0 = 9.04 : 1.75, the first 400 examples (QNLI: all 5,463, of
which each chip draws its own, estimator `difference`): 64 chips and rates that bracket a loss of
two points on SST-2, STS-B and QNLI, 32 chips on the others. At a rate of AT there are 128 chips on
those three, and 256 where scores spread by more than two points: these are the headlines. A task
whose dense model is not two standard errors above its larger class counts as not learned: it is run
at rate 0 and at AT, and stands in the tables, but has no rates and no share in means.

Leaves `nine_tasks.json`. About an hour a task and seed on two CPU cores, trained models included;
`--print` computes no chip: it folds the rows that `nine_tasks.json` knows of again. Expected: T_2
of the code above that of the vote in every task that was learned.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pandas as pd
from nine_tables import (
    AT,
    CURVES,
    FACTS,
    FOLDERS,
    MODELS,
    PLANS,
    cost,
    draw,
    draw_yields,
    headlines,
    markdown,
    rows_of,
    summary,
    tables_of,
    yields,
)
from pruning import finished, name, run_stage
from zero_cells import (
    MOST_RATES,
    dense_score,
    measure,
    next_rate,
    parser_of_models,
    run_points,
    scores,
)

from rerax.campaign import store
from rerax.campaign.maintain import compact
from rerax.campaign.workload import Workload, read_workload
from rerax.evaluate.devices import ask_for_devices, cores
from rerax.glue import metrics
from rerax.glue.data import Split, read_split
from rerax.glue.selection import MOST_TOKENS
from rerax.glue.tasks import TASKS, find_task

CHIPS, SPREAD, WIDE = 128, 0.02, 256
"""Chips of a headline, and how many where scores spread by more than so much."""
SEEN = {"mnli", "qnli", "qqp"}
"""Tasks whose source the base model has seen, by its model card."""
KEPT = "zero_cells"
"""Folder with the rows of seed 0 of SST-2 and STS-B."""


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
    most = _most_examples(task, args)
    found = read_workload(str(args.work / named), task, named, data=data, max_examples=most)
    return replace(found, model=f"{named}-{found.model_hash[:8]}")


def against_chance(name: str, examples: Split, row: pd.Series) -> tuple[float, float]:
    """Score of who always answers the larger class, and the standard error of a score.

    Args:
        name: of the task.
        examples: those of the row.
        row: the dense model's chip at rate 0.
    """
    task, labels, parts = find_task(name), examples.labels, examples.parts
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


def facts(
    args: Any, task: str, seed: int, clean: pd.Series, hashes: dict[str, str]
) -> dict[str, Any]:
    """FACTS of a task and seed, by the row of the dense model's chip at rate 0.

    Args:
        args: where the examples are, and how many count.
        task: its name.
        seed: of its models.
        clean: the row.
        hashes: of its models, by kind.

    Raises:
        ValueError: the examples are not those of the row.
    """
    data, split = source(task, args.data, args.own)
    examples = read_split(task, data, max_examples=_most_examples(task, args))
    if examples.digest(MOST_TOKENS) != clean.data_hash:
        raise ValueError(f"rows of {task} are of other examples than those in {data}")
    constant, error = against_chance(task, examples, clean)
    return {
        "task": task,
        "seed": seed,
        "split": split,
        "seen": task in SEEN,
        "majority": constant,
        "se": error,
        "learned": float(clean.float_score) - constant > 2 * error,
        "models": hashes,
        "data_hash": clean.data_hash,
    }


def clean_row(rows: pd.DataFrame, dense: str) -> pd.Series:
    """Find the unprotected chip of the dense model, called `dense`, at rate 0."""
    return rows[(rows.model == dense) & (rows.rate == 0) & rows.sampled.isna()].iloc[0]


def kept_facts(args: Any, task: str) -> dict[str, Any]:
    """FACTS of seed 0 by the rows that `zero_cells.py` has of it.

    Raises:
        ValueError: it has none.
    """
    rows = store.read_rows(args.out / KEPT).to_pandas()
    hashes = {kind: rows.model_hash[rows.model == f"{task}-{kind}"].unique() for kind in MODELS}
    if not all(map(len, hashes.values())):
        raise ValueError(f"no models and no rows of {task}, seed 0: give --train MODEL")
    clean = clean_row(rows, f"{task}-dense")
    return facts(args, task, 0, clean, {kind: str(one) for kind, (one,) in hashes.items()})


def run_task(task: str, seed: int, args: Any, folder: Path) -> dict[str, Any]:
    """Train and sweep what lacks of a task and seed, and say what its rows do not."""
    data, _ = source(task, args.data, args.own)
    if args.train:
        train(task, seed, args, data)
    elif not seed and not finished(args.work / name(task, seed, 0.0)):
        return kept_facts(args, task)
    loads = {kind: workload_of(args, task, seed, kind, data) for kind in MODELS}
    dense, plan = loads["dense"], PLANS[task]
    top = dense_score(dense, folder)
    clean = clean_row(store.read_rows(folder).to_pandas(), dense.model)
    hashes = {kind: load.model_hash for kind, load in loads.items()}
    found = facts(args, task, seed, clean, hashes)
    others = rows_of(args.out, found, FOLDERS[1:])
    examples = "auto" if plan.drawn else None
    chips, most = _chips(task, args), min(plan.rates, args.most_rates)
    for label in args.curves.split(","):
        curve = CURVES[label]
        workload = loads[curve.model]
        there = scores(others[others.chip < chips], curve).mean(axis=1).to_dict()
        clean = others[others.model == f"{task}-{curve.model}"].clean_score
        done = bool(there) and next_rate(there, float(clean.iloc[0]), top, MOST_RATES) is None
        alone = done or not found["learned"]
        tried = replace(curve, rates=(AT,) if alone else tuple(sorted({*curve.rates, AT})))
        measure(workload, tried, top, chips, 1 if alone else most, folder, examples)
        if plan.headline:
            point = curve.point(workload, AT)
            for n in (CHIPS, WIDE):
                scored = run_points(workload, [point], min(n, args.chips), folder, examples).score
                if scored.std() <= SPREAD:
                    break
    return found


def main() -> None:
    """Run what is missing and print the tables."""
    parser = parser_of_models(__doc__, one_seed=False)
    parser.set_defaults(tasks=",".join(TASKS))
    parser.add_argument("--own", help="folder of splits of one's own")
    parser.add_argument("--train", help="pretrained BERT to make lacking models from")
    parser.add_argument("--most-training", type=int, help="examples to learn from, at most")
    parser.add_argument("--seeds", help="comma list; by default those of each task")
    parser.add_argument("--curves", default=",".join(CURVES), help="comma list")
    parser.add_argument("--chips", type=int, default=WIDE, help="of each point, at most")
    parser.add_argument("--most-rates", type=int, default=max(p.rates for p in PLANS.values()))
    parser.add_argument("--print", action="store_true", help="only fold the rows that are there")
    args = parser.parse_args()
    ask_for_devices(cores())
    file, folder = args.out / "nine_tasks.json", args.out / "nine_tasks"
    known = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else []
    found = {(one["task"], one["seed"]): one for one in known}
    if args.print and not known:
        parser.error(f"{file} is missing: run without --print first")
    asked = None if args.seeds is None else list(map(int, args.seeds.split(",")))
    wanted = [
        (task, seed)
        for task in args.tasks.split(",")
        for seed in PLANS[task].seeds
        if asked is None or seed in asked
    ]
    for key in [] if args.print else wanted:
        facts = run_task(*key, args, folder)
        found[key] = tables_of(facts, args.out, _chips(key[0], args))
        jax.clear_caches()
        compact(folder)
        _write(file, found)
    if args.print:
        for key, one in found.items():
            facts = {name: one[name] for name in FACTS}
            found[key] = tables_of(facts, args.out, _chips(key[0], args))
        _write(file, found)
    ordered = [found[key] for key in sorted(found, key=_place)]
    print(*(made(ordered) for made in (summary, markdown, headlines, yields)), sep="\n\n")
    print("\n{chips:,} chips in {hours:.1f} hours".format(**cost(args.out)))
    (args.out / "figures").mkdir(exist_ok=True)
    for kind in ("png", "pdf"):
        draw(ordered, args.out / "figures" / f"nine_tasks.{kind}")
        draw_yields(ordered, args.out / "figures" / f"nine_tasks_yield.{kind}")


def _chips(task: str, args: Any) -> int:
    return min(PLANS[task].chips, args.chips)


def _most_examples(task: str, args: Any) -> int | None:
    return None if PLANS[task].drawn else args.max_examples


def _place(key: tuple[str, int]) -> tuple[int, int]:
    return list(TASKS).index(key[0]), key[1]


def _write(file: Path, found: dict[tuple[str, int], dict[str, Any]]) -> None:
    ordered = [found[key] for key in sorted(found, key=_place)]
    file.write_text(json.dumps(ordered, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
