"""Clustered faults: the limits of every multiplier, and which tile has which."""

from decimal import Decimal

import jax.numpy as jnp
import numpy as np
import oracle
import pytest
from arrays import array_key

from rerax.crossbar import keys
from rerax.crossbar.spec import ChipSpec
from rerax.faults import Clustered
from rerax.faults.sampling.gamma import QUANTILES, hazards, survival
from rerax.faults.sampling.poisson import EDGES, INTERVALS
from rerax.faults.sampling.rates import limit_of, rate_table
from rerax.faults.sampling.tiles import TileLimits, _LimitsByTile, _row, tile_multipliers


@pytest.mark.parametrize(
    ("shape", "rate"),
    [(0.1, 0.0), (0.1, 1e-6), (0.1, 0.05), (0.5, 0.5), (0.5, 0.9), (100.0, 0.6), (100.0, 1.0)],
)
def test_limits_stand_for_the_rate_of_every_multiplier(shape, rate):
    """The rate that points below the limits give, and hashes above rate 0.5."""
    table, edges = Clustered(shape).tables(rate), np.array(EDGES, float)
    if rate == 1:
        expected = np.ones(QUANTILES)
    else:
        expected = -np.expm1(-np.array(hazards(shape, rate), float))
    last = np.maximum(table.begun - 1, 0)
    within = (table.limit + 1.0) / 2**32 * (edges[last + 1] - edges[last])
    hazard = np.where(table.begun > 0, edges[last] + within, 0)
    below = -np.expm1(-hazard)
    above = np.where(table.above, (table.above_limit + 1.0) / 2**32, 0)
    found = below + above * (1 - below)
    np.testing.assert_allclose(found, expected, rtol=1e-8, atol=2**-32 * 2**-20)
    assert (table.begun[table.above] == len(EDGES) - 1).all()


def test_multipliers_are_hashes_of_chip_and_tile():
    spec = ChipSpec(tile=(16, 24))
    found = np.asarray(tile_multipliers(array_key(3), spec, 41, 13))
    assert found.shape == (3, 5)  # 41 wordlines and 104 bitlines, the last tiles cut
    key = [int(word) for word in np.asarray(keys.purpose_keys(array_key(3), 4))[3]]
    for tile, multiplier in np.ndenumerate(found):
        assert multiplier == oracle.threefry(key, tile)[0] // (2**32 // QUANTILES)


def test_points_count_up_to_their_own_tiles_limits():
    """Tiles of 2 x 3: one without faults, one in its third interval, one past rate 0.5."""
    spec, full = ChipSpec(tile=(2, 3)), 2**32 - 1
    limits = TileLimits(
        jnp.int32([[0, 3, 21]]),
        jnp.uint32([[0, 1000, full]]),
        jnp.array([[False, False, True]]),
        jnp.uint32([[0, 0, 500]]),
    )
    at = _LimitsByTile(limits, spec, None)
    assert int(at.intervals) == 21
    assert bool(at.above)
    row, bitline = jnp.uint32([1, 1, 1]), jnp.uint32([2, 3, 8])
    for interval, position, expected in (
        (0, full, [False, True, True]),
        (2, 1000, [False, True, True]),
        (2, 1001, [False, False, True]),
        (3, 0, [False, False, True]),
    ):
        found = at.counts(jnp.int32([interval] * 3), jnp.uint32([position] * 3), row, bitline)
        assert found.tolist() == expected
    assert at.counts_above(jnp.uint32([500, 500, 500]), row, bitline).tolist() == [
        False,
        False,
        True,
    ]
    assert not at.counts_above(jnp.uint32([501] * 3), row, bitline).any()


def test_a_rate_of_another_model_is_refused():
    words = jnp.zeros((1, 4, 4), jnp.uint8)
    with pytest.raises(ValueError, match="make them by rate_table"):
        Clustered(2.0).disturb(words, array_key(0), rate_table(0.1), ChipSpec())


@pytest.mark.parametrize(
    ("shape", "rate"), [(0.1, 0.9), (0.1, 0.999), (0.1, 1 - 1e-15), (0.11, 0.7), (100.0, 1 - 1e-15)]
)
def test_tiles_far_past_rate_a_half_take_no_time(shape, rate):
    """Their survival may be a fraction of billions of digits, which no limit of 32 bits tells."""
    table = Clustered(shape).tables(rate)
    far = np.array(hazards(shape, rate), float) > 50
    assert far.any()
    assert table.above[far].all()
    assert (table.above_limit[far] == 2**32 - 2).all()


@pytest.mark.parametrize("hazard", ["24", "99.9", "100", "100.1", "5000", "50000"])
def test_a_far_hazard_has_the_limit_of_its_own_survival(hazard):
    exact = limit_of(1 - 2 * survival(Decimal(hazard)))
    assert _row(Decimal(hazard)) == (INTERVALS, 2**32 - 1, True, exact)
