"""A run's folder: what begins one, what takes one up, and what is left when it is stopped."""

import json

import pytest

from rerax.train.folder import TrainingFolder, how_to_resume

IDENTITY = {"task": "sst2", "steps": 100, "lr": 1e-3}


@pytest.fixture
def run(tmp_path):
    run = TrainingFolder(tmp_path / "run")
    run.open(IDENTITY, resume=False)
    return run


def test_a_run_is_taken_up_by_the_same_identity_alone(run):
    run.open(IDENTITY, resume=True)
    with pytest.raises(ValueError, match="holds a run: give --resume to go on, or a new folder"):
        run.open(IDENTITY, resume=False)
    with pytest.raises(ValueError, match=r"holds another run: lr was 0.001 and is 0.01: "):
        run.open({**IDENTITY, "lr": 0.01}, resume=True)
    run.recipe_file.write_text("{")
    with pytest.raises(ValueError, match=r"recipe.json is garbled: give a new folder"):
        run.open(IDENTITY, resume=True)


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(ValueError, match="is not empty and holds no run: give a new folder"):
        TrainingFolder(tmp_path).open(IDENTITY, resume=True)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_the_log_is_cut_back_to_a_step_and_passes_over_a_torn_line(run):
    assert run.read_log() == []
    for step in (10, 20, 30):
        run.append_log({"step": step, "loss": 1 / step})
    with run.log_file.open("a") as log:
        log.write('{"step": 4')
    assert [record["step"] for record in run.read_log()] == [10, 20, 30]
    run.cut_log(20)
    assert run.log_file.read_text().splitlines() == [
        json.dumps({"step": step, "loss": 1 / step}) for step in (10, 20)
    ]


def test_a_run_without_a_checkpoint_can_be_forgotten(run, tmp_path):
    assert how_to_resume(run.path).endswith("the same command with --resume starts anew")
    (run.path / "mine.txt").write_text("mine")
    run.remove_if_useless()
    assert run.recipe_file.is_file()  # somebody else has put something there
    (run.path / "mine.txt").unlink()
    run.remove_if_useless()
    assert not run.path.exists()
    assert how_to_resume(tmp_path / "run").endswith("nothing is kept: the same command starts anew")
