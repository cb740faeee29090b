"""What protection costs a chip: reading one layer, and a whole chip of the SST-2 sweep.

    python experiments/protection_cost.py --model DIR --data DIR [--rounds 7] [--out FILE]

DIR is a BERT pruned to 35 % and fine-tuned on SST-2. About five minutes on two CPU cores.
Expected: reading a layer through msb:2x3:pruned at most 1.5 x the unprotected read, a chip at
most 1.15 x. Rounds are interleaved and medians taken; only ratios mean anything elsewhere.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from rerax.bench.timing import medians
from rerax.campaign.workload import read_workload
from rerax.crossbar import keys
from rerax.evaluate.engine import Network, chunk_logits, platform_name, to_device
from rerax.evaluate.lanes import chip_range
from rerax.evaluate.network import reader
from rerax.faults.mask import Faults
from rerax.faults.sampling.rates import rate_table
from rerax.glue.packing import make_batches
from rerax.hardware import Hardware
from rerax.models.bert.crossbars import crossbars_by_section, program_bert

SCHEMES = ("none", "msb:2x3:pruned", "msb:2x3:pruned:erasures", "msb:1x3:lsb", "msb:2x3:pruned+lsb")
RATE = 1e-3
ROUNDS = 7
OUT = Path("experiments/results/protection_cost.json")


def layer_reader(inputs: Any, name: str) -> Callable[[], Any]:
    """Reads the matrices of the first encoder layer of one chip."""
    hardware, chip = Hardware(protection=name), keys.chip(0, 0)
    stored = program_bert(inputs.params, hardware, gates=inputs.gates)
    section = crossbars_by_section(stored)["encoder"]
    section = jax.tree.map(lambda a: jnp.asarray(a[0]), section)
    faults = Faults(rate_table(RATE))

    @jax.jit
    def read(section: Any, faults: Faults) -> Any:
        return reader(hardware, chip, faults)(section)

    return lambda: read(section, jax.tree.map(jnp.asarray, faults))


def chip_runner(inputs: Any, name: str) -> Callable[[], Any]:
    """Scores one chip on the whole split."""
    stored = program_bert(inputs.params, Hardware(protection=name), gates=inputs.gates)
    stored = jax.tree.map(jnp.asarray, stored)
    shards = to_device(make_batches(inputs.examples))
    which = (chip_range(0, 0, 1), Faults(rate_table(RATE)))
    return lambda: chunk_logits(Network(inputs.config), 1, stored, shards[0], *which)


def ratios(works: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Median time of each over that of the first, rounds interleaved."""
    took = medians(works, rounds)
    first = next(iter(took.values()))
    return {name: round(median / first, 3) for name, median in took.items()}


def main() -> None:
    """Measure and write the ratios down."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument(
        "--out", type=Path, default=Path("experiments/results/protection_cost.json")
    )
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--schemes", default=",".join(SCHEMES), help="comma list, two or more")
    arguments = parser.parse_args()
    schemes = arguments.schemes.split(",")
    inputs = read_workload(arguments.model, "sst2", "model", data=arguments.data).load()
    results = {
        "platform": platform_name(),
        "rate": RATE,
        "layer": ratios({n: layer_reader(inputs, n) for n in schemes}, 5 * arguments.rounds),
        "chip": ratios({n: chip_runner(inputs, n) for n in schemes}, arguments.rounds),
    }
    print(json.dumps(results, indent=1))
    arguments.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
