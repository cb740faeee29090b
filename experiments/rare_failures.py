"""Chances of rare failures by splitting over the rate, against chips that are counted one by one.

    python experiments/rare_failures.py [--roots 512] [--out DIR]

The model of `rerax demo`, a budget of 3 points. `rare.rare_failures` comes down to the lowest of
RATES; at each of the others chips are counted until so many are evaluated as COUNTED says. Chances
have to agree within three standard errors of both. `gain`: chips that would give as narrow an
interval by counting, over those that splitting took, pilots included. About ten minutes on two
CPU cores. Expected: no gain at 1 in 100, more the rarer failures are.
"""

import argparse
import json
import math
import tempfile
import time
from pathlib import Path
from typing import Any

from rerax.campaign.point import Point
from rerax.campaign.rare import rare_failures
from rerax.campaign.runner import run
from rerax.campaign.workload import Settings, read_workload
from rerax.demo import lay_out
from rerax.evaluate.devices import ask_for_devices, cores
from rerax.stats import passes

RESULTS = Path(__file__).parent / "results"
BUDGET, RATES, COUNTED = 0.03, (1e-2, 1.3e-2, 1.8e-2), (0, 24_000, 4_000)


def markdown(lines: list[dict[str, Any]]) -> str:
    """The table of all rates."""
    head = ["rate", "chance of failing by splitting (95 %)", "chips", "s"]
    head += ["by counting (SE)", "chips", "s", "chips by counting for that interval, over these"]
    table = [f"| {' | '.join(head)} |", "| --- " * len(head) + "|"]
    for one in lines:
        low, high = one["interval"]
        counted = ["", "", ""]
        if "counted" in one:
            counted = [
                f"{one['counted_chance']:.2e} ({one['counted_se']:.0e})",
                f"{one['counted']:,}",
                f"{one['counted_seconds']:.0f}",
            ]
        cells = [
            f"{one['rate']:g}",
            f"{one['chance']:.2e} ({low:.2e} to {high:.2e})",
            f"{one['chips']:,}",
            f"{one['seconds']:.0f}",
            *counted,
            f"{one['gain']:.1f}",
        ]
        table.append(f"| {' | '.join(cells)} |")
    return "\n".join(table)


def main() -> None:
    """Split, count and compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--roots", type=int, default=512, help="root chips")
    parser.add_argument("--share", type=float, default=1.0, help="of the chips to count")
    parser.add_argument("--rates", type=int, default=len(RATES), help="how many, highest first")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for results")
    args = parser.parse_args()
    ask_for_devices(cores())
    with tempfile.TemporaryDirectory() as folder:
        lay_out(Path(folder))
        model, data = f"{folder}/model", f"{folder}/data"
        workload = read_workload(model, "sst2", "demo", data=data, max_length=64)
        lines = []
        for rate, chips in list(zip(RATES, COUNTED, strict=True))[-args.rates :]:
            point = Point(task="sst2", model="demo", rate=rate)
            begun = time.perf_counter()
            found = rare_failures(workload, point, Settings(args.roots), BUDGET)
            seconds = time.perf_counter() - begun
            chance, ends = found.chances[-1], found.intervals[-1]
            taken = sum(found.evaluated) + found.pilots
            line = {
                "rate": rate,
                "rates": found.rates,
                "chance": chance,
                "interval": ends,
                "chips": taken,
                "seconds": seconds,
                "gain": found.counted(len(found.rates) - 1) / taken,
            }
            n = int(chips * args.share)
            if n:
                begun = time.perf_counter()
                rows = run(workload, [point], Settings(n)).to_pandas()
                fails = ~passes(rows.score.to_numpy(), rows.float_score[0], BUDGET)
                share = float(fails.mean())
                line |= {
                    "counted": n,
                    "counted_chance": share,
                    "counted_se": math.sqrt(share * (1 - share) / n),
                    "counted_seconds": time.perf_counter() - begun,
                }
            lines.append(line)
            print(json.dumps(line))
    file = args.out / "rare_failures.json"
    file.write_text(json.dumps(lines, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
