"""Fine-tune a BERT on GLUE tasks and prune it in stages: score against sparsity.

    python experiments/pruning.py --model MODEL --data DATA --work WORK [--tasks sst2,mrpc] \
        [--seeds 0,1,2]

MODEL is a pretrained BERT such as sentence-transformers/all-MiniLM-L6-v2, DATA a folder with
<task>/<split>.parquet. For every task and seed: a dense model first; then each sparsity starts
from the one before, with its gates, and imitates the dense model. 38 % is done for seed 0 alone.

One row a stage goes to experiments/results/pruning/rows.jsonl, with the command that remakes it;
stages that have a row are run again only where a later one starts from them and their folder is
gone, and a run that was cut off is resumed. `--print` shows the table.
On two cores with a 6-layer MiniLM: about five hours.
"""

import argparse
import json
import math
import shlex
import shutil
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

import jax

from rerax.cli import main as rerax

ROWS = Path(__file__).parent / "results" / "pruning" / "rows.jsonl"
SEEDS = {"cola": 3, "mrpc": 3, "rte": 3, "stsb": 3, "sst2": 2}
DENSE_EPOCHS = {"sst2": 2.0, "cola": 8.0, "rte": 6.0}  # the others: 4; until scores stop rising
PRUNED_EPOCHS = {"sst2": 1.0}  # the others: 2
SIZES = {"sst2": 20000}  # sentences to learn from; the others: all
STAGES = {0.0: None, 0.21: 0.0, 0.35: 0.21, 0.38: 0.35, 0.5: 0.35}
"""Each sparsity, and the one it starts from."""
FIRST_SEED_ONLY = (0.38,)


def name(task: str, seed: int, sparsity: float) -> str:
    """Folder of one stage."""
    return f"{task}-{seed}-{'dense' if sparsity == 0 else f'{100 * sparsity:.0f}'}"


def flags(task: str, seed: int, sparsity: float, start: str, most: int | None = None) -> list[str]:
    """Flags of `rerax train` for one stage, with MODEL, DATA and WORK still by name."""
    pruned = sparsity > 0
    epochs = PRUNED_EPOCHS.get(task, 2.0) if pruned else DENSE_EPOCHS.get(task, 4.0)
    given = ["--model", start, "--task", task, "--data", "DATA", "--seed", str(seed)]
    given += ["--out", f"WORK/{name(task, seed, sparsity)}"]
    given += ["--epochs", f"{epochs:g}", "--lr", "1e-4", "--dtype", "bfloat16"]
    size = min(SIZES.get(task, most or math.inf), most or math.inf)
    if size < math.inf:
        given += ["--max-examples", str(size)]
    if pruned:
        given += ["--sparsity", f"{sparsity:g}"]
        given += ["--distil-from", f"WORK/{name(task, seed, 0.0)}"]
    return given


def stages_to_run(
    task: str, seed: int, rows: list[dict], work: str, asked: Sequence[float] = tuple(STAGES)
) -> list[float]:
    """Sparsities without a row, and before them those they start from whose folder is gone."""
    done = {r["sparsity"] for r in rows if (r["task"], r["seed"]) == (task, seed)}
    wanted = [s for s in asked if s not in done and not (seed and s in FIRST_SEED_ONLY)]
    needed = set(wanted)
    for sparsity in reversed(STAGES):
        before = (STAGES[sparsity], 0.0 if sparsity else None)  # its start and its teacher
        if sparsity in needed:
            needed |= {
                s for s in before if s is not None and not finished(Path(work, name(task, seed, s)))
            }
    return [s for s in STAGES if s in needed]


def finished(folder: Path) -> bool:
    """Whether a stage's model was written to its end."""
    return (folder / "model.safetensors").is_file()


def run_stage(
    task: str,
    seed: int,
    sparsity: float,
    places: dict[str, str],
    file: Path = ROWS,
    most: int | None = None,
) -> None:
    """Train one stage, on `most` examples at most, and append its row to a file."""
    before = STAGES[sparsity]
    start = "MODEL" if before is None else f"WORK/{name(task, seed, before)}"
    given = flags(task, seed, sparsity, start, most)
    there = [
        next((value + f[len(key) :] for key, value in places.items() if f.startswith(key)), f)
        for f in given
    ]
    began = time.monotonic()
    code = rerax(["train", *there, "--resume", "--quiet"])
    jax.clear_caches()  # programs of many runs together use up a process's memory mappings
    if code:
        raise SystemExit(code)
    out = Path(places["WORK"]) / name(task, seed, sparsity)
    log = [json.loads(line) for line in (out / "training" / "log.jsonl").open(encoding="utf-8")]
    last = log[-1]
    row = {
        "task": task,
        "seed": seed,
        "sparsity": sparsity,
        "last": last["score"],
        "best": last["best"],
        "freed": last["freed"],
        "steps": last["step"],
        "seconds": round(time.monotonic() - began),
        "command": shlex.join(["rerax", "train", *given]),
    }
    if all(
        [r[k] for k in ("task", "seed", "sparsity")] != [task, seed, sparsity]
        for r in read_rows(file)
    ):
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(row) + "\n")
    print(json.dumps(row), flush=True)


def read_rows(file: Path = ROWS) -> list[dict]:
    """All rows so far."""
    if not file.is_file():
        return []
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def drops(rows: list[dict], which: str, task: str, sparsity: float) -> list[float]:
    """Points of score lost against the dense model, one for each seed."""
    score = {(r["seed"], r["sparsity"]): r[which] for r in rows if r["task"] == task}
    return [100 * (score[seed, 0.0] - value) for (seed, s), value in score.items() if s == sparsity]


def markdown(rows: list[dict], which: str) -> str:
    """Points lost against the dense model by task and sparsity: mean over seeds, SE, seeds.

    Args:
        rows: rows of the runs.
        which: `last` or `best` checkpoint.
    """
    pruned = list(STAGES)[1:]
    shares = " | ".join(f"{100 * s:.0f} %" for s in pruned)
    lines = [
        f"| {which} checkpoint | dense score, % | {shares} |",
        "| --- " * (2 + len(pruned)) + "|",
    ]
    means: dict[float, list[tuple[float, float]]] = {s: [] for s in pruned}
    for task in SEEDS:
        dense = [100 * r[which] for r in rows if r["task"] == task and r["sparsity"] == 0]
        if not dense:
            continue
        cells = []
        for sparsity in pruned:
            lost = drops(rows, which, task, sparsity)
            se = statistics.stdev(lost) / len(lost) ** 0.5 if len(lost) > 1 else math.nan
            if lost:
                means[sparsity].append((statistics.mean(lost), se))
            cells.append(f"{_with_se(statistics.mean(lost), se)} ({len(lost)})" if lost else "")
        lines.append(f"| {task} | {statistics.mean(dense):.2f} | {' | '.join(cells)} |")
    cells = []
    for found in means.values():
        if not found:
            cells.append("")
            continue
        mean = statistics.mean(m for m, _ in found)
        se = sum(s**2 for _, s in found) ** 0.5 / len(found)
        cells.append(_with_se(mean, se, "**"))
    lines.append(f"| mean of the tasks |  | {' | '.join(cells)} |")
    return "\n".join(lines)


def _with_se(mean: float, se: float, bold: str = "") -> str:
    return f"{bold}{mean:.2f}{bold}" + ("" if math.isnan(se) else f" ± {se:.2f}")


def main() -> None:
    """Run what is left to do, seed by seed, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", help="pretrained BERT: Hugging Face folder or hub id")
    parser.add_argument("--data", default="nyu-mll/glue", help="GLUE folder or hub id")
    parser.add_argument("--work", default="pruning-work", help="folder for the trained models")
    parser.add_argument("--tasks", default=",".join(SEEDS), help="comma list")
    parser.add_argument("--seeds", default="0,1,2", help="comma list")
    parser.add_argument("--print", action="store_true", help="only print the table")
    stages = ",".join(map(str, STAGES))
    parser.add_argument("--sparsities", default=stages, help="comma list; 0: the dense model")
    parser.add_argument("--max-examples", type=int, help="learn from so many at most")
    parser.add_argument("--rows", type=Path, default=ROWS, help="file of the rows")
    args = parser.parse_args()
    args.rows.parent.mkdir(parents=True, exist_ok=True)
    asked = [float(sparsity) for sparsity in args.sparsities.split(",")]
    if not args.print:
        places = {"MODEL": args.model, "DATA": args.data, "WORK": args.work}
        for seed in map(int, args.seeds.split(",")):
            for task in args.tasks.split(","):
                if seed >= SEEDS[task]:
                    continue
                for sparsity in stages_to_run(task, seed, read_rows(args.rows), args.work, asked):
                    run_stage(task, seed, sparsity, places, args.rows, args.max_examples)
                if all(Path(args.work, name(task, seed, s), "best").exists() for s in (0.0, 0.5)):
                    for sparsity in STAGES:
                        shutil.rmtree(
                            Path(args.work, name(task, seed, sparsity), "best"), ignore_errors=True
                        )
    for which in ("last", "best"):
        print(markdown(read_rows(args.rows), which), end="\n\n")


if __name__ == "__main__":
    main()
