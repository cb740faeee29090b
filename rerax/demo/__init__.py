"""The whole job with nothing to download: a small BERT, made by `experiments/demo_model.py`."""

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from rerax.campaign.grid import expand
from rerax.campaign.point import Point
from rerax.campaign.runner import run
from rerax.campaign.workload import Progress, Settings, read_workload
from rerax.demo.sentences import write_data
from rerax.io import make_folder, whole_file

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

    Raises:
        ValueError: another model is there, or other data; nothing has been written.
    """
    out = Path(out)
    with tempfile.TemporaryDirectory() as own:
        made = Path(own)
        shutil.copytree(MODEL, made / "model")
        write_data(made / "data")
        write_data(made / "data", n=TRAINING, seed=2, split="train")
        _check_own(out, made)
        for file in filter(Path.is_file, made.rglob("*")):
            there = out / file.relative_to(made)
            if not there.is_file() or not _alike(there, file):
                make_folder(there.parent)
                with whole_file(there) as copy:
                    copy.write(file.read_bytes())


def _check_own(out: Path, made: Path) -> None:
    """Refuse a folder with another model, or with other data of the demo's names.

    Raises:
        ValueError: it is one.
    """
    there = {*(out / "model").rglob("*"), *(out / f.relative_to(made) for f in made.rglob("*"))}
    for file in sorted(filter(Path.is_file, there)):
        own = made / file.relative_to(out)
        is_own = own.is_file() and _alike(file, own, whole=False)
        if not is_own and not file.name.startswith("."):
            raise ValueError(f"{file} is not the demo's: give another folder")


def _alike(file: Path, own: Path, whole: bool = True) -> bool:
    """Tell whether two files hold the same; not `whole`, whether one's examples begin the other's.

    Bytes of Parquet depend on PyArrow's version, so its rows are compared.
    """
    if file.suffix != ".parquet":
        return file.read_bytes() == own.read_bytes()
    try:
        one, other = (pq.read_table(path, partitioning=None) for path in (file, own))
    except (pa.ArrowException, OSError):
        return False
    rows = max(len(one), len(other)) if whole else min(len(one), len(other))
    return one.slice(0, rows).equals(other.slice(0, rows))


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
