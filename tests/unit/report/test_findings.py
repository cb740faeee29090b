from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from made_rows import POINT, campaign, make_rows, places

from rerax.report import findings
from rerax.report.compare import make_panels
from rerax.report.format import hundredths, interval
from rerax.report.heat_maps import make_heat_maps
from rerax.report.summary import differ_beyond_chance, summarise_points, unprotected_matrices
from rerax.stats import paired_difference, wilson
from rerax.stats.stopping import Rule


def told(rows, budget=0.01):
    (panel,) = make_panels(summarise_points(rows, budget))
    return dict(findings.panel_findings(panel, budget))


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
    found = told(rows)["Score lost"]
    assert "first loses more than 1 point of the float score at 3e-3 with offset; " in found
    assert "at 1e-2 with sign_magnitude." in found
    assert "The mean stays within 1 point of the float score up to 1e-2 with differential" in found
    assert "more chips" not in found
    assert "stays within 49 points" in told(rows, 0.49)["Score lost"]


def test_an_interval_that_reaches_the_budget_is_no_sure_loss():
    found = told(grid({"offset": {1e-3: [0.9, 0.6, 0.9, 0.89]}}))["Score lost"]
    assert "at 1e-3. The 95 % interval there still reaches the budget: run more chips." in found


def test_the_best_scheme_of_a_rate_is_told_with_its_paired_gain():
    noise = np.random.default_rng(5).random(8)
    base, better = 0.7 + 0.1 * noise, 0.8 + 0.1 * noise[::-1]
    rows = grid({"offset": {1e-2: base}, "differential": {1e-2: better}})
    gain = paired_difference(np.arange(8), better, np.arange(8), base)
    passed = int((better >= 0.89).sum())
    assert told(rows)["Rate 1e-2"] == (
        f"differential is best with a mean of {hundredths(better.mean())} %, "
        f"{hundredths(gain.mean, sign=True)} points over offset "
        f"(95 % interval {interval(gain.interval, sign=True)}). "
        f"{passed} of 8 chips pass (95 % interval {interval(wilson(passed, 8), digits=0)} %), "
        "0 of 8 with offset."
    )


def test_a_gain_that_may_be_none_is_called_so():
    rows = grid({"offset": {1e-2: [0.7, 0.8, 0.9]}, "differential": {1e-2: [0.9, 0.8, 0.71]}})
    assert "). Chance" not in told(rows)["Rate 1e-2"]
    assert "; chance may explain the lead over offset. " in told(rows)["Rate 1e-2"]


def test_the_plainest_scheme_may_be_best():
    rows = grid({"differential": {1e-2: [0.7, 0.71, 0.7]}, "offset": {1e-2: [0.9, 0.9, 0.9]}})
    assert told(rows)["Rate 1e-2"].startswith("offset is best with a mean of 90.00 %. 3 of 3")


def test_a_tie_as_printed_is_no_win():
    same = [0.9, 0.8, 0.85]
    rows = grid({"offset": {1e-2: same}, "differential": {1e-2: [s + 1e-6 for s in same]}})
    assert told(rows)["Rate 1e-2"] == (
        "offset and differential have the same mean, 85.00 %. 1 of 3 chips pass "
        f"(95 % interval {interval(wilson(1, 3), digits=0)} %) with offset."
    )
    worse = {"twos_complement": {1e-2: [0.5, 0.51, 0.5]}}
    three = grid({"offset": {1e-2: same}, "differential": {1e-2: same[::-1]}, **worse})
    assert told(three)["Rate 1e-2"].startswith(
        "offset and differential share the highest mean, 85.00 %. 1 of 3"
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
    found = told(rows)["Rate 1e-2"]
    assert "sign_magnitude and differential share the highest mean, 90.25 %; " in found
    assert "%; sign_magnitude is +20.00 points over offset (" in found
    assert "with sign_magnitude, 0 of 4 with offset." in found


def test_what_chance_may_explain_is_no_win():
    """The paired difference decides, not whether intervals of the means meet."""
    noise = np.array([0.0, 0.2, 0.1, 0.3, 0.15, 0.05])
    unsure = {"offset": {1e-2: 0.6 + noise}, "differential": {1e-2: 0.605 + noise[::-1]}}
    found = told(grid(unsure))["Rate 1e-2"]
    assert found.startswith("differential has the highest mean, 73.83 %, +0.50 points over offset")
    assert "; chance may explain the lead over offset. " in found
    paired = {"offset": {1e-2: 0.6 + noise}, "differential": {1e-2: 0.605 + 0.999 * noise}}
    assert told(grid(paired))["Rate 1e-2"].startswith("differential is best with a mean of")


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
    assert differ_beyond_chance(first, second) == differ_beyond_chance(second, first) == differ


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
    assert " and 89.00 % as stored without" in told(pa.concat_tables(tables[1:3]))["No faults"]


def test_pairs_that_share_no_cells_are_told():
    tables = [
        make_rows(replace(POINT, rate=1e-2, encoding=encoding), [0.7, 0.8], cells_dense=cells)
        for encoding, cells in (("offset", 800), ("differential", 1400))
    ]
    assert "other cells are stuck" in told(pa.concat_tables(tables))["Pairing"]
    assert "Pairing" not in told(pa.concat_tables([tables[0]]))


def test_two_rates_are_told_the_first_loss_of_the_plainest_and_the_highest_of_most():
    fine, low = [0.9, 0.9, 0.9], [0.5, 0.6, 0.5]
    rows = grid(
        {
            "offset": {1e-4: fine, 1e-3: low, 2e-3: low, 3e-3: low},
            "differential": {1e-4: fine, 1e-3: fine, 2e-3: fine, 3e-3: low, 1e-2: low},
        }
    )
    assert [topic for topic in told(rows) if "Rate" in topic] == ["Rate 1e-3", "Rate 3e-3"]
    fine_only = grid({"offset": {1e-4: fine, 1e-3: fine}})
    assert [topic for topic in told(fine_only) if "Rate" in topic] == ["Rate 1e-3"]


def test_a_rate_that_not_all_have_says_how_many_do():
    low, high = [0.5, 0.6, 0.5], [0.8, 0.81, 0.8]
    rows = grid(
        {"offset": {1e-3: low}, "sign_magnitude": {1e-2: low}, "differential": {1e-2: high}}
    )
    found = told(rows)
    assert found["Rate 1e-2"].startswith("differential is best of the 2 run there with a mean of")
    assert found["Rate 1e-3"].startswith("The mean is 53.33 % with offset. 0 of 3 chips pass (")


def test_a_gain_on_few_of_the_chips_says_on_how_many():
    made = [
        make_rows(replace(POINT, rate=1e-2, encoding=encoding), scores, chips=chips)
        for encoding, scores, chips in (
            ("offset", [0.5, 0.6, 0.5], [0, 1, 2]),
            ("differential", [0.8, 0.9, 0.8], [1, 2, 3]),
        )
    ]
    assert " points over offset on 2 common chips (" in told(pa.concat_tables(made))["Rate 1e-2"]


def test_of_many_series_a_few_are_named():
    schemes = [{"encoding": e, "bits": b} for e in ("offset", "differential") for b in range(3, 9)]
    rates = [(k + 1) / 10_000 for k in range(12)]
    rows = pa.concat_tables(
        make_rows(replace(POINT, rate=rate, **scheme), [0.9 if k < at else 0.5] * 3)
        for at, scheme in enumerate(schemes)
        for k, rate in enumerate(rates)
    )
    found = told(rows)["Score lost"]
    assert found.count(" with ") == 4
    assert "at 2e-4 with offset, 4 bits; at 9 rates between with others; at 1.2" in found


def test_what_was_run_counts_chips_once_at_rate_0():
    rows = campaign(rates=(0.0, 1e-3), chips=7)
    points = summarise_points(rows)
    assert findings.describe_campaign(points, make_panels(points)) == (
        "2 ways of storing the model, 2 fault rates (0 and 1e-3), 7 chips a point; "
        "every chip scored on 872 examples."
    )


def test_drawn_examples_are_told_as_such():
    drawn = replace(POINT, sampled="128:0123456789abcdef")
    points = summarise_points(make_rows(drawn, [0.8, 0.85, 0.82], examples=5463))
    assert findings.describe_campaign(points, make_panels(points)).endswith(
        "3 chips a point; every chip scored on about 128 of 5,463 examples."
    )


def test_the_worst_place_is_named():
    rows = places([f"layers={k}" for k in range(4)], rates=(1e-2,))
    lines = summarise_points(rows)
    worst = min((line for line in lines if line.rate), key=lambda line: line.summary.mean)
    ((topic, text),) = findings.worst_places(make_heat_maps(lines))
    assert topic == "layers × rate"
    assert f"cost most at {worst.settings['faulty'].replace('=', ' ')}, rate 1e-2" in text
    assert f"{hundredths(0.89 - worst.summary.mean)} points of the clean score" in text


def test_places_that_tie_are_named_together():
    def spots(**scores):
        rows = [make_rows(replace(POINT, rate=0.0), [0.89] * 3)]
        rows += [
            make_rows(replace(POINT, rate=1e-2, faulty=f"layers={name[1]}"), values)
            for name, values in scores.items()
        ]
        lines = summarise_points(pa.concat_tables(rows))
        return findings.worst_places(make_heat_maps(lines))[0].text

    low, high = [0.6, 0.61, 0.6], [0.8, 0.81, 0.82]
    both = "faults cost most at layers 0, rate 1e-2 and layers 2, rate 1e-2: 28.67 points"
    assert both in spots(l0=low, l1=high, l2=low[::-1])
    assert "Chance" not in spots(l0=low, l1=high, l2=low[::-1])
    near = spots(l0=[0.6, 0.65, 0.7], l1=[0.7, 0.66, 0.6], l2=high)
    assert "most at layers 0, rate 1e-2: " in near
    assert near.endswith("Chance may explain the lead over layers 1, rate 1e-2.")
    assert spots(l0=low, l1=low).startswith("Faults cost the same at all 2 places: 28.67 points")


def test_warnings_are_told_where_they_apply():
    points = summarise_points(make_rows(POINT, [0.5, 0.6], degenerate=True))
    runs = [{"unprotected": {f"{POINT.task}/{POINT.model}": {"none": ["pooler"]}}}]
    quiet = findings.find_warnings(summarise_points(campaign()), ["cpu"], 0.01, [])
    loud = findings.find_warnings(points, ["cpu", "gpu"], 0.001, runs)
    assert quiet == []
    assert {topic for topic, _ in loud} == {"Warning"}
    for (_, text), start in zip(
        loud,
        ("Yield is coarse: ", "2 chips gave constant", "Rows come from 2 platforms (cpu and gpu)",
         "none leaves pooler unprotected"),
        strict=True,
    ):  # fmt: skip
        assert text.startswith(start)
        assert text.endswith(".")


def test_schemes_that_leave_the_same_matrices_stand_in_one_warning():
    schemes = ("code:golay:4:pruned", "msb:2x3:pruned")
    kinds = [replace(POINT, model=m, protection=s) for m in ("a", "b") for s in schemes]
    points = summarise_points(pa.concat_tables([make_rows(one, [0.5, 0.6]) for one in kinds]))
    left = {"msb:2x3:pruned": ["pooler"], "code:golay:4:pruned": ["pooler"]}
    only = {"msb:2x3:pruned": ["pooler", "classifier"], "bit": ["pooler"]}
    runs = [{"unprotected": {f"{POINT.task}/a": left}}, {"unprotected": {f"{POINT.task}/b": only}}]
    why = "unprotected: without gates they have no freed cells"
    assert unprotected_matrices(points, runs) == [
        f"code:golay:4:pruned, msb:2x3:pruned leave pooler {why} ({POINT.task}/a)",
        f"msb:2x3:pruned leaves pooler, classifier {why} ({POINT.task}/b)",
    ]


def test_the_statistics_are_explained_as_the_rule_made_them():
    plain = " ".join(findings.explain_statistics([], None, 0.01))
    early = " ".join(findings.explain_statistics([], Rule(0.002, 256), 0.025))
    assert "less 1 point." in plain
    assert "less 2.5 points." in early
    assert "Wilson" in plain
    assert "Wilson" not in early
    assert "up to 256" in early
    assert "up to" not in plain


def test_noise_counts_where_there_are_no_faults():
    """Chips that only misreads tell apart: gains over the clean chip, losses, places."""
    noisy = replace(POINT, rate=0.0, misread=0.4)
    scores = 0.85 - 0.01 * np.arange(5)
    rows = pa.concat_tables(
        [make_rows(replace(POINT, rate=0.0), [0.89] * 5), make_rows(noisy, scores)]
    )
    points = summarise_points(rows)
    (panel,) = make_panels(points)
    assert panel.is_faulty
    assert [series.label for series in panel.series] == ["misread 0", "misread 0.4"]
    (gain,) = panel.gains
    assert gain.summary.chips == 5
    assert gain.summary.mean == pytest.approx(scores.mean() - 0.89)
    assert differ_beyond_chance(*points)
    told = " ".join(finding.text for finding in findings.panel_findings(panel, 0.01))
    assert "first loses more than 1 point of the float score at 0 with misread 0.4" in told

    each = [replace(noisy, faulty=f"layers={k}") for k in (0, 1)]
    held = pa.concat_tables([rows, *(make_rows(point, scores) for point in each)])
    (heat,) = make_heat_maps(summarise_points(held))
    assert len(heat.cells) == 2
