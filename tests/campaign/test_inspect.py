"""One chip of a campaign again: its row, its worst matrices, its weights, its stuck cells."""

import json
import shutil
from fractions import Fraction

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tiny
import unoptimised
from arrays import physical

from rerax.campaign.point import Point
from rerax.campaign.store import read_rows
from rerax.cli import main
from rerax.crossbar.spec import ChipSpec
from rerax.faults.read_out import stuck_words
from rerax.inspect import recorded
from rerax.inspect.export import cells_of
from rerax.models.bert import convert
from rerax.report.summary import summarise_points

HEAD = "pooler,classifier"  # compiles sooner than all


@pytest.fixture(scope="module", autouse=True)
def _unoptimised():
    with pytest.MonkeyPatch.context() as patch:
        unoptimised.use(patch)
        yield


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Of a model whose chip 1 answers otherwise than the clean one."""
    folder = tmp_path_factory.mktemp("files")
    data = tiny.write_sst2(folder / "glue", words=range(2, 6))
    return tiny.write_model(folder / "tiny", seed=4), data


@pytest.fixture(scope="module")
def campaign(files, tmp_path_factory):
    """Two points of chips 0..2, with float inputs."""
    out = tmp_path_factory.mktemp("campaigns") / "rows"
    assert (
        main(sweep(files, out, "--rates", "0.05", "--chips", "3", "--faulty-bits", "all,6+7")) == 0
    )
    return out


def sweep(files, out, *more):
    model, data = files
    return ["sweep", "--model", str(model), "--task", "sst2", "--data", str(data), "--out",
            str(out), "--matrices", HEAD, "--input-bits", "none", "--max-length", "32", "--quiet",
            "--chunk", "1",  # as `rerax chip` has it: one program for both
            *more]  # fmt: skip


def row_of(folder, chip=1, faulty=None):
    frame = pd.read_parquet(folder)
    mine = frame.faulty.isna() if faulty is None else frame.faulty == faulty
    return frame[mine & (frame.chip == chip)].iloc[0]


def look(folder, row, *more):
    return main(["chip", str(folder), "--point", row.point_hash[:10], "--chip", str(row.chip),
                 "--quiet", *map(str, more)])  # fmt: skip


def refused(capsys, code):
    assert code == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    return lines[0]


def test_saved_weights_and_map_give_the_row_again(files, campaign, tmp_path, capsys):
    row = row_of(campaign)
    saved, lot = tmp_path / "weights", tmp_path / "lot.parquet"
    assert look(campaign, row, "--save", saved, "--export-map", lot) == 0
    shown = capsys.readouterr().out
    assert "as in its row" in shown
    assert row.score != row.clean_score
    assert f"clean chip {100 * row.clean_score:.2f} %" in shown
    assert f"stuck cells: {row.stuck_at_0 + row.stuck_at_1} in" in shown
    assert "pooler layer 0" in shown
    assert "classifier layer 0" in shown

    config, params = convert.load(saved)  # its weights are those of a float model
    assert config.labels == tiny.CONFIG.labels
    original = convert.load(files[0])[1]
    np.testing.assert_array_equal(
        params["encoder"]["query"]["kernel"], original["encoder"]["query"]["kernel"]
    )
    assert (params["head"]["pooler"]["kernel"] != original["head"]["pooler"]["kernel"]).any()
    again = tmp_path / "float"
    weights = [str(saved), *map(str, files[1:])]
    assert main([*sweep(weights, again, "--rates", "0", "--chips", "1")]) == 0
    assert row_of(again, 0).float_score == row.score
    assert row_of(again, 0).model != row.model

    back = tmp_path / "map"
    assert main(sweep(files, back, "--fault", f"map:{lot}")) == 0
    found = pd.read_parquet(back)
    assert len(found) == 1
    for name in ("chip", "score", "correct", "stuck_at_0", "stuck_at_1", "clean_score"):
        assert found[name][0] == row[name], name
    capsys.readouterr()
    assert look(back, found.iloc[0], "--worst", 0) == 0  # a point of measured chips
    assert "as in its row" in capsys.readouterr().out


def test_a_restricted_chip_is_reproduced(files, campaign, tmp_path, capsys):
    row, whole = row_of(campaign, 1, "bits=6+7"), row_of(campaign)
    lot = tmp_path / "lot.parquet"
    assert look(campaign, row, "--export-map", lot, "--worst", 0) == 0
    cells = pq.read_table(lot).to_pandas()
    assert len(cells) == row.stuck_at_0 + row.stuck_at_1 < whole.stuck_at_0 + whole.stuck_at_1
    assert set(cells.bitline % 8) == {6, 7}


def test_outputs_mean_what_they_meant_to_the_folder(campaign, monkeypatch):
    """Whatever their names are read as today."""
    asked = {}
    real = recorded.read_workload

    def read_workload(*args, **options):
        asked.update(options)
        return real(*args, **options)

    monkeypatch.setattr(recorded, "read_workload", read_workload)
    row = row_of(campaign)
    found = recorded.find_chip(campaign, row.point_hash, int(row.chip))
    assert asked["labels"] == ("negative", "positive")
    assert found.workload.order == (0, 1)


def test_a_row_that_is_not_reproduced_is_refused(campaign, tmp_path, capsys):
    """Plant it: another score, then another count, then another platform."""
    spoilt = tmp_path / "rows"

    def spoil(**changes):
        shutil.rmtree(spoilt, ignore_errors=True)
        shutil.copytree(campaign, spoilt)
        for file in spoilt.glob("[0-9a-f]*.parquet"):
            table = pq.read_table(file)
            for name, value in changes.items():
                at = table.schema.get_field_index(name)
                column = pa.array([value] * len(table), table.schema.field(at).type)
                table = table.set_column(at, table.schema.field(at), column)
            pq.write_table(table, file)
        return row_of(spoilt)

    out = tmp_path / "weights"
    said = refused(capsys, look(spoilt, spoil(score=0.123), "--worst", 0, "--save", out))
    assert "is not reproduced: score is 0.123 in its row and" in said
    assert not out.exists()
    row = spoil(platform="tpu:v9", stuck_at_0=7)
    assert "stuck_at_0 is 7 in its row" in refused(capsys, look(spoilt, row, "--worst", 0))
    assert look(spoilt, spoil(platform="tpu:v9", score=0.123), "--worst", 0) == 0
    assert "12.30 % in its row on tpu:v9: another platform" in capsys.readouterr().out


def test_bad_requests_are_one_line(files, campaign, tmp_path, capsys):
    row = row_of(campaign)
    at = ["chip", str(campaign), "--point", row.point_hash[:10], "--chip"]
    assert "chip 9 of point" in refused(capsys, main([*at, "9"]))
    assert "no point begins with 'x'" in refused(
        capsys, main(["chip", str(campaign), "--point", "x", "--chip", "0"])
    )
    assert "no point begins with ''" in refused(
        capsys, main(["chip", str(campaign), "--point", "", "--chip", "0"])
    )
    assert "is no campaign folder" in refused(
        capsys, main(["chip", str(tmp_path), "--point", "x", "--chip", "0"])
    )
    assert "is there already" in refused(capsys, look(campaign, row, "--save", files[0]))
    assert "is no folder: make it first" in refused(
        capsys, look(campaign, row, "--export-map", tmp_path / "no" / "lot.parquet")
    )
    other = tiny.write_sst2(tmp_path / "glue", seed=1)
    assert "is not what the row was made from (data_hash" in refused(
        capsys, look(campaign, row, "--data", other)
    )
    wrong = tiny.write_model(tmp_path / "other", seed=1)
    assert "(model_hash" in refused(capsys, look(campaign, row, "--model", wrong))
    moved = tmp_path / "moved"
    shutil.copytree(campaign, moved)
    (moved / "_provenance.jsonl").unlink()
    assert "does not say where model of sst2/tiny is: give --model" in refused(
        capsys, look(moved, row)
    )


def test_sources_are_kept_beside_and_the_last_one_counts(campaign, files, tmp_path):
    entry = json.loads((campaign / "_provenance.jsonl").read_text().splitlines()[0])
    source = entry["sources"]["sst2/tiny"]
    assert (source["model"], source["data"], source["max_length"]) == (*map(str, files), 32)
    file = tmp_path / "_provenance.jsonl"
    entry["sources"]["sst2/tiny"]["model"] = "elsewhere"
    file.write_text('{"sources": {"sst2/tiny": null}}\n' + json.dumps(entry) + '\n{"torn')
    assert recorded.provenance(tmp_path)["sources"]["sst2/tiny"]["model"] == "elsewhere"


@pytest.mark.parametrize("share", [Fraction(904, 1079), Fraction(1, 3), Fraction(0), Fraction(1),
                                   Fraction(123457, 1000003), 0.1, None])  # fmt: skip
@pytest.mark.parametrize("polarity", ["plain", "alternate"])
def test_a_point_is_rebuilt_from_its_row(share, polarity):
    fault = "flip" if share is None else "uniform"
    point = Point("sst2", "m", 0.1 + 0.2, share, faulty="bits=7", fault=fault, polarity=polarity)
    row = {**point.columns(), "point_hash": point.hash}
    row["sa1_share"] = None if share is None else float(share)
    assert recorded.point_of(row, {}).hash == point.hash
    with pytest.raises(ValueError, match="cannot be rebuilt from its row"):
        recorded.point_of({**row, "rate": 0.2}, {})


@pytest.mark.parametrize(
    "spec", [ChipSpec(), ChipSpec("differential", 6, 4, (7, 30), "separate")], ids=str
)
def test_cells_lie_where_the_sampler_put_them(spec):
    rng = np.random.default_rng(0)
    states = rng.choice([0, 1, 3], (spec.cells_per_weight, 5, 4), p=[0.6, 0.2, 0.2])
    mask, value = map(np.asarray, stuck_words(jnp.asarray(states, jnp.uint8), spec))
    words = rng.integers(0, 1 << spec.group_bits, mask.shape, np.uint8)
    found = cells_of((words & ~mask) | value, mask, spec)
    at = physical(states, spec)
    assert {(w, b) for w, b, _ in found.tolist()} == set(map(tuple, np.argwhere(at).tolist()))
    for wordline, bitline, level in found.tolist():
        _, slice_ = spec.locate(int(bitline), 4)
        top = (1 << spec.bits_of_cell(slice_ % spec.cells_per_group)) - 1
        assert level == (top if at[wordline, bitline] == 3 else 0)


def test_cells_sensed_wrongly_make_chips_differ_without_faults(files, tmp_path, capsys):
    """Also at rate 0; the score at rate 0 stays the one without them, and a chip is found again."""
    out = tmp_path / "rows"
    noisy = ("--misread", "0,0.5", "--rates", "0,0.05", "--chips", "3")
    assert main([*sweep(files, out, *noisy), "--dry-run"]) == 0
    assert "4 points, 12 chips" in capsys.readouterr().out
    assert main(sweep(files, out, *noisy)) == 0
    assert "misread" in capsys.readouterr().out
    rows = read_rows(out)
    frame = rows.to_pandas()
    assert frame.clean_score.nunique() == frame.float_score.nunique() == 1
    chips = dict(list(frame.groupby([frame.misread.fillna(0), "rate"])))
    assert [key for key, one in chips.items() if one.correct.nunique() == 1] == [(0.0, 0.0)]
    counts = ["stuck_at_0", "stuck_at_1", "flipped"]
    for rate in (0.0, 0.05):
        exact, noise = (chips[sigma, rate][counts].to_numpy() for sigma in (0.0, 0.5))
        np.testing.assert_array_equal(exact, noise)
    told = {(p.settings["misread"], p.rate): p.summary.chips for p in summarise_points(rows)}
    assert told == {(0.0, 0.0): 1, (0.0, 0.05): 3, (0.5, 0.0): 3, (0.5, 0.05): 3}

    row = chips[0.5, 0.0].iloc[1]
    assert look(out, row) == 0
    told = capsys.readouterr().out
    assert "uniform rate 0 misread 0.5\n" in told
    assert "as in its row" in told
    other = tmp_path / "whole"
    whole = [*sweep(files, other, "--misread", "0.5", "--rates", "0", "--chips", "3")]
    whole[whole.index("--chunk") + 1] = "3"
    assert main(whole) == 0
    again = read_rows(other).to_pandas()
    assert again.correct.tolist() == chips[0.5, 0.0].correct.tolist()


def test_misread_is_not_planned_for(files, tmp_path, capsys):
    out = tmp_path / "rows"
    asked = ("--misread", "0.2", "--rates", "0.01", "--protection", "plan")
    code = main(sweep(files, out, *asked))
    assert "misread 0.2 is not planned for: plan with misread 0" in refused(capsys, code)
    assert not out.exists()
