"""What faults take from the nine GLUE tasks, and what zero-space protection gives back.

    python experiments/glue_zero_space.py --work WORK --data DATA [--train MODEL] [--chips 8]

WORK holds the models that `pruning.py` leaves, dense and pruned to 35 % of every encoder matrix;
with --train, those that lack are made from a pretrained MODEL such as
sentence-transformers/all-MiniLM-L6-v2 by its recipe. A task without data or models is listed as
not run, with the reason. DATA may be a folder or the hub's nyu-mll/glue, which has all nine.

Four series on the same chips at nine rates up to 0.1079: the dense model, the pruned one, the
pruned one with msb:2x3:pruned (msb:1x3:pruned where that does not fit), and duplicate:3, which
takes two spare arrays for each, as the costly reference. The first 400 examples of each dev set,
200 where an example is a pair, offset code, SA1 : SA0 = 9.04 : 1.75. About half an hour on two
CPU cores for the five tasks of the pruning study; `--print` folds the rows again.
Expected: at 5e-3 the protected mean lies above the unprotected one in every task, at no cell more.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pruning import STAGES, finished, run_stage
from study import (
    RATES,
    Study,
    by_rate,
    facts,
    last_seed,
    ledger_of,
    make_parser,
    markdown,
    new_figure,
    with_interval,
)

from rerax.campaign.grid import expand
from rerax.campaign.point import Point
from rerax.glue.data import read_split
from rerax.glue.tasks import TASKS, find_task

NAME = "glue_zero_space"
PRUNED = "35"
SCHEMES = ("msb:2x3:pruned", "msb:1x3:pruned")
"""The protection, and what is taken where it does not fit."""
COSTLY = "duplicate:3"
SHOWN = (1e-3, 5e-3, 1e-2)
"""Rates in the table; the figure and the JSON have all."""
SCORES = {"cola": "Matthews", "mrpc": "acc., F1", "qqp": "acc., F1", "stsb": "Pearson, Spearman"}
LABELS = {
    "dense": "dense",
    "pruned": "pruned",
    "protected": "pruned, zero space",
    "duplicate": "pruned, three-fold",
}


def train(study: Study, task: str, args: argparse.Namespace) -> None:
    """Make the models of a task that lack, by the recipe of the pruning study."""
    seed, wanted = last_seed(task), (0.0, STAGES[int(PRUNED) / 100], int(PRUNED) / 100)
    places = {"MODEL": args.train, "DATA": study.data, "WORK": str(study.work)}
    for sparsity in wanted:
        kind = "dense" if not sparsity else f"{100 * sparsity:.0f}"
        if not finished(study.model(task, kind)):
            run_stage(task, seed, sparsity, places, study.out / "pruning" / "rows.jsonl")


def lacking(study: Study, task: str, may_train: bool) -> str:
    """Why a task cannot be run; nothing if it can."""
    what = find_task(task)
    for split in ("train", "validation") if may_train else ("validation",):
        if Path(study.data).is_dir():
            files = [Path(study.data, task, f"{part}.parquet") for part in what.parts(split)]
            if not files[0].is_file():
                return f"no {split} split in the data folder"
        else:
            try:
                read_split(what, study.data, split, 1)
            except (ValueError, OSError) as error:
                return f"{study.data}: {str(error).splitlines()[0]}"
    if may_train:
        return ""
    names = {"dense": "dense", PRUNED: "pruned"}
    kinds = [name for kind, name in names.items() if not study.has(task, kind)]
    return f"no {' and no '.join(kinds)} model" if kinds else ""


def protections(study: Study, task: str) -> dict[str, dict[str, Any]]:
    """Cells and reads of the four series; the protection is the deepest of `SCHEMES` that fits."""
    dense, pruned = study.inputs(task, "dense"), study.inputs(task, PRUNED)
    for scheme in SCHEMES:
        try:
            ledger_of(pruned, scheme)
        except ValueError:
            continue
        break
    else:
        raise ValueError(f"{task}-{PRUNED} has room for none of {', '.join(SCHEMES)}")
    found = {}
    for series, inputs, name in (
        ("dense", dense, "none"),
        ("pruned", pruned, "none"),
        ("protected", pruned, scheme),
        ("duplicate", pruned, COSTLY),
    ):
        one = ledger_of(inputs, name)
        found[series] = {
            "protection": name,
            "cells": one.physical + one.spare,
            "reads_per_weight": round(one.reads_per_weight, 2),
            "freed_cells": one.freed,
            "copies": one.copies,
        }
    return found


def points_of(task: str, series: str, name: str) -> tuple[Point, ...]:
    """All rates of one series."""
    model = f"{task}-{'dense' if series == 'dense' else PRUNED}"
    return expand(Point(task, model, 0.0, protection=name), {"rate": (0.0, *RATES)})


def measure(study: Study, task: str, ledgers: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """One task's part of the results."""
    points = [
        point
        for series, one in ledgers.items()
        for point in points_of(task, series, one["protection"])
    ]
    lines = study.lines(points)
    found: dict[str, Any] = {"task": task, "sparsity": None, "series": {}}
    for series, one in ledgers.items():
        model = points_of(task, series, "none")[0].model
        own = by_rate(lines, model=model, protection=one["protection"])
        points_found = [facts(own[rate]) for rate in sorted(own)]
        found["series"][series] = {**one, "points": points_found}
        found["sparsity"] = max((line.sparsity or 0.0 for line in own.values()), default=None)
    return found


def at(one: dict[str, Any], series: str, rate: float) -> dict[str, Any] | None:
    """The point of a series at a rate."""
    return next((p for p in one["series"][series]["points"] if p["rate"] == rate), None)


def table(results: Sequence[dict[str, Any]]) -> str:
    """The nine rows."""
    head = ["task (score)", "chips, examples", "freed, %", "cells, million", "reads a weight"]
    head += ["rate 0: dense, pruned", *(f"{rate:g}" for rate in SHOWN)]
    rows = []
    for one in results:
        name = f"{one['task']} ({SCORES.get(one['task'], 'accuracy')})"
        if "not_run" in one:
            rows.append([name, f"not run: {one['not_run']}", *[""] * (len(head) - 2)])
            continue
        series = one["series"]
        first = next(p for p in series["pruned"]["points"] if p["rate"])
        less = series["protected"]["protection"] != SCHEMES[0]
        note = f" ({series['protected']['protection']})" if less else ""
        cells = ", ".join(f"{s['cells'] / 1e6:.1f}" for s in series.values())
        reads = ", ".join(f"{s['reads_per_weight']:g}" for s in series.values())
        clean = ", ".join(with_interval(at(one, s, 0.0)) for s in ("dense", "pruned"))
        rows.append(
            [
                name + note,
                f"{first['chips']}, {first['examples']}",
                f"{100 * one['sparsity']:.1f}",
                cells,
                reads,
                clean,
                *("<br>".join(with_interval(at(one, s, rate)) for s in LABELS) for rate in SHOWN),
            ]
        )
    return markdown(head, rows)


def draw(study: Study, results: Sequence[dict[str, Any]]) -> None:
    """Mean score against rate with its interval, one panel a task."""
    ran = [one for one in results if "not_run" not in one]
    if not ran:
        return
    columns = min(3, len(ran))
    rows = -(-len(ran) // columns)
    figure = new_figure(4.2 * columns, 3.2 * rows + 0.4)
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True).reshape(-1)
    for panel, one in zip(grid, ran, strict=False):
        for k, (series, label) in enumerate(LABELS.items()):
            own = [p for p in one["series"][series]["points"] if p["rate"]]
            rates = [p["rate"] for p in own]
            means = [100 * p["mean"] for p in own]
            panel.plot(rates, means, "os^D"[k] + "-", color=f"C{k}", markersize=4, label=label)
            ends = [[100 * end for end in p["interval"] or (p["mean"],) * 2] for p in own]
            low, high = zip(*ends, strict=True)
            panel.fill_between(rates, low, high, color=f"C{k}", alpha=0.15, linewidth=0)
        panel.set(xscale="log", title=one["task"], ylabel="score, %")
        panel.grid(alpha=0.3)
    for panel in grid[len(ran) :]:
        panel.set_axis_off()
    for panel in grid[max(0, len(ran) - columns) : len(ran)]:
        panel.set_xlabel("fraction of stuck cells")
        panel.tick_params(labelbottom=True)
    handles, labels = grid[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
    figure.savefig(study.figure(NAME), dpi=110)


def main() -> None:
    """Run what is missing of every task, then write table and figure."""
    parser = make_parser(__doc__, chips=8)
    parser.add_argument("--train", help="pretrained BERT to make lacking models from")
    parser.add_argument("--tasks", default=",".join(TASKS), help="comma list")
    args = parser.parse_args()
    study = Study.of(args)
    known = {one["task"]: one for one in study.read(NAME) or []}
    for task in args.tasks.split(","):
        if study.stored:
            if "series" in known.get(task, {}):
                known[task] = measure(study, task, ledgers_in(known[task]))
            elif task not in known:
                reason = lacking(study, task, False) if Path(study.data).is_dir() else ""
                known[task] = {"task": task, "not_run": reason or "not yet"}
            continue
        reason = lacking(study, task, args.train is not None)
        if reason:
            if "series" not in known.get(task, {}):
                known[task] = {"task": task, "not_run": reason}
            continue
        if args.train:
            train(study, task, args)
        known[task] = measure(study, task, protections(study, task))
        study.write(NAME, list(known.values()))
    results = [known[task] for task in TASKS if task in known]
    study.write(NAME, results)
    print(table(results))
    draw(study, results)


def ledgers_in(one: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Cells and reads of the series as they were kept."""
    return {
        series: {key: value for key, value in kept.items() if key != "points"}
        for series, kept in one["series"].items()
    }


if __name__ == "__main__":
    main()
