from dataclasses import replace

import numpy as np
import pyarrow as pa
from made_rows import POINT, campaign, make_rows, places

from rerax.campaign.stopping import Rule
from rerax.report import words
from rerax.report.lines import summarise_points
from rerax.report.panels import make_panels
from rerax.report.places import make_heat_maps
from rerax.report.wording import interval, points
from rerax.stats import paired_difference, wilson


def told(rows, budget=0.01):
    (panel,) = make_panels(summarise_points(rows, budget))
    return dict(words.findings(panel, budget))


def grid(scores):
    """Rows of {scheme: {rate: scores}}; a scheme is its encoding."""
    return pa.concat_tables(
        make_rows(replace(POINT, encoding=encoding, rate=rate), values)
        for encoding, at in scores.items()
        for rate, values in at.items()
    )


def test_the_rate_at_which_the_mean_loses_the_budget_is_named():
    steady, worse = [0.9, 0.9, 0.9], [0.5, 0.6, 0.5]
    rows = grid(
        {
            "offset": {1e-3: steady, 3e-3: worse, 1e-2: worse},
            "sign_magnitude": {1e-3: steady, 3e-3: steady, 1e-2: worse},
            "differential": {1e-3: steady, 3e-3: steady, 1e-2: steady},
        }
    )
    found = told(rows)["Budget"]
    assert "first loses more than 1 point of the float score at 3e-3 with offset, " in found
    assert "at 1e-2 with sign_magnitude." in found
    assert "The mean stays within 1 point of the float score at every rate run, up" in found
    assert "up to 1e-2 with differential." in found
    assert "more chips" not in found
    assert "stays within 49 points" in told(rows, 0.49)["Budget"]


def test_an_interval_that_reaches_the_budget_is_no_sure_loss():
    found = told(grid({"offset": {1e-3: [0.9, 0.6, 0.9, 0.89]}}))["Budget"]
    assert "at 1e-3. The 95 % interval still reaches the budget there: more chips" in found


def test_the_best_scheme_of_a_rate_is_told_with_its_paired_gain():
    noise = np.random.default_rng(5).random(8)
    base, better = 0.7 + 0.1 * noise, 0.8 + 0.1 * noise[::-1]
    rows = grid({"offset": {1e-2: base}, "differential": {1e-2: better}})
    gain = paired_difference(np.arange(8), better, np.arange(8), base)
    passed = int((better >= 0.89).sum())
    assert told(rows)["1e-2"] == (
        f"differential is best of 2 with a mean of {points(better.mean())} %, "
        f"{points(gain.mean, sign=True)} points over offset on 8 common chips "
        f"(95 % interval {interval(gain.interval, sign=True)}). "
        f"{passed} of 8 chips pass ({100 * passed / 8:.0f} %, 95 % interval "
        f"{interval(wilson(passed, 8), digits=0)}); 0 of 8 with offset."
    )


def test_a_gain_that_may_be_none_is_called_so():
    rows = grid({"offset": {1e-2: [0.7, 0.8, 0.9]}, "differential": {1e-2: [0.9, 0.8, 0.71]}})
    assert ": no sure gain)" in told(rows)["1e-2"]


def test_the_plainest_scheme_may_be_best():
    rows = grid({"differential": {1e-2: [0.7, 0.8]}, "offset": {1e-2: [0.9, 0.9]}})
    assert told(rows)["1e-2"].startswith("offset is best of 2 with a mean of 90.00 %. 2 of 2")


def test_pairs_that_share_no_cells_are_told():
    tables = [
        make_rows(replace(POINT, rate=1e-2, encoding=encoding), [0.7, 0.8], cells_dense=cells)
        for encoding, cells in (("offset", 800), ("differential", 1400))
    ]
    assert "not cell by cell" in told(pa.concat_tables(tables))["Pairing"]
    assert "Pairing" not in told(pa.concat_tables([tables[0]]))


def test_of_many_rates_some_are_told():
    rates = [1e-4 * k for k in range(1, 12)]
    found = told(campaign([{}], rates=rates))
    assert "1e-4" in found
    assert "1.1e-3" in found
    assert found["Other rates"].startswith("5 more rates")


def test_what_was_run_counts_chips_once_at_rate_0():
    rows = campaign(rates=(0.0, 1e-3), chips=7)
    lines = summarise_points(rows)
    text = words.what_was_run(lines, make_panels(lines), len(rows))
    assert text == (
        "2 ways of storing the model at 2 fault rates (0 and 1e-3); 7 chips a point, every chip "
        "scored on 872 examples. 28 rows of 4 points."
    )


def test_the_worst_place_is_named():
    rows = places([f"layers={k}" for k in range(4)], rates=(1e-2,))
    lines = summarise_points(rows)
    worst = min((line for line in lines if line.rate), key=lambda line: line.summary.mean)
    ((topic, text),) = words.hot_spots(make_heat_maps(lines))
    assert topic == "layers × rate"
    assert f"cost most at {worst.settings['faulty'].replace('=', ' ')}, rate 1e-2" in text
    assert f"{points(0.89 - worst.summary.mean)} points of the clean score" in text


def test_cautions_are_told_where_they_apply():
    lines = summarise_points(make_rows(POINT, [0.5, 0.6], degenerate=True))
    quiet = " ".join(words.cautions(summarise_points(campaign()), ["cpu"], None, 0.01))
    loud = " ".join(words.cautions(lines, ["cpu", "gpu"], Rule(0.002, 256), 0.025))
    assert "less 1 point;" in quiet
    assert "less 2.5 points;" in loud
    for text in ("2 chips gave constant", "2 platforms (cpu and gpu)", "up to 256"):
        assert text in loud
        assert text not in quiet
    assert "Wilson" in quiet
    assert "Wilson" not in loud
