"""The part of `kills.py` that kills growth, merges and compactions of folders; chips cost nothing.

    python experiments/folder_kills.py WHAT FOLDER..

does one of the jobs to be killed: grow FOLDER CHIPS, merge OUT A B, compact FOLDER.
"""

import random
import subprocess
import sys
import tempfile
import time
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from rerax.campaign.block import Block
from rerax.campaign.grid import expand
from rerax.campaign.maintain import compact, merge
from rerax.campaign.point import Point
from rerax.campaign.runner import run
from rerax.campaign.schema import SCHEMA
from rerax.campaign.store import read_rows
from rerax.campaign.workload import Progress, Settings, Workload
from rerax.models.bert.config import BertConfig

POINTS = expand(Point("sst2", "none", 0.0), {"rate": [k / 1000 for k in range(12)]})
WORKLOAD = Workload(
    task="sst2",
    model="none",
    model_hash="a" * 64,
    data_hash="b" * 64,
    order=(0, 1),
    labels=np.zeros(9),
    parts=(("validation", 9),),
    config=BertConfig(),
    load=lambda: None,
)
LEAST_MORE, MOST_MORE = 5, 90
"""Chips that a folder grows by."""
ROUNDS = 3
"""Rounds of growth before folders begin anew, so that jobs stay short."""


class Worker:
    """Stands in for the one that computes; all else is the real thing."""

    platform, workload, lanes = "none", WORKLOAD, 1

    @classmethod
    def start(cls, *_: Any) -> "Worker":
        return cls()

    def on_each_device(self) -> "list[Worker]":
        return [self]

    def check_labels(self, *_: Any) -> None:
        pass

    def provenance(self) -> dict[str, Any]:
        return {"platform": self.platform}

    def rows(self, point: Point, block: Block, known: dict[str, float]) -> Any:
        """Rows whose score is the chip's number."""
        known[point.hash] = point.rate
        yield Progress(block.chips, block.chips, point)
        chips = np.arange(block.first, block.last + 1)
        columns: dict[str, Any] = {
            **dict.fromkeys(SCHEMA.names),
            **point.columns(),
            "sa1_share": 0.5,
            "seed": 0,
            "chip": chips,
            "score": chips / 1e6,
            "float_score": 0.9,
            "clean_score": 0.9,
            "platform": self.platform,
            "point_hash": point.hash,
            "model_hash": "a" * 64,
            "data_hash": "b" * 64,
        }
        lists = [v if isinstance(v, np.ndarray) else [v] * len(chips) for v in columns.values()]
        arrays = dict(zip(columns, lists, strict=True))
        return pa.table([pa.array(arrays[f.name], f.type) for f in SCHEMA], schema=SCHEMA)


def job(what: str, folder: str, *more: str) -> None:
    """Grow, merge or compact a folder."""
    out = Path(folder)
    print("begun", flush=True)
    if what == "grow":
        module = types.ModuleType("rerax.campaign.worker")
        module.Worker = Worker  # type: ignore[attr-defined]
        sys.modules[module.__name__] = module
        run(WORKLOAD, POINTS, Settings(int(more[0])), out)
    elif what == "merge":
        merge([Path(source) for source in more], out)
    else:
        compact(out)
    print("done", flush=True)


class Killer:
    """Kills jobs on folders, and looks after each kill what is left.

    Attributes:
        kills: by kind of job.
        wrong: what was not as it should be.
    """

    def __init__(self, kills: int, seed: int) -> None:
        self.left, self.draw = kills, random.Random(seed)
        self.kills = dict.fromkeys(("grow", "merge", "compact"), 0)
        self.wrong: list[str] = []
        self.seconds = dict.fromkeys(self.kills, 0.5)
        self.known: dict[str, set[tuple[str, int]]] = {}

    def until_done(self, what: str, folder: Path, *more: Any) -> None:
        """Start a job over and over until it is done, and kill it while there are kills left."""
        while True:
            command = [sys.executable, __file__, what, str(folder), *map(str, more)]
            process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            assert process.stdout is not None
            assert process.stdout.readline() == "begun\n"
            begin, at = time.perf_counter(), self.draw.uniform(0, 1.2 * self.seconds[what])
            try:
                process.wait(timeout=at if self.left else None)
            except subprocess.TimeoutExpired:
                process.kill()
            told = process.communicate()[0]
            done = told == "done\n"
            if done:
                self.seconds[what] = time.perf_counter() - begin
            else:
                self.left -= 1
                self.kills[what] += 1
                self.seconds[what] *= 1.3  # or a machine that is busy never comes to an end
            self.look(folder, what, done)
            if done:
                return

    def look(self, folder: Path, what: str, done: bool) -> None:
        """Look for lost and doubled chips, and for scores that are another chip's."""
        if not folder.is_dir():
            return
        rows = read_rows(folder)
        here = list(zip(rows["point_hash"].to_pylist(), rows["chip"].to_pylist(), strict=True))
        lost = len(self.known.get(str(folder), set()) - set(here))
        doubled = len(here) - len(set(here))
        moved = int((rows["score"].to_numpy() != rows["chip"].to_numpy() / 1e6).sum())
        files = list(folder.glob("[!_]*.parquet"))
        in_pandas = len(pd.read_parquet(folder)) if files else 0
        twice = in_pandas - len(here) if done else 0  # a kill may leave a block beside a longer one
        aside = len(list(folder.glob("_aside/*")))
        if lost or doubled or moved or twice or aside or in_pandas < len(here):
            self.wrong.append(f"{what}: {lost=} {doubled=} {moved=} {twice=} {aside=}")
        self.known[str(folder)] = set(here)


def folder_kills(kills: int, seed: int) -> dict[str, Any]:
    """Kill growth, merges and compactions so many times, and say what came of it."""
    killer, rounds, rows, asked = Killer(kills, seed), 0, 0, 0
    while killer.left:
        if rounds % ROUNDS == 0:
            work, chips = Path(tempfile.mkdtemp()), [0, 0]
        rounds += 1
        for k, name in enumerate("ab"):
            chips[k] += killer.draw.randint(LEAST_MORE, MOST_MORE)
            killer.until_done("grow", work / name, chips[k])
        killer.until_done("merge", work / "merged", work / "a", work / "b")
        for name in ("merged", "a")[: 1 + rounds % 2]:
            killer.until_done("compact", work / name)
        rows += read_rows(work / "merged").num_rows
        asked += len(POINTS) * max(chips)
    return {
        "kills": sum(killer.kills.values()),
        "of": killer.kills,
        "rounds": rounds,
        "rows": rows,
        "asked": asked,
        "wrong": killer.wrong,
    }


def main(arguments: Sequence[str]) -> None:
    """Do a job that may be killed."""
    job(*arguments)


if __name__ == "__main__":
    main(sys.argv[1:])
