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

from rerax import chip, evaluate, faults
from rerax.bench.timing import medians
from rerax.campaign.source import read_subject
from rerax.crossbar import keys
from rerax.crossbar.spec import ChipSpec
from rerax.glue.data import make_batches
from rerax.protection import protection

SCHEMES = ("none", "msb:2x3:pruned", "msb:2x3:pruned:erasures", "msb:1x3:lsb", "msb:2x3:pruned+lsb")
RATE = 1e-3
ROUNDS = 7
OUT = Path("experiments/results/protection_cost.json")


def layer_reader(inputs: Any, name: str) -> Callable[[], Any]:
    """Reads the matrices of the first encoder layer of one chip."""
    shield, spec = protection(name), ChipSpec()
    placed = chip.program(inputs.params, spec, gates=inputs.gates, protection=shield)
    words, extras = jax.tree.map(
        lambda a: jnp.asarray(a[0]), (placed.words["encoder"], placed.extras["encoder"])
    )
    key, dose = keys.chip_key(keys.root_key(0), jnp.uint32(0)), faults.dose(RATE)

    @jax.jit
    def read(words: Any, extras: Any, dose: faults.Dose) -> Any:
        return chip.read(words, key, 0, dose, faults.Uniform(), spec, shield, extras)

    return lambda: read(words, extras, jax.tree.map(jnp.asarray, dose))


def chip_runner(inputs: Any, name: str) -> Callable[[], Any]:
    """Scores one chip on the whole split."""
    shield = protection(name)
    network = evaluate.Network(inputs.config, ChipSpec(), faults.Uniform(), protection=shield)
    placed = chip.program(inputs.params, ChipSpec(), gates=inputs.gates, protection=shield)
    placed = jax.tree.map(jnp.asarray, placed)
    blocks = evaluate.to_device(make_batches(inputs.examples))
    arguments = (network, 1, placed, blocks[0], keys.root_key(0), faults.dose(RATE))
    return lambda: evaluate.chunk_logits(*arguments, jnp.uint32(0), jnp.int32(1))


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
    inputs = read_subject(arguments.model, "sst2", "model", data=arguments.data).load()
    results = {
        "platform": evaluate.platform_name(),
        "rate": RATE,
        "layer": ratios({n: layer_reader(inputs, n) for n in schemes}, 5 * arguments.rounds),
        "chip": ratios({n: chip_runner(inputs, n) for n in schemes[:2]}, arguments.rounds),
    }
    print(json.dumps(results, indent=1))
    arguments.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
