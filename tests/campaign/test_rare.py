"""`rerax rare`: from the command line to its table; what it refuses."""

import json

import numpy as np
import pytest
from commands import refused

from rerax.campaign import rare
from rerax.campaign.point import Point
from rerax.campaign.store import read_rows
from rerax.cli import main
from rerax.demo import lay_out
from rerax.stats.splitting import Verdict


@pytest.fixture(scope="module", autouse=True)
def _few_pilots():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rare, "FEWEST_PILOTS", 8)
        yield


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The demo's, whose model has something to lose."""
    folder = tmp_path_factory.mktemp("files")
    lay_out(folder)
    return folder / "model", folder / "data"


def asked(files, *more):
    model, data = files
    return ["--model", str(model), "--task", "sst2", "--data", str(data), "--max-length", "64",
            "--max-examples", "100", "--quiet", *more]  # fmt: skip


def test_chances_are_those_of_counted_chips(files, tmp_path, capsys):
    """At the first rate to the chip, at the others within what chance allows."""
    file = tmp_path / "new" / "rare.json"
    how = asked(files, "--budget", "3%")
    assert main(["rare", *how, "--rate", "0.02", "--roots", "64", "--json", str(file)]) == 0
    told = capsys.readouterr().out
    assert "64 root chips begin at rate" in told
    found = json.loads(file.read_text())
    assert list(found["rates"]) == sorted(found["rates"], reverse=True)
    assert found["rates"][-1] == 0.02
    rates = ",".join(map(str, found["rates"]))
    how = asked(files)
    sweep = ["sweep", *how, "--rates", rates, "--chips", "64", "--out", str(tmp_path / "rows")]
    assert main(sweep) == 0
    rows = read_rows(tmp_path / "rows").to_pandas()
    fails = rows.score < rows.float_score - 0.03 - 1e-12
    counted = fails.groupby(rows.rate).mean().to_dict()
    assert found["chances"][0] == pytest.approx(counted[found["rates"][0]])
    for rate, chance in zip(found["rates"], found["chances"], strict=True):
        assert abs(chance - counted[rate]) < 5 * np.sqrt(0.25 / 64)
    assert found["evaluated"][0] == 64


def test_a_yield_finds_its_rate(files, capsys):
    how = asked(files, "--budget", "3%", "--roots", "64")
    assert main(["rare", *how, "--yield", "0.9"]) == 0
    assert "yield 0.9 " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ((), "give either --rate, a fault rate, or --yield"),
        (("--rate", "0.1", "--yield", "0.9"), "give either --rate"),
        (("--rate", "0"), "rate 0 is outside (0, 0.4)"),
        (("--rate", "0.5"), "rate 0.5 is outside (0, 0.4)"),
        (("--yield", "1"), "yield 1 is outside [0.8, 1)"),
        (("--yield", "0.5"), "yield 0.5 is outside [0.8, 1)"),
        (("--rate", "0.1", "--fault", "flip"), "fault flip is not thinned to lower rates"),
        (("--rate", "0.1", "--fault", "clustered:2"), "fault clustered:2 is not thinned"),
        (("--rate", "0.1", "--roots", "0"), "roots 0 is too few"),
        (("--rate", "0.1", "--protection", "closest", "--tested", "rate:0.5"), "tested rate:0.5"),
        (("--rate", "0.1", "--budget", "2"), "budget"),
        (("--rate", "0.1", "--bits", "2"), "a chip without faults scores"),
        (("--rate", "0.1", "--json", "/"), "/ is a folder: give a file"),
    ],
)
def test_what_cannot_be_split_is_refused(files, capsys, more, said):
    assert said in refused(capsys, ["rare", *asked(files, *more)])


def test_stages_come_down_to_the_rate_that_is_asked_for():
    assert rare._stages(0.1, 0.05, True) == (0.1, 0.07, 0.05)
    assert rare._stages(0.05, 0.05, True) == (0.05,)
    with pytest.raises(ValueError, match=r"rate 1e-08 is more than 24 stages below 0\.1"):
        rare._stages(0.1, 1e-8, True)
    assert len(rare._stages(0.1, 1e-8, False)) == 23


def test_the_first_rate_is_one_at_which_many_pilots_fail():
    def judge_at(rates):
        return lambda chips: Verdict(
            np.arange(len(chips.root)) < 100 * rates[0], np.zeros(len(chips.root))
        )

    at, taken = rare._first_rate(1e-3, range(100), judge_at)
    assert 0.25 <= at < 0.4
    assert taken == 300
    with pytest.raises(ValueError, match="fewer than a quarter of 4 pilot chips fail"):
        rare._first_rate(1e-3, range(4), lambda rates: lambda chips: Verdict(
            np.zeros(4, bool), np.zeros(4)))  # fmt: skip


def test_points_in_some_places_are_refused():
    point = Point(task="sst2", model="m", rate=0.1, faulty="layers=0")
    with pytest.raises(ValueError, match="faults in layers=0 alone are not split"):
        rare.check_point(point)
    with pytest.raises(ValueError, match=r"misread 0\.1 is not split"):
        rare.check_point(Point(task="sst2", model="m", rate=0.1, misread=0.1))
