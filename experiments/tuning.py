"""Each chip tuned against its own stuck cells: what a training a chip can reach, as a reference.

    python experiments/tuning.py --work WORK --data DATA [--tasks sst2]

TASK-SEED-dense of WORK is trained on for a few hundred steps, by its own task, through the codes of
*one* chip, whose map it knows so (`rerax train --faults`, by a fault model that is always that
chip); the tuned weights are then written on that chip, plainly, and scored on the first 400
sentences. A training for each chip is more than a factory can pay for, so chips are few: 0 to 7, at
rates at which bare chips are well below. About four minutes a chip and rate on two CPU cores.
Leaves `tuning.json`: scores of the chips before and after; stop and start it at will. Expected:
most of the loss won back.

Source: training by a chip's own map, as in Chen et al., DATE 2017, doi 10.23919/DATE.2017.7926952.
"""

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import pandas as pd
from zero_cells import Curve, parser_of_models

import rerax
from rerax.campaign.worker import Worker
from rerax.campaign.workload import Settings, read_workload
from rerax.cli import main as command
from rerax.crossbar.keys import array_key
from rerax.faults import Uniform

CHIPS, STEPS, RATES = 8, 200, (8e-3, 2e-2)
KEY = ("task", "rate", "seed", "steps", "max_examples", "model_hash")
"""Of chips that belong together."""
SEED = 0
"""Of the campaigns whose chips these are."""


@dataclass(frozen=True)
class OneChip(Uniform):
    """The stuck cells of one chip of a campaign, whichever chip is asked for.

    Attributes:
        number: of the chip.
    """

    tells_arrays_apart = True

    number: int = 0

    @property
    def text(self) -> str:  # type: ignore[override]
        """Such as `chip:3`."""
        return f"chip:{self.number}"

    def disturb(self, words: Any, key: Any, rates: Any, spec: Any, site: Any = None) -> Any:
        """Read words from the chip's own array."""
        if site is not None:
            key = array_key(rerax.chip(SEED, self.number).key, site.array, site.layer)
        return super().disturb(words, key, rates, spec, site)


def score(
    folder: Path,
    task: str,
    rate: float,
    chip: int,
    data: str,
    examples: int,
    protection: str = "none",
) -> float:
    """Score a model on one chip, rows of one polarity."""
    workload = read_workload(str(folder), task, task, data=data, max_examples=examples)
    point = Curve("dense", "offset", "plain", protection, (rate,)).point(workload, rate)
    worker = Worker.start(workload, Settings(1, SEED), [point])
    (outcome,) = worker.outcomes(point, range(chip, chip + 1))
    return float(worker.scored(outcome.logits)["score"][0])


def before_and_after(bare: Sequence[float], after: Sequence[float]) -> str:
    """Cells of a table: chips, mean scores in % with their standard errors, and the gain."""
    both = [100 * pd.Series(scores) for scores in (bare, after)]
    shown = " | ".join(f"{each.mean():.2f} ± {each.sem():.2f}" for each in both)
    return f"{len(bare)} | {shown} | {(both[1] - both[0]).mean():+.2f}"


def markdown(lines: Sequence[dict[str, Any]]) -> str:
    """The table: mean scores in % with their standard error over chips, and what tuning won."""
    table = ["| task | rate | chips | bare | tuned | won |", "| --- " * 6 + "|"]
    for line in lines:
        shown = before_and_after(line["bare"], line["tuned"])
        table.append(f"| {line['task']} | {line['rate']:g} | {shown} |")
    return "\n".join(table)


def main() -> None:
    """Tune, score, and write it down chip by chip."""
    parser = parser_of_models(__doc__)
    parser.add_argument("--rates", default=",".join(f"{rate:g}" for rate in RATES))
    parser.add_argument("--chips", type=int, default=CHIPS)
    parser.add_argument("--steps", type=int, default=STEPS)
    args = parser.parse_args()
    rerax.register_fault("chip", lambda text: OneChip(int(text)), "K")
    file = args.out / "tuning.json"
    found = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else []
    for task in args.tasks.split(","):
        start = args.work / f"{task}-{args.seed}-dense"
        model = read_workload(str(start), task, task, data=args.data).model_hash
        for rate in map(float, args.rates.split(",")):
            values = (task, rate, args.seed, args.steps, args.max_examples, model)
            own = dict(zip(KEY, values, strict=True))
            line = next((o for o in found if own.items() <= o.items()), None)
            if line is None:
                found.append(line := {**own, "bare": [], "tuned": []})
            for chip in range(len(line["tuned"]), args.chips):
                given = (task, rate, chip, args.data, args.max_examples)
                before = score(start, *given)
                with tempfile.TemporaryDirectory() as folder:
                    tuned = Path(folder) / "model"
                    flags = ["--model", start, "--task", task, "--data", args.data, "--out", tuned]
                    flags += ["--steps", args.steps, "--lr", "5e-5", "--dtype", "bfloat16"]
                    flags += ["--seed", chip, "--faults", f"chip:{chip}", "--rate", rate]
                    code = command(["train", *map(str, flags), "--quiet"])
                    if code:
                        raise SystemExit(code)
                    after = score(tuned, *given)
                line["bare"].append(before)
                line["tuned"].append(after)
                print(task, rate, chip, before, after, flush=True)
                file.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
                jax.clear_caches()
    print(markdown(found))


if __name__ == "__main__":
    main()
