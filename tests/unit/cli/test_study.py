"""Study files that do what no study should."""

from fractions import Fraction

import numpy as np
import pytest

from rerax.campaign.point import Point
from rerax.cli.flags import DataFlags
from rerax.cli.map import _check_out
from rerax.cli.study import read_study
from rerax.faults.cell_table import read_table
from rerax.faults.chip_map import read_map
from rerax.glue.selection import Selection
from rerax.models.bert.sensitivity import read_sensitivity
from rerax.protection import protection

GOOD = """from rerax import Point


def points():
    return [Point(task="sst2", model="tiny", rate=0.0)]
"""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import sys\nsys.exit(0)\n", "line 2: SystemExit: 0: mend the study"),
        ("def points():\n    raise SystemExit('no')\n", "line 2: SystemExit: no: mend the study"),
        ("1 / 0\n", "line 1: ZeroDivisionError: division by zero: mend the study"),
        ("def points(:\n", "line 1: SyntaxError: .*: mend the study"),
        ("def points():\n    return 3\n", "TypeError: 'int' object is not iterable: mend"),
        ("MODELS = 3\n" + GOOD, "MODELS is 3: let it be a dict of names and folders"),
        ("points = 3\n", r"defines no points\(\)"),
        ("def points():\n    return [3]\n", r"points\(\) gives 3: let it give rerax.Point only"),
        ("def points():\n    return []\n", r"points\(\) gives nothing"),
    ],
)
def test_it_is_told_in_one_line(tmp_path, text, said):
    file = tmp_path / "study.py"
    file.write_text(text)
    with pytest.raises(ValueError, match=said):
        read_study(file)


GRIDS = """
data = "glue"

[models]
small = "models/tiny"

[[grid]]
task = "sst2"
model = "small"
rate = [0, 1e-3]
protection = ["none", "msb:1x3:lsb"]

[[grid]]
task = ["sst2", "rte"]
model = "models/other"
rate = "1e-2"
sa1_share = "1:3"
tile = "64x64"
input_bits = "none"
"""


def test_grids_of_a_toml_file(tmp_path):
    file = tmp_path / "study.toml"
    file.write_text(GRIDS)
    found = read_study(file)
    assert found.data == "glue"
    assert found.models == {"small": "models/tiny", "other": "models/other"}
    first = [Point("sst2", "small", rate, protection=scheme) for scheme in ("none", "msb:1x3:lsb")
             for rate in (0.0, 1e-3)]  # fmt: skip
    more = {"sa1_share": Fraction(1, 4), "tile": (64, 64), "input_bits": None}
    assert found.points == (
        *first,
        *(Point(task, "other", 0.01, **more) for task in ("sst2", "rte")),
    )


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("[[grid]]", "[grid]", "is no TOML|has no .*grid.*: give at least one"),
        ("data =", "date =", "has 'date': give some of grid, models, data"),
        ("rate = [0, 1e-3]", "", "grid 1 has no rate: give one, or a list of them"),
        ("rate = [0, 1e-3]", "rates = [0]", "grid 1 has 'rates': give some of task, model, rate"),
        ("rate = [0, 1e-3]", "rate = []", "grid 1: rate is empty: give at least one"),
        ("rate = [0, 1e-3]", "rate = [2]", r"grid 1: rate 2.0 is outside \[0, 1\]"),
        ('"64x64"', '"64"', "grid 2: tile '64'"),
        ('"64x64"', "[64, 64]", r"grid 2: tile .64, 64. is no text: give it in quotes"),
        (
            'input_bits = "none"',
            "input_bits = true",
            "grid 2: input_bits True is no text",
        ),
        ("[models]\nsmall = ", "models = 3\nx = ", "has 'x'|MODELS is 3: let it be a dict"),
        ("data =", "data", "is no TOML .*: mend it"),
    ],
)
def test_a_bad_toml_file_is_told_in_one_line(tmp_path, old, new, said):
    file = tmp_path / "study.toml"
    file.write_text(GRIDS.replace(old, new, 1))
    with pytest.raises(ValueError, match=said) as told:
        read_study(file)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("name", ["study.txt", "study", "rows.parquet", "study.ipynb"])
def test_a_file_of_another_kind_is_not_run(tmp_path, name):
    file, mark = tmp_path / name, tmp_path / "was_run"
    file.write_text(f"open({str(mark)!r}, 'w')\n{GOOD}")
    with pytest.raises(ValueError, match=r"is no \.py file, so it is not run"):
        read_study(file)
    assert not mark.exists()


def test_what_it_prints_stays_out_of_the_table(tmp_path, capsys):
    file = tmp_path / "study.py"
    file.write_text(
        "print('top')\n" + GOOD.replace("    return", "    print('inside')\n    return")
    )
    assert len(read_study(file).points) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "top\ninside\n"


def test_paths_begin_at_home_wherever_they_are_given(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "plan.json").write_text('{"allocation": {"query": "closest"}}')
    (tmp_path / "cells.csv").write_text(
        "chip,matrix,layer,wordline,bitline,level\n0,query,0,1,2,0\n"
    )
    assert protection("plan:~/plan.json").read().text == "allocation:query=closest"
    assert len(read_table("~/cells.csv")) == 1
    assert read_map("~/cells.csv").chips.tolist() == [0]
    assert Selection("~/data").data == str(tmp_path / "data")
    assert Selection("nyu-mll/glue").data == "nyu-mll/glue"
    (tmp_path / "validation.csv").write_text("text,label\n")
    with pytest.raises(ValueError, match="leave it out, a file is one"):
        DataFlags(data="~/validation.csv", split="test").selection()
    with pytest.raises(ValueError, match="is what the map is made of"):
        _check_out(tmp_path / "cells.csv", "~/cells.csv")
    np.savez(tmp_path / "weights.npz", query=np.ones((1, 1)))
    assert read_sensitivity("~/weights.npz", {"query": np.ones((1, 4))})["query"].shape == (1, 4)
