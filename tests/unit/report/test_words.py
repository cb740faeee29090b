from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from made_rows import POINT, campaign, make_rows, places

from rerax.report import words
from rerax.report.lines import summarise_points, told_apart
from rerax.report.panels import make_panels
from rerax.report.places import make_heat_maps
from rerax.report.wording import interval, points
from rerax.stats import paired_difference, wilson
from rerax.stats.stopping import Rule


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
    rows = grid({"differential": {1e-2: [0.7, 0.71, 0.7]}, "offset": {1e-2: [0.9, 0.9, 0.9]}})
    assert told(rows)["1e-2"].startswith("offset is best of 2 with a mean of 90.00 %. 3 of 3")


def test_a_tie_as_printed_is_no_win():
    same = [0.9, 0.8, 0.85]
    rows = grid({"offset": {1e-2: same}, "differential": {1e-2: [s + 1e-6 for s in same]}})
    assert told(rows)["1e-2"] == (
        "offset and differential have the same mean, 85.00 %. 1 of 3 chips pass "
        f"(33 %, 95 % interval {interval(wilson(1, 3), digits=0)}) with offset."
    )
    worse = {"twos_complement": {1e-2: [0.5, 0.51, 0.5]}}
    three = grid({"offset": {1e-2: same}, "differential": {1e-2: same[::-1]}, **worse})
    assert told(three)["1e-2"].startswith(
        "offset and differential share the highest mean of 3, 85.00 %. 1 of 3"
    )


def test_tied_schemes_above_the_first_have_one_gain_told_with_its_name():
    high = [0.9, 0.9, 0.9, 0.91]
    rows = grid(
        {
            "offset": {1e-2: [0.7, 0.7, 0.71, 0.7]},
            "sign_magnitude": {1e-2: high},
            "differential": {1e-2: high[::-1]},
        }
    )
    found = told(rows)["1e-2"]
    assert "sign_magnitude and differential share the highest mean of 3, 90.25 %, " in found
    assert "%, sign_magnitude is +20.00 points over offset on 4 common chips (" in found
    assert "with sign_magnitude; 0 of 4 with offset." in found


def test_what_chance_may_explain_is_no_win():
    """The paired difference decides, not whether intervals of the means meet."""
    noise = np.array([0.0, 0.2, 0.1, 0.3, 0.15, 0.05])
    unsure = {"offset": {1e-2: 0.6 + noise}, "differential": {1e-2: 0.605 + noise[::-1]}}
    found = told(grid(unsure))["1e-2"]
    assert found.startswith("differential has the highest mean of 2, 73.83 %, but not told apart")
    assert "apart from offset, +0.50 points over offset on 6 common chips" in found
    assert ": no sure gain)" in found
    paired = {"offset": {1e-2: 0.6 + noise}, "differential": {1e-2: 0.605 + 0.999 * noise}}
    assert told(grid(paired))["1e-2"].startswith("differential is best of 2 with a mean of")


@pytest.mark.parametrize(
    ("one", "other", "differ"),
    [
        (([0.5, 0.6], [0, 1]), ([0.5, 0.6], [2, 3]), False),
        (([0.5, 0.501], [0, 1]), ([0.9, 0.901], [2, 3]), True),  # no chip in common
        (([0.5, 0.9], [0, 1]), ([0.9, 0.6], [2, 3]), False),
        (([0.5], [0]), ([0.9], [0]), False),  # a single chip says nothing of others
        (([0.5, 0.501], [0, 1]), ([0.9, 0.903], [0, 1]), True),
    ],
)
def test_points_are_told_apart(one, other, differ):
    first, second = (
        summarise_points(make_rows(replace(POINT, encoding=encoding), scores, chips))[0]
        for encoding, (scores, chips) in zip(("offset", "differential"), (one, other), strict=True)
    )
    assert told_apart(first, second) == told_apart(second, first) == differ


def test_clean_scores_that_tie_are_named_together():
    tables = [
        make_rows(replace(POINT, encoding=encoding), [0.5, 0.6], clean_score=clean)
        for encoding, clean in (
            ("offset", 0.88),
            ("twos_complement", 0.89),
            ("sign_magnitude", 0.89001),
            ("differential", 0.88),
        )
    ]
    found = told(pa.concat_tables(tables))["No faults"]
    assert "88.00 % (offset and differential) to 89.00 % (twos_complement and sign_" in found
    assert "score 89.00 %." in told(pa.concat_tables(tables[1:3]))["No faults"]


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


def test_places_that_tie_are_named_together():
    def spots(**scores):
        rows = [make_rows(replace(POINT, rate=0.0), [0.89] * 3)]
        rows += [
            make_rows(replace(POINT, rate=1e-2, faulty=f"layers={name[1]}"), values)
            for name, values in scores.items()
        ]
        lines = summarise_points(pa.concat_tables(rows))
        return words.hot_spots(make_heat_maps(lines))[0].text

    low, high = [0.6, 0.61, 0.6], [0.8, 0.81, 0.82]
    both = "faults cost most at layers 0, rate 1e-2; layers 2, rate 1e-2: 28.67 points"
    assert both in spots(l0=low, l1=high, l2=low[::-1])
    assert "Not told" not in spots(l0=low, l1=high, l2=low[::-1])
    near = spots(l0=[0.6, 0.65, 0.7], l1=[0.7, 0.66, 0.6], l2=high)
    assert "most at layers 0, rate 1e-2: " in near
    assert near.endswith("Not told apart from it: layers 1, rate 1e-2.")
    assert spots(l0=low, l1=low).startswith("Faults cost the same at all 2 places: 28.67 points")


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
