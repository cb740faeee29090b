"""Models trained through faults or with clipped weights, for `rivals.py`, dense and pruned.

    python experiments/fault_training.py --model MODEL --data DATA --work WORK [--tasks sst2]

MODEL is the pretrained BERT that `pruning.py` began with, WORK what it left. For every task:
TASK-SEED-hardened is trained as TASK-SEED-dense was (steps, rate of learning, no teacher), through
the codes of chips with RATE stuck cells, another chip at every step; TASK-SEED-clipped the same
with weights clipped, and TASK-SEED-onlyclipped with weights clipped and no stuck cell, in float.
Those whose name ends in 35 go on from TASK-SEED-35 for as many steps as its last stage had, with
its teacher, and TASK-SEED-again35 does so with neither, to tell what more training alone wins.
Models are trained on plainly stored codes, whatever polarity they are measured in. A chip of a
training is met in no campaign. An hour a task on two CPU cores (SST-2 half of it); `rivals.py`
then measures them at rates of its own.
Leaves `fault_training.json`: scores without faults, and commands.
"""

import argparse
import json
import shlex
from pathlib import Path

import jax
from pruning import flags, name

from rerax.cli import main as rerax

RESULTS = Path(__file__).parent / "results"
RATE, LARGEST = 0.01, 0.15
MODELS = (
    *("hardened", "clipped", "onlyclipped"),
    *("hardened35", "clipped35", "onlyclipped35", "again35"),
)


def command(model: str, task: str, seed: int, most: int | None = None) -> list[str]:
    """Give the flags of `rerax train`, with MODEL, DATA and WORK still by name.

    Args:
        model: one of `MODELS`.
        task, seed: of the models it belongs to.
        most: examples to learn from, at most.
    """
    pruned = model.endswith("35")
    sparsity = 0.35 if pruned else 0.0
    start = f"WORK/{name(task, seed, sparsity)}" if pruned else "MODEL"
    given = flags(task, seed, sparsity, start, most)
    given[given.index("--out") + 1] = f"WORK/{task}-{seed}-{model}"
    if model.startswith(("hardened", "clipped")):
        given += ["--faults", "uniform", "--rate", f"{RATE:g}"]
    return [*given, "--clip-weights", f"{LARGEST:g}"] if "clipped" in model else given


def main() -> None:
    """Train what is missing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True, help="pretrained BERT: folder or hub id")
    parser.add_argument("--data", default="nyu-mll/glue", help="GLUE folder or hub id")
    parser.add_argument("--work", default="pruning-work", help="folder of the models")
    parser.add_argument("--tasks", default="sst2,stsb", help="comma list")
    parser.add_argument("--seed", type=int, default=0, help="seed of the models")
    parser.add_argument("--models", default=",".join(MODELS), help="comma list")
    parser.add_argument("--max-examples", type=int, help="to learn from, at most")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for results")
    args = parser.parse_args()
    places = {"MODEL": args.model, "DATA": args.data, "WORK": args.work}
    file = args.out / "fault_training.json"
    found = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    for task in args.tasks.split(","):
        for model in args.models.split(","):
            given = command(model, task, args.seed, args.max_examples)
            there = given
            for key, value in places.items():
                there = [value + f[len(key) :] if f.startswith(key) else f for f in there]
            code = rerax(["train", *there, "--resume", "--quiet"])
            jax.clear_caches()
            if code:
                raise SystemExit(code)
            log = Path(args.work, f"{task}-{args.seed}-{model}", "training", "log.jsonl")
            last = json.loads(log.read_text(encoding="utf-8").splitlines()[-1])
            found[f"{task}-{args.seed}-{model}"] = {
                "last": last["score"],
                "best": last["best"],
                "steps": last["step"],
                "command": shlex.join(["rerax", "train", *given]),
            }
            print(json.dumps(found[f"{task}-{args.seed}-{model}"]), flush=True)
            file.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
