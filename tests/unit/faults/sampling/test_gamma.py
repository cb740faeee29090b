"""Tables of gamma multipliers against an independent library, and against themselves."""

import hashlib

import numpy as np
import pytest
from scipy import stats

from rerax.faults.sampling.gamma import QUANTILES, hazards, multipliers

SHAPES = (0.1, 0.5, 1.0, 2.0, 4.0, 37.5, 100.0)


@pytest.mark.parametrize("shape", SHAPES)
def test_multipliers_are_the_means_between_quantiles(shape):
    table = np.array(multipliers(shape), float)
    law = stats.gamma(shape, scale=1 / shape)
    edges = law.ppf(np.arange(QUANTILES + 1) / QUANTILES)
    expected = QUANTILES * np.diff(stats.gamma(shape + 1, scale=1 / shape).cdf(edges))
    np.testing.assert_allclose(table[20:], expected[20:], rtol=1e-7)
    assert (np.diff(table) > 0).all()
    assert (edges[:-1] <= table).all()
    assert (table <= edges[1:]).all()
    assert table.mean() == pytest.approx(1, rel=1e-14)
    assert 0.97 < table.var() * shape < 1


def test_golden_tables():
    digits = repr([multipliers(shape) for shape in SHAPES]).encode()
    golden = "be4d87b2c95427c57cd8d799e599dd3a4b2da9e21cfdff031b063b8b9ce611b8"
    assert hashlib.sha256(digits).hexdigest() == golden


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("rate", [0.0, 1e-12, 1e-3, 0.1, 0.999])
def test_the_mean_over_tiles_is_the_rate(shape, rate):
    at = np.array(hazards(shape, rate), float)
    assert (-np.expm1(-at)).mean() == pytest.approx(rate, rel=1e-13, abs=0)
    if rate in (1e-3, 0.1) and shape >= 0.5:  # P = 1 - (1 + h/A)^-A for the gamma law itself
        h = shape * ((1 - rate) ** (-1 / shape) - 1)
        table = np.array(multipliers(shape), float)
        assert at[100] / table[100] == pytest.approx(h, rel=2e-3)


@pytest.mark.parametrize("shape", [0.0, -1.0, 0.05, 101.0, float("nan"), float("inf")])
def test_shapes_outside_the_range_are_refused(shape):
    with pytest.raises(ValueError, match=r"clustered shape .* is outside 0.1..100: give"):
        multipliers(shape)
