"""Clustered faults: each tile holds the cells of uniform ones at the tile's own rate."""

import functools
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from arrays import array_key, physical

from rerax.crossbar.spec import ChipSpec
from rerax.faults import Clustered
from rerax.faults.sampling.gamma import hazards
from rerax.faults.sampling.poisson_process import stuck_cells
from rerax.faults.sampling.rates import rate_table
from rerax.faults.sampling.tiles import tile_multipliers

SHARE = Fraction(904, 1079)
SHAPE = (41, 13)
FAULT = Clustered(0.5)
uniform = jax.jit(stuck_cells, static_argnames=("spec", "rows", "columns"))


@functools.partial(jax.jit, static_argnames="spec")
def clustered(spec, key, table):
    words = jnp.zeros((1, *SHAPE), jnp.uint8)
    return FAULT.disturb(words, key, table, spec), tile_multipliers(key, spec, *SHAPE)


@pytest.mark.parametrize(
    ("layout", "rates"), [("interleaved", (1e-3, 0.4)), ("separate", (0.05, 0.8))]
)
def test_each_tile_has_the_cells_of_uniform_faults_at_its_own_rate(layout, rates):
    """Cell by cell, on either side of one half, in whole tiles and in cut ones."""
    spec = ChipSpec(tile=(16, 24), layout=layout)
    for rate in rates:
        table = jax.tree.map(jnp.asarray, rate_table(rate, SHARE, FAULT))
        found, quantiles = jax.device_get(clustered(spec, array_key(3), table))
        bits = [(found.known[0] >> i & 1) + 2 * (found.words[0] >> i & 1) for i in range(8)]
        got = physical(np.stack(bits), spec)
        expected = np.zeros_like(got)
        own = -np.expm1(-np.array(hazards(FAULT.shape, rate), float))[quantiles]
        for (i, j), tile_rate in np.ndenumerate(own):
            cells = uniform(array_key(3), rate_table(tile_rate, SHARE), spec, *SHAPE)
            part = np.s_[16 * i : 16 * (i + 1), 24 * j : 24 * (j + 1)]
            expected[part] = physical(np.asarray(cells), spec)[part]
        np.testing.assert_array_equal(got, expected)
        assert (got > 0).any()
