"""How long a look at a folder of thousands of blocks takes, and reading all its rows.

    python experiments/many_blocks.py [--blocks 5000] [--repeats 5] \
        [--out experiments/results/many_blocks.json]

Two minutes on two CPU cores. Chips cost nothing (`folder_kills.py`), 32 a block, 12 points.
Expected of 5,000 blocks: names and footers, which tell what is finished, under 3 s; all rows, their
bytes, names and manifest verified, under 15 s. The fastest of the repeats, of processor and of wall
time, each in a process of its own.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from folder_kills import POINTS

from rerax.campaign.block import BLOCK

TIMED = """
import sys, time
from pathlib import Path
from rerax.campaign import store
begin, busy = time.perf_counter(), time.process_time()
found = getattr(store, sys.argv[1])(Path(sys.argv[2]))
print(time.perf_counter() - begin, time.process_time() - busy)
"""


def main() -> None:
    """Make the folder, look it over and read it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--blocks", type=int, default=5000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("experiments/results/many_blocks.json"))
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp()) / "rows"
    chips = BLOCK * -(-arguments.blocks // len(POINTS))
    program = str(Path(__file__).parent / "folder_kills.py")
    told = [sys.executable, program, "grow", str(folder), str(chips)]
    subprocess.run(told, check=True, stdout=subprocess.DEVNULL)
    blocks = len(list(folder.glob("[!_]*.parquet")))
    results = {"blocks": blocks, "rows": len(POINTS) * chips}
    for name, work in (("look", "survey"), ("read", "read_rows")):
        command = [sys.executable, "-c", TIMED, work, str(folder)]
        taken = [
            [float(word) for word in subprocess.check_output(command, text=True).split()]
            for _ in range(arguments.repeats)
        ]
        for kind, seconds in zip(("seconds", "cpu_seconds"), zip(*taken, strict=True), strict=True):
            results[f"{name}_{kind}"] = round(min(seconds), 2)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
