"""The whole job with nothing to download: a small BERT, made by `experiments/demo_model.py`."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa

from rerax.campaign.grid import expand
from rerax.campaign.point import Point
from rerax.campaign.runner import run
from rerax.campaign.workload import Progress, Settings, read_workload
from rerax.demo.sentences import write_data
from rerax.io import make_folder

MODEL = Path(__file__).parent / "model"
ENCODINGS = ("offset", "sign_magnitude")
RATES = (0.0, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 0.1, 0.2)
CHIPS = 64
TRAINING = 1024
"""Sentences to learn from, for those who want to train."""


def lay_out(out: str | Path) -> None:
    """Copy the demo's model to `out/model` and write its sentences to `out/data`.

    With these two every command can be tried without a network: `--model out/model --task sst2
    --data out/data --max-length 64`.
    """
    out = Path(out)
    make_folder(out)
    shutil.copytree(MODEL, out / "model", dirs_exist_ok=True)
    write_data(out / "data")
    write_data(out / "data", n=TRAINING, seed=2, split="train")


def run_demo(out: Path, on_progress: Callable[[Progress], None] = lambda p: None) -> pa.Table:
    """Sweep two encodings and eight rates, 64 chips each: 1,024 faulty chips.

    Args:
        out: folder for the model (`model`), its sentences (`data`) and the campaign (`rows`).
        on_progress: told of progress.

    Returns:
        The rows.
    """
    lay_out(out)
    points = expand(
        Point(task="sst2", model="demo", rate=0.0), {"encoding": ENCODINGS, "rate": RATES}
    )
    workload = read_workload(
        str(out / "model"), "sst2", "demo", data=str(out / "data"), max_length=64
    )
    return run(workload, points, Settings(chips=CHIPS), out / "rows", on_progress)
