"""Every protection on the same chips: what it knows, what it takes, and what rate it bears.

    python experiments/rivals.py --work WORK --data DATA [--tasks sst2]

WORK holds what `experiments/pruning.py` leaves, the very models of results/zero_cells: those rows
are used as well, and a model trained again has others. Each further scheme of MORE runs on chips 0
to 63 and the first 400 examples, at rates that bracket a loss of one and two points, SA1 : SA0 =
9.04 : 1.75. Rows are in experiments/results/rivals, compacted; stop and start it at will.

The table is sorted by the rate at which the mean over chips is two points below the *dense* model's
float score. Models trained with faults (`fault_training.py`) and chips whose biases and norms are
fitted anew (`refit.py`) are among them where they are there; spare lines, which are for line
faults, and assigned rows, a reference on the host, are not. Beside T (`zero_cells.py`) it says how
many times that rate is the one of the paper's vote (`msb:2x3:pruned`, plain), on the same chips,
and what a scheme takes: cells over those of the dense model, bits beside the array for each weight
of that, cells sensed for a kept weight, freed share, and energy for each weight of the dense model,
by READ and WRITE alone: of gates and decoders no source was found, so that copies and codes take
more than is said, and refitting, which reads whole layers, takes none here. About two hours a task
on two CPU cores; `--print` computes no chip, and folds the rows of all tasks that are there again.
Expected: nearest values before flips, Golay's code before copies, what combines schemes first.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
from zero_cells import (
    CURVES,
    LOSSES,
    MOST_RATES,
    TASKS,
    Curve,
    clean_of,
    dense_score,
    ends,
    fold,
    line_of,
    measure,
    parser_of_models,
    run_points,
    scores,
    span,
    tolerated,
    workload_of,
)

from rerax.campaign import store
from rerax.campaign.maintain import compact
from rerax.campaign.manifest import MANIFEST
from rerax.campaign.sidecars import read_provenance
from rerax.evaluate.devices import ask_for_devices, cores
from rerax.report import summarise_points
from rerax.stats import mean_interval
from rerax.stats.tolerated import ratio_with_interval

CHIPS = 64
VOTE = Curve("35", "offset", "plain", "msb:2x3:pruned", (4e-3, 8e-3, 1.5e-2))
"""The paper's scheme, which others are set against."""
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
    VOTE,
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
    Curve("clipped35", "offset", "alternate", "code:golay:4:pruned", (0.03, 0.06, 0.1)),
    Curve("clipped", "offset", "alternate", "closest+sign", (0.06, 0.1, 0.17)),
    Curve("clipped", "sign_magnitude", "inverted", "none", (8e-3, 1.5e-2, 3e-2)),
    Curve("onlyclipped", "offset", "alternate", "none", (2e-3, 4e-3, 8e-3)),
    Curve("onlyclipped35", "offset", "alternate", "code:golay:4:pruned", (0.03, 0.06, 0.1)),
)
"""Models of `fault_training.py`, where they are there."""
SAME_RATES = (0.01, 0.03, 0.08)
"""Rates at which training and protection are compared; the first is the training's."""
CODE = Curve("35", "offset", "alternate", "code:golay:4:pruned", SAME_RATES)
"""The best that knows nothing of a chip, in offset."""
BARE = Curve("dense", "offset", "alternate", "none", SAME_RATES)
TOGETHER = {
    "bare": BARE,
    "bare, clipped": replace(BARE, model="onlyclipped"),
    "bare, trained with faults": replace(BARE, model="hardened"),
    "bare, trained with faults, clipped": replace(BARE, model="clipped"),
    "code": CODE,
    "code, trained again": replace(CODE, model="again35"),
    "code, clipped": replace(CODE, model="onlyclipped35"),
    "code, trained with faults": replace(CODE, model="hardened35"),
    "code, trained with faults, clipped": replace(CODE, model="clipped35"),
}
TRAINED = {
    "hardened": ", trained with faults",
    "clipped": ", trained with faults, clipped",
    "onlyclipped": ", clipped",
}
"""What a model's name says of its training, pruned (..35) or not."""
READ, WRITE = 0.12, 0.35
"""Energy in pJ of sensing a cell, and at most of writing one: a model of a 1T1R cell checked by
circuit simulation (Performance and energy models for memristor-based 1T1R RRAM cell, GLSVLSI 2012,
abstract, which names no node)."""
MARCH = 5
"""Reads, and writes, of each cell in a march test of 10 operations (March C-)."""
REFITTED = ", biases and norms fitted"


def costs(rows: pd.DataFrame, runs: Sequence[dict[str, Any]]) -> dict[tuple[str, ...], list[Any]]:
    """What each scheme of a model takes, and the share of weights that is pruned.

    Cells are over those of the dense model, bits beside the array for each of its weights, reads
    for each kept one.

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
            None if point.metadata is None else point.metadata / weights,
            point.reads,
            point.sparsity or 0.0,
        ]
    return found


def written(line: dict[str, Any]) -> float:
    """Energy in pJ for a weight of the dense model: writing, and a march test if one is needed.

    A chip that is fitted by its outputs needs no map.
    """
    cells = line["costs"][0] * 8  # of the dense model, 8 bits in cells of one
    return cells * (WRITE + MARCH * (READ + WRITE) * line["knows"].startswith("map"))


def markdown(lines: Sequence[dict[str, Any]]) -> str:
    """The table of one task."""
    table = [
        "| protection | knows | freed | encoding, polarity | cells | bits beside | reads, kept "
        "| pJ to read | pJ to write, and test "
        "| 1 point below dense at | 2 points at | over the vote's, × | T_2 |",
        "| --- " * 13 + "|",
    ]
    for one in lines:
        cells, bits, reads, freed = one["costs"]
        trained = TRAINED.get(one["model"].removesuffix("35"), "")
        shown = [
            f"`{one['protection']}`" + trained + REFITTED * one["refitted"],
            one["knows"],
            f"{100 * freed:.0f} %" if freed else "0",
            f"{one['encoding']}, {one['polarity']}",
            f"{cells:.2f}",
            "map" if one["knows"] == "map at reading" else "" if bits is None else f"{bits:.3f}",
            "" if reads is None else f"{reads:.1f}",
            "" if reads is None else f"{reads * (1 - freed) * READ:.2f}",
            f"{written(one):.1f}",
            span(one["rate_1"], ".2g", one["rates"][0]),
            span(one["rate_2"], ".2g", one["rates"][0]),
            span(one.get("over_vote"), ".1f"),
            span(one.get("T_2"), ".1f"),
        ]
        table.append(f"| {' | '.join(shown)} |")
    return "\n".join(table)


def main() -> None:
    """Run what is missing and print the tables."""
    parser = parser_of_models(__doc__)
    parser.add_argument(
        "--curves", help="numbers of MORE and HARDENED, and `same` for the rest; by default all"
    )
    parser.add_argument("--chips", type=int, default=CHIPS)
    parser.add_argument("--most-rates", type=int, default=MOST_RATES)
    parser.add_argument("--print", action="store_true", help="only fold the rows that are there")
    args = parser.parse_args()
    ask_for_devices(cores())
    folder = args.out / "rivals"
    every = (*MORE, *HARDENED)
    asked = [*map(str, range(len(every))), "same"] if not args.curves else args.curves.split(",")
    curves = [] if args.print else [every[int(k)] for k in asked if k != "same"]
    at_once = TOGETHER.values() if "same" in asked and not args.print else ()
    for task in args.tasks.split(","):
        given = (args.seed, args.data, args.max_examples)
        for curve in curves:
            if curve in HARDENED and not (args.work / f"{task}-{args.seed}-{curve.model}").is_dir():
                print(f"{task}: no model {curve.model}, which fault_training.py makes")
                continue
            workload = workload_of(args.work, task, curve.model, *given)
            top = dense_score(workload_of(args.work, task, "dense", *given), folder)
            measure(workload, curve, top, args.chips, args.most_rates, folder)
        for curve in at_once:
            if (args.work / f"{task}-{args.seed}-{curve.model}").is_dir():
                workload = workload_of(args.work, task, curve.model, *given)
                points = [curve.point(workload, rate) for rate in SAME_RATES]
                run_points(workload, points, args.chips, folder)
    if not args.print:
        compact(folder)
    found = compare(args.out, args.chips)
    for lines in found.values():
        print(markdown(lines), end="\n\n")
    for lines in at_same_rates(args.out, args.chips).values():
        print(markdown_at_same_rates(lines), end="\n\n")
    file = args.out / "rivals.json"
    file.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def compare(out: Path, chips: int = CHIPS) -> dict[str, list[dict[str, Any]]]:
    """Give the lines of each task, from all rows that there are.

    Args:
        out: where the folders of rows are, and what `refit.py` has left.
        chips: of each point.
    """
    rows = rows_of(out, chips)
    runs = [run for place in _folders(out) for run in read_provenance(place)]
    found = {}
    for task in [task for task in TASKS if task in set(rows.task)]:
        own = rows[rows.task == task]
        _check_models(own)
        found[task] = ranked(own, task, (*CURVES, *MORE, *HARDENED), out)
        taken = costs(own, runs)
        for line in found[task]:
            line["costs"] = taken[f"{task}-{line['model']}", line["encoding"], line["protection"]]
    return found


def at_same_rates(out: Path, chips: int = CHIPS) -> dict[str, list[dict[str, Any]]]:
    """Compare models trained with faults, and codes, at the same rates, task by task.

    Args:
        out: where the folders of rows are.
        chips: of each point.

    Returns:
        Lines of each task that has any beside the code's: in %, the score without faults, and for
        each of SAME_RATES mean and standard error, and what is gained over the code with its
        interval.
    """
    rows, found = rows_of(out, chips), {}
    for task in [task for task in TASKS if task in set(rows.task)]:
        own = rows[rows.task == task]
        _check_models(own)
        code, lines = scores(own, CODE), []
        for label, curve in TOGETHER.items():
            score = scores(own, curve)
            if not {*SAME_RATES} <= {*score.index} & {*code.index}:
                continue
            clean = own[own.model == f"{task}-{curve.model}"]
            clean = clean[clean.protection == curve.protection].clean_score.iloc[0]
            points = []
            for rate in SAME_RATES:
                faulty = 100 * score.loc[rate]
                gained = (faulty - 100 * code.loc[rate]).to_numpy()
                points.append((faulty.mean(), faulty.sem(), gained.mean(), *mean_interval(gained)))
            lines.append({"label": label, "clean": 100 * clean, "points": points})
        if len(lines) > 1:
            found[task] = lines
    return found


def markdown_at_same_rates(lines: Sequence[dict[str, Any]]) -> str:
    """The table of `at_same_rates` of one task."""
    head = " | ".join(f"at {rate:g} | over the code" for rate in SAME_RATES)
    table = [f"| | no faults | {head} |", "| --- " * (2 + 2 * len(SAME_RATES)) + "|"]
    for line in lines:
        shown = [line["label"], f"{line['clean']:.2f}"]
        for mean, error, gained, low, high in line["points"]:
            between = f"{gained:+.2f} ({low:+.2f} to {high:+.2f})"
            of_code = TOGETHER[line["label"]] is CODE
            shown += [f"{mean:.2f} ± {error:.2f}", "" if of_code else between]
        table.append(f"| {' | '.join(shown)} |")
    return "\n".join(table)


def rows_of(out: Path, chips: int) -> pd.DataFrame:
    """Read the rows of the first chips of both folders, each once."""
    rows = pd.concat([store.read_rows(place).to_pandas() for place in _folders(out)])
    return rows[rows.chip < chips].drop_duplicates(["point_hash", "model_hash", "chip"])


def _folders(out: Path) -> list[Path]:
    places = (out / "zero_cells", out / "rivals")
    return [place for place in places if (place / MANIFEST).is_file()]


def refits(out: Path, task: str, chips: int) -> list[tuple[Curve, pd.DataFrame, dict[str, Any]]]:
    """Give the curves, the first chips' scores and the rest of what `refit.py` left of a task."""
    file = out / "refit.json"
    found = []
    for one in json.loads(file.read_text(encoding="utf-8")) if file.is_file() else []:
        names = ("model", "encoding", "polarity", "protection", "rates")
        frame = pd.DataFrame(one["scores"]).T
        frame = frame.set_index(frame.index.astype(float)).iloc[:, :chips]
        found.append((Curve(*(one[name] for name in names)), frame.sort_index(), one))
    return [entry for entry in found if entry[2]["task"] == task]


def ranked(
    rows: pd.DataFrame, task: str, curves: Sequence[Curve], out: Path
) -> list[dict[str, Any]]:
    """A line for each scheme, the one that bears most first.

    Args:
        rows: of the task.
        task: its name.
        curves: which there may be.
        out: where `refit.py` leaves its scores.
    """
    frames = {_names(vars(curve)): scores(rows, curve) for curve in curves}
    entries = [
        ({**line, "refitted": False}, frames[_names(line)]) for line in fold(rows, task, curves)
    ]
    for curve, frame, one in refits(out, task, max(frame.shape[1] for frame in frames.values())):
        _check_models(rows, one["model_hash"])
        if frames[_names(vars(curve))].empty:
            print(
                f"{task}: no rows of {curve.protection}, whose costs refit.py's curve has as well"
            )
            continue
        bare = replace(curve, polarity="plain", protection="none")
        base = frames[_names(vars(bare))], clean_of(rows, task, bare)
        line = line_of(task, curve, frame, one["clean_score"], one["float_score"], base)
        known = f"{line['knows']}, its outputs" if line["knows"] != "nothing" else "its outputs"
        entries.append(({**line, "knows": known, "refitted": True}, frame))
    votes = [entry for entry in entries if _names(entry[0]) == _names(vars(VOTE))]
    for line, frame in entries:
        for vote, of_vote in votes:
            within = _or_most(line["rate_2"][0]) >= line["rates"][0] or not line["rate_2"][0]
            if line is not vote and line["chips"] == vote["chips"] and within:
                above, below = (
                    tolerated(f, one["dense_float_score"], one["score_at_rate_0"], LOSSES[-1])
                    for f, one in ((frame, line), (of_vote, vote))
                )
                line["over_vote"] = ratio_with_interval(above, below, (ends(frame), ends(of_vote)))
    return sorted((line for line, _ in entries), key=lambda line: -_or_most(line["rate_2"][0]))


def _names(named: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(named[name] for name in ("model", "encoding", "polarity", "protection"))


def _or_most(rate: float | None) -> float:
    return math.inf if rate is None else rate


def _check_models(rows: pd.DataFrame, *further: str) -> None:
    """Refuse rows of two trainings of a model, or of two sets of examples: no chips to compare.

    Args:
        rows: of a task.
        further: hash of the dense model that others were measured on.
    """
    for name, found in rows.groupby("model").data_hash.unique().items():
        if len(found) > 1:
            raise SystemExit(
                f"error: rows of {name} are of {len(found)} sets of examples: run zero_cells.py "
                "and rivals.py with the same --max-examples"
            )
    for name, found in rows.groupby("model").model_hash.unique().items():
        hashes = {*found, *(further if name.endswith("-dense") else ())}
        if len(hashes) > 1:
            raise SystemExit(
                f"error: rows of {name} are of {len(hashes)} trainings: run zero_cells.py and "
                "rivals.py on the same models"
            )


if __name__ == "__main__":
    main()
