"""`rerax yield`: chips are decided as they would be by all examples, from fewer of them."""

import json

import numpy as np
import pytest
from commands import refused

from rerax.campaign import sampling, sequential
from rerax.campaign.point import Point
from rerax.campaign.sample_table import WHOLE, SampleTable
from rerax.campaign.store import read_rows
from rerax.campaign.workload import Progress
from rerax.cli import main
from rerax.demo import lay_out


@pytest.fixture(scope="module", autouse=True)
def _few_pilots():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sampling, "PILOTS", 4)
        yield


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    lay_out(folder)
    return folder / "model", folder / "data"


def asked(files, *more):
    model, data = files
    return ["--model", str(model), "--task", "sst2", "--data", str(data), "--max-length", "64",
            "--quiet", *more]  # fmt: skip


def test_chips_pass_that_pass_by_all_examples(files, tmp_path, capsys, monkeypatch):
    rates = ("--rates", "5e-3,5e-2", "--chips", "32", "--budget", "3%")
    file = tmp_path / "yields.json"
    how = ("--examples-per-chip", "32", "--json", str(file))
    assert main(["yield", *asked(files, *rates, *how)]) == 0
    told = capsys.readouterr().out
    assert "of 32" in told
    assert "decided wrongly with a chance of 0.01 at most" in told
    assert main(["sweep", *asked(files, *rates, "--out", str(tmp_path / "rows"))]) == 0
    rows = read_rows(tmp_path / "rows").to_pandas()
    low, high = json.loads(file.read_text())
    for one in (low, high):
        mine = rows[rows.rate == one["rate"]].sort_values("chip")
        whole = mine.score >= mine.float_score - 0.03 - 1e-12
        # rows of other sentences may move a last bit, and with it one example of a chip
        near = (mine.score - mine.float_score + 0.03).abs() < 1.5 / 256
        assert (whole.to_numpy() != np.array(one["passed"]))[~near].sum() <= 1
        assert one["interval"][0] <= whole.mean() <= one["interval"][1]
        assert one["examples"] == 256
    assert np.mean(low["answered"]) < 100 < np.mean(high["answered"])
    # without any estimate: only wrong answers that are too many, or right ones that are enough
    monkeypatch.setattr(sequential, "normal_quantile", lambda p: 1e9)
    certain = ["--rates", "5e-2", "--chips", "32", "--budget", "3%", *how]
    assert main(["yield", *asked(files, *certain)]) == 0
    (one,) = json.loads(file.read_text())
    assert (whole.to_numpy() != np.array(one["passed"]))[~near].sum() == 0
    assert np.mean(one["answered"]) < 200
    assert min(one["answered"]) < 100


def test_rounds_double_until_every_row_is_certain():
    table = SampleTable(3, {"32": [[0], [1, 2]]}, {"32": [WHOLE // 3, 10]}, [0.1] * 3, [0] * 3)
    rounds = sequential._rounds(table)
    assert rounds[0] == table.chances
    assert rounds[1]["32"] == [2 * (WHOLE // 3), 20]
    assert rounds[-1]["32"] == [WHOLE, WHOLE]
    assert all(chance < WHOLE for chance in rounds[-2]["32"][1:])


def test_a_table_of_other_examples_is_refused():
    table = SampleTable(2, {"4": [[0, 2], [1]]}, {"4": [9, 9]}, [0.1] * 3, [0] * 3)
    table.check_fits([2, 4, 2])
    for other in ([2, 4, 3], [2, 5, 1], [2, 4], [2, 4, 2, 1]):
        with pytest.raises(ValueError, match=r"_sampling.json is of other examples"):
            table.check_fits(other)


def test_runs_are_of_consecutive_chips():
    assert sequential._runs(np.array([0, 1, 2, 5, 7, 8])) == [range(3), range(5, 6), range(7, 9)]
    assert sequential._runs(np.array([], int)) == []


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--error", "0"), "error 0 is outside (0, 0.1)"),
        (("--error", "half"), "error 'half' is not a number"),
        (("--examples-per-chip", "256"), "examples-per-chip 256 is not below the 256 examples"),
        (("--rates", "0"), "needs a rate above 0"),
        (("--chips", "0"), "chips 0 is too few"),
    ],
)
def test_what_cannot_be_decided_is_refused(files, capsys, more, said):
    assert said in refused(capsys, ["yield", *asked(files, *more)])


def test_other_scores_are_refused(files, capsys):
    model, data = files
    how = ["yield", "--model", str(model), "--task", "cola", "--data", str(data)]
    assert "cola is scored by matthews: leave it out" in refused(capsys, how)


def test_progress_counts_the_chips_of_all_points():
    told, point = [], Point("sst2", "demo", 1e-3)
    for k in (0, 1):
        for done in (0, 8):
            sequential._of_all(told.append, k, 2, Progress(done, 8, point))
    assert [(one.done, one.total) for one in told] == [(0, 16), (8, 16), (8, 16), (16, 16)]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("yield --tested share:0.5", "no protection here knows any"),
        ("yield --protection plan", "found by rerax sweep and rerax plan only"),
        ("rare --rate 1e-3 --protection plan", "found by rerax sweep and rerax plan only"),
        ("yield --chips 0", "chips 0 is too few"),
        ("rare --rate 1e-3 --roots 0", "roots 0 is too few"),
        ("yield --max-examples 50", "is not below the 50 examples of sst2/model: give fewer"),
    ],
)
def test_settings_that_would_mean_something_else_are_refused(files, capsys, line, told):
    command, *flags = line.split()
    assert main([command, *asked(files, *flags)]) == 2
    assert told in capsys.readouterr().err


def test_numbers_are_kept_where_nobody_reads_the_table(files, tmp_path, monkeypatch):
    def gone(*_, **__):
        raise BrokenPipeError

    monkeypatch.setattr("rerax.report.print_columns", gone)
    monkeypatch.setattr("os.dup2", lambda *_: None)
    file = tmp_path / "yields.json"
    flags = ("--rates", "5e-2", "--chips", "2", "--examples-per-chip", "8", "--json", str(file))
    assert main(["yield", *asked(files, *flags)]) == 0
    assert len(json.loads(file.read_text())[0]["passed"]) == 2
