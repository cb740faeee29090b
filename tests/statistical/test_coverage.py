"""Intervals are honest: the experiment in small, and the rows that it has left."""

import importlib.util
import json
import math

import numpy as np
import pandas as pd
import pytest
from paths import ROOT

FILE = ROOT / "experiments" / "coverage.py"
if not FILE.is_file():
    pytest.skip("no experiments beside the tests", allow_module_level=True)
spec = importlib.util.spec_from_file_location("coverage_experiment", FILE)
coverage = importlib.util.module_from_spec(spec)
spec.loader.exec_module(coverage)

OWN = ("rate", "rates")  # kinds of law for which the interval is promised


@pytest.fixture(scope="module")
def laws():
    return {(law.kind, law.name): law for law in coverage.laws()}


@pytest.fixture(scope="module")
def rows():
    return json.loads(coverage.OUT.read_text())


def slack(campaigns):
    """Five standard errors of a coverage near 95 %."""
    return 5 * np.sqrt(0.95 * 0.05 / campaigns)


def test_laws_are_the_rows(laws):
    assert len([law for law in laws.values() if law.kind == "point"]) == 16
    pooled = laws["rates", "all"].draw(np.random.default_rng(0), (1, 20_000))
    assert len(np.unique(pooled)) > 150
    assert pooled.std() == pytest.approx(laws["rates", "all"].sd, rel=0.05)
    assert laws["rates", "all"].sd == pytest.approx(1)
    assert laws["point", "twos_complement 0.003"].skewness < -2.5


def test_kept_rows_are_honest(rows):
    promised = [r for r in rows["mean"] + rows["mean_stopped"] if r["law"] in OWN]
    found = [r for r in promised if r["interval"] == "mean_interval"]
    assert len(found) == 5 * (len(coverage.CHIPS) + len(coverage.ENOUGH))
    assert all(r["campaigns"] >= 2000 for r in found)
    assert all(0.935 <= r["covered"] <= 0.965 for r in found)
    students = min(r["covered"] for r in promised if r["interval"] == "t_interval" and "chips" in r)
    assert students < 0.935  # why there is another interval
    worst = {str(r["share"]): r["worst"] for r in rows["yield"]}
    assert worst.pop("average") >= 0.94
    assert min(worst.values()) >= 0.91
    stopped = [r for r in rows["yield_stopped"] if r["interval"] == "clopper_pearson"]
    assert min(r["worst"] for r in stopped) >= 0.91
    assert np.mean([r["worst"] for r in stopped]) >= 0.94


def test_points_that_are_covered_too_seldom_are_marked(rows):
    points = pd.DataFrame([r for r in rows["mean_raw"] if r["of"] == "points"])
    plain = points[~points.marked]
    assert len(points) > 150
    for chips in coverage.AGAIN:
        covered = points[f"mean_interval {chips}"]
        assert covered.mean() >= 0.935
        assert plain[f"mean_interval {chips}"].mean() >= 0.945
        assert plain[f"mean_interval {chips}"].quantile(0.05) >= 0.91
        assert (covered > points[f"t_interval {chips}"]).mean() > 0.95  # better than Student's
    assert points[points.marked]["mean_interval 32"].mean() < 0.92  # what the mark is for
    assert points.marked.mean() < 0.25
    assert all(r["marked"] for r in rows["mean_raw"] if r["values"] < 5)


def test_raw_points_anew(rows):
    points = coverage.raw_points()
    kept = {r["name"]: r for r in rows["mean_raw"] if r["of"] == "points"}
    assert list(points) == list(kept)
    few = {point: points[point] for point in [*points][::40]}
    for row in coverage.raw(few, 2000):
        like = kept[row["name"]]
        assert row.keys() == like.keys()
        for key, value in row.items():
            if key[-2:] in ("32", "64"):
                assert abs(value - like[key]) < 1.2 * slack(2000)
            elif key != "campaigns":
                assert value == like[key]


@pytest.mark.parametrize("name", ["0.0001", "0.003"])
def test_means_anew(laws, rows, name):
    law = laws["rate", name]
    for part, again in (
        ("mean", list(coverage.fixed(law, 2000))),
        ("mean_stopped", list(coverage.stopped(law, 2000))),
    ):
        kept = [r for r in rows[part] if (r["law"], r["name"]) == ("rate", name)]
        for mine, theirs in zip(again, kept, strict=True):
            assert abs(mine["covered"] - theirs["covered"]) < 1.2 * slack(2000)
            if part == "mean_stopped":
                assert mine["mean_chips"] == pytest.approx(theirs["mean_chips"], rel=0.05)


def test_the_rule_of_the_experiment_is_that_of_a_sweep(laws, monkeypatch):
    from rerax.stats import looks, stop_here

    monkeypatch.setattr(coverage, "ENOUGH", (64, 160, 512, 4096))  # the last is never met
    law = laws["rate", "0.003"]
    scores = law.draw(np.random.Generator(np.random.PCG64(1)), (50, coverage.MAX_CHIPS))
    for row in coverage.stopped(law, 50):
        chips = []
        for campaign in scores:
            until = law.sd / math.sqrt(row["enough"])
            stops = [n for n in looks(1024) if stop_here(campaign[:n], until)]
            chips.append(stops[0] if stops else 1024)
        assert np.mean(chips) == pytest.approx(row["mean_chips"], abs=0.01)


def test_yields_anew(rows):
    few = coverage.yields(last=128)
    kept = {str(r["share"]): r["worst"] for r in rows["yield"]}
    for row in few:
        floor = kept[str(row["share"])]
        assert row["worst"] >= floor
        assert 64 <= row["at_chips"] <= 128
    assert min(row["worst"] for row in few) == pytest.approx(kept["0.99"])  # at 102 chips


def test_exact_sums_agree_with_draws():
    p, until, looks = 0.8, 0.04, (64, 128, 256)
    inside = [coverage.holds(n, p, True) for n in looks]
    exact = coverage.stopped_coverage(looks, inside, p, until)
    passed = np.random.default_rng(2).random((20_000, 256)) < p
    covered = []
    for campaign in passed:
        for n, good in zip(looks, inside, strict=True):
            if campaign[:n].std(ddof=1) / n**0.5 <= until or n == 256:
                covered.append(good[campaign[:n].sum()])
                break
    assert abs(np.mean(covered) - exact) < slack(20_000)
    assert sum(coverage.binomial(300, 0.3)) == pytest.approx(1)
