"""Chances of rare failures by splitting, against laws whose chances are known."""

import functools

import numpy as np
import pytest
from scipy.stats import poisson

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
    for rate, own in zip(RATES, found.chances, strict=True):
        chance, error = poisson.sf(FAILS - 1, rate), own.std(ddof=1) / np.sqrt(len(own))
        assert abs(own.mean() - chance) < 4 * error, rate
    counted = chance * (1 - chance) / error**2
    assert chance < 3e-4
    assert counted > 3 * sum(found.evaluated)
    assert max(found.evaluated) < 1.3 * 2500


def test_what_a_batch_comes_to_depends_on_no_other():
    whole = splitting.split(0, 6, 20, RATES, judge, 0)
    part = splitting.split(40, 2, 20, RATES, judge, 0)
    np.testing.assert_array_equal(whole.chances[:, 2:4], part.chances)


@pytest.mark.parametrize(("fewest", "most", "power"), [(0.05, 1.5, 1), (0.5, 8.0, 4), (1, 1, 1)])
def test_no_number_of_descendants_brings_a_bias(monkeypatch, fewest, most, power):
    for name, value in (("FEWEST", fewest), ("MOST", most), ("POWER", power)):
        monkeypatch.setattr(splitting, name, value)
    own = splitting.split(0, 200, 20, RATES[:3], judge, 1).chances[-1]
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
    assert splitting.balanced(np.zeros(10), 10).sum() == 10 * splitting.FEWEST


def test_a_descent_ends_where_enough_is_known():
    found = splitting.split(0, 4, 50, RATES, judge, 0, lambda rate, chance: rate < 5)
    assert len(found.chances) == len(found.evaluated) == 3
