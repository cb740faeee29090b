"""The folder of a training run: its recipe, its log, and where models and checkpoints lie.

out/                config.json, model.safetensors, gates.safetensors, tokenizer: the last state
out/best/           the same, of the best score at the full sparsity
out/training/       recipe.json, log.jsonl, checkpoints/<step>

No JAX here.
"""

import contextlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rerax.io import whole_file
from rerax.train.recipe import first_difference

RECIPE = Path("training", "recipe.json")
CHECKPOINTS = Path("training", "checkpoints")


@dataclass(frozen=True)
class TrainingFolder:
    """Where a run keeps what it makes."""

    path: Path

    @property
    def recipe_file(self) -> Path:
        """Name the file that identifies the run."""
        return self.path / RECIPE

    @property
    def log_file(self) -> Path:
        """Name the log, which holds one JSON object a line."""
        return self.path / "training" / "log.jsonl"

    def open(self, identity: Mapping[str, Any], resume: bool) -> None:
        """Begin a run here, or check that the one that is here can go on.

        Raises:
            ValueError: something else lies here, or another run; says which field differs.
        """
        if not self.recipe_file.is_file():
            if self.path.exists() and any(self.path.iterdir()):
                raise ValueError(f"{self.path} is not empty and holds no run: give a new folder")
            text = json.dumps(identity, indent=2, sort_keys=True) + "\n"
            self.recipe_file.parent.mkdir(parents=True, exist_ok=True)
            _write(self.recipe_file, text)
            return
        if not resume:
            raise ValueError(f"{self.path} holds a run: give --resume to go on, or a new folder")
        try:
            before = json.loads(self.recipe_file.read_text(encoding="utf-8"))
        except (UnicodeDecodeError, json.JSONDecodeError):
            raise ValueError(f"{self.recipe_file} is garbled: give a new folder") from None
        changed = first_difference(before, json.loads(json.dumps(identity)))
        if changed:
            raise ValueError(f"{self.path} holds another run: {changed}: give a new folder")

    def read_log(self) -> list[dict[str, Any]]:
        """Read the log; a last line cut short is left out."""
        records = []
        if self.log_file.is_file():
            for line in self.log_file.read_text(encoding="utf-8").splitlines():
                with contextlib.suppress(json.JSONDecodeError):
                    records.append(json.loads(line))
        return records

    def append_log(self, record: Mapping[str, Any]) -> None:
        """Write one more line to the log."""
        with self.log_file.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(record) + "\n")

    def cut_log(self, step: int) -> None:
        """Remove the records after a step from the log."""
        kept = [json.dumps(r) + "\n" for r in self.read_log() if r["step"] <= step]
        _write(self.log_file, "".join(kept))

    def remove_if_useless(self) -> None:
        """Remove recipe and log where there is nothing that a run could go on from."""
        training = self.recipe_file.parent
        if newest_checkpoint(self.path) is None and set(self.path.iterdir()) == {training}:
            shutil.rmtree(training)
            with contextlib.suppress(OSError):  # somebody else has put something there
                self.path.rmdir()


def newest_checkpoint(folder: Path) -> int | None:
    """Find the step of a run's newest checkpoint, None where there is none."""
    checkpoints = folder / CHECKPOINTS
    names = [path.name for path in checkpoints.iterdir()] if checkpoints.is_dir() else []
    return max((int(name) for name in names if name.isdecimal()), default=None)


def how_to_resume(folder: Path) -> str:
    """Say what is left of an interrupted run, and how it goes on."""
    step = newest_checkpoint(folder)
    if step is not None:
        return f"the state of step {step} is kept, the same command with --resume goes on from it"
    begun = (folder / RECIPE).is_file()
    anew = "the same command with --resume" if begun else "the same command"
    return f"there is no checkpoint yet, nothing is kept: {anew} starts anew"


def _write(file: Path, text: str) -> None:
    with whole_file(file) as out:
        out.write(text.encode())
