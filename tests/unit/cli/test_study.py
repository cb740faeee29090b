"""Study files that do what no study should."""

import pytest

from rerax.cli.study import read_study

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
