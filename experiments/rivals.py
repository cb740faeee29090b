"""Every protection on the same chips: what it knows, what it takes, and what rate it bears.

    python experiments/rivals.py --work WORK --data DATA [--tasks sst2]

WORK holds what `experiments/pruning.py` leaves, the very models of results/zero_cells: those rows
are used as well, and a model trained again has others. Each further scheme of MORE runs on chips 0
to 63 and the first 400 examples, at rates that bracket a loss of one and two points, SA1 : SA0 =
9.04 : 1.75. Rows are in experiments/results/rivals, compacted; stop and start it at will.

The table is sorted by the rate at which the mean over chips is two points below the *dense* model's
float score. Models trained with faults (`fault_training.py`) are among them where they are there.
Beside T (`zero_cells.py`) it says what a scheme takes: cells over those of the dense
model, bits beside the array for each weight, cells sensed for a weight, freed share. About two
hours a task on two CPU cores; `--print` shows the table from the rows alone. Expected: codes
before copies, nearest values before flips, both together first.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
from zero_cells import (
    CURVES,
    EXAMPLES,
    MOST_RATES,
    RESULTS,
    TASKS,
    Curve,
    dense_score,
    fold,
    measure,
    span,
    workload_of,
)

from rerax.campaign import store
from rerax.campaign.maintain import compact
from rerax.campaign.manifest import MANIFEST, read_provenance
from rerax.evaluate.devices import ask_for_devices, cores
from rerax.report import summarise_points

CHIPS = 64
MORE = (
    Curve("dense", "offset", "alternate", "none", (1e-3, 2e-3, 4e-3)),
    Curve("dense", "offset", "alternate", "rotate:16", (2e-3, 4e-3, 8e-3)),
    Curve("dense", "offset", "alternate", "rotate:16:closest", (0.03, 0.05, 0.08)),
    Curve("dense", "offset", "alternate", "sign", (2e-3, 4e-3, 8e-3)),
    Curve("dense", "offset", "alternate", "bit", (2e-3, 4e-3, 8e-3)),
    Curve("dense", "offset", "alternate", "closest+bit", (0.03, 0.06, 0.1)),
    Curve("dense", "offset", "alternate", "code:secded:7:lsb", (2e-3, 4e-3, 8e-3)),
    Curve("dense", "offset", "alternate", "code:bch:6:lsb", (8e-3, 1.5e-2, 3e-2)),
    Curve("dense", "offset", "alternate", "code:bch:6:lsb:closest", (0.03, 0.06, 0.1)),
    Curve("dense", "offset", "alternate", "duplicate:3", (0.03, 0.05, 0.08)),
    Curve("35", "offset", "alternate", "none", (1e-3, 2e-3, 4e-3)),
    Curve("35", "offset", "plain", "msb:2x3:pruned", (4e-3, 8e-3, 1.5e-2)),
    Curve("35", "offset", "alternate", "msb:2x3:pruned:closest", (0.03, 0.06, 0.1)),
    Curve("35", "offset", "alternate", "msb:4x2:pruned:erasures", (0.02, 0.04, 0.08)),
    Curve("35", "offset", "alternate", "code:bch:5:pruned", (1e-2, 2e-2, 4e-2)),
    Curve("35", "offset", "alternate", "code:golay:4:pruned:erasures", (0.05, 0.08, 0.12)),
)
"""Schemes beside those of `zero_cells.py`, in the order of the runs."""
HARDENED = (
    Curve("hardened", "offset", "alternate", "none", (2e-3, 4e-3, 8e-3)),
    Curve("clipped", "offset", "alternate", "none", (2e-3, 4e-3, 8e-3)),
    Curve("hardened35", "offset", "alternate", "code:golay:4:pruned", (0.03, 0.06, 0.1)),
)
"""Models of `fault_training.py`, where they are there."""
TRAINED = {
    "hardened": ", trained with faults",
    "clipped": ", trained with faults, clipped",
    "hardened35": ", trained with faults",
}
FREED = {"dense": "0", "hardened": "0", "clipped": "0", "hardened35": "35 %"}
"""Share of the weights that is freed; of other models their name says it."""


def costs(rows: pd.DataFrame, runs: Sequence[dict[str, Any]]) -> dict[tuple[str, ...], list[Any]]:
    """What each scheme of a model takes: cells, bits beside the array and reads, each a weight.

    Args:
        rows: rows of a task.
        runs: lines of the folders' provenance.
    """
    first = rows.drop_duplicates(["model", "encoding", "protection"])
    table = pa.Table.from_pandas(first, preserve_index=False)
    found = {}
    for point in summarise_points(table, runs=runs):
        key = tuple(point.settings[name] for name in ("model", "encoding", "protection"))
        weights = (point.cells_dense or 1) / point.settings["bits"]  # offset, one-bit cells
        found[key] = [
            (point.cells or 0) / (point.cells_dense or 1),
            (point.metadata or 0) / weights,
            point.reads,
        ]
    return found


def markdown(lines: Sequence[dict[str, Any]]) -> str:
    """The table of one task."""
    table = [
        "| protection | knows | freed | encoding, polarity | cells | bits beside | reads "
        "| 1 point below dense at | 2 points at | T_2 |",
        "| --- " * 10 + "|",
    ]
    for one in lines:
        cells, bits, reads = one["costs"]
        shown = [
            f"`{one['protection']}`" + TRAINED.get(one["model"], ""),
            one["knows"],
            FREED.get(one["model"], f"{one['model']} %"),
            f"{one['encoding']}, {one['polarity']}",
            f"{cells:.2f}",
            f"{bits:.3f}",
            "" if reads is None else f"{reads:.1f}",
            span(one["rate_1"], ".2g", one["rates"][0]),
            span(one["rate_2"], ".2g", one["rates"][0]),
            span(one.get("T_2"), ".1f"),
        ]
        table.append(f"| {' | '.join(shown)} |")
    return "\n".join(table)


def main() -> None:
    """Run what is missing and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, default="pruning-work", help="folder of the models")
    parser.add_argument("--data", default="nyu-mll/glue", help="GLUE folder or hub id")
    parser.add_argument("--seed", type=int, default=0, help="seed of the models")
    parser.add_argument("--tasks", default=",".join(TASKS), help="comma list")
    parser.add_argument("--curves", help="numbers of MORE, comma list; by default all")
    parser.add_argument("--max-examples", type=int, default=EXAMPLES)
    parser.add_argument("--chips", type=int, default=CHIPS)
    parser.add_argument("--most-rates", type=int, default=MOST_RATES)
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for rows and results")
    parser.add_argument("--print", action="store_true", help="only print the tables")
    args = parser.parse_args()
    ask_for_devices(cores())
    folder, before = args.out / "rivals", args.out / "zero_cells"
    every = (*MORE, *HARDENED)
    numbers = map(int, args.curves.split(",")) if args.curves else range(len(every))
    curves = [] if args.print else [every[k] for k in numbers]
    for task in args.tasks.split(","):
        given = (args.seed, args.data, args.max_examples)
        for curve in curves:
            if curve in HARDENED and not (args.work / f"{task}-{args.seed}-{curve.model}").is_dir():
                print(f"{task}: no model {curve.model}, which fault_training.py makes")
                continue
            workload = workload_of(args.work, task, curve.model, *given)
            top = dense_score(workload_of(args.work, task, "dense", *given), folder)
            measure(workload, curve, top, args.chips, args.most_rates, folder)
    if not args.print:
        compact(folder)
    folders = [place for place in (before, folder) if (place / MANIFEST).is_file()]
    rows = pd.concat([store.read_rows(place).to_pandas() for place in folders])
    rows = rows[rows.chip < args.chips].drop_duplicates(["point_hash", "model_hash", "chip"])
    runs = [run for place in folders for run in read_provenance(place)]
    found = {}
    for task in [task for task in TASKS if task in set(rows.task)]:
        own = rows[rows.task == task]
        _check_models(own)
        taken = costs(own, runs)
        lines = fold(own, task, (*CURVES, *every))
        for line in lines:
            line["costs"] = taken[f"{task}-{line['model']}", line["encoding"], line["protection"]]
        found[task] = sorted(lines, key=lambda line: -(line["rate_2"][0] or 0))
        print(markdown(found[task]), end="\n\n")
    file = args.out / "rivals.json"
    file.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def _check_models(rows: pd.DataFrame) -> None:
    """Refuse rows of two trainings of a model, whose chips cannot be compared."""
    for name, hashes in rows.groupby("model").model_hash.unique().items():
        if len(hashes) > 1:
            raise SystemExit(
                f"error: rows of {name} are of {len(hashes)} trainings: run zero_cells.py and "
                "rivals.py on the same models"
            )


if __name__ == "__main__":
    main()
