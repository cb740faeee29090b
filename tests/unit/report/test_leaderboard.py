"""What rates schemes bear: known curves, the committed study's figures, and the page."""

import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from made_rows import POINT, make_rows
from paths import RESULTS

from rerax.campaign.store import read_rows
from rerax.report import make_page, summarise_points
from rerax.report.leaderboard import make_boards
from rerax.stats.tolerated import crossings, ratio_with_interval, tolerated_rates


def test_crossings_are_read_off_lines_over_the_logarithm():
    rates = np.array([1e-3, 1e-2])
    losses = np.array([[0.0, 0.005, 0.02, 0.0], [0.02, 0.02, 0.03, 0.005]])
    found = crossings(rates, losses, 0.01)
    np.testing.assert_allclose(found[:2], [10**-2.5, 10 ** (-3 + 1 / 3)])
    assert found[2] == pytest.approx(10**-3.5)  # half of the way up from a tenth of the lowest
    assert np.isnan(found[3])
    assert crossings(rates, losses, 0.01, at_zero=0.01) == [0.0] * 4


def test_the_committed_study_is_ranked_as_its_own_script_ranks_it():
    """Rates, ratios and intervals of 14 curves, by figures that the script has left."""
    rows = read_rows(RESULTS / "zero_cells")
    told = json.loads((RESULTS / "zero_cells.json").read_text(encoding="utf-8"))
    boards = {
        board.settings["task"]: board
        for board in make_boards(summarise_points(rows, 0.02), 0.02)
        if board.settings["fault"] == "uniform"
    }
    for task in ("sst2", "stsb"):
        found = {}
        for standing in boards[task].standings:
            settings = standing.points[0].settings
            model, polarity = settings["model"].split("-")[1], settings["polarity"].split(":")[0]
            name = model, settings["encoding"], polarity, settings["protection"]
            found[name] = standing
        lines = told[task]["curves"]
        assert len(lines) == len(found) == 14
        for line in lines:
            names = ("model", "encoding", "polarity", "protection")
            standing = found[tuple(line[name] for name in names)]
            lowest = standing.rates[0]
            value, low, high = line["rate_2"]
            ends = [end if value >= lowest <= (end or lowest) else None for end in (low, high)]
            assert list(standing.borne) == [value, *ends]
            assert standing.ratio is None or list(standing.ratio) == line["T_2"]
        known = [s.borne[0] for s in boards[task].standings if s.borne[0] >= s.rates[0]]
        assert known == sorted(known, reverse=True)
        assert len([s for s in boards[task].standings if s.ratio]) == 9
        assert boards[task].reference == lines[0]["dense_float_score"]


def board_of(scores, budget=0.01, tested=None, **more):
    """Rank schemes by scores {scheme: {rate: scores}}; clean score 0.89, float score 0.9."""
    tested = tested or {}
    tables = [
        make_rows(
            replace(POINT, protection=scheme, rate=rate, tested=tested.get(scheme, "all"), **more),
            of_chips,
        )
        for scheme, rates in scores.items()
        for rate, of_chips in rates.items()
    ]
    rows = pa.concat_tables(tables)
    return rows, make_boards(summarise_points(rows, budget), budget)


def test_schemes_that_bear_more_come_first_and_pages_show_them():
    """Beyond the rates that were run, at rate 0, and between two of them."""
    chips = np.array([0.001, -0.001, 0.0, 0.0005])
    rows, (board,) = board_of(
        {
            "none": {1e-3: 0.885 + chips, 1e-2: 0.85 + chips},
            "closest": {1e-3: 0.8895 + chips, 1e-2: 0.885 + chips},
            "sign": {1e-2: 0.87 + chips},
        },
        0.02,
    )
    names = [standing.points[0].settings["protection"] for standing in board.standings]
    assert names == ["closest", "none", "sign"]  # of the last only a guess
    best, bare, single = board.standings
    assert best.borne[0] is None
    expected = 10 ** (-3 + (0.885 + chips.mean() - 0.88) / 0.035)
    assert bare.borne[0] == pytest.approx(expected)
    assert bare.borne[1] < bare.borne[0] < bare.borne[2]
    assert bare.ratio is None  # it is what others are measured by
    assert 1e-3 < single.borne[0] < 1e-2
    assert single.borne[1:] == (None, None)
    assert single.ratio is None
    page = make_page(rows, 0.02)
    assert "&gt; 1e-2" in page
    assert "&lt; 1e-2" in page
    assert "sst2: 2 points below 90.00\N{NO-BREAK SPACE}%" in page


def test_ratios_are_told_where_both_rates_are_known():
    """Not where bare chips bear all that was run, nor where either rate is a guess."""
    chips = np.array([0.001, -0.001, 0.0, 0.0005])

    def ratio(bare, closest, **more):
        _, (board,) = board_of({"none": bare, "closest": closest}, 0.02, **more)
        (found,) = [s for s in board.standings if s.points[0].settings["protection"] == "closest"]
        return found.ratio

    fine = {1e-3: 0.888 + chips, 1e-2: 0.85 + chips}
    better = {1e-2: 0.888 + chips, 1e-1: 0.85 + chips}
    value, low, high = ratio(fine, better)
    assert low <= value <= high
    assert value == pytest.approx(10)
    assert ratio({1e-4: 0.8895 + chips, 1e-3: 0.887 + chips}, better) is None
    assert ratio({1e-2: 0.5 + chips}, better) is None
    assert ratio(fine, {1e-1: 0.5 + chips}) is None
    assert ratio(fine, better, tested={"closest": "share:0.5"})[0] == value


def test_a_ratio_has_no_end_that_unknown_draws_decide():
    above, inf = np.full(101, 0.02), np.inf
    below = np.array([0.01, *[0.01] * 90, *[inf] * 10])
    assert ratio_with_interval(above, below) == (2.0, None, 2.0)
    assert ratio_with_interval(above, np.full(101, inf)) == (None, None, None)
    assert ratio_with_interval(above, np.zeros(101)) == (None, None, None)
    assert ratio_with_interval(np.full(101, inf), np.full(101, 0.01)) == (None, None, None)
    both = np.where(np.isinf(below), inf, above)  # where both are infinite any ratio may be
    assert ratio_with_interval(both, below) == (2.0, None, None)


def test_ends_of_a_ratio_take_the_least_and_the_most_that_is_known():
    """Draws below the lowest rate that was run are guesses, and those beyond the highest bounds."""
    sure, run = np.full(101, 0.01), (1e-3, 0.1)
    guess = np.array([0.01, *[0.01] * 90, *[1e-4] * 10])
    beyond = np.array([0.01, *[0.01] * 90, *[np.inf] * 10])
    for above, below, ends in (
        (guess, sure, (None, 1.0)),  # between 0 and 0.1 in those draws
        (sure, guess, (1.0, None)),  # above 10
        (beyond, sure, (1.0, None)),
        (sure, beyond, (None, 1.0)),  # at most 0.1
        (np.where(guess < 1e-3, guess, 0.02), sure, (None, 2.0)),
    ):
        value, *found = ratio_with_interval(above, below, (run, run))
        assert value == above[0] / below[0]
        assert tuple(found) == ends
    assert ratio_with_interval(np.full(101, 1e-4), sure, (run, run)) == (None, None, 0.1)
    assert ratio_with_interval(sure, np.full(101, 1e-4), (run, run)) == (None, 10.0, None)


def test_series_without_a_common_chip_are_left_out():
    chips = np.array([0.001, -0.001, 0.0, 0.0005])
    rows, (board,) = board_of(
        {
            "none": {1e-3: 0.885 + chips, 1e-2: 0.85 + chips},
            "closest": {1e-3: 0.885 + chips, 1e-2: 0.85 + chips},
            "sign": {1e-3: 0.885 + chips},
        }
    )
    assert len(board.standings) == 3
    far = make_rows(replace(POINT, protection="sign", rate=1e-2), [0.5] * 4, chips=range(9, 13))
    rows = pa.concat_tables([rows, far])
    (board,) = make_boards(summarise_points(rows, 0.01), 0.01)
    assert len(board.standings) == 2
    with pytest.raises(ValueError, match="no chip stands at every rate"):
        tolerated_rates(np.array([1e-3]), np.zeros((1, 0)), 0.9, 0.9, 0.01)


def test_misread_levels_lose_at_rate_0():
    chips = np.array([0.001, -0.001, 0.0, 0.0005])
    clean = {0.0: 0.85 + chips, 1e-3: 0.845 + chips, 1e-2: 0.8 + chips}
    _, (board,) = board_of({"none": clean, "closest": clean}, 0.02, misread=0.3)
    assert [standing.borne[0] for standing in board.standings] == [0.0, 0.0]


def test_thousands_of_chips_take_fewer_draws():
    scores = 0.85 + 0.01 * np.random.default_rng(0).normal(size=(2, 20_000))
    found = tolerated_rates(np.array([1e-3, 1e-2]), scores, 0.9, 0.9, 0.03)
    assert len(found) == 401


def test_what_is_lost_without_faults_bears_nothing():
    rows, (board,) = board_of({"none": {1e-3: [0.88, 0.88]}, "closest": {1e-3: [0.889, 0.887]}})
    assert [standing.borne[0] for standing in board.standings] == [0.0, 0.0]
    assert not any(standing.ratio for standing in board.standings)  # none loses a point more
    assert "lost at 0" in make_page(rows)


def test_chips_of_every_rate_count_and_one_chip_has_no_interval():
    _, (board,) = board_of(
        {
            "none": {1e-3: [0.889, 0.889, 0.889], 1e-2: [0.8]},
            "closest": {1e-3: [0.889], 1e-2: [0.85]},
        },
        0.02,
    )
    for standing in board.standings:
        assert standing.chips == 1
        assert standing.borne[0] > 1e-3
        assert standing.borne[1:] == (None, None)


def test_a_single_scheme_has_no_board():
    rows, boards = board_of({"none": {1e-3: [0.889, 0.888]}})
    assert not boards
    assert "Rates borne" not in make_page(rows)
