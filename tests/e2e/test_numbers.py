"""The pages quote committed rows: written anew they stay as they are, and no number is forgotten.

How to add one: CONTRIBUTING.md.
"""

import inspect
import json

import numpy as np
import pages
import pandas as pd
import pytest
import quoting
from matplotlib import image
from quoting import quoted

EXPERIMENTS = "experiments/README.md"


@pytest.mark.parametrize("page", pages.QUOTING)
def test_numbers_are_what_rows_say(page):
    text = pages.read(page)
    again, changes = quoting.rewritten(text, page)
    assert not changes, "\n".join(["make numbers would change", *changes])
    assert again == text


@pytest.mark.parametrize("page", pages.QUOTING)
def test_no_number_is_forgotten(page):
    found = quoting.astray(pages.read(page))
    assert not found, f"{page}: mark it as tests/helpers/quoting.py says: {'; '.join(found)}"


def test_no_name_is_left_over():
    """What is computed is quoted somewhere."""
    marks = [mark for page in pages.QUOTING for mark in quoting.MARK.finditer(pages.read(page))]
    names = set()
    for group, give in inspect.getmembers(quoted, inspect.isfunction):
        if give.__module__ == quoted.__name__ and not group.startswith("_"):
            names |= {(group, name) for name in quoting.computed(group)}
    assert names == {(mark[1], mark[2]) for mark in marks}


@pytest.mark.parametrize("page", ["README.md", EXPERIMENTS])
def test_an_edited_number_is_seen(page):
    """Planted: another last digit in every quoted number, one after the other."""
    right, _ = quoting.rewritten(pages.read(page), page)
    for mark in quoting.MARK.finditer(right):
        for number in quoting.NUMBER.finditer(mark[0]):
            last = number.end() - 1
            edited = f"{mark[0][:last]}{(int(mark[0][last]) + 1) % 10}{mark[0][last + 1 :]}"
            again, changes = quoting.rewritten(edited, page)
            assert changes, edited
            assert again == mark[0]


def test_a_changed_row_is_seen():
    text = "\n12.5 and\n<!--=gpu chip-->23.70 ms<!--/-->"
    changed, changes = quoting.rewritten(text, "a.md", lambda group: {"chip": [1234.565]})
    assert changed == "\n12.5 and\n<!--=gpu chip-->1,234.57 ms<!--/-->"
    assert changes == ["a.md, line 3: gpu chip: '23.70 ms', by the rows '1,234.57 ms'"]


@pytest.mark.parametrize(
    "mark", ["gpu chop-->1", "gbu chip-->1", "gpu chip-->1 and 2", "gpu chip-->"]
)
def test_a_mark_that_fits_nothing_is_refused(mark):
    with pytest.raises(ValueError, match=r"^page, line 2: g[pb]u ch[io]p "):
        quoting.rewritten(f"\na <!--={mark}<!--/-->")


@pytest.mark.parametrize(
    "more",
    [
        *("It scores 12.34 now.", "5 % more", "| x | 88.10 ± 0.20 |"),
        *("now <!--=gpu chip-->22.7", "now <!--=gpu chip-->22.7<!--=gpu chip-->22.7<!--/-->"),
        "<!--=gpu chip-->22.7<!--/--> ms",  # shown raw
    ],
)
def test_a_new_number_is_seen(more):
    text = (
        "At 1e-3 <!--=gpu chip-->22.7<!--/--> ms, `--rates 0.1`, <!--set: chosen-->35 %<!--/-->\n"
    )
    text += "with 95 % intervals (arXiv 2401.11664).\n\n```text\n5.0 %\n```\n"
    assert not quoting.astray(text)
    assert quoting.astray(f"{text}\n{more}\n")


def test_one_command_writes_the_numbers(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(pages, "ROOT", tmp_path)
    monkeypatch.setattr(pages, "QUOTING", ("a.md",))
    (tmp_path / "a.md").write_text("in <!--=gpu chip-->1.0<!--/--> ms")
    quoting.main()
    assert (tmp_path / "a.md").read_text() == "in <!--=gpu chip-->22.7<!--/--> ms"
    assert capsys.readouterr().out == "a.md, line 1: gpu chip: '1.0', by the rows '22.7'\n"


def test_the_file_of_rates_borne_is_what_its_rows_say():
    said = json.loads((quoted.RESULTS / "zero_cells.json").read_text(encoding="utf-8"))
    rows = quoted.store.read_rows(quoted.RESULTS / "zero_cells").to_pandas()
    assert said
    assert set(said) == set(rows.task)
    for task, one in said.items():
        assert json.loads(json.dumps(quoted.borne.fold(rows, task))) == one["curves"]
        assert json.loads(json.dumps(quoted.borne.fold_lines(rows, task))) == one["lines"]


def test_the_file_of_all_protections_is_what_its_rows_say():
    said = json.loads((quoted.RESULTS / "rivals.json").read_text(encoding="utf-8"))
    assert said
    assert json.loads(json.dumps(quoted.compared.compare(quoted.RESULTS))) == said


def test_the_file_of_the_nine_tasks_is_what_its_rows_say():
    said = json.loads((quoted.RESULTS / "nine_tasks.json").read_text(encoding="utf-8"))
    assert said
    for one in said:
        facts = {name: one[name] for name in quoted.nine.FACTS}
        made = quoted.nine.tables_of(facts, quoted.RESULTS, quoted.nine.PLANS[one["task"]].chips)
        assert json.loads(json.dumps(made)) == one


def test_the_picture_is_drawn_from_its_rows(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(quoted.RESULTS.parent)
    import picture

    picture.draw(tmp_path / "again.png")
    again, there = (image.imread(path) for path in (tmp_path / "again.png", picture.PICTURE))
    assert again.shape == there.shape
    assert np.abs(again - there).mean() < 0.005  # fonts may differ by versions, points may not
    assert picture.PICTURE.stat().st_size < 150_000


def test_means_over_tasks_are_of_the_same_tasks_and_of_all_their_seeds(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(quoted.RESULTS.parent)
    import nine_tables

    def one(task, seed, ratio, learned=True, copies=True):
        rates = {"rate_1": [0.01, None, 0.02], "rate_2": [0.02, 0.01, None], "rates": [0.01, 0.03]}
        rates |= {"knows": "nothing", "cells": 8}
        curves = {
            label: {**rates, "T_2": [ratio, None, None]}
            for label, curve in nine_tables.CURVES.items()
            if not curve.is_plain
        }
        curves["bare"], curves["pruned"] = dict(rates), {**rates, "rate_2": [0.0, 0.0, 0.0]}
        curves["copies"]["cells"] = 24
        curves["vote"]["rate_2"] = [ratio / 100, None, None]
        curves["copies"] |= {} if copies else {"T_2": [None] * 3, "rate_2": [None] * 3}
        return {
            "task": task,
            "seed": seed,
            "learned": learned,
            "split": "validation",
            "seen": False,
            "examples": 9,
            "majority": 0.5,
            "se": 0.01,
            "curves": curves,
            "float_scores": {"dense": 0.9, "35": 0.89},
        }

    found = [
        *(one("sst2", seed, 4.0) for seed in range(3)),
        one("rte", 0, 16.0),
        one("cola", 0, 1.0, copies=False),
        one("wnli", 0, 1.0, learned=False),
    ]
    first, *_, last = nine_tables.mean_of_tasks(found)
    assert first == "geometric mean of T: sst2, rte"
    assert last == "8.0 ×"
    kept = nine_tables.summary(found).splitlines()
    told = {
        label: line.split(" | ") for label, line in zip(nine_tables.CURVES, kept[2:], strict=True)
    }
    assert told["vote"][1:] == ["nothing", "1", "0.080 (0.040 to 0.16)", "8.0 (4.0 to 16.0) |"]
    assert told["copies"][2:4] == ["3", "0.020 (0.020 to 0.020)"]
    assert told["pruned"][3:] == ["not in all tasks", " |"]
    assert nine_tables.summary(found[-1:]) == "no T of all protections yet"
    assert list(nine_tables.IN_WORDS) == list(nine_tables.CURVES)
    table = nine_tables.markdown(found).splitlines()
    assert [line.split("|")[2].strip() for line in table[-6:-1]] == ["not run"] * 5
    assert len(table) == 2 + len(found) + 5 + 1
    assert "not learned" in table[-7]
    assert table[-9].count("lost at rate 0") == 1
    nine_tables.draw(found, tmp_path / "drawn.png")
    assert (tmp_path / "drawn.png").stat().st_size > 5000
    for draw in (nine_tables.draw, nine_tables.draw_yields):
        draw(found[-1:], tmp_path / "none.png")
    assert not (tmp_path / "none.png").exists()


def test_yields_of_the_nine_tasks_are_counted_by_rate_and_budget(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(quoted.RESULTS.parent)
    import nine_tables

    score = pd.DataFrame([[0.90, 0.885, 0.87, 0.80], [0.88, 0.86, 0.5, 0.2]], index=[0.01, 0.02])
    shares = nine_tables.yield_curve(score, 0.9)
    assert shares == {"0.01": [0.25, 0.0], "0.02": [0.5, 0.25], "0.05": [0.75, 0.5]}
    one = {
        "task": "sst2",
        "curves": {"bare": {"rates of yields": [0.01, 0.02], "yields at": shares}},
    }
    nine_tables.draw_yields([one], tmp_path / "yields.png")
    assert (tmp_path / "yields.png").stat().st_size > 5000
