"""Checkpoints: the last two are kept, the newest is read, and one cut short is named."""

import jax.numpy as jnp
import pytest

from rerax.train.checkpoint import load_checkpoint, remove_checkpoints, save_checkpoint
from rerax.train.folder import CHECKPOINTS, how_to_resume, newest_checkpoint


def test_the_last_two_checkpoints_are_kept_and_the_newest_is_read(tmp_path):
    state = {"weights": jnp.arange(3.0), "step": jnp.int32(0)}
    assert load_checkpoint(tmp_path, state) is None
    for step in (1, 2, 3):
        save_checkpoint(
            tmp_path, step, {"weights": jnp.arange(3.0) * step, "step": jnp.int32(step)}
        )
    assert newest_checkpoint(tmp_path) == 3
    assert how_to_resume(tmp_path).startswith("the state of step 3 is kept, the same command with")
    found = load_checkpoint(tmp_path, state)
    assert found["weights"].tolist() == [0, 3, 6]
    assert sorted(path.name for path in (tmp_path / CHECKPOINTS).iterdir()) == ["2", "3"]
    for path in (tmp_path / CHECKPOINTS / "3").rglob("*"):
        if path.is_file():
            path.write_bytes(b"")
    with pytest.raises(ValueError, match=r"3 is cut short .*: remove it, .* goes on from step 2"):
        load_checkpoint(tmp_path, state)
    remove_checkpoints(tmp_path)
    assert newest_checkpoint(tmp_path) is None
