"""What a campaign's machinery costs: the done-check, planning, and memory over many chips.

    python experiments/campaign.py [--work FOLDER] [--chips 1000,10000] \
        [--out experiments/results/campaign.json]

About ten minutes on two CPU cores. The demo's model, 64 sentences, all matrices, rate 1e-2.
Expected: while one command evaluates 10,000 chips, its peak memory after the last is within 1 % of
that after the first 1,000; the table at the end adds a few kilobytes a chip. A finished campaign
of 10,000 chips run again takes under 2 s of processor time, and of wall time on an idle machine,
before and after `rerax compact` (fastest of five; that it writes no file and imports no JAX is for
the tests). 500 points are planned in under 1 s, identifying model and data included.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from rerax.campaign.block import BLOCK
from rerax.campaign.dry_run import dry_run
from rerax.campaign.grid import expand
from rerax.campaign.point import Point
from rerax.campaign.store import survey
from rerax.campaign.workload import Settings, workloads_of
from rerax.demo import MODEL
from rerax.demo.sentences import write_data

SENTENCES = 64
REPEATS = 5
CALL = "import sys; from rerax.cli import main; sys.exit(main(sys.argv[1:]))"
TELL = """
import sys
from pathlib import Path
from rerax.campaign import store
from rerax.cli import main
real = store.write_block
def told(*arguments):
    real(*arguments)
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    with open(sys.argv[1], "a") as log:
        print(status.split("VmHWM:")[1].split()[0], file=log)
store.write_block = told
sys.exit(main(sys.argv[2:]))
"""


def command(work: Path, out: str, chips: int) -> list[str]:
    flags = ["--model", str(MODEL), "--task", "sst2", "--data", str(work / "data")]
    point = ["--rates", "1e-2", "--max-length", "64", "--chips", str(chips)]
    return ["sweep", *flags, *point, "--out", str(work / out), "--quiet"]


def timed(arguments: list[str], program: str = CALL, *more: str) -> dict[str, float]:
    """Run a command in a process of its own; its times and peak memory."""
    start = time.perf_counter()
    full = [sys.executable, "-c", program, *more, *arguments]
    process = subprocess.Popen(full, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(arguments)} failed")
    return {
        "seconds": round(time.perf_counter() - start, 2),
        "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 2),
        "peak_mb": round(usage.ru_maxrss * 1024 / 1e6, 1),
    }


def filled(work: Path, chips: int) -> dict[str, Any]:
    """Run a campaign from nothing, and look at its memory after every block as well."""
    log = work / f"peak-{chips}"
    done: dict[str, Any] = timed(command(work, f"rows-{chips}", chips), TELL, str(log))
    peaks = [int(line) * 1024 / 1e6 for line in log.read_text(encoding="utf-8").split()]
    looks = {n: round(peaks[-(-n // BLOCK) - 1], 1) for n in (32, 1_000, 10_000) if n <= chips}
    return {**done, "peak_mb_after_chips": looks}


def fastest(arguments: list[str], repeats: int) -> dict[str, float]:
    return min((timed(arguments) for _ in range(repeats)), key=lambda done: done["seconds"])


def plan_seconds(work: Path) -> float:
    """Identify model and data, and plan 500 points of 64 chips."""
    axes: dict[str, Any] = {"rate": [k / 1000 for k in range(125)], "bits": (8, 7)}
    points = expand(Point("sst2", "demo", 0.0), {**axes, "bits_per_cell": (1, 2)})
    assert len(points) == 500
    taken = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        parts = workloads_of(points, {"demo": str(MODEL)}, data=str(work / "data"), max_length=64)
        dry_run(parts, Settings(chips=64), work / "nowhere")
        taken.append(time.perf_counter() - start)
    return round(min(taken), 3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path)
    parser.add_argument("--chips", default="1000,10000", help="comma list, ascending")
    parser.add_argument("--repeats", type=int, default=REPEATS, help="of the done-check")
    parser.add_argument("--out", type=Path, default=Path("experiments/results/campaign.json"))
    arguments = parser.parse_args()
    work = arguments.work or Path(tempfile.mkdtemp())
    write_data(work / "data", n=SENTENCES)
    results: dict[str, Any] = {"cores": os.cpu_count(), "plan_500_points_seconds": None}
    results["plan_500_points_seconds"] = plan_seconds(work)
    counts = [int(number) for number in arguments.chips.split(",")]
    for chips in counts:
        results[f"{chips} chips"] = filled(work, chips)
        print(json.dumps(results), file=sys.stderr)
    folder = work / f"rows-{counts[-1]}"
    done = command(work, folder.name, counts[-1])
    results[f"done-check, {counts[-1]} chips"] = fastest(done, arguments.repeats)
    before = len(survey(folder).blocks)
    results["compact"] = timed(["compact", str(folder)])
    results["done-check, compacted"] = fastest(done, arguments.repeats)
    results["blocks"] = [before, len(survey(folder).blocks)]
    results["export"] = timed(["export", str(folder), "--csv", str(work / "rows.csv")])
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
