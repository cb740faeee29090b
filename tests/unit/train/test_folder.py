"""A run's folder: what begins one, what takes one up, and what is left when it is stopped."""

import json

import jax.numpy as jnp
import pytest

from rerax.train.folder import RunFolder
from rerax.train.kept import kept_step, kept_words

IDENTITY = {"task": "sst2", "steps": 100, "lr": 1e-3}


@pytest.fixture
def run(tmp_path):
    run = RunFolder(tmp_path / "run")
    run.open(IDENTITY, resume=False)
    return run


def test_a_run_is_taken_up_by_the_same_identity_alone(run):
    run.open(IDENTITY, resume=True)
    with pytest.raises(ValueError, match="holds a run: give --resume to go on, or a new folder"):
        run.open(IDENTITY, resume=False)
    with pytest.raises(ValueError, match=r"holds another run: lr was 0.001 and is 0.01: "):
        run.open({**IDENTITY, "lr": 0.01}, resume=True)
    run.recipe.write_text("{")
    with pytest.raises(ValueError, match=r"recipe.json is garbled: give a new folder"):
        run.open(IDENTITY, resume=True)


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(ValueError, match="is not empty and holds no run: give a new folder"):
        RunFolder(tmp_path).open(IDENTITY, resume=True)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_the_log_is_cut_back_to_a_step_and_passes_over_a_torn_line(run):
    assert run.records() == []
    for step in (10, 20, 30):
        run.tell({"step": step, "loss": 1 / step})
    with run.log.open("a") as log:
        log.write('{"step": 4')
    assert [record["step"] for record in run.records()] == [10, 20, 30]
    run.cut_log(20)
    assert run.log.read_text().splitlines() == [
        json.dumps({"step": step, "loss": 1 / step}) for step in (10, 20)
    ]


def test_the_last_two_checkpoints_are_kept_and_the_newest_is_read(run):
    state = {"weights": jnp.arange(3.0), "step": jnp.int32(0)}
    assert run.load_state(state) is None
    for step in (1, 2, 3):
        run.save_state(step, {"weights": jnp.arange(3.0) * step, "step": jnp.int32(step)})
    assert kept_step(run.path) == 3
    assert kept_words(run.path).startswith("the state of step 3 is kept, the same command with")
    found = run.load_state(state)
    assert found["weights"].tolist() == [0, 3, 6]
    assert sorted(path.name for path in run.checkpoints.iterdir()) == ["2", "3"]
    for path in (run.checkpoints / "3").rglob("*"):
        if path.is_file():
            path.write_bytes(b"")
    with pytest.raises(ValueError, match=r"3 is cut short .*: remove it, .* goes on from step 2"):
        run.load_state(state)
    run.drop_checkpoints()
    assert kept_step(run.path) is None


def test_a_run_without_a_checkpoint_can_be_forgotten(run, tmp_path):
    assert kept_words(run.path).endswith("the same command with --resume starts anew")
    (run.path / "mine.txt").write_text("mine")
    run.forget()
    assert run.recipe.is_file()  # somebody else has put something there
    (run.path / "mine.txt").unlink()
    run.forget()
    assert not run.path.exists()
    assert kept_words(tmp_path / "run").endswith("nothing is kept: the same command starts anew")
