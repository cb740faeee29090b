import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from rerax.stats import normal_quantile, summarise, t_quantile, yield_interval

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
    expected = scipy.stats.t.interval(0.95, 3, 0.8, se)
    np.testing.assert_allclose(summary.interval, expected, rtol=1e-9)


def test_the_interval_covers_as_often_as_it_says():
    draws = np.random.default_rng(1).normal(0.7, 0.1, (2000, 6))
    intervals = [summarise(row).interval for row in draws]
    hits = sum(low <= 0.7 <= high for low, high in intervals)
    assert abs(hits - 1900) < 5 * np.sqrt(2000 * 0.95 * 0.05)


def test_one_chip_has_no_error():
    summary = summarise(np.array([0.5]))
    assert (summary.mean, summary.se, summary.interval, summary.worst) == (0.5, None, None, 0.5)


def test_equal_chips_have_an_error_of_zero():
    summary = summarise(np.full(64, 0.25))
    assert summary.se == 0
    assert summary.interval == (0.25, 0.25)
