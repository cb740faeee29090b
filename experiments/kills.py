"""A campaign that is killed at random moments, over and over until it is done.

    python experiments/kills.py [--kills 20] [--folder-kills 300] [--seed 0] [--chips 1000] \
        [--out experiments/results/kills.json]

About 25 minutes on two CPU cores. *Real chips*: the demo's model, 64 sentences, two encodings at
two rates and fault-free, 1000 chips a point: 192 blocks, 32 of each point and the last one cut.
Each process is killed (SIGKILL) at a random moment, and the same command starts again. Every other
moment is drawn evenly between the start and the time that an undisturbed run took for its first
three blocks, so mostly while it imports and compiles; the others from its first block on, over the
time of three blocks, so while it computes or writes. After the last kill it runs to its end.
Expected: the final rows equal those of the undisturbed run, no chip is there twice in plain pandas,
at most one block (32 chips) was computed in vain for each kill, and nothing was set aside.

*Folders*: chips that cost nothing, so that most moments fall on writing. Two folders grow to other
numbers of chips, a third one merges and one is compacted, each of it killed and started again until
it is done, and then anew with more chips. After each kill every chip that was there is there still,
with its own score, and pandas reads the folder; after each end plain pandas counts each chip once.
"""

import argparse
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pandas as pd
from folder_kills import folder_kills

from rerax.campaign.block import BLOCK
from rerax.campaign.store import read_rows
from rerax.demo import MODEL
from rerax.demo.sentences import write_data

CHIPS = 1000
BLOCKS_BEFORE_A_KILL = 3
TELL = """
import sys
from rerax.campaign import worker
from rerax.cli import main
real = worker.Worker.rows
def told(self, point, block, known):
    rows = yield from real(self, point, block, known)
    with open(sys.argv[1], "a") as log:
        log.write(f"{block.chips}\\n")
    return rows
worker.Worker.rows = told
sys.exit(main(sys.argv[2:]))
"""


def start(work: Path, out: str, log: str, chips: int) -> subprocess.Popen[bytes]:
    """The campaign in a process of its own, which tells of every block that it has computed."""
    flags = ["--model", str(MODEL), "--task", "sst2", "--data", str(work / "data"), "--quiet"]
    grid = ["--rates", "0,1e-2,5e-2", "--encoding", "offset,sign_magnitude", "--max-length", "64"]
    more = ["--chips", str(chips), "--out", str(work / out)]
    command = [sys.executable, "-c", TELL, str(work / log), "sweep", *flags, *grid, *more]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def chips_computed(log: Path) -> int:
    return sum(map(int, log.read_text(encoding="utf-8").split())) if log.exists() else 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--folder-kills", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--chips", type=int, default=CHIPS, help="of each of six points")
    parser.add_argument("--out", type=Path, default=Path("experiments/results/kills.json"))
    arguments = parser.parse_args()
    work = Path(tempfile.mkdtemp())
    write_data(work / "data", n=64)
    span, block_seconds, whole = undisturbed(work, arguments.chips)
    draw, moments, computed = random.Random(arguments.seed), [], [0]
    for kill in range(arguments.kills):
        begin = time.perf_counter()
        process = start(work, "killed", "killed.log", arguments.chips)
        if kill % 2:
            moment = draw.uniform(0, BLOCKS_BEFORE_A_KILL * block_seconds)
            while chips_computed(work / "killed.log") == computed[-1] and process.poll() is None:
                time.sleep(0.01)
        else:
            moment = draw.uniform(0, span)
        try:
            process.communicate(timeout=moment)
            raise SystemExit(f"done before kill {kill + 1}: make the campaign larger")
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.communicate()
        moments.append(round(time.perf_counter() - begin, 2))
        computed.append(chips_computed(work / "killed.log"))
        print(f"kill {kill + 1} after {moments[-1]} s, {computed[-1]} chips", file=sys.stderr)
    last = start(work, "killed", "killed.log", arguments.chips)
    warnings = last.communicate()[1].decode().splitlines()
    results = {
        **judged(work, arguments.kills),
        "warnings": warnings,
        "undisturbed_seconds": round(whole, 1),
        "killed_after_seconds": moments,
        "chips_computed_by_then": computed[1:],
        "folders": folder_kills(arguments.folder_kills, arguments.seed),
    }
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(results, indent=1))


def undisturbed(work: Path, chips: int) -> tuple[float, float, float]:
    """Run the campaign once; seconds to its fourth block, of a later block, and to its end."""
    begin, span = time.perf_counter(), 0.0
    process = start(work, "alone", "alone.log", chips)
    while process.poll() is None:
        time.sleep(0.05)
        if not span and chips_computed(work / "alone.log") >= BLOCKS_BEFORE_A_KILL * BLOCK:
            span = time.perf_counter() - begin
    if process.returncode:
        raise SystemExit("the undisturbed run failed")
    whole = time.perf_counter() - begin
    blocks = len((work / "alone.log").read_text(encoding="utf-8").split())
    return span, (whole - span) / (blocks - BLOCKS_BEFORE_A_KILL), whole


def judged(work: Path, kills: int) -> dict[str, Any]:
    """Compare the killed campaign with the undisturbed one."""
    alone, killed = read_rows(work / "alone"), read_rows(work / "killed")
    return {
        "kills": kills,
        "rows_equal": killed.equals(alone),
        "rows": killed.num_rows,
        "rows_in_pandas": len(pd.read_parquet(work / "killed")),
        "chips_computed_in_vain": chips_computed(work / "killed.log") - alone.num_rows,
        "allowed": kills * BLOCK,
        "set_aside": len(list((work / "killed").glob("_aside/*"))),
    }


if __name__ == "__main__":
    main()
