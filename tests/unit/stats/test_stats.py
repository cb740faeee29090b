import math

import numpy as np
import pyarrow as pa
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from rerax.stats import (
    bootstrap_interval,
    chips_for_mean,
    chips_for_yield,
    chips_without_failure,
    clopper_pearson,
    doubtful,
    first_misses,
    looks,
    mean_interval,
    normal_quantile,
    paired_difference,
    passes,
    quantiles,
    skewness,
    standard_error,
    stop_here,
    summarise,
    t_interval,
    t_quantile,
    wilson,
    yield_interval,
)
from rerax.stats.tolerated import crossings

PROBABILITIES = (0.001, 0.025, 0.3, 0.6, 0.9, 0.975, 0.995, 0.9995)


@pytest.mark.parametrize("degrees", [1, 2, 3, 4, 7, 15, 63, 64, 999, 100_000])
def test_student_quantiles_equal_scipys(degrees):
    found = [t_quantile(p, degrees) for p in PROBABILITIES]
    np.testing.assert_allclose(found, scipy.stats.t.ppf(PROBABILITIES, degrees), rtol=1e-7)


def test_normal_quantiles_equal_scipys():
    found = [normal_quantile(p) for p in PROBABILITIES]
    np.testing.assert_allclose(found, scipy.stats.norm.ppf(PROBABILITIES), rtol=1e-9)


@given(st.integers(1, 2000), st.data())
def test_yield_intervals_equal_scipys(chips, data):
    passed = data.draw(st.integers(0, chips))
    expected = scipy.stats.binomtest(passed, chips).proportion_ci(method="wilson")
    low, high = yield_interval(passed, chips)
    np.testing.assert_allclose((low, high), (expected.low, expected.high), atol=1e-12)
    assert 0 <= low <= passed / chips <= high <= 1


def test_a_summary_by_hand():
    summary = summarise(np.array([0.8, 0.9, 0.7, 0.8]))
    se = np.sqrt(0.02 / 3 / 4)
    assert summary.chips == 4
    assert summary.worst == 0.7
    np.testing.assert_allclose((summary.mean, summary.se), (0.8, se), rtol=1e-12)
    z = scipy.stats.norm.ppf(0.975)
    more = z * (z**4 + 2 * z**2 - 3) / 18 * (4 / 32) / 4  # of these scores without skewness
    expected = 0.8 + np.array([-1, 1]) * (scipy.stats.t.ppf(0.975, 3) + more) * se
    np.testing.assert_allclose(summary.interval, expected, rtol=1e-9)


def test_one_chip_has_no_error():
    summary = summarise(np.array([0.5]))
    assert (summary.mean, summary.se, summary.interval, summary.worst) == (0.5, None, None, 0.5)
    assert not summary.doubtful


def test_equal_chips_have_an_error_of_zero():
    summary = summarise(np.full(64, 0.25))
    assert summary.se == 0
    assert summary.interval == (0.25, 0.25)
    assert summary.doubtful


def test_an_interval_ends_at_the_highest_score():
    scores = np.array([1.0, 0.9, 1.0])
    free, cut = summarise(scores), summarise(scores, highest=1.0)
    assert free.interval[1] > 1
    assert cut.interval == (free.interval[0], 1.0)
    assert cut.mean == free.mean


SKEWED = 1 - np.random.default_rng(3).gamma(0.5, 0.1, 64)


def test_moments_and_students_interval_equal_scipys():
    campaigns = SKEWED.reshape(4, 16)
    np.testing.assert_allclose(standard_error(campaigns), scipy.stats.sem(campaigns, axis=1))
    np.testing.assert_allclose(skewness(campaigns), scipy.stats.skew(campaigns, axis=1))
    for found, scores in zip(t_interval(campaigns, 0.9), campaigns, strict=True):
        mean, se = np.mean(scores), scipy.stats.sem(scores)
        np.testing.assert_allclose(found, scipy.stats.t.interval(0.9, 15, mean, se), rtol=1e-9)


def test_the_interval_of_skewed_scores_is_students_with_a_larger_quantile():
    z, skew = scipy.stats.norm.ppf(0.975), scipy.stats.skew(SKEWED)
    assert skew < -1
    more = z * (z**4 + 2 * z**2 - 3) / 18 * (abs(skew) + 1) ** 2 / 64
    t = scipy.stats.t.ppf(0.975, 63) + more
    half = t * scipy.stats.sem(SKEWED)
    expected = (SKEWED.mean() - half, SKEWED.mean() + half)
    np.testing.assert_allclose(mean_interval(SKEWED), expected, rtol=1e-12)
    np.testing.assert_allclose(summarise(SKEWED).interval, expected, rtol=1e-12)
    batch = mean_interval(np.stack([SKEWED, SKEWED[::-1]]))
    np.testing.assert_allclose(batch, [expected, expected], rtol=1e-12)


@pytest.mark.parametrize(
    ("chips", "lowest", "beyond"), [(32, -4.0, False), (32, -4.3, True), (64, -4.3, False)]
)
def test_scores_too_skewed_for_so_few_chips_are_doubtful(chips, lowest, beyond):
    scores = np.append(np.linspace(-1, 1, chips - 1), lowest)
    assert (scipy.stats.skew(scores) ** 2 > chips / 6) == beyond
    assert summarise(scores).doubtful == beyond
    assert doubtful(np.stack([scores, -scores])).tolist() == [beyond, beyond]


def test_fewer_than_five_distinct_scores_are_doubtful_whatever_rounding_does():
    few = np.tile([0.1, 0.2, 0.3, 0.4], 16)
    rounded = np.where(np.arange(64) < 32, 0.7 + few - 0.7, few)
    assert len(np.unique(rounded)) > 4
    assert doubtful(np.stack([few, rounded, np.where(np.arange(64) < 1, 0.5, few)])).tolist() == [
        True,
        True,
        False,
    ]


def test_the_bootstrap_interval_by_a_loop():
    scores, numbers = SKEWED[:12], np.random.Generator(np.random.PCG64(5))
    found = []
    for counts in numbers.multinomial(12, np.full(12, 1 / 12), 100):
        again = np.repeat(scores, counts)
        found.append(abs(again.mean() - scores.mean()) / scipy.stats.sem(again))
    half = sorted(found)[90] * scipy.stats.sem(scores)  # 99 * 0.9 = 89.1, rounded up
    expected = (scores.mean() - half, scores.mean() + half)
    interval = bootstrap_interval(scores, 0.9, resamples=100, seed=5)
    np.testing.assert_allclose(interval, expected, rtol=1e-9)


def test_the_bootstrap_interval_is_the_same_each_time_and_seen_in_any_company():
    alone = bootstrap_interval(SKEWED)
    assert alone.tolist() == bootstrap_interval(SKEWED).tolist()
    assert alone.tolist() != bootstrap_interval(SKEWED, seed=1).tolist()
    together = bootstrap_interval(np.stack([SKEWED, np.full(64, 0.3)]))
    np.testing.assert_allclose(together[0], alone, rtol=1e-12)
    assert together[1].tolist() == [0.3, 0.3]
    assert bootstrap_interval(np.array([0.1, 0.9])).tolist() == [-np.inf, np.inf]


@pytest.mark.parametrize("interval", [mean_interval, t_interval, bootstrap_interval])
def test_equal_scores_leave_no_doubt_whatever_rounding_does(interval):
    np.testing.assert_allclose(interval(np.full(50, 0.1)), [0.1, 0.1], rtol=1e-12)
    assert float(skewness(np.full(50, 0.1))) == 0


def test_quantiles_by_hand_and_of_one_chip():
    scores = np.arange(1.0, 10.0)[::-1].copy()
    assert quantiles(scores, (0.25, 0.5)) == pytest.approx((2 + 2 / 3, 5))  # (n + 1/3) p + 1/3
    assert quantiles(np.array([0.7])) == pytest.approx([0.7] * 5)


@pytest.mark.parametrize(
    ("scores", "said"),
    [([], "there is no chip: give"), ([0.5, np.nan], "not finite"), ([0.5, np.inf], "not finite")],
)
def test_scores_that_are_none(scores, said):
    for function in (summarise, quantiles):
        with pytest.raises(ValueError, match=said):
            function(np.array(scores, np.float64))


@given(st.integers(1, 3000), st.data())
def test_exact_yield_intervals_equal_scipys(chips, data):
    passed = data.draw(st.integers(0, chips))
    level = data.draw(st.sampled_from([0.8, 0.95, 0.99]))
    expected = scipy.stats.binomtest(passed, chips).proportion_ci(level, method="exact")
    np.testing.assert_allclose(
        clopper_pearson(passed, chips, level), (expected.low, expected.high), atol=1e-11
    )


@pytest.mark.parametrize("chips", [1, 2, 64, 100_000])
def test_yields_at_the_ends_and_the_wider_interval_after_stopping(chips):
    for passed in {0, 1, chips // 2, chips}:
        low, high = yield_interval(passed, chips, stopped_early=True)
        assert 0 <= low <= passed / chips <= high <= 1
    assert yield_interval(0, chips)[0] == 0
    assert yield_interval(chips, chips, stopped_early=True)[1] == 1
    assert yield_interval(chips, chips) == wilson(chips, chips)
    if chips > 1:
        half = chips // 2
        wide = np.diff(yield_interval(half, chips, stopped_early=True))
        assert wide > np.diff(yield_interval(half, chips))


@pytest.mark.parametrize(("passed", "chips"), [(0, 0), (3, 2), (-1, 2)])
def test_yields_that_cannot_be(passed, chips):
    with pytest.raises(ValueError, match=f"{passed} of {chips} chips cannot pass: give"):
        yield_interval(passed, chips)


def test_pairs_are_the_chips_that_both_have():
    mine, theirs = np.array([5, 0, 2, 9]), np.array([9, 1, 5, 2])
    found = paired_difference(
        mine, np.array([0.9, 0.1, 0.7, 0.8]), theirs, np.array([0.5, 0.2, 0.6, 0.8])
    )
    differences = np.array([0.3, -0.1, 0.3])
    assert (found.chips, found.worst) == (3, pytest.approx(-0.1))
    assert found.mean == pytest.approx(differences.mean())
    assert found.se == pytest.approx(scipy.stats.sem(differences))
    assert found.interval == pytest.approx(mean_interval(differences).tolist())
    one = paired_difference(mine[:1], np.array([0.9]), theirs, np.array([0.5, 0.2, 0.6, 0.8]))
    assert (one.mean, one.se, one.interval) == (pytest.approx(0.3), None, None)


def test_pairs_tell_what_chips_share_from_what_schemes_do():
    chips = np.arange(64)
    shared = np.random.default_rng(0).normal(0.7, 0.1, 64)
    gain = paired_difference(chips, shared + 0.01, chips[::-1].copy(), shared[::-1].copy())
    assert gain.interval == pytest.approx((0.01, 0.01))


@pytest.mark.parametrize(
    ("mine", "theirs", "said"), [([1, 2], [3, 4], "share no chip"), ([1, 1], [1, 2], "named twice")]
)
def test_pairs_that_are_none(mine, theirs, said):
    scores = np.array([0.5, 0.6])
    with pytest.raises(ValueError, match=said):
        paired_difference(np.array(mine), scores, np.array(theirs), scores)


def test_the_rate_at_which_each_chip_first_misses():
    rates = np.array([0.0, 1e-3, 1e-2])
    scores = np.array([[0.9, 0.9, 0.9, 0.8], [0.9, 0.88, 0.9, 0.9], [0.7, 0.9, 0.89, 0.7]])
    found = first_misses(rates, passes(scores, 0.9, 0.01))
    np.testing.assert_array_equal(found, [1e-2, 1e-3, np.nan, 0.0])
    for wrong in (rates[::-1].copy(), np.array([0.0, 1e-3, 1e-3])):
        with pytest.raises(ValueError, match="do not rise"):
            first_misses(wrong, passes(scores, 0.9, 0.01))


@pytest.mark.parametrize(
    ("most", "expected"),
    [(1, (1,)), (63, (63,)), (64, (64,)), (65, (64, 65)), (512, (64, 128, 256, 512))],
)
def test_looks_double_and_end_at_the_most(most, expected):
    assert looks(most) == expected


def test_a_stop_needs_two_chips_and_a_small_error():
    scores = np.array([0.5, 0.6])  # SE 0.05
    assert stop_here(scores, 0.0501)
    assert not stop_here(scores, 0.0499)
    assert not stop_here(scores[:1], 1.0)
    assert stop_here(np.full(64, 0.25), 1e-9)


@given(st.floats(0.001, 0.3), st.floats(0.001, 0.3), st.floats(-4, 4))
def test_so_many_chips_have_the_half_width_and_one_fewer_has_not(half, sd, skew):
    z = scipy.stats.norm.ppf(0.975)

    def width(n):
        unseen = min(1, n / 32) ** 0.5
        more = z * (z**4 + 2 * z**2 - 3) / 18 * (abs(skew) + unseen) ** 2 / n
        return (scipy.stats.t.ppf(0.975, n - 1) + more) * sd / n**0.5

    chips = chips_for_mean(half, sd, skew)
    assert width(chips) <= half * (1 + 1e-9)
    assert chips == 2 or width(chips - 1) > half * (1 - 1e-9)


@given(st.integers(0, 100), st.floats(0.002, 0.4))
def test_so_many_chips_have_the_half_width_of_a_yield(percent, half):
    chips = chips_for_yield(percent / 100, half)
    for n, wide in ((chips, False), (chips - 1, True)):
        if n > 0:
            z, p = scipy.stats.norm.ppf(0.975), percent / 100
            width = z * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
            assert (width > half) == wide or abs(width - half) < 1e-12


def test_a_planned_number_of_chips_gives_the_width_that_the_table_prints():
    chips = chips_for_yield(0.9, 0.02)
    low, high = yield_interval(round(0.9 * chips), chips)
    assert (high - low) / 2 == pytest.approx(0.02, rel=1e-3)
    assert chips_for_mean(0.01, 0.0) == 2
    assert chips_for_mean(1e-6, 0.3) == pytest.approx((1.959964 * 0.3 / 1e-6) ** 2, rel=1e-6)


def test_scores_may_be_any_list_of_numbers():
    """Lists and Arrow's columns give what arrays do, and what is no list of numbers is refused."""
    wanted = summarise(np.array([1.0, 2.0, 4.0]))
    for scores in ([1.0, 2.0, 4.0], pa.array([1.0, 2.0, 4.0]), pa.chunked_array([[1.0, 2, 4]])):
        assert summarise(scores) == wanted
        difference = paired_difference([0, 1, 2], scores, [0, 1, 2], [0.0, 0.0, 0.0])
        assert difference == wanted
    for bad in (["a"], [[1.0, 2.0]], [[1.0], [1.0, 2.0]], 3.0):
        with pytest.raises(ValueError, match=r"give a list of numbers, one for each chip"):
            summarise(bad)
    with pytest.raises(ValueError, match="2 chips have 3 scores: give one for each"):
        paired_difference([0, 1], [1.0, 2.0, 3.0], [0, 1], [1.0, 2.0])


@pytest.mark.parametrize("level", [95.0, 1.0, 0.0, -0.5, math.nan])
def test_a_level_that_is_none_is_refused(level):
    for call in (
        lambda: wilson(3, 10, level),
        lambda: clopper_pearson(3, 10, level),
        lambda: mean_interval(np.array([0.1, 0.2, 0.4]), level),
        lambda: chips_for_mean(0.005, 0.02, 0.0, level),
        lambda: chips_for_yield(0.9, 0.03, level),
        lambda: chips_without_failure(0.9, level),
    ):
        with pytest.raises(ValueError, match=r"is outside \(0, 1\): give one such as 0.95"):
            call()


def test_widths_and_spreads_that_are_none_are_refused():
    for call in (
        lambda: chips_for_mean(0.0, 0.02),
        lambda: chips_for_mean(0.005, math.nan),
        lambda: chips_for_mean(0.005, 0.02, math.inf),
        lambda: chips_for_yield(0.9, 0.0),
        lambda: chips_for_yield(90.0, 0.03),
        lambda: chips_without_failure(1.0),
    ):
        with pytest.raises(ValueError, match=": give"):
            call()


@pytest.mark.parametrize(("reference", "clean"), [(0.815, 0.805), (0.88, 0.87), (0.8825, 0.8725)])
def test_a_loss_of_just_the_level_without_faults_is_one(reference, clean):
    found = crossings(np.array([1e-3, 1e-2]), np.array([[0.005], [0.02]]), 0.01, reference - clean)
    assert found == [0.0]
