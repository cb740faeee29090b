"""Intervals that hold at every look: published bounds, and how often they all cover."""

import numpy as np
import pytest

from rerax.stats import clopper_pearson, mean_interval, mean_interval_at_looks, yield_sequence
from rerax.stats.every_look import critical_value

LOOKS = (64, 128, 256, 512)


@pytest.mark.parametrize(
    ("looks", "bound"), [(1, 1.960), (2, 2.178), (3, 2.289), (4, 2.361), (5, 2.413), (10, 2.555)]
)
def test_bounds_are_those_of_the_tables(looks, bound):
    """Pocock's, for looks at equal steps."""
    assert critical_value(tuple(range(10, 10 * looks + 10, 10))) == pytest.approx(bound, abs=1e-3)


def test_means_are_covered_at_all_looks_together():
    """By intervals for one look they are not."""
    draw = np.random.default_rng(0).standard_normal((4000, LOOKS[-1]))
    wrong = {}
    for name, interval in (
        ("every", lambda s: mean_interval_at_looks(s, LOOKS)),
        ("one", mean_interval),
    ):
        ends = [interval(draw[:, :n]) for n in LOOKS]
        missed = [(e[:, 0] > 0) | (e[:, 1] < 0) for e in ends]
        wrong[name] = np.any(missed, axis=0).mean()
    assert 0.02 < wrong["every"] < 0.05
    assert wrong["one"] > 0.08


def test_scores_of_another_number_of_chips_are_refused():
    with pytest.raises(ValueError, match="65 chips are none of the looks 64, 128"):
        mean_interval_at_looks(np.zeros(65), (64, 128))


@pytest.mark.parametrize("share", [0.5, 0.9, 0.99, 1.0, 0.0])
def test_yields_are_covered_after_every_chip(share):
    draw, wrong = np.random.default_rng(1), []
    for _ in range(200):
        ends = yield_sequence(draw.random(300) < share)
        wrong.append(bool(((ends[:, 0] > share) | (ends[:, 1] < share)).any()))
        assert (np.diff(ends[:, 0]) >= 0).all()
        assert (np.diff(ends[:, 1]) <= 0).all()
    assert np.mean(wrong) < 0.05


def test_the_price_of_a_yield_at_every_chip():
    passed = np.random.default_rng(2).random(512) < 0.9
    ends, once = yield_sequence(passed)[-1], clopper_pearson(int(passed.sum()), 512)
    assert 1.2 < (ends[1] - ends[0]) / (once[1] - once[0]) < 2.0


@pytest.mark.parametrize("looks", [(64, 64), (0, 64), (128, 64), ()])
def test_odd_looks_are_refused(looks):
    with pytest.raises(ValueError, match="give ascending numbers of chips"):
        critical_value(looks)


def test_what_is_no_pass_is_refused():
    with pytest.raises((ValueError, TypeError)):
        yield_sequence(np.full(20, 0.93))


def test_intervals_of_a_yield_stay_nested_where_no_share_of_the_grid_is_left():
    passed = np.arange(800) < 300
    ends = yield_sequence(passed)
    assert (np.diff(ends[:, 0]) >= 0).all()
    assert (np.diff(ends[:, 1]) <= 0).all()
    assert ends[-1, 0] > 0.9
