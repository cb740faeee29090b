"""Studies as Python files, campaigns over several workloads, and what a dry run foretells."""

import shutil
import time
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import tiny

from rerax.campaign import store
from rerax.campaign.dry_run import dry_run
from rerax.campaign.grid import expand
from rerax.campaign.point import Point
from rerax.campaign.runner import Runner
from rerax.campaign.workload import Settings, workloads_of
from rerax.cli import main
from rerax.cli.study import models_by_name, read_study
from rerax.glue import data as glue

HEAD = "from rerax import Point\nfrom rerax.campaign.grid import expand\n"


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Two models, and examples of two tasks (the second one's are the first one's, renamed)."""
    home = tmp_path_factory.mktemp("home")
    tiny.write_model(home / "models" / "tiny")
    tiny.write_model(home / "models" / "other", seed=1)
    tiny.write_sst2(home / "data")
    shutil.copytree(home / "data" / "sst2", home / "data" / "cola")
    return home


@pytest.fixture
def study(home, tmp_path):
    """Writes a study over both models."""

    def write(body, models=None, data=None):
        file = tmp_path / "study.py"
        models = models or {name: str(home / "models" / name) for name in ("tiny", "other")}
        data = home / "data" if data is None else data
        file.write_text(f"{HEAD}MODELS = {models!r}\nDATA = {str(data)!r}\n\n\n{body}")
        return file

    return write


GRID = """def points():
    base = Point(task="sst2", model="tiny", rate=0.0, matrices="classifier")
    return expand(base, {"model": ("tiny", "other"), "rate": (0.0, 0.02)})
"""
FLAGS = ["--chips", "3", "--max-length", "32", "--quiet"]


def test_a_study_and_comma_lists_make_the_same_campaign(quick, study, home, tmp_path, capsys):
    assert main(["sweep", str(study(GRID)), "--out", str(tmp_path / "a"), *FLAGS]) == 0
    table = capsys.readouterr().out
    models = ",".join(str(home / "models" / name) for name in ("tiny", "other"))
    flags = ["--model", models, "--task", "sst2", "--rates", "0,0.02", "--matrices", "classifier"]
    command = ["sweep", "--data", str(home / "data"), *flags, *FLAGS, "--out"]
    assert main([*command, str(tmp_path / "b")]) == 0
    assert capsys.readouterr().out == table
    assert store.read_rows(tmp_path / "a").equals(store.read_rows(tmp_path / "b"))
    frame = pd.read_parquet(tmp_path / "a")
    assert frame.groupby(["model", "rate"]).size().tolist() == [3, 3, 3, 3]
    assert frame.model_hash.nunique() == 2
    before = {f: f.stat().st_mtime_ns for f in (tmp_path / "b").iterdir()}
    assert main([*command, str(tmp_path / "b")]) == 0  # finished: nothing is written
    assert {f: f.stat().st_mtime_ns for f in (tmp_path / "b").iterdir()} == before
    named = [*command, str(tmp_path / "b"), "--name", "tiny,other"]
    assert main(named) == 0
    assert main([*command, str(tmp_path / "b"), "--name", "other,tiny"]) == 2
    assert "model_hash of sst2/other" in capsys.readouterr().err


def test_a_new_task_is_growth_and_a_changed_one_is_refused_at_once(
    quick, study, home, tmp_path, capsys
):
    """Workload after workload; a pair that differs stops the run before anything is computed."""
    out = tmp_path / "out"
    one = 'def points():\n    return [Point("sst2", "tiny", 0.02, matrices="classifier")]\n'
    assert main(["sweep", str(study(one)), "--out", str(out), *FLAGS]) == 0
    before = {f: f.stat().st_mtime_ns for f in out.iterdir()}
    capsys.readouterr()
    model = home / "models" / "judge"
    tiny.write_model(model, replace(tiny.CONFIG, labels=("unacceptable", "acceptable")))
    two = one.replace("[", f'[Point("cola", {str(model)!r}, 0.02, matrices="classifier"), ')
    swapped = {"tiny": str(home / "models" / "other")}
    assert main(["sweep", str(study(two, swapped)), "--out", str(out), *FLAGS]) == 2
    assert "model_hash of sst2/tiny" in capsys.readouterr().err
    assert {f: f.stat().st_mtime_ns for f in out.iterdir()} == before
    assert main(["sweep", str(study(two)), "--out", str(out), *FLAGS]) == 0
    frame = pd.read_parquet(out)
    assert sorted(zip(frame.task, frame.model, strict=True)) == [
        *[("cola", "judge")] * 3,
        *[("sst2", "tiny")] * 3,
    ]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("def points(:\n", "line 7: SyntaxError"),
        ("x = 1\n", r"defines no points\(\): let it give"),
        ("def points():\n    return []\n", "gives nothing"),
        ("def points():\n    return [3]\n", "gives 3: let it give rerax.Point only"),
        ("def points():\n    return Point('a', 'b', 2.0)\n", "line 8: ValueError: rate 2.0 is out"),
        ("import no_such_module_here\n", "line 7: ModuleNotFoundError"),
        (
            "def points():\n    return [Point('sst2', m, 0.0) for m in ('a/x', 'b/x')]\n",
            "a/x and b/x are both called x: name them apart",
        ),
    ],
)
def test_bad_studies_are_one_line(study, body, said):
    with pytest.raises(ValueError, match=said) as raised:
        read_study(study(body))
    assert "\n" not in str(raised.value)


def test_a_study_that_is_not_there(tmp_path):
    with pytest.raises(ValueError, match="is no file: give a Python file"):
        read_study(tmp_path / "nothing.py")


def test_models_are_named_by_their_last_part_or_by_the_study(study):
    body = "def points():\n    return [Point('sst2', m, 0.0) for m in ('x/y/', 'tiny', 'x/y/')]\n"
    found = read_study(study(body, models={"tiny": "a/b"}))
    assert found.models == {"y": "x/y/", "tiny": "a/b"}
    assert [point.model for point in found.points] == ["y", "tiny"]
    assert models_by_name(["a", "b"], {"a": "m", "b": "m"}) == {"a": "m", "b": "m"}


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--rates", "0.1"], "--rates with"),
        (["--model", "x"], "--model with"),
        (["--bits-per-cell", "2"], "--bits-per-cell with"),
    ],
)
def test_flags_of_a_point_beside_a_study(study, tmp_path, capsys, more, said):
    assert main(["sweep", str(study(GRID)), "--out", str(tmp_path / "out"), *more]) == 2
    line = capsys.readouterr().err
    assert said in line
    assert "the study says it" in line
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--task", "sst2"], "--model is missing"),
        (["--model", "x"], "--task is missing"),
        (["--model", "x,y", "--task", "sst2", "--name", "z"], "does not name 2 models"),
        (["--model", "a/x,b/x", "--task", "sst2"], "are both called x"),
    ],
)
def test_bad_lists_of_models(tmp_path, capsys, flags, said):
    assert main(["sweep", "--out", str(tmp_path / "out"), *flags]) == 2
    assert said in capsys.readouterr().err


def test_two_kinds_of_inputs_need_two_names(home):
    points = [Point("sst2", "tiny", 0.0, input_bits=bits) for bits in (8, None)]
    models, data = {"tiny": str(home / "models" / "tiny")}, str(home / "data")
    parts = workloads_of(points, models, data=data, max_length=32)
    with pytest.raises(ValueError, match=r"input_bits of sst2/tiny is .* give the model two names"):
        Runner(parts, Settings(), home / "two-kinds")
    assert not (home / "two-kinds").exists()


# the dry run ----------------------------------------------------------------------------------


def test_a_dry_run_says_what_is_to_do_and_writes_nothing(quick, study, tmp_path, capsys):
    command = ["sweep", str(study(GRID)), "--out", str(tmp_path / "out"), *FLAGS]
    assert main([*command, "--dry-run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("sst2/tiny: 2 points, 6 chips: 0 done, 6 to do, about ")
    assert "guessed" in lines[0]
    assert "GB of memory" in lines[0]
    assert lines[-1] == "in all 4 points, 12 chips, 12 to do; nothing has been written"
    assert not (tmp_path / "out").exists()
    assert main(command) == 0
    before = {f: f.stat().st_mtime_ns for f in (tmp_path / "out").iterdir()}
    capsys.readouterr()
    assert main([*command, "--chips", "40", "--dry-run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "80 chips: 6 done, 74 to do" in lines[0]
    assert "at this folder's pace" in lines[0]
    assert {f: f.stat().st_mtime_ns for f in (tmp_path / "out").iterdir()} == before
    assert main([*command, "--seed", "1", "--dry-run"]) == 2
    assert "seed is 0 there and 1 now" in capsys.readouterr().err


def test_a_dry_run_under_a_rule_says_how_many_there_may_be(quick, study, tmp_path, capsys):
    flags = ["--out", str(tmp_path / "out"), "--max-length", "32", "--quiet", "--dry-run"]
    rule = ["--until-se", "0.001", "--max-chips", "1000"]
    assert main(["sweep", str(study(GRID)), *flags, *rule]) == 0
    lines = capsys.readouterr().out.splitlines()
    told = "2 points, at most 2000 chips: 0 done, at most 2000 to do"
    assert lines[0].startswith(f"sst2/tiny: {told}, about ")
    assert lines[-1].startswith("in all 4 points, at most 4000 chips, at most 4000 to do;")


def test_five_hundred_points_are_planned_quickly(home, tmp_path):
    """The bound is loose, for busy machines; experiments/campaign.py has the figures."""
    base = Point("sst2", "tiny", 0.0)
    axes = {"rate": [k / 1000 for k in range(125)], "bits": (8, 7), "bits_per_cell": (1, 2)}
    points = expand(base, axes)
    assert len(points) == 500
    models, data = {"tiny": str(home / "models" / "tiny")}, str(home / "data")
    start = time.perf_counter()
    parts = workloads_of(points, models, data=data, max_length=32)
    costs = dry_run(parts, Settings(chips=64), tmp_path / "out")
    taken = time.perf_counter() - start
    assert costs[0].chips - costs[0].done == 32_000
    assert taken < 5


def test_more_work_takes_more_time_and_memory(home, tmp_path):
    models, data = {"tiny": str(home / "models" / "tiny")}, str(home / "data")
    points = [Point("sst2", "tiny", rate) for rate in (0.0, 0.1)]
    parts = workloads_of(points, models, data=data, max_length=32)
    few, many = (dry_run(parts, Settings(chips=n), tmp_path / "out")[0] for n in (10, 1000))
    assert few.seconds is not None
    assert many.seconds is not None
    assert few.seconds < many.seconds
    assert few.peak == many.peak  # memory does not grow with the chips
    wide = [replace(point, bits_per_cell=4) for point in points]
    assert (
        dry_run(workloads_of(wide, models, data=data, max_length=32), Settings(), tmp_path / "o")[
            0
        ].peak
        < few.peak
    )


# examples of the hub --------------------------------------------------------------------------


@pytest.fixture
def hub(home, monkeypatch):
    """A hub that has our examples; `asked` counts how often it was asked."""
    asked = []

    def fetch(task, data, part):
        asked.append(part)
        table = glue._from_folder(task, home / "data", part)
        return table.slice(0, hub_holds[0])

    hub_holds = [24]
    monkeypatch.setattr(glue, "_from_hub", fetch)
    return asked, hub_holds


def test_the_done_check_does_not_ask_the_hub(quick, home, hub, tmp_path, capsys):
    asked, holds = hub
    model = ["--model", str(home / "models" / "tiny"), "--matrices", "classifier"]
    command = ["sweep", *model, "--task", "sst2", "--out", str(tmp_path / "out"), *FLAGS]
    command += ["--rates", "0.02"]
    assert main(command) == 0
    rows, before = len(asked), {f: f.stat().st_mtime_ns for f in (tmp_path / "out").iterdir()}
    assert rows
    table = capsys.readouterr().out
    assert main(command) == 0
    assert len(asked) == rows
    assert capsys.readouterr().out == table
    assert {f: f.stat().st_mtime_ns for f in (tmp_path / "out").iterdir()} == before
    assert main([*command, "--chips", "5"]) == 0  # there is work: now they are needed
    assert len(asked) > rows
    assert main([*command, "--max-examples", "5"]) == 2  # another request
    assert "data_hash of sst2/tiny" in capsys.readouterr().err
    holds[0] = 20
    assert main(command) == 0
    assert main([*command, "--chips", "8"]) == 2
    assert "the hub's examples of sst2 have changed (data_hash " in capsys.readouterr().err
    assert len(pd.read_parquet(tmp_path / "out")) == 5
    assert np.all(pd.read_parquet(tmp_path / "out").examples == 24)


def test_what_is_given_counts_though_it_is_the_default(study, tmp_path, capsys):
    file = study(GRID, data=tmp_path / "nowhere")
    line = ["sweep", str(file), "--out", str(tmp_path / "out"), "--dry-run", *FLAGS]
    for flag in (["--encoding", "offset"], ["--protection", "none"], ["--bits", "8"]):
        assert main([*line, *flag]) == 2
        assert f"{flag[0]} with {file}: leave it out, the study says it" in capsys.readouterr().err
    asked = []
    for flags in ([], ["--data", "nyu-mll/glue"]):
        assert main([*line, *flags]) == 2
        asked.append(capsys.readouterr().err)
    assert "nowhere" in asked[0]
    assert "nowhere" not in asked[1]
    assert "nyu-mll/glue" in asked[1]


def test_a_dry_run_refuses_a_plan_for_cells_that_are_sensed_wrongly(home, tmp_path, capsys):
    line = ["sweep", "--model", str(home / "models" / "tiny"), "--task", "sst2", *FLAGS]
    line += ["--data", str(home / "data"), "--out", str(tmp_path / "out"), "--rates", "1e-3"]
    assert main([*line, "--protection", "plan", "--misread", "0.2", "--dry-run"]) == 2
    assert "misread 0.2 is not planned for" in capsys.readouterr().err
