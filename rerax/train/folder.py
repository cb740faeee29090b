"""A training run's folder: the trained model, the best one so far, log and checkpoints.

out/                config.json, model.safetensors, gates.safetensors, tokenizer: the last state
out/best/           the same, of the best score at the full sparsity
out/training/       recipe.json, log.jsonl, checkpoints/<step>
"""

import contextlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp

from rerax.io import whole_file
from rerax.train.kept import CHECKPOINTS, RECIPE, kept_step
from rerax.train.recipe import difference


@dataclass(frozen=True)
class RunFolder:
    """Where a run keeps what it makes."""

    path: Path

    @property
    def recipe(self) -> Path:
        """Identity of the run."""
        return self.path / RECIPE

    @property
    def log(self) -> Path:
        """One JSON object a line."""
        return self.path / "training" / "log.jsonl"

    @property
    def checkpoints(self) -> Path:
        """Orbax's folder."""
        return self.path / CHECKPOINTS

    def open(self, identity: Mapping[str, Any], resume: bool) -> None:
        """Begin a run here, or take up the one that is here.

        Raises:
            ValueError: something else lies here, or another run; says which field differs.
        """
        if not self.recipe.is_file():
            if self.path.exists() and any(self.path.iterdir()):
                raise ValueError(f"{self.path} is not empty and holds no run: give a new folder")
            self.recipe.parent.mkdir(parents=True, exist_ok=True)
            _write(self.recipe, json.dumps(identity, indent=2, sort_keys=True) + "\n")
            return
        if not resume:
            raise ValueError(f"{self.path} holds a run: give --resume to go on, or a new folder")
        try:
            before = json.loads(self.recipe.read_text(encoding="utf-8"))
        except (UnicodeDecodeError, json.JSONDecodeError):
            raise ValueError(f"{self.recipe} is garbled: give a new folder") from None
        changed = difference(before, json.loads(json.dumps(identity)))
        if changed:
            raise ValueError(f"{self.path} holds another run: {changed}: give a new folder")

    def records(self) -> list[dict[str, Any]]:
        """The log so far; a last line cut short is left out."""
        records = []
        if self.log.is_file():
            for line in self.log.read_text(encoding="utf-8").splitlines():
                with contextlib.suppress(json.JSONDecodeError):
                    records.append(json.loads(line))
        return records

    def cut_log(self, step: int) -> None:
        """Drop the records that come after a step."""
        kept = [json.dumps(r) + "\n" for r in self.records() if r["step"] <= step]
        _write(self.log, "".join(kept))

    def tell(self, record: Mapping[str, Any]) -> None:
        """Append a record to the log."""
        with self.log.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(record) + "\n")

    def save_state(self, step: int, state: Any) -> None:
        """Write a checkpoint; the last two are kept."""
        with self._manager() as manager:
            manager.save(step, args=ocp.args.StandardSave(state))

    def load_state(self, like: Any) -> Any | None:
        """The newest checkpoint, or None.

        Args:
            like: a state of the same structure.

        Raises:
            ValueError: it cannot be read; names it and the one before.
        """
        if not self.checkpoints.is_dir():
            return None
        with self._manager() as manager:
            steps = sorted(manager.all_steps())
            if not steps:
                return None
            shapes = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
            try:
                return manager.restore(steps[-1], args=ocp.args.StandardRestore(shapes))
            except Exception as error:
                before = f"step {steps[-2]}" if len(steps) > 1 else "the beginning"
                raise ValueError(
                    f"checkpoint {self.checkpoints / str(steps[-1])} is cut short or garbled "
                    f"({type(error).__name__}): remove it, and --resume goes on from {before}"
                ) from error

    def forget(self) -> None:
        """Remove what a run has written that cannot go on: log and recipe, but no model."""
        if kept_step(self.path) is None and set(self.path.iterdir()) == {self.recipe.parent}:
            shutil.rmtree(self.recipe.parent)
            with contextlib.suppress(OSError):  # somebody else has put something there
                self.path.rmdir()

    def drop_checkpoints(self) -> None:
        """Remove the checkpoints of a finished run."""
        shutil.rmtree(self.checkpoints, ignore_errors=True)

    def _manager(self) -> ocp.CheckpointManager:
        options = ocp.CheckpointManagerOptions(max_to_keep=2, enable_async_checkpointing=False)
        return ocp.CheckpointManager(self.checkpoints.resolve(), options=options)


def _write(file: Path, text: str) -> None:
    with whole_file(file) as out:
        out.write(text.encode())
