"""Clustered faults over many tiles: honest rates, equally likely multipliers, a gamma law."""

import functools
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from arrays import array_key, p_values, physical
from scipy import stats

from rerax.crossbar.spec import ChipSpec
from rerax.faults import Clustered, Uniform
from rerax.faults.sampling.gamma import QUANTILES, hazards
from rerax.faults.sampling.rates import rate_table
from rerax.faults.sampling.tiles import tile_multipliers

ROWS, COLUMNS = 96, 45
SPEC = ChipSpec(tile=(16, 24))  # 6 x 15 tiles
SHARE = Fraction(904, 1079)
ALPHA = 1e-6


@functools.partial(jax.jit, static_argnames=("kind", "spec", "shape"))
def _masks(kind, spec, chip, rates, shape):
    """Stuck bits, and those that read 1, of one-bit cells; and the tiles' multipliers.

    What the shape of the law says is all in the rates, so one compiled function serves every one.
    """
    words, key = jnp.zeros((spec.groups, *shape), jnp.uint8), array_key(chip)
    fault = Uniform() if kind is Uniform else Clustered(1.0)
    read, known, _ = fault.disturb(words, key, rates, spec)
    return known, read, tile_multipliers(key, spec, *shape)


@functools.lru_cache(maxsize=1000)
def states(fault, rate, chip, spec=SPEC, shape=(ROWS, COLUMNS)):
    """States by wordline and bitline (0 healthy, 1 stuck at 0, 3 stuck at 1), rates of tiles."""
    rates = jax.tree.map(jnp.asarray, rate_table(rate, SHARE, fault))
    known, ones, quantiles = jax.device_get(
        _masks(type(fault), spec, jnp.uint32(chip), rates, shape)
    )
    bits = [(known[0] >> i & 1) + 2 * (ones[0] >> i & 1) for i in range(spec.group_bits)]
    cells = physical(np.stack(bits), spec)
    if isinstance(fault, Uniform):
        return cells, None
    return cells, -np.expm1(-np.array(hazards(fault.shape, rate), float))[quantiles]


def tiles(cells):
    """Cells of every tile, [I, J, R, C]."""
    r, c = SPEC.tile
    return cells.reshape(cells.shape[0] // r, r, cells.shape[1] // c, c).swapaxes(1, 2)


@pytest.mark.parametrize("shape", [0.5, 2.0])
@pytest.mark.parametrize("rate", [0.02, 0.3, 0.7])
def test_rates_of_tiles_are_honest(shape, rate):
    """Each polarity in every tile, at the tile's own rate."""
    values = []
    for chip in range(3):
        cells, own = states(Clustered(shape), rate, chip)
        for state, share in ((1, 1 - SHARE), (3, SHARE)):
            hits = (tiles(cells) == state).sum((2, 3))
            values += p_values(hits, 16 * 24, own * float(share)).ravel().tolist()
    assert min(values) > ALPHA / len(values)


def test_multipliers_are_equally_likely_and_independent_of_all_else():
    many = jax.jit(jax.vmap(lambda chip: tile_multipliers(array_key(chip), SPEC, ROWS, COLUMNS)))
    drawn = np.asarray(many(jnp.arange(300, dtype=jnp.uint32)))
    counts = np.bincount(drawn.ravel(), minlength=QUANTILES)
    assert stats.chisquare(counts).pvalue > ALPHA
    centred = drawn.reshape(300, -1) / 255.0 - 0.5
    for other in (np.roll(centred, 1, axis=0), np.roll(centred, 1, axis=1)):  # chip, tile
        n = centred.size
        assert abs((centred * other).sum()) < 5 * np.sqrt(n) / 12
    layers = tile_multipliers(array_key(0, layer=1), SPEC, ROWS, COLUMNS)
    assert (np.asarray(layers) != drawn[0]).mean() > 0.9


def variance_between_tiles(fault, rate, chips=60):
    """Variance of the faulty fraction of a tile beyond the binomial one, and 5 sigma of it."""
    share = np.concatenate([(tiles(states(fault, rate, c)[0]) > 0).mean((2, 3)).ravel()
                            for c in range(chips)])  # fmt: skip
    cells = SPEC.tile[0] * SPEC.tile[1]
    squares = (share - rate) ** 2
    binomial = (rate * (1 - rate) - squares.mean()) / (cells - 1)
    return squares.mean() - binomial, 5 * squares.std() / np.sqrt(len(share))


@pytest.mark.parametrize("shape", [0.5, 1.0, 4.0])
def test_variance_between_tiles_is_that_of_the_gamma_law(shape):
    """E[(1 - p)^2] = (1 + 2h/A)^-A where E[1 - p] = (1 + h/A)^-A."""
    rate = 0.05
    h = shape * ((1 - rate) ** (-1 / shape) - 1)
    expected = (1 + 2 * h / shape) ** -shape - (1 - rate) ** 2
    got, margin = variance_between_tiles(Clustered(shape), rate)
    assert abs(got - expected) < margin
    assert margin < expected / 2  # uniform faults, of variance 0, could not pass


def test_a_test_of_the_variance_tells_shapes_apart():
    expected = {}
    for shape in (0.5, 4.0):
        h = shape * (0.95 ** (-1 / shape) - 1)
        expected[shape] = (1 + 2 * h / shape) ** -shape - 0.95**2
    got, margin = variance_between_tiles(Clustered(4.0), 0.05)
    assert abs(got - expected[0.5]) > margin
    got, margin = variance_between_tiles(Uniform(), 0.05)
    assert abs(got) < margin < expected[4.0]


def test_a_tile_of_one_cell_has_its_own_multiplier():
    spec = ChipSpec(tile=(1, 1))
    got = np.stack([states(Clustered(0.5), 0.2, chip, spec, (20, 11))[0] > 0 for chip in range(20)])
    assert p_values(got.sum(), got.size, 0.2) > ALPHA
