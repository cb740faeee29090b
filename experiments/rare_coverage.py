"""How often the intervals of `rerax rare` hold, where the chances are known.

    python experiments/rare_coverage.py [--campaigns 300] [--out DIR]

A chip has Poisson's number of faults, each of which costs it something, and fails where all of
them cost it too much: equal costs; exponential costs; and equal costs of which one in fifty is
twenty times as large, so that a chip that has lost little may still fail. Campaigns have 512 root
chips and go down to about one failure in a thousand. Of every chance, and of the rate of a chance
between the last two rates, it is counted how often the interval lies around it, and on which side
it lies otherwise. Three minutes. Expected: chances 90 to 98 %, rates 92 % and more.
"""

import argparse
import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy.optimize import brentq
from scipy.stats import gamma, poisson

from rerax.campaign.rare import BATCHES, STEP
from rerax.stats import splitting

RESULTS = Path(__file__).parent / "results"
ROOTS = 512
HEAVY, RARE = 20, 0.02
Draw = Callable[[np.random.Generator, int], np.ndarray]


def _equal(mean: float, budget: float) -> float:
    return float(poisson.sf(math.ceil(budget) - 1, mean))


def _exponential(mean: float, budget: float) -> float:
    n = np.arange(1, 400)
    return float((poisson.pmf(n, mean) * gamma.sf(budget, n)).sum())


def _mixed(mean: float, budget: float) -> float:
    heavy = np.arange(50)
    light = poisson.sf(np.ceil(budget - HEAVY * heavy) - 1, mean * (1 - RARE))
    return float((poisson.pmf(heavy, mean * RARE) * light).sum())


LAWS: dict[str, tuple[Callable[[float, float], float], Draw, float, float, int]] = {
    "equal": (_equal, lambda draw, n: np.ones(n), 8.0, 9.0, 5),
    "exponential": (_exponential, lambda draw, n: draw.exponential(size=n), 30.0, 34.0, 4),
    "one in fifty heavy": (
        _mixed,
        lambda draw, n: np.where(draw.random(n) < RARE, HEAVY, 1.0),
        60.0,
        90.0,
        5,
    ),
}
"""Chance of failing at a mean number of faults; costs; first mean; budget; rates."""


def judge_of(draw: np.random.Generator, costs: Draw, rates: list[float], budget: float):
    """Make a judge of one campaign, which remembers the faults of the generation before."""
    before: dict[tuple[int, ...], np.ndarray] = {}

    def judge(generation: splitting.Generation) -> splitting.Verdict:
        nonlocal before
        now = {}
        k = generation.branches.shape[1]
        for root, path in zip(generation.root.tolist(), generation.branches.tolist(), strict=True):
            if k:
                own = before[(root, *path[:-1])]
                own = own[draw.random(len(own)) < rates[k] / rates[k - 1]]
            else:
                own = costs(draw, draw.poisson(rates[0]))
            now[(root, *path)] = own
        before = now
        total = np.array([own.sum() for own in now.values()])
        return splitting.Verdict(total >= budget, total / budget)

    return judge


def measure(law: str, campaigns: int) -> dict[str, object]:
    """Run campaigns of a law and count how often intervals hold."""
    chance_at, costs, first, budget, n = LAWS[law]
    rates = [first * STEP**k for k in range(n)]
    chances = [chance_at(rate, budget) for rate in rates]
    wanted = math.sqrt(chances[-1] * chances[-2])
    right = brentq(lambda rate: chance_at(rate, budget) - wanted, rates[-1], rates[0])
    sides = np.zeros((n, 4), int)  # held, too low, too high, nothing failed
    of_rate = np.zeros(4, int)
    for campaign in range(campaigns):
        draw = np.random.Generator(np.random.PCG64([1, campaign]))
        judge = judge_of(draw, costs, rates, budget)
        own = splitting.split(0, BATCHES, ROOTS // BATCHES, rates, judge, campaign).failing
        ends = [splitting.chance_interval(x, BATCHES) if x.any() else None for x in own]
        for k in range(n):
            sides[k, _side(ends[k], chances[k])] += 1
        found = splitting.rate_of(wanted, rates, own.mean(axis=1).tolist(), ends)
        of_rate[_side(found and found[1:], right)] += 1
    names = ("held", "too_low", "too_high", "none")
    return {
        "law": law,
        "campaigns": campaigns,
        "chances": [
            {"chance": chance, **dict(zip(names, map(int, side), strict=True))}
            for chance, side in zip(chances, sides, strict=True)
        ],
        "rate": {"chance": wanted, **dict(zip(names, map(int, of_rate), strict=True))},
    }


def _side(ends: tuple[float, float] | None, right: float) -> int:
    if ends is None:
        return 3
    return 0 if ends[0] <= right <= ends[1] else 1 if right > ends[1] else 2


def share(side: dict[str, int], kind: str) -> float:
    """Per cent of the intervals that there are."""
    return 100 * side[kind] / (side["held"] + side["too_low"] + side["too_high"])


def main() -> None:
    """Count and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--campaigns", type=int, default=300, help="of each law")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for results")
    args = parser.parse_args()
    lines = []
    for law in LAWS:
        line = measure(law, args.campaigns)
        lines.append(line)
        for side in (*line["chances"], {"rate": True, **line["rate"]}):
            name = "rate of chance" if "rate" in side else "chance"
            print(
                f"{law}: {name} {side['chance']:.2g} in {share(side, 'held'):.0f} %, "
                f"too low {share(side, 'too_low'):.0f} %, too high {share(side, 'too_high'):.0f} %"
            )
    file = args.out / "rare_coverage.json"
    file.write_text(json.dumps(lines, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
