"""What gates cost a training step and a chip.

    python experiments/gates_cost.py --model DIR --data DIR [--tasks sst2,mrpc] \
        [--dtypes float32,bfloat16] [--sparsities 0.21,0.35,0.5] [--rounds 5] [--out FILE]

DIR is a fine-tuned BERT (SST-2 for the chips). About fifteen minutes on two CPU cores. Steps:
the same batches of a task with and without gates, closing included, at the batches' own
lengths; expected: at most 1.15. Chips: one chip of a model with random gates at each sparsity
beside the dense model. Rounds are interleaved and medians taken, so that
a noisy machine disturbs all columns alike; only ratios mean anything elsewhere.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rerax.campaign.workload import read_workload
from rerax.evaluate.engine import Network, chunk_logits, platform_name, to_device
from rerax.evaluate.lanes import chip_range
from rerax.faults.mask import Faults
from rerax.faults.sampling.rates import rate_table
from rerax.glue.packing import make_batches
from rerax.hardware import Hardware
from rerax.models.bert.crossbars import program_bert
from rerax.models.bert.names import TIES, gated_shapes
from rerax.pruning.budget import meet_budget, weights_to_free
from rerax.pruning.gates import open_gates
from rerax.pruning.ties import expand, units_of
from rerax.train.folder import TrainingFolder
from rerax.train.inputs import read_training_inputs
from rerax.train.loop import TrainingLoop
from rerax.train.recipe import make_recipe

BATCHES = 12
ROUNDS = 5


def seconds(work: Callable[[], Any]) -> float:
    """Wall time of a piece of work, its results awaited."""
    start = time.perf_counter()
    jax.block_until_ready(work())
    return time.perf_counter() - start


def stepper(args: argparse.Namespace, task: str, dtype: str, sparsity: float | None) -> Callable:
    """A function that does step number n, in the middle of the ramp."""
    inputs = read_training_inputs(
        lambda n: make_recipe(task, n, steps=400, dtype=dtype, sparsity=sparsity),
        args.model,
        task,
        data=args.data,
        max_examples=32 * args.batches,
    )
    loop = TrainingLoop.make(inputs, TrainingFolder(Path("not-written")), lambda progress: None)

    def step(n: int) -> Any:
        loop.step(100 + n)
        return loop.state

    return step


def step_ratios(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Time of a step with gates over one without."""
    rows = []
    for task in args.tasks.split(","):
        for dtype in args.dtypes.split(","):
            steps = {s: stepper(args, task, dtype, s) for s in (None, 0.35)}
            taken: dict[Any, list[float]] = {s: [] for s in steps}
            for n in range(args.batches):  # compile every length
                for step in steps.values():
                    step(n)
            for _ in range(args.rounds):
                for n in range(args.batches):
                    for sparsity, step in steps.items():
                        taken[sparsity].append(seconds(lambda step=step, n=n: step(n)))
            pairs = [gated / plain for gated, plain in zip(taken[0.35], taken[None], strict=True)]
            row = {
                "task": task,
                "dtype": dtype,
                "seconds_without": statistics.mean(taken[None]),
                "seconds_with": statistics.mean(taken[0.35]),
                "ratio_of_sums": sum(taken[0.35]) / sum(taken[None]),
                "median_ratio": statistics.median(pairs),
            }
            print(json.dumps(row), flush=True)
            rows.append(row)
    return rows


def random_gates(params: Any, sparsity: float) -> Any:
    """Gates that free a share of every encoder matrix, lines taken at random."""
    shapes = gated_shapes(params, ("encoder",))
    draw = np.random.default_rng(0)
    units = {
        unit: jnp.asarray(draw.random(a.shape), jnp.float32)
        for unit, a in units_of(open_gates(shapes), TIES["all"]).items()
    }
    need = weights_to_free(shapes, sparsity, "matrix")
    met = meet_budget(units, need, shapes, "matrix", TIES["all"])
    return jax.device_get(expand(met, tuple(shapes), TIES["all"]))


def chip_ratios(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Time of a chip of a pruned model over one of the dense model."""
    inputs = read_workload(args.model, "sst2", "model", data=args.data).load()
    sparsities = [float(text) for text in args.sparsities.split(",")]
    batches = make_batches(inputs.examples)
    shards = to_device(batches)

    def runner(gates: Any) -> Callable[[], None]:
        stored = program_bert(inputs.params, Hardware(), gates=gates)
        given = (jax.tree.map(jnp.asarray, stored), shards[0], chip_range(0, 0, 1))
        given = (*given, Faults(rate_table(1e-3)))
        call = chunk_logits.lower(Network(inputs.config), 1, *given).compile()

        def work() -> None:
            jax.block_until_ready(call(*given))

        return work

    works = {"dense": runner(None)}
    for sparsity in sparsities:
        works[f"{sparsity:.2f}"] = runner(random_gates(inputs.params, sparsity))
    taken: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(args.rounds):
        for name, work in works.items():
            taken[name].append(seconds(work))
    dense = statistics.median(taken["dense"])
    rows = []
    for sparsity in sparsities:
        ratio = statistics.median(taken[f"{sparsity:.2f}"]) / dense
        rows.append({"sparsity": sparsity, "masked_to_dense": ratio})
        print(json.dumps(rows[-1]), flush=True)
    return rows


def main() -> None:
    """Measure both and write them down."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--out", type=Path, default=Path("experiments/results/gates_cost.json"))
    parser.add_argument("--tasks", default="sst2,mrpc", help="of the steps, comma list")
    parser.add_argument("--dtypes", default="float32,bfloat16", help="of the steps, comma list")
    parser.add_argument("--sparsities", default="0.21,0.35,0.5", help="of the chips, comma list")
    parser.add_argument("--parts", default="chips,steps", help="comma list")
    parser.add_argument("--batches", type=int, default=BATCHES)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    arguments = parser.parse_args()
    parts = {"chips": chip_ratios, "steps": step_ratios}
    results: dict[str, Any] = {"platform": platform_name()}
    for part in arguments.parts.split(","):
        results[part] = parts[part](arguments)
    arguments.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
