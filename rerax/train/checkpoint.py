"""Checkpoints of a training run, written by Orbax."""

import shutil
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp

from rerax.train.folder import CHECKPOINTS


def save_checkpoint(folder: Path, step: int, state: Any) -> None:
    """Write a checkpoint of a run; the last two are kept.

    Args:
        folder: the run's.
        step: steps done.
        state: a tree of arrays.
    """
    with _manager(folder) as manager:
        manager.save(step, args=ocp.args.StandardSave(state))


def load_checkpoint(folder: Path, like: Any) -> Any | None:
    """Load the newest checkpoint of a run, None where there is none.

    Args:
        folder: the run's.
        like: a state of the same structure.

    Raises:
        ValueError: it cannot be read; names it and the one before.
    """
    if not (folder / CHECKPOINTS).is_dir():
        return None
    with _manager(folder) as manager:
        steps = sorted(manager.all_steps())
        if not steps:
            return None
        shapes = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
        try:
            return manager.restore(steps[-1], args=ocp.args.StandardRestore(shapes))
        except Exception as error:
            before = f"step {steps[-2]}" if len(steps) > 1 else "the beginning"
            raise ValueError(
                f"checkpoint {folder / CHECKPOINTS / str(steps[-1])} is cut short or garbled "
                f"({type(error).__name__}): remove it, and --resume goes on from {before}"
            ) from error


def remove_checkpoints(folder: Path) -> None:
    """Remove the checkpoints of a finished run."""
    shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)


def _manager(folder: Path) -> ocp.CheckpointManager:
    options = ocp.CheckpointManagerOptions(max_to_keep=2, enable_async_checkpointing=False)
    return ocp.CheckpointManager((folder / CHECKPOINTS).resolve(), options=options)
