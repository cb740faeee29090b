"""Sweeps that stop by themselves, at fixed numbers of chips and from the data alone."""

import pandas as pd
import pytest
import tiny
from commands import refused, without
from light import COMMAND, run_steps

from rerax.campaign.sidecars import read_provenance
from rerax.cli import main
from rerax.stats import chips_for_mean, skewness, standard_error, stopping


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny.write_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return tiny.write_sst2(tmp_path_factory.mktemp("glue"))


@pytest.fixture
def flags(model, data, tmp_path):
    """Flags of a sweep that stops by itself; a test replaces or adds some."""
    base = {
        "--model": str(model),
        "--task": "sst2",
        "--data": str(data),
        "--out": str(tmp_path / "out"),
        "--rates": "0,0.01,0.3",
        "--until-se": "0.0036",
        "--max-chips": "140",
        "--matrices": "classifier",  # compiles sooner than all
        "--max-length": "32",
    }

    def make(**changes):
        named = {"--" + k.replace("_", "-"): str(v) for k, v in changes.items()}
        return ["sweep", *(x for pair in {**base, **named}.items() for x in pair), "--quiet"]

    return make


def test_a_sweep_stops_at_looks_and_says_so(flags, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(flags()) == 0
    table = capsys.readouterr().out
    frame = pd.read_parquet(out)
    chips = frame.groupby("rate").size()
    assert chips[0.0] == 64
    for rate in (0.01, 0.3):
        scores = frame[frame.rate == rate].sort_values("chip").score.to_numpy()
        stops = [n for n in (64, 128, 140) if standard_error(scores[:n]) <= 0.0036] or [140]
        assert chips[rate] == stops[0]
    assert sorted(chips) == [64, 64, 128]  # the rates were chosen to differ
    for row in (r for r in table.splitlines() if r.split()[:1] in (["0.01"], ["0.3"])):
        assert int(row.split()[1]) == chips[float(row.split()[0])]
    note = "chips added at 64, 128, 140 until the SE is at most 0.36; yield intervals are Clopper"
    assert note in " ".join(table.split())
    assert stopping.recorded(read_provenance(out)) == stopping.Rule(0.0036, 140)
    rule = {"--until-se", "--max-chips"}
    fixed = [*without(flags(), *rule), "--chips", "64", "--out", str(tmp_path / "fixed")]
    assert main(fixed) == 0
    assert "chips added" not in capsys.readouterr().out
    assert set(pd.read_parquet(tmp_path / "fixed").point_hash) == set(frame.point_hash)
    keep = pd.read_parquet(tmp_path / "fixed").set_index(["point_hash", "chip"]).score
    assert keep.equals(frame.set_index(["point_hash", "chip"]).score[keep.index])

    latex = tmp_path / "table.tex"
    assert main(["report", str(out), "--latex", str(latex)]) == 0
    assert capsys.readouterr().out == f"{table}table: {latex}\n"  # the folder knows the rule
    assert "\\bottomrule" in latex.read_text()
    assert "% chips added at 64, 128, 140" in latex.read_text()
    assert main(["size", "--half-width", "0.005", "--from", str(out)]) == 0
    needs = capsys.readouterr().out
    scores = frame[frame.rate == 0.3].score.to_numpy()
    sd = float(scores.std(ddof=1))
    assert str(chips_for_mean(0.005, sd, float(skewness(scores)))) in needs


def test_a_settled_sweep_does_nothing_again_and_a_finer_one_goes_on(flags, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(flags(rates="0.3", until_se="0.5")) == 0
    table = capsys.readouterr().out
    first = {p.name: (p.stat().st_mtime_ns, p.read_bytes()) for p in out.iterdir()}
    assert run_steps(COMMAND, [flags(rates="0.3", until_se="0.5")]) == [(0, [])]
    assert {p.name: (p.stat().st_mtime_ns, p.read_bytes()) for p in out.iterdir()} == first
    assert len(pd.read_parquet(out)) == 64
    assert main(flags(rates="0.3", until_se="1e-9")) == 0
    assert "1 of 1 points end above it" in " ".join(capsys.readouterr().out.split())
    assert pd.read_parquet(out).chip.tolist() == list(range(140))
    assert main(flags(rates="0.3", until_se="0.5")) == 0  # its 64 chips, though more are there
    assert capsys.readouterr().out == table


@pytest.mark.parametrize(
    ("changes", "dropped", "said"),
    [
        ({"chips": 64}, (), "chips 64 beside until-se and max-chips"),
        ({}, ("--until-se",), "until-se and max-chips belong together"),
        ({}, ("--max-chips",), "until-se and max-chips belong together"),
        ({"until_se": 0}, (), "until-se 0 is no standard error of scores from 0 to 1"),
        ({"until_se": "3"}, (), "until-se 3 is no standard error of scores from 0 to 1"),
        ({"until_se": "nan"}, (), "'--until-se': 'nan' is not a number"),
        ({"until_se": "small"}, (), "small"),
        ({"max_chips": 1}, (), "max-chips 1 is too few"),
        ({"fault": "map:lot.parquet"}, ("--rates",), "--until-se with map:"),
    ],
)
def test_bad_rules(capsys, flags, tmp_path, changes, dropped, said):
    arguments = without(flags(**changes), *dropped) if dropped else flags(**changes)
    assert said in refused(capsys, arguments, tmp_path / "out")
