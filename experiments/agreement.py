"""Scores after a change of float details agree with the committed ones, point by point.

    python experiments/agreement.py --rows ROWS --data DATA --model NAME=MODEL

ROWS is a folder such as experiments/results/sst2_encodings, whose model NAME lies in MODEL; the
last flag is given once for each model, and `--chips` says how many chips of a point. `--print`
prints the table again.

Chips of committed rows are evaluated again and compared with the rows: faulty cells must be
equal to the last one, at least 99.5 % of all predictions of a point must agree, and its mean
score may move by 0.1 points, at rate 0 by one example of the one chip. The split is cut to as
many examples as the rows have. Models that are not named are left out and said, as are points
whose protection is a plan. A folder adds its points to FILE, in place of those that it had there.
About 10 min for the encodings campaign.
"""

import argparse
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from rerax.campaign import store
from rerax.campaign.runner import run
from rerax.campaign.workload import Settings, read_workload
from rerax.inspect.recorded import point_of
from rerax.progress import reporter

OUT = Path(__file__).parent / "results" / "agreement.json"
CELLS = ("stuck_at_0", "stuck_at_1", "stuck_other", "shorted", "flipped")
CLOSE = 0.05
"""Of a regression, predictions that differ by less agree; labels go from 0 to 5."""
LEAST_AGREEMENT, MOST_SHIFT = 0.995, 0.001


def predictions_agree(old: dict[str, Any], new: dict[str, Any]) -> float:
    """Share of a chip's predictions that agree.

    Rows hold which examples were right, not what was said: with two labels this is the same,
    with three it misses changes from one wrong label to the other.
    """
    if old["prediction"] is not None:
        apart = np.subtract(np.float32(old["prediction"]), np.float32(new["prediction"]))
        return float((np.abs(apart) < CLOSE).mean())
    bits = [np.frombuffer(row["correct"], np.uint8) for row in (old, new)]
    return 1.0 - int(np.unpackbits(bits[0] ^ bits[1]).sum()) / old["examples"]


def is_plain(scheme: str) -> bool:
    """Whether a protection is made from its name alone."""
    return scheme.partition(":")[0] in ("none", "duplicate", "msb")


def compare(old: list[dict[str, Any]], new: list[dict[str, Any]]) -> dict[str, Any]:
    """What changed in one point, from the same chips before and after."""
    pairs = list(zip(old, new, strict=True))
    assert all(a["chip"] == b["chip"] and a["point_hash"] == b["point_hash"] for a, b in pairs)
    shift = np.mean([b["score"] - a["score"] for a, b in pairs])
    names = ("task", "model", "encoding", "protection", "fault", "rate")
    return {
        **{name: old[0][name] for name in names},
        "chips": len(pairs),
        "examples": old[0]["examples"],
        "cells_equal": all(a[name] == b[name] for a, b in pairs for name in CELLS),
        "agreement": float(np.mean([predictions_agree(*pair) for pair in pairs])),
        "shift": float(shift),
        "platforms": [old[0]["platform"], new[0]["platform"]],
    }


def again(folder: Path, models: dict[str, str], data: str, chips: int) -> list[dict[str, Any]]:
    """Evaluate the first chips of every point of a folder once more and compare."""
    rows = store.read_rows(folder).to_pylist()
    groups: dict[tuple[str, str, int], dict[str, list[dict[str, Any]]]] = defaultdict(dict)
    for row in sorted(rows, key=lambda row: row["chip"]):
        if row["chip"] < chips:
            workload = (row["task"], row["model"], row["examples"])
            groups[workload].setdefault(row["point_hash"], []).append(row)
    found = []
    for (task, name, examples), points in groups.items():
        if name not in models:
            print(f"{name} left out: no --model {name}=DIR")
            continue
        kept = {key: old for key, old in points.items() if is_plain(old[0]["protection"])}
        if len(kept) < len(points):
            print(f"{name}: {len(points) - len(kept)} points of other protections left out")
        workload = read_workload(models[name], task, name, data=data, max_examples=examples)
        was = next(iter(kept.values()))[0]
        if (workload.model_hash, workload.data_hash) != (was["model_hash"], was["data_hash"]):
            raise SystemExit(f"{models[name]} or {data} is not what the rows of {name} are from")
        asked = [point_of(old[0], {}) for old in kept.values()]
        settings = Settings(chips=chips, seed=was["seed"])
        with reporter() as tell:
            table = run(workload, asked, settings, on_progress=tell)
        new = defaultdict(list)
        for row in table.to_pylist():
            new[row["point_hash"]].append(row)
        for key, old in kept.items():
            fresh = {row["chip"]: row for row in new[key]}
            found.append(compare(old, [fresh[row["chip"]] for row in old]))
    return found


def print_summary(table: dict[str, list[dict[str, Any]]]) -> None:
    """The worst point of every folder."""
    for folder, points in table.items():
        least, most = (
            min(point["agreement"] for point in points),
            max(abs(point["shift"]) for point in points),
        )
        # a single chip, as there is at rate 0, moves by whole examples or not at all
        held = least >= LEAST_AGREEMENT and all(
            abs(point["shift"]) <= max(MOST_SHIFT, 0 if point["rate"] else 1 / point["examples"])
            for point in points
        )
        cells = "equal" if all(point["cells_equal"] for point in points) else "NOT EQUAL"
        chips = sum(point["chips"] for point in points)
        print(
            f"{folder}: {len(points)} points, {chips} chips, cells {cells}; least agreement "
            f"{100 * least:.2f} %, largest shift of a mean {100 * most:.3f} points"
            f"{'' if held else ' (beyond the limits)'}"
        )


def main() -> None:
    """Compare a folder and write its points down."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=Path)
    parser.add_argument("--data")
    parser.add_argument("--model", action="append", default=[], metavar="NAME=DIR")
    parser.add_argument("--chips", type=int, default=16)
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--print", action="store_true", help="only print FILE")
    given = parser.parse_args()
    table = json.loads(given.out.read_text(encoding="utf-8")) if given.out.is_file() else {}
    if not given.print:
        models = dict(pair.split("=", 1) for pair in given.model)
        table[given.rows.name] = again(given.rows, models, given.data, given.chips)
        given.out.parent.mkdir(parents=True, exist_ok=True)
        given.out.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
    print_summary(table)


if __name__ == "__main__":
    main()
