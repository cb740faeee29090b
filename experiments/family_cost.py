"""What a chip takes in each family of models, beside a BERT of the same matrices.

    python experiments/family_cost.py [--sentences 256] [--rounds 7] [--shape minilm] [--out FILE]

Random weights and sentences, the same number of tokens in all. About a minute on two CPU
cores. Rounds are interleaved, ratios are of the same round and their median is taken. Expected:
within 5 % of BERT.
"""

import argparse
import json
import statistics
from dataclasses import replace
from pathlib import Path

import jax

from rerax.bench.cases import SHAPES, make_case, random_inputs
from rerax.bench.timing import seconds
from rerax.evaluate.engine import platform_name
from rerax.models.bert.families import FAMILIES

RATE = 1e-3
OUT = Path(__file__).parent / "results" / "family_cost.json"


def main() -> None:
    """Measure and write the ratios down."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sentences", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--families", default=",".join(FAMILIES), help="comma list, bert first")
    parser.add_argument("--shape", choices=SHAPES, default="minilm")
    parser.add_argument("--out", type=Path, default=OUT)
    args = parser.parse_args()
    works = {}
    for family in args.families.split(","):
        own = {**FAMILIES[family].fixed, "model_type": family}
        config = replace(SHAPES[args.shape], **own)
        works[family] = make_case(random_inputs(config, args.sentences)).chips(RATE)
    for work in works.values():  # compiles
        jax.block_until_ready(work())
    rounds = [
        {family: seconds(works[family]) for family in list(works)[:: 1 if k % 2 else -1]}
        for k in range(args.rounds)
    ]
    found = {
        family: [one[family] / one["bert"] for one in rounds]
        for family in works
        if family != "bert"
    }
    results = {
        "platform": platform_name(),
        "shape": args.shape,
        "sentences": args.sentences,
        "times_bert": {family: statistics.median(ratios) for family, ratios in found.items()},
        "rounds": rounds,
    }
    print(json.dumps(results["times_bert"], indent=1))
    args.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
