"""What a faulty chip costs: time beside a clean pass, and memory.

    python experiments/cost.py --model DIR --data DIR [--rounds 5] [--memory whole:16,base:2] \
        [--out experiments/results/cost.json]

About ten minutes on two CPU cores, for a MiniLM on SST-2. Expected: at most 1.25 clean passes a
chip at every rate up to 1e-2 and 1.35 at 0.1; peak memory under 3 GB, the same for 16 as for
1,000 chips; a BERT-base shape under 6 GB. Times are the medians of interleaved rounds, so that
a noisy machine disturbs all columns alike; only their ratios mean anything elsewhere.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rerax.campaign.workload import Inputs, read_workload
from rerax.evaluate.engine import Evaluator, Network, platform_name, to_device
from rerax.faults import FaultModel, NoFault, Uniform
from rerax.faults.mask import Faults
from rerax.faults.sampling.rates import rate_table
from rerax.glue.data import Examples
from rerax.glue.packing import make_batches
from rerax.hardware import Hardware
from rerax.models.bert.config import BertConfig
from rerax.models.bert.crossbars import program_bert
from rerax.models.bert.model import init_params

RATES = (0.0, 1e-4, 1e-3, 1e-2, 0.1)
ROUNDS = 5
MEMORY = {
    "whole:16": "whole split, 16 chips",
    "few:16": "16 sentences, 16 chips",
    "few:1000": "16 sentences, 1000 chips",
    "base:2": "BERT-base shape, 64 sentences, 2 chips",
}
"""Parts whose peak memory is taken, each in a process of its own."""


def chip_runner(
    inputs: Inputs, fault: FaultModel, chunk: int = 1
) -> Callable[[float, int, int], None]:
    """A function that evaluates chips (rate, first, how many)."""
    stored = jax.tree.map(jnp.asarray, program_bert(inputs.params, Hardware(fault=fault)))
    batches = make_batches(inputs.examples)
    evaluator = Evaluator(Network(inputs.config), stored, batches, to_device(batches), chunk)

    def run(rate: float, first: int, chips: int) -> None:
        for _ in evaluator.outcomes(0, range(first, first + chips), Faults(rate_table(rate))):
            pass

    return run


def seconds(work: Callable[[], None]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def time_ratios(inputs: Inputs, rounds: int) -> dict[str, Any]:
    clean, faulty = chip_runner(inputs, NoFault()), chip_runner(inputs, Uniform())
    compile_seconds = seconds(lambda: faulty(0.0, 0, 1))
    clean(0.0, 0, 1)
    taken: dict[str, list[float]] = {"clean": [], **{f"{rate:g}": [] for rate in RATES}}
    for i in range(rounds):
        taken["clean"].append(seconds(lambda: clean(0.0, 0, 1)))
        for rate in RATES:
            taken[f"{rate:g}"].append(seconds(lambda rate=rate, i=i: faulty(rate, i, 1)))
    clean_median = statistics.median(taken["clean"])
    return {
        "first_call_seconds": compile_seconds,
        "seconds": taken,
        "ratio_to_clean": {k: statistics.median(v) / clean_median for k, v in taken.items()},
    }


def base_inputs() -> Inputs:
    """A BERT-base shape with random weights, and 64 random sentences."""
    config = BertConfig()
    params = jax.device_get(init_params(config, jax.random.key(0)))
    draw = np.random.default_rng(0)
    ids = [draw.integers(0, 30000, n).astype(np.int32) for n in draw.integers(16, 64, 64)]
    return Inputs(config, params, Examples(ids, [np.zeros_like(row) for row in ids]))


def peak_of(part: str, arguments: argparse.Namespace) -> dict[str, float]:
    """Run one part in a process of its own and read its peak memory."""
    command = [sys.executable, __file__, "--model", arguments.model, "--data", arguments.data]
    done = subprocess.run([*command, "--part", part], capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def run_part(part: str, arguments: argparse.Namespace) -> None:
    kind, _, chips = part.partition(":")
    if kind == "base":
        inputs = base_inputs()
    else:
        few = 16 if kind == "few" else None
        inputs = read_workload(
            arguments.model, "sst2", "model", data=arguments.data, max_examples=few
        ).load()
    work = chip_runner(inputs, Uniform(), chunk=min(int(chips), 32))
    taken = seconds(lambda: work(1e-3, 0, int(chips)))
    print(json.dumps({"peak_gb": round(peak_gigabytes(), 3), "seconds": round(taken, 1)}))


def peak_gigabytes() -> float:
    """Peak memory of this process. `getrusage` would count the parent's, which fork hands on."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.split("VmHWM:")[1].split()[0]) * 1024 / 1e9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--out", type=Path, default=Path("experiments/results/cost.json"))
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--memory", default=",".join(MEMORY), help="comma list of KIND:CHIPS")
    parser.add_argument("--part")
    arguments = parser.parse_args()
    if arguments.part:
        return run_part(arguments.part, arguments)
    inputs = read_workload(arguments.model, "sst2", "model", data=arguments.data).load()
    results = {"platform": platform_name(), "time": time_ratios(inputs, arguments.rounds)}
    results["memory"] = {
        MEMORY.get(part, part): peak_of(part, arguments) for part in arguments.memory.split(",")
    }
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
