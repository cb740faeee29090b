"""Which layer of a BERT bears faults worst, and what reusing clean activations saves.

    python experiments/layer_sensitivity.py --model DIR --data DIR [--max-examples 256] \
        [--chips 8] [--rate 1e-3] [--out experiments/results/layer_sensitivity.json]

About five minutes on two quiet CPU cores. One campaign over the places `layers=each` and the
head, run with and without reuse in turns, after a first turn that compiles. Expected: the same
rows to the last bit; for the six encoder layers of a MiniLM alone at least 1.6 times as fast
(at best 36 / 21 = 1.71), with the head as a seventh place more. Each campaign is timed as a
whole, loading, references and clean passes included, in seconds of the clock and of the
processors: where other jobs share the machine, only the latter mean much.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from rerax.campaign.grid import spread
from rerax.campaign.point import Point
from rerax.campaign.runner import run
from rerax.campaign.workload import Settings, read_workload
from rerax.evaluate.engine import platform_name

PLACES = {
    "encoder": ["layers=each"],
    "encoder and head": ["layers=each", "matrices=pooler+classifier"],
}


def timed(workload: Any, points: Any, settings: Settings) -> tuple[pa.Table, dict[str, float]]:
    clock, work = time.perf_counter(), time.process_time()
    rows = run(workload, points, settings)
    return rows, {
        "clock": round(time.perf_counter() - clock, 2),
        "processors": round(time.process_time() - work, 2),
    }


def sensitivity(rows: pa.Table) -> dict[str, Any]:
    frame = rows.to_pandas()
    places = frame.groupby("faulty", sort=False)
    return {
        "clean_score": float(frame.clean_score[0]),
        "mean_score": {name: float(at.score.mean()) for name, at in places},
        "standard_error": {
            name: float(at.score.std(ddof=1) / np.sqrt(len(at))) for name, at in places
        },
        "stuck_cells_per_chip": {
            name: float((at.stuck_at_0 + at.stuck_at_1).mean()) for name, at in places
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--max-examples", type=int, default=256)
    parser.add_argument("--chips", type=int, default=8)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--places", default=",".join(PLACES), help="comma list")
    parser.add_argument(
        "--out", type=Path, default=Path("experiments/results/layer_sensitivity.json")
    )
    given = parser.parse_args()
    workload = read_workload(
        given.model, "sst2", "model", data=given.data, max_examples=given.max_examples
    )
    layers = workload.config.num_hidden_layers
    results: dict[str, Any] = {
        "platform": platform_name(),
        "examples": len(workload.labels),
        "chips": given.chips,
        "rate": given.rate,
    }
    for name in given.places.split(","):
        points = spread([Point("sst2", "model", given.rate)], PLACES[name], layers)
        taken: dict[str, list[dict[str, float]]] = {"without reuse": [], "with reuse": []}
        for turn in range(given.rounds + 1):
            chips = given.chips if turn else 1  # the first turn compiles
            plain, without_it = timed(workload, points, Settings(chips, reuse=False))
            rows, with_it = timed(workload, points, Settings(chips))
            assert rows.equals(plain), "reuse has changed a row"
            if turn:
                taken["without reuse"].append(without_it)
                taken["with reuse"].append(with_it)
        ratio = {
            kind: round(
                min(t[kind] for t in taken["without reuse"])
                / min(t[kind] for t in taken["with reuse"]),
                3,
            )
            for kind in ("clock", "processors")
        }
        results[name] = {"seconds": taken, "times_as_fast": ratio, **sensitivity(rows)}
        print(name, json.dumps(results[name], indent=1), flush=True)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
