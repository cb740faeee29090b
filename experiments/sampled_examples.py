"""What it saves that each chip answers examples of its own, and whether the estimates hold.

    python experiments/sampled_examples.py --model MODEL --data DATA --task qnli [--rates 1e-3]
    python experiments/sampled_examples.py --replay

MODEL is a model of the task, trained on none of the rows that it is scored on; QNLI's by
`rerax train --model MINILM --task qnli --data DATA --epochs 2 --lr 1e-4 --dtype bfloat16 --out
MODEL`, where DATA has a tenth of QNLI's train split and its whole dev set (5,463 pairs).

*Measured.* Chips 0 to FULL - 1 answer everything; then pilots find the table and chips 0 to
SAMPLED - 1 answer examples of their own. Both are timed in turns, as folders that grow; loading
and compiling count for neither, but for pilots and decisions. A mean's interval is as narrow by n
chips that answer everything as by n V_s / V that draw, V and V_s being variances over chips.
`saving`: seconds of 64 whole chips over those of as many drawing ones as give the same width, the
clean chip's pass charged to both and pilots to the latter; `saving_in_passes`: the same in examples
answered;
`saving_of_many`: the limit of many chips. Estimated variances have errors of their own, so savings
come with a bootstrap interval over chips. A few bad chips make most of V and V_s, and many chips
meet more of them than few; so the table also has the savings with V_s = V + W, W being the mean
square of what drawing changes of chips that did both (`by_pairs`). `yield`: the same whole chips,
decided one by one against BUDGET (`rerax yield`): decisions that differ, and what whole chips take
in seconds and in examples over what deciding takes, pilots and the clean chip charged.

*Replayed* (`--replay`, no model is run): from rows with all answers of the campaigns in
`results/sst2_encodings` and `results/zero_cells`, campaigns of 32 and 64 chips are drawn with
replacement, each chip with examples of its own, by a table of eight other chips; how often does
`mean_interval` cover the point's own mean? 1,000 campaigns a point.

Rows of `results/sampled_examples.json`: one for each task and rate, and one for each replayed
point. Expected: 5 times or more on QNLI at 1e-3, 1.5 to 3 on SST-2 at 1e-3 and 6 to 8 at 1e-2;
coverage of 93.5 to 96.5 % pooled over points.
"""

import argparse
import json
import math
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pandas as pd

from rerax.campaign import store
from rerax.campaign.point import Point
from rerax.campaign.runner import run
from rerax.campaign.sample_table import WHOLE, SampleTable, make_table
from rerax.campaign.sampling import with_samples
from rerax.campaign.sequential import sequential_yields
from rerax.campaign.sidecars import read_provenance
from rerax.campaign.worker import Worker
from rerax.campaign.workload import Settings, Workload, read_workload
from rerax.evaluate.devices import ask_for_devices, cores
from rerax.stats import mean_interval, passes

RESULTS = Path(__file__).parent / "results"
FOLDERS = ("sst2_encodings", "zero_cells")
TURNS = 2
CHIPS = 64
"""Chips that answer everything, whose interval is to be matched."""
LEVELS = (2.5, 97.5)
FIRST = 64
"""Examples that a chip answers before it may be decided."""


def measure(args: argparse.Namespace, rate: float) -> dict[str, Any]:
    """Time whole and drawing chips of one point, in turns."""
    how = {"data": args.data, "max_examples": args.max_examples}
    workload = read_workload(args.model, args.task, args.task, **how).complete()
    point = Point(task=args.task, model=args.task, rate=rate)
    begun = time.perf_counter()
    parts, tables = with_samples([(workload, [point])], args.examples, Settings())
    pilots = time.perf_counter() - begun
    drawing = parts[0][1][0]
    (table,) = tables[workload.name].values()
    seconds, chips = {"whole": 0.0, "drawn": 0.0}, {"whole": 0, "drawn": 0}
    found = {}
    clean = clean_pass(workload, drawing, table)
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(TURNS + 1):  # the first one compiles
            for kind, at, most in (("whole", point, args.full), ("drawn", drawing, args.sampled)):
                out = Path(folder) / kind
                samples = tables if kind == "drawn" else {}
                count = 2 + math.ceil((most - 2) * turn / TURNS)
                rows = run(workload, [at], Settings(count), out, samples=samples)
                found[kind] = rows.to_pandas().sort_values("chip")
                told = [run for run in read_provenance(out) if "seconds" in run][-1]
                if turn:
                    # what whole chips need of the clean one is in the folder
                    again = clean if kind == "drawn" else 0.0
                    seconds[kind] += told["seconds"] - again
                    chips[kind] += told["chips"]
    pace = {kind: seconds[kind] / chips[kind] for kind in seconds}
    n, passes = len(workload.labels), found["drawn"].examples_drawn.mean()
    whole, drawn = (found[kind].score.to_numpy() for kind in ("whole", "drawn"))
    drawn_fewer = drawn[: len(whole)] - whole
    line = {
        "task": args.task,
        "split": "validation" if args.max_examples is None else f"first {args.max_examples}",
        "rate": rate,
        "examples": n,
        "platform": found["whole"].platform.iloc[0],
        "devices": jax.device_count(),
        "score_at_rate_0": float(found["whole"].clean_score.iloc[0]),
        "asked": str(args.examples),
        "examples_drawn": float(passes),
        "chips": {"whole": len(whole), "drawn": len(drawn)},
        "mean": {"whole": float(whole.mean()), "drawn": float(drawn.mean())},
        "sd": {"whole": float(whole.std(ddof=1)), "drawn": float(drawn.std(ddof=1))},
        "difference": [
            float(drawn_fewer.mean()),
            float(drawn_fewer.std(ddof=1) / math.sqrt(len(drawn_fewer))),
        ],
        "seconds_a_chip": pace,
        "seconds_of_pilots": pilots,
        "seconds_of_clean_chip": clean,
        "pilots": table.pilots["chips"],
        "table": table.text,
        "yield": decide(workload, point, found["whole"], pace["whole"], args.budget),
    }
    draw = np.random.Generator(np.random.PCG64(0))
    variances = [
        (
            draw.choice(whole, len(whole)).var(ddof=1),
            draw.choice(drawn, len(drawn)).var(ddof=1),
        )
        for _ in range(2000)
    ]
    for name, (of_whole, of_drawn, once, more) in (
        ("saving", (pace["whole"], pace["drawn"], clean, pilots)),
        ("saving_in_passes", (1.0, passes / n, 1.0, table.pilots["chips"] + 1.0)),
        ("saving_of_many", (pace["whole"], pace["drawn"], 0.0, 0.0)),
    ):
        many = [
            (CHIPS * of_whole + once) / (CHIPS * v_drawn / v_whole * of_drawn + once + more)
            for v_whole, v_drawn in [(whole.var(ddof=1), drawn.var(ddof=1)), *variances]
            if v_whole > 0
        ]
        line[name] = None  # chips that do not differ tell of no saving
        if whole.var():
            line[name] = [float(many[0]), *np.percentile(many[1:], LEVELS).tolist()]
    return line


def clean_pass(workload: Workload, drawing: Point, table: SampleTable) -> float:
    """Time the clean chip's answers to all examples."""
    worker = Worker.start(workload, Settings(1), [drawing], [table])
    for _ in range(2):  # the first compiles
        worker.answered.clear()
        begun = time.perf_counter()
        worker.clean_right(drawing)
        seconds = time.perf_counter() - begun
    return seconds


def decide(
    workload: Workload, point: Point, rows: pd.DataFrame, pace: float, budget: float
) -> dict[str, Any]:
    """Decide chips that have answered everything one by one, and say what that would have saved.

    Args:
        workload: model and examples.
        point: whose chips.
        rows: their rows with all answers.
        pace: seconds that one of them took.
        budget: loss that a chip may have and pass.
    """
    chips, first = len(rows), min(FIRST, len(workload.labels) // 2)
    begun = time.perf_counter()
    (found,) = sequential_yields(workload, [point], Settings(chips), budget, first)
    seconds = time.perf_counter() - begun
    float_score = float(rows.float_score.iloc[0])
    whole = passes(rows.score.to_numpy(), float_score, budget)
    return {
        "budget": budget,
        "chips": chips,
        "passed": {"whole": int(whole.sum()), "decided": int(found.passed.sum())},
        "decided_otherwise": int((whole != found.passed).sum()),
        "interval": found.interval,
        "share_answered": float(found.answered.mean() / found.examples),
        "saving": chips * pace / seconds,
        "saving_in_passes": chips / (found.answered.sum() / found.examples + found.pilots),
    }


def by_pairs(line: dict[str, Any]) -> tuple[float, float]:
    """Savings of seconds and of examples answered, where both variances are of the same chips.

    Args:
        line: of `measure`.
    """
    chips, (change, se) = line["chips"]["whole"], line["difference"]
    ratio = 1 + (chips * se**2 + change**2) / line["sd"]["whole"] ** 2
    pace, clean = line["seconds_a_chip"], line["seconds_of_clean_chip"]
    pilots, share = line["pilots"], line["examples_drawn"] / line["examples"]
    seconds = CHIPS * ratio * pace["drawn"] + clean + line["seconds_of_pilots"]
    return (
        (CHIPS * pace["whole"] + clean) / seconds,
        (CHIPS + 1) / (CHIPS * ratio * share + 1 + pilots + 1),
    )


def markdown(lines: list[dict[str, Any]]) -> str:
    """The table of what drawing saves: means, and yields decided one by one."""
    head = ["task", "examples", "rate", "answered a chip", "SD of chips, whole", "drawn"]
    head += ["seconds a chip, whole", "drawn", "saving, 64 chips", "in passes"]
    head += ["by pairs", "in passes"]
    head += ["yield: chips that pass", "examples answered", "saving", "in passes"]
    table = [f"| {' | '.join(head)} |", "| --- " * len(head) + "|"]
    for one in lines:
        decided, pace = one["yield"], one["seconds_a_chip"]
        savings = (one[name] for name in ("saving", "saving_in_passes"))
        cells = [
            one["task"],
            f"{one['examples']:,}",
            f"{one['rate']:g}",
            f"{one['examples_drawn']:,.0f}",
            *(f"{100 * one['sd'][kind]:.2f}" for kind in ("whole", "drawn")),
            *(f"{pace[kind]:.2f}" for kind in ("whole", "drawn")),
            *(
                "" if found is None else f"{found[0]:.1f} ({found[1]:.1f} to {found[2]:.1f})"
                for found in savings
            ),
            *(f"{found:.1f}" for found in by_pairs(one)),
            f"{decided['passed']['whole']} of {decided['chips']}, decided "
            f"{decided['passed']['decided']}, {decided['decided_otherwise']} otherwise",
            f"{100 * decided['share_answered']:.0f} %",
            f"{decided['saving']:.2f}",
            f"{decided['saving_in_passes']:.2f}",
        ]
        table.append(f"| {' | '.join(cells)} |")
    return "\n".join(table)


def replay(campaigns: int, examples: int) -> Iterator[dict[str, Any]]:
    """Coverage of the mean of every committed point with 16 chips or more and all its answers."""
    for folder in FOLDERS:
        frame = store.read_rows(RESULTS / folder).to_pandas()
        frame = frame[frame.correct.notna() & (frame.fault == "uniform")]
        for point, rows in frame[frame.rate > 0].groupby("point_hash", sort=True):
            first = rows.iloc[0]
            if len(rows) < 16 or rows.score.nunique() == 1:
                continue
            right = np.stack([np.frombuffer(bits, np.uint8) for bits in rows.correct])
            right = np.unpackbits(right, axis=1, bitorder="little")[:, : first.examples]
            # The clean chip's answers are not among the rows: those of the most chips serve, from
            # which any other answer is a change.
            clean = (right.mean(0) > 0.5).astype(float)
            changes = right - clean
            table = _table(changes[:8], examples)
            for chips in (32, 64):
                yield {
                    "folder": folder,
                    "point": str(point)[:16],
                    "scheme": f"{first.encoding} {first.protection} {first.rate:g}",
                    "chips_drawn_from": len(rows),
                    "chips": chips,
                    "campaigns": campaigns,
                    **_coverage(changes, clean.mean(), table, chips, campaigns),
                }


def _table(changes: np.ndarray, examples: int) -> SampleTable:
    """A table by the flips of some chips; rows say nothing of margins, nor of tokens."""
    margins = np.round(1 - np.abs(changes).mean(0), 4)
    sizes = np.random.Generator(np.random.PCG64(0)).integers(8, 40, changes.shape[1])
    return make_table(margins, changes, sizes.tolist(), examples, {})


def _coverage(
    changes: np.ndarray, clean: float, table: SampleTable, chips: int, campaigns: int
) -> dict[str, float]:
    """How often the interval holds the mean, of whole answers and of drawn ones."""
    rows = [list(row) for held in table.rows.values() for row in held]
    chances = np.array([c for held in table.chances.values() for c in held]) / WHOLE
    of_rows = np.stack([changes[:, row].sum(1) for row in rows], axis=1) / changes.shape[1]
    truth, draw = clean + changes.mean(), np.random.Generator(np.random.PCG64(chips))
    hits = np.zeros(2)
    for _ in range(campaigns):
        mine = draw.integers(0, len(changes), chips)
        taken = draw.random((chips, len(rows))) < chances
        drawn = clean + (of_rows[mine] * taken / chances).sum(1)
        for k, scores in enumerate((clean + changes[mine].mean(1), drawn)):
            low, high = mean_interval(scores)
            hits[k] += low <= truth <= high
    whole, of_drawn = (hits / campaigns).tolist()
    return {"covered_whole": whole, "covered_drawn": of_drawn}


def main() -> None:
    """Measure or replay, and keep the lines beside those of other tasks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", help="folder of a model of the task")
    parser.add_argument("--data", default="nyu-mll/glue", help="GLUE folder or hub id")
    parser.add_argument("--task", default="qnli")
    parser.add_argument("--rates", default="1e-3", help="comma list")
    parser.add_argument("--examples", default="auto", help="examples a chip, or auto")
    parser.add_argument("--max-examples", type=int)
    parser.add_argument("--budget", type=float, default=0.01, help="loss a chip may have and pass")
    parser.add_argument("--full", type=int, default=32, help="chips that answer everything")
    parser.add_argument("--sampled", type=int, default=128, help="chips that draw")
    parser.add_argument("--replay", action="store_true", help="coverage on committed rows")
    parser.add_argument("--campaigns", type=int, default=1000)
    parser.add_argument("--drawn", type=int, default=100, help="examples a chip of --replay")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for results")
    args = parser.parse_args()
    file = args.out / "sampled_examples.json"
    found = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    if args.replay:
        lines = list(replay(args.campaigns, args.drawn))
        found["replayed"] = lines
        for chips in (32, 64):
            own = [line for line in lines if line["chips"] == chips]
            for kind in ("whole", "drawn"):
                covered = [100 * line[f"covered_{kind}"] for line in own]
                print(
                    f"{chips} chips, {kind}: {np.mean(covered):.1f} % of {len(own)} points, "
                    f"lowest {min(covered):.1f} %"
                )
    else:
        ask_for_devices(cores())
        for rate in map(float, args.rates.split(",")):
            line = measure(args, rate)
            kept = found.get("measured", [])
            kept = [o for o in kept if (o["task"], o["rate"]) != (args.task, rate)]
            found["measured"] = [*kept, line]
            print(json.dumps(line))
            file.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    file.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
