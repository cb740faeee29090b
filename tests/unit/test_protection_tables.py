"""What the tables of all protections reckon, against values worked out by hand."""

import json

import numpy as np
import pandas as pd
import pytest
from paths import RESULTS
from quoting import quoted

from rerax.stats import mean_interval

rivals, zero_cells = quoted.compared, quoted.borne


@pytest.mark.parametrize(
    ("means", "clean", "dense", "more"),
    [
        ({1e-3: 0.895, 2e-3: 0.885, 4e-3: 0.87}, 0.9, 0.9, None),
        ({1e-3: 0.895, 2e-3: 0.885}, 0.9, 0.9, 3.4e-3),  # two points are not lost yet
        ({1e-3: 0.885, 2e-3: 0.87}, 0.9, 0.9, 5e-4),  # one point is lost already
        ({1e-3: 0.878, 2e-3: 0.86}, 0.885, 0.9, 5e-4),  # two below the dense model are
        ({1e-3: 0.878, 2e-3: 0.85}, 0.885, 0.91, None),  # which those are at rate 0
        ({0.12: 0.909, 0.2: 0.644}, 0.92, 0.92, 0.06),  # what is lost comes before what is steep
        ({0.08: 0.915, 0.12: 0.913, 0.2: 0.644}, 0.92, 0.92, 0.15),
        ({0.12: 0.913, 0.13: 0.644}, 0.915, 0.92, None),  # two digits have no rate between them
    ],
)
def test_rates_bracket_the_losses(means, clean, dense, more):
    assert zero_cells.next_rate(means, clean, dense, 7) == more
    assert zero_cells.next_rate(means, clean, dense, len(means)) is None


@pytest.mark.parametrize(
    ("found", "text"),
    [
        ((0.02, 0.015, 0.03), "0.02 (0.015 to 0.03)"),
        ((0.02, 0.004, None), "0.02 (<0.01 to ?)"),
        ((None, 0.04, None), "? (0.04 to ?)"),
        ((0.004, 0.001, 0.02), "below 0.01"),
        ((0, 0, 0), "lost at rate 0"),
    ],
)
def test_nothing_is_told_below_the_lowest_rate(found, text):
    assert zero_cells.span(found, ".2g", 0.01) == text


def test_chips_of_a_curve_stand_at_all_its_rates():
    curve = zero_cells.CURVES[0]
    names = {"model": "x-35", "encoding": "offset", "polarity": None, "protection": "none"}
    where = [(0.001, 4), (0.002, 4), (0.004, 2), (0.008, 6)]
    rows = [
        {**names, "fault": "uniform", "rate": rate, "chip": chip, "score": 0.5}
        for rate, chips in where
        for chip in range(chips)
    ]
    found = zero_cells.scores(pd.DataFrame(rows), curve)
    assert list(found.index) == [0.001, 0.002, 0.008]
    assert list(found.columns) == [0, 1, 2, 3]


def test_ratios_are_of_the_chips_of_both():
    curve = zero_cells.CURVES[1]
    score = pd.DataFrame([[0.9] * 4, [0.8] * 4], index=[0.01, 0.1])
    base = pd.DataFrame([[0.9, 0.9, 0.1], [0.8, 0.8, 0.1]], index=[0.001, 0.01])
    line = zero_cells.line_of("x", curve, score, 0.9, 0.9, (base[[0, 1]], 0.9))
    assert line["T_1"] == pytest.approx((10, 10, 10))
    own = zero_cells.line_of("x", curve, score, 0.9, 0.9, (base[[0, 1]] - 0.02, 0.88))
    assert own["T_1"] == pytest.approx((10, 10, 10))  # each below its own score without faults
    assert "T_1" not in zero_cells.line_of("x", curve, score, 0.9, 0.9, (base[[]], 0.9))


def test_energy_is_of_a_weight_of_the_dense_model():
    line = {"costs": [1.5, 0.25, 10.0, 0.2], "knows": "nothing"}
    assert rivals.written(line) == pytest.approx(12 * 0.35)
    assert rivals.written({**line, "knows": "map at writing"}) == pytest.approx(12 * 2.7)
    nothing = dict.fromkeys(("rate_1", "rate_2"), (0.5, 0.4, 0.6))
    names = {"protection": "x", "model": "20", "encoding": "offset", "polarity": "plain"}
    table = rivals.markdown([{**line, **names, **nothing, "rates": [0.1], "refitted": False}])
    assert "| 20 % | offset, plain | 1.50 | 0.250 | 10.0 | 0.96 | 4.2 |" in table


@pytest.mark.parametrize(
    ("model", "scheme", "cells", "beside", "reads"),
    [
        ("dense", "none", 1, 0, 8),
        ("dense", "duplicate:3", 3, 0, 24),
        ("dense", "closest+bit", 1, 1 / 16, 8),
        ("dense", "sign", 1, 1 / 128, 8),
        ("35", "msb:2x3:pruned", 1, 0, 12),
    ],
)
def test_costs_are_those_of_the_schemes(model, scheme, cells, beside, reads):
    for lines in json.loads((RESULTS / "rivals.json").read_text()).values():
        found = [x for x in lines if (x["model"], x["protection"]) == (model, scheme)]
        assert found
        for line in found:
            got = line["costs"]
            assert got[:2] == pytest.approx([cells, beside], abs=1e-3)
            assert got[2] == pytest.approx(reads, rel=0.05)  # few matrices hold fewer copies
            assert got[3] == pytest.approx(0 if model == "dense" else 0.35, abs=0.01)


def test_models_are_compared_chip_by_chip_at_equal_rates(monkeypatch):
    scored = {"code": (0.8, 0.84, 0.82), "code, trained with faults, clipped": (0.85, 0.9, 0.86)}
    rows = [
        {
            "task": "sst2",
            "model": f"sst2-{rivals.TOGETHER[label].model}",
            "model_hash": label,
            "data_hash": "d",
            "encoding": "offset",
            "polarity": "alternate:1",
            "protection": "code:golay:4:pruned",
            "fault": "uniform",
            "rate": rate,
            "chip": chip,
            "score": score,
            "clean_score": 0.9,
        }
        for label, scores in scored.items()
        for rate in rivals.SAME_RATES
        for chip, score in enumerate(scores)
    ]
    monkeypatch.setattr(rivals, "rows_of", lambda out, chips: pd.DataFrame(rows))
    code, trained = rivals.at_same_rates(None)["sst2"]
    assert [line["label"] for line in (code, trained)] == list(scored)
    assert trained["clean"] == pytest.approx(90)
    for mean, error, gained, low, high in trained["points"]:
        assert (mean, error, gained) == pytest.approx((87, (7 / 3) ** 0.5, 5))
        assert (low, high) == pytest.approx(mean_interval(np.array([5.0, 6.0, 4.0])))
    assert all(point[2] == 0 and point[3] <= 0 for point in code["points"])
    table = rivals.markdown_at_same_rates([code, trained]).splitlines()
    assert table[2].startswith("| code | 90.00 | 82.00 ± 1.15 |  | 82.00")
    assert "87.00 ± 1.53 | +5.00 (" in table[3]
    rows[0]["data_hash"] = "other"
    with pytest.raises(SystemExit, match="are of 2 sets of examples"):
        rivals.at_same_rates(None)
