"""The pages quote committed rows: every number is made again, and none is forgotten.

How to add one: `tests/quoted.py`.
"""

import json
import re

import numpy as np
import pages
import pytest
import quoted
import quoting
from matplotlib import image


@pytest.mark.parametrize("page", pages.QUOTING)
def test_numbers_are_what_rows_say(page):
    gone = quoting.missing(pages.read(page), quoting.fragments(page))
    assert not gone, f"{page} must say: " + "; ".join(gone)


@pytest.mark.parametrize("page", pages.QUOTING)
def test_no_number_is_forgotten(page):
    text = pages.read(page)
    chosen = [*quoted.SETTINGS.get(page, {}), *quoted.UNROWED.get(page, {})]
    gone = quoting.missing(text, chosen)
    assert not gone, f"{page} no longer says, so take it out of tests/quoted.py: " + "; ".join(gone)
    left = quoting.uncovered(text, [*quoting.fragments(page), *chosen])
    assert not left, f"{page}: not in tests/quoted.py: {', '.join(left)}"


@pytest.mark.parametrize("page", sorted({page for page, _ in quoting.QUOTES}))
def test_an_edited_number_is_seen(page):
    """Planted: another last digit in every quoted number, one after the other."""
    text, fragments = pages.read(page), quoting.fragments(page)
    for fragment in fragments:
        at = text.index(fragment)
        for match in re.finditer(r"\d+\.\d+|\d+(?= %)", fragment):
            last = at + match.end() - 1
            digit = (int(text[last]) + 1) % 10
            assert quoting.missing(f"{text[:last]}{digit}{text[last + 1 :]}", fragments), match[0]


@pytest.mark.parametrize("more", ["It scores 12.34 now.", "5 % more", "| x | 88.10 ± 0.20 |"])
def test_a_new_number_is_seen(more):
    text = pages.read("README.md")
    known = [*quoting.fragments("README.md"), *quoted.SETTINGS["README.md"]]
    assert not quoting.uncovered(text, known)
    assert quoting.uncovered(f"{text}\n{more}\n", known)


def test_the_tolerance_file_is_what_its_rows_say():
    written = json.loads((quoting.RESULTS / "tolerance.json").read_text(encoding="utf-8"))
    assert written == json.loads(json.dumps(quoted.tolerances()))


def test_the_picture_is_drawn_from_its_rows(tmp_path):
    picture = quoting.experiment("picture")
    picture.draw(tmp_path / "again.png")
    again, there = (image.imread(path) for path in (tmp_path / "again.png", picture.PICTURE))
    assert again.shape == there.shape
    assert np.abs(again - there).mean() < 0.005  # fonts may differ by versions, points may not
    assert picture.PICTURE.stat().st_size < 150_000
