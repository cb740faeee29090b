"""Tables of Poisson counts, and hazards of rates."""

import numpy as np
import oracle
import pytest
from scipy import stats

from rerax.faults.sampling.poisson import EDGES, hazard, poisson_table


@pytest.mark.parametrize("cells", [3, 20_000, 5_000_000])
def test_tables_equal_the_poisson_law(cells):
    table = poisson_table(cells)
    for k in (0, 8, 20):
        mean = float(cells * (EDGES[k + 1] - EDGES[k]))
        entries = slice(table.start[k], table.start[k + 1])
        cdf = (table.high[entries].astype(float) * 2**32 + table.low[entries]) / 2**64
        counts = table.first[k] + np.arange(len(cdf))
        np.testing.assert_allclose(cdf, stats.poisson.cdf(counts, mean), rtol=1e-9, atol=1e-15)
        if mean < 50:
            assert abs(cdf[-1] - oracle.poisson_cdf(mean, int(counts[-1]))) < 1e-12


@pytest.mark.parametrize("rate", [0.0, 1e-9, 1e-3, 0.1, 0.4999, 0.99])
def test_a_hazard_gives_back_its_rate(rate):
    assert float(hazard(rate)) == pytest.approx(-np.log1p(-rate), rel=1e-14)


def test_intervals_are_octaves_that_end_at_a_rate_of_one_half():
    assert [float(edge) for edge in EDGES[:3]] == [0, 2**-20, 2**-19]
    assert float(EDGES[-2]) == 0.5
    assert -np.expm1(-float(EDGES[-1])) == pytest.approx(0.5, rel=1e-15)
