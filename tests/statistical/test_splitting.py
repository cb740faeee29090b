"""Chances of rare failures by splitting, against laws whose chances are known."""

import functools

import numpy as np
import pytest
from scipy import optimize
from scipy.stats import chi2, poisson

from rerax.stats import splitting

RATES = (8.0, 6.0, 4.5, 3.4, 2.5, 1.9)
FAILS = 9
"""Faults of a chip that fails, where a chip at a rate has as many as Poisson's law of it gives."""


@functools.cache
def faults(root, path):
    """A chip's faults, which follow from its ancestors' by thinning."""
    draw = np.random.Generator(np.random.PCG64([7, root, *path]))
    if not path:
        return draw.poisson(RATES[0])
    return draw.binomial(faults(root, path[:-1]), RATES[len(path)] / RATES[len(path) - 1])


def judge(generation):
    found = np.array(
        [faults(int(root), tuple(map(int, path)))
         for root, path in zip(generation.root, generation.branches, strict=True)]
    )  # fmt: skip
    return splitting.Verdict(found >= FAILS, found / FAILS)


def test_estimates_are_right_and_narrower_than_counts():
    found = splitting.split(0, 100, 25, RATES, judge, 0)
    for rate, own in zip(RATES, found.failing, strict=True):
        chance, error = poisson.sf(FAILS - 1, rate), own.std(ddof=1) / np.sqrt(len(own))
        assert abs(own.mean() - chance) < 4 * error, rate
    counted = chance * (1 - chance) / error**2
    assert chance < 3e-4
    assert counted > 3 * sum(found.evaluated)
    assert max(found.evaluated) < 1.3 * 2500


def test_what_a_batch_comes_to_depends_on_no_other():
    whole = splitting.split(0, 6, 20, RATES, judge, 0)
    part = splitting.split(40, 2, 20, RATES, judge, 0)
    np.testing.assert_array_equal(whole.failing[:, 40:80], part.failing)


@pytest.mark.parametrize(("fewest", "most", "power"), [(0.05, 1.5, 1), (0.5, 8.0, 4), (1, 1, 1)])
def test_no_number_of_descendants_brings_a_bias(monkeypatch, fewest, most, power):
    for name, value in (("FEWEST", fewest), ("MOST", most), ("POWER", power)):
        monkeypatch.setattr(splitting, name, value)
    own = splitting.split(0, 200, 20, RATES[:3], judge, 1).failing[-1]
    error = own.std(ddof=1) / np.sqrt(len(own))
    assert abs(own.mean() - poisson.sf(FAILS - 1, RATES[2])) < 4 * error


def test_weights_are_kept_on_average_and_numbers_balanced():
    before = splitting.first_generation(range(5000))
    lost = np.random.default_rng(0).random(5000) * 2
    wanted = splitting.balanced(lost, 5000)
    assert wanted.sum() == pytest.approx(5000, rel=1e-3)
    after = splitting.descend(before, wanted, 0)
    assert after.weight.sum() == pytest.approx(5000, rel=0.05)
    assert len({tuple(path) for path in after.branches}) == len(after.branches)


@pytest.mark.parametrize("scale", [0.0, 1e-9, 1.0, 1e9])
@pytest.mark.parametrize("losing", [0, 1, 3, 10])
def test_a_population_keeps_its_size(scale, losing):
    """Also where no chip has lost anything, or a single one, or the budget is next to nothing."""
    lost = scale * (np.arange(100) < losing)
    assert splitting.balanced(lost, 100).sum() == pytest.approx(100, rel=1e-6)


def test_a_descent_ends_where_enough_is_known():
    found = splitting.split(0, 4, 50, RATES, judge, 0, lambda rate, chance: rate < 5)
    assert len(found.failing) == len(found.evaluated) == 3


def test_intervals_hold():
    """The chance of counts, in 60 campaigns of few chips, and the rate of one chance."""
    held, rates_held, wanted = [], [], 2e-3
    right = optimize.brentq(lambda rate: poisson.sf(FAILS - 1, rate) - wanted, 0.1, 9)
    for campaign in range(60):
        own = splitting.split(128 * campaign, 8, 16, RATES, judge, 0).failing
        intervals = [splitting.chance_interval(one, 8) if one.any() else None for one in own]
        for rate, ends in zip(RATES[:4], intervals, strict=False):
            held.append(ends and ends[0] <= poisson.sf(FAILS - 1, rate) <= ends[1])
        found = splitting.rate_of(wanted, RATES, own.mean(axis=1).tolist(), intervals)
        rates_held.append(found and found[1] <= right <= found[2])
    assert sum(map(bool, held)) >= 0.9 * len(held)
    told = [one for one in rates_held if one is not None]
    assert len(told) > 50
    assert sum(told) >= 0.9 * len(told)


def test_an_interval_is_the_gamma_laws():
    """Of equal weights it is Poisson's exact interval of a count."""
    failing = np.zeros(10_000)
    failing[::1000] = 1.0
    low, high = splitting.chance_interval(failing, 10)
    assert low == pytest.approx(chi2.ppf(0.025, 20) / 2e4, rel=2e-3)
    assert high == pytest.approx(chi2.ppf(0.975, 22) / 2e4, rel=2e-3)


def test_a_rate_lies_between_two_where_chips_have_failed():
    rates, chances = (0.1, 0.05, 0.02), (0.4, 0.04, 0.004)
    ends = ((0.3, 0.5), (0.02, 0.1), (0.0, 0.02))
    at, low, high = splitting.rate_of(0.04 / np.sqrt(10), rates, chances, ends)
    assert at == pytest.approx(np.sqrt(0.05 * 0.02))
    assert low == 0.0
    assert 0.02 < at < high == 0.05
    wide = ((0.01, 0.5), *ends[1:])  # the chance may be as small at the first rate already
    assert splitting.rate_of(0.04 / np.sqrt(10), rates, chances, wide) == (at, low, 1.0)
    assert splitting.rate_of(0.5, rates, chances, ends) is None
    assert splitting.rate_of(1e-3, rates, chances, ends) is None
    assert splitting.rate_of(1e-3, rates, (0.4, 0.04, 0.0), ends) is None
    assert splitting.rate_of(0.01, rates, (0.0, 0.0, 0.0), (None, None, None)) is None


@pytest.mark.parametrize("roots", [16, 256])
def test_where_all_fail_the_lower_end_is_the_exact_one(roots):
    low, high = splitting.chance_interval(np.ones(roots), 16)
    assert low == pytest.approx(0.025 ** (1 / roots))
    assert high >= 1
