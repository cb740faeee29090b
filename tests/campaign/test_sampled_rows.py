"""Campaigns whose chips draw their examples: rows, folders, tables and reports."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
import tiny
import unoptimised
from commands import refused

from rerax.campaign import sampling
from rerax.campaign.sidecars import SAMPLES, read_samples
from rerax.campaign.store import read_rows
from rerax.campaign.worker import Worker
from rerax.cli import main
from rerax.crossbar import keys
from rerax.report.compare import make_panels
from rerax.report.summary import summarise_points


@pytest.fixture(scope="module", autouse=True)
def _unoptimised():
    with pytest.MonkeyPatch.context() as patch:
        unoptimised.use(patch)
        patch.setattr(sampling, "PILOTS", 3)
        yield


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    data = tiny.write_sst2(folder / "glue", n=40, words=range(2, 6))
    return tiny.write_model(folder / "tiny", seed=4), data


def sweep(files, out, *more):
    model, data = files
    return ["sweep", "--model", str(model), "--task", "sst2", "--data", str(data), "--out",
            str(out), "--matrices", "pooler,classifier", "--max-length", "32", "--quiet",
            "--rates", "0,0.1,0.3", *more]  # fmt: skip


@pytest.fixture(scope="module")
def campaign(files, tmp_path_factory):
    """Six chips that answer about ten examples each, filled in two runs."""
    out = tmp_path_factory.mktemp("campaigns") / "rows"
    for chips in ("2", "6"):
        assert main(sweep(files, out, "--examples-per-chip", "10", "--chips", chips)) == 0
    return out


def test_rows_say_what_they_are(campaign):
    frame = read_rows(campaign).to_pandas()
    assert len(frame) == 18
    assert frame.sampled.nunique() == 1
    assert frame.sampled[0].startswith("10:")
    assert (frame.estimator == "difference").all()
    assert frame.correct.isna().all()
    faulty = frame[frame.rate > 0]
    assert 5 < faulty.examples_drawn.mean() < 15
    assert (frame[frame.rate == 0].examples_drawn == 40).all()
    assert (frame[frame.rate == 0].score == frame.clean_score[0]).all()
    by_chip = faulty.groupby("chip").examples_drawn
    assert (by_chip.nunique() == 1).all()  # the same examples at both rates


def test_the_clean_chip_answers_once_in_the_rows_that_are_drawn(files, tmp_path, monkeypatch):
    """Beside the pilots' own pass, whose rows are others; at two rates, which share it."""
    seen, outcomes = [], Worker.outcomes

    def counted(self, point, chips):
        seen.append((point.sampled is not None, point.is_clean, len(chips)))
        return outcomes(self, point, chips)

    monkeypatch.setattr(Worker, "outcomes", counted)
    given = sweep(files, tmp_path / "rows", "--examples-per-chip", "10", "--chips", "4")
    assert main([*given, "--rates", "0.1,0.3"]) == 0
    assert seen.count((True, True, 1)) == 1
    assert len([one for one in seen if not one[1]]) == 1  # the pilots


def test_scores_are_those_of_the_whole_answers_weighted(files, campaign, tmp_path):
    """By hand, from rows in which the same chips have answered everything."""
    assert main(sweep(files, tmp_path / "whole", "--chips", "6")) == 0
    whole = read_rows(tmp_path / "whole").to_pandas()
    bits = {
        (row.rate, row.chip): np.unpackbits(np.frombuffer(row.correct, np.uint8), bitorder="little")
        for row in whole.itertuples()
    }
    (table,) = (sampling.SampleTable(**t) for t in read_samples(campaign)["sst2/tiny"].values())
    drawn = read_rows(campaign).to_pandas()
    same = ["rate", "chip", "stuck_at_0", "stuck_at_1"]
    pd.testing.assert_frame_equal(
        *(f.sort_values(same[:2])[same].reset_index(drop=True) for f in (drawn, whole))
    )
    clean, chances = bits[0.0, 0][:40].astype(float), table.by_example()
    for row in drawn[drawn.rate > 0].itertuples():
        key = jax.random.key_data(keys.sampled_key(keys.chip(0, row.chip).key))
        taken = np.zeros(40, bool)
        for width, rows in table.rows.items():
            lead = jnp.array([held[0] for held in rows], jnp.uint32)
            number, _ = keys.threefry((key[0], key[1]), lead, jnp.zeros_like(lead))
            for held, one, chance in zip(rows, number, table.chances[width], strict=True):
                taken[list(held)] = int(one) < chance << 16
        changes = bits[row.rate, row.chip][:40] - clean
        wanted = clean.mean() + (changes / chances)[taken].sum() / 40
        assert row.examples_drawn == taken.sum()
        assert row.score == pytest.approx(wanted, abs=1e-12)


def test_another_chunk_and_one_run_give_the_same_rows(files, campaign, tmp_path):
    out = tmp_path / "rows"
    how = ("--examples-per-chip", "10", "--chips", "6", "--chunk", "1")
    assert main(sweep(files, out, *how)) == 0
    assert read_samples(out) == read_samples(campaign)
    assert read_rows(out).equals(read_rows(campaign))


def test_statistics_of_chips_leave_them_out(campaign, capsys, tmp_path):
    points = summarise_points(read_rows(campaign))
    for point in points:
        assert (point.passed is None) == (point.worst is None) == (point.rate > 0)
        assert point.summary.chips == (6 if point.rate else 1)
    page = tmp_path / "page.html"
    assert main(["report", str(campaign), "--html", str(page), "--figures", str(tmp_path)]) == 0
    assert "are estimated from examples that each chip has drawn" in capsys.readouterr().out
    assert "are estimated from examples that each chip has drawn" in page.read_text()
    assert "Chips that pass" not in page.read_text()
    assert not (tmp_path / "yield.png").exists()


def test_whole_and_drawn_answers_are_never_compared(files, campaign, tmp_path):
    both = tmp_path / "both"
    assert main(sweep(files, both, "--chips", "6", "--protection", "none,duplicate:3")) == 0
    assert main(sweep(files, both, "--chips", "6", "--examples-per-chip", "10")) == 0
    points = summarise_points(read_rows(both))
    panels = make_panels(points)
    kinds = [{p.settings["sampled"] for p in panel.points} for panel in panels]
    assert sorted(map(len, kinds)) == [1, 1]
    assert any("about 10 examples a chip" in panel.title for panel in panels)


def test_folders_that_draw_otherwise_are_not_merged(files, campaign, tmp_path, capsys):
    other = tmp_path / "other"
    how = ("--examples-per-chip", "10", "--chips", "2", "--protection", "duplicate:3")
    assert main(sweep(files, other, "--rates", "0.3", *how)) == 0
    capsys.readouterr()
    out = tmp_path / "merged"
    merge = ["merge", str(campaign), str(other), "--out", str(out)]
    assert "draw examples of sst2/tiny with other chances" in refused(capsys, merge, out)


@pytest.mark.filterwarnings("always:.*is damaged or was edited")
def test_a_lost_table_is_found_again(files, campaign, tmp_path, capsys):
    """By the same pilots; an edited one is not believed."""
    out = tmp_path / "rows"
    assert main(sweep(files, out, "--examples-per-chip", "10", "--chips", "2")) == 0
    content = json.loads((out / SAMPLES).read_text())
    content["sst2/tiny"]["10"]["chances"] = {"32": [1]}
    (out / SAMPLES).write_text(json.dumps(content))
    before = read_rows(out)
    assert main(sweep(files, out, "--examples-per-chip", "10", "--chips", "2")) == 0
    assert "damaged or was edited" in capsys.readouterr().err
    assert read_rows(out).equals(before)
    assert read_samples(out)["sst2/tiny"] == read_samples(campaign)["sst2/tiny"]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--examples-per-chip", "40"), "examples-per-chip 40 is not below the 40 examples"),
        (("--examples-per-chip", "0"), "examples-per-chip 0 is not understood"),
        (("--examples-per-chip", "half"), "examples-per-chip 'half' is not understood"),
        (("--examples-per-chip", "9", "--rates", "0"), "needs a rate above 0"),
    ],
)
def test_what_cannot_be_drawn_is_refused(files, tmp_path, capsys, more, said):
    out = tmp_path / "rows"
    assert said in refused(capsys, sweep(files, out, *more), out)


def test_scores_that_are_no_means_are_refused(capsys):
    with pytest.raises(ValueError, match="cola is scored by matthews: leave it out"):
        sampling.check_task("cola")
    with pytest.raises(ValueError, match="mrpc is scored by accuracy and f1"):
        sampling.check_task("mrpc")


def test_a_chip_that_has_drawn_is_not_looked_at(campaign, capsys):
    frame = read_rows(campaign).to_pandas()
    row = frame[frame.rate > 0].iloc[0]
    asked = ["chip", str(campaign), "--point", row.point_hash[:12], "--chip", str(row.chip)]
    assert "has answered examples of its own" in refused(capsys, asked)


def test_auto_chooses_a_size_and_a_dry_run_no_table(files, tmp_path, capsys):
    out = tmp_path / "rows"
    assert main([*sweep(files, out, "--examples-per-chip", "auto"), "--dry-run"]) == 0
    assert not out.exists()
    assert main(sweep(files, out, "--examples-per-chip", "auto", "--chips", "1")) == 0
    (size,) = {int(text.partition(":")[0]) for text in read_rows(out)["sampled"].to_pylist()}
    assert size == 20  # half of the examples: so few are all worth answering
    capsys.readouterr()
    assert (
        main([*sweep(files, out, "--examples-per-chip", "auto", "--chips", "1"), "--dry-run"]) == 0
    )
    assert "0 to do" in capsys.readouterr().out


def test_sizes_are_whole_numbers_of_any_library():
    assert sampling.read_size(np.int64(8)) == sampling.read_size("8") == 8
    assert type(sampling.read_size(np.uint8(8))) is int
    for wrong in (True, 8.0, np.float32(8), 0, "eight"):
        with pytest.raises(ValueError, match="is not understood"):
            sampling.read_size(wrong)
