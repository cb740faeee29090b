"""Clustered faults: each tile is uniform at a rate of its own, and rates vary as a gamma law."""

import functools
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from arrays import array_key, physical
from scipy import stats

from rerax.faults import Clustered, Uniform, dose, stuck_cells
from rerax.faults.clustered import tile_multipliers
from rerax.faults.lines import to_bitlines
from rerax.gamma import QUANTILES, hazards
from rerax.spec import ChipSpec

ROWS, COLUMNS = 96, 45
SPEC = ChipSpec(tile=(16, 24))  # 6 x 15 tiles
SHARE = Fraction(904, 1079)
ALPHA = 1e-6


@functools.partial(jax.jit, static_argnames=("fault", "spec", "shape"))
def _masks(fault, spec, chip, doses, shape):
    """Stuck bits, and those that read 1, of one-bit cells."""
    words = jnp.zeros((spec.groups, *shape), jnp.uint8)
    read, known, _ = fault.disturb(words, array_key(chip), doses, spec)
    return known, read


def states(fault, rate, chip, spec=SPEC, shape=(ROWS, COLUMNS)):
    """States by wordline and bitline: 0 healthy, 1 stuck at 0, 3 stuck at 1."""
    doses = jax.tree.map(jnp.asarray, dose(rate, SHARE, fault))
    known, ones = (np.asarray(a)[0] for a in _masks(fault, spec, jnp.uint32(chip), doses, shape))
    bits = np.stack([(known >> i & 1) + 2 * (ones >> i & 1) for i in range(spec.group_bits)])
    return np.asarray(to_bitlines(jnp.asarray(bits), spec))


def rates_of_tiles(fault, rate, chip, spec=SPEC, shape=(ROWS, COLUMNS)):
    quantiles = np.asarray(tile_multipliers(array_key(chip), spec, *shape))
    hazard = np.array(hazards(fault.shape, rate), float)
    return -np.expm1(-hazard)[quantiles]


def tiles(cells, spec=SPEC):
    """Cells of every whole tile, [I, J, R, C]."""
    r, c = spec.tile
    i, j = cells.shape[0] // r, cells.shape[1] // c
    return cells[: i * r, : j * c].reshape(i, r, j, c).swapaxes(1, 2)


@pytest.mark.parametrize("rate", [1e-3, 0.05, 0.4, 0.8])
@pytest.mark.parametrize("layout", ["interleaved", "separate"])
def test_each_tile_has_the_cells_of_uniform_faults_at_its_own_rate(rate, layout):
    """Cell by cell, on either side of one half, in whole tiles and in cut ones."""
    fault, shape = Clustered(0.5), (41, 13)
    spec = ChipSpec(tile=(16, 24), layout=layout)
    got = states(fault, rate, 3, spec, shape)
    expected = np.zeros_like(got)
    sample = jax.jit(stuck_cells, static_argnames=("spec", "rows", "columns"))
    for (i, j), own in np.ndenumerate(rates_of_tiles(fault, rate, 3, spec, shape)):
        uniform = sample(array_key(3), dose(own, SHARE), spec, *shape)
        part = np.s_[16 * i : 16 * (i + 1), 24 * j : 24 * (j + 1)]
        expected[part] = physical(np.asarray(uniform), spec)[part]
    np.testing.assert_array_equal(got, expected)
    assert (got > 0).any()


def p_values(fault, rate, chips):
    """Binomial p-values of each polarity in every tile, at the tile's own rate."""
    for chip in range(chips):
        own = rates_of_tiles(fault, rate, chip)
        for at, p in zip(tiles(states(fault, rate, chip)), own, strict=True):
            for cells, q in zip(at, p, strict=True):
                for state, share in ((1, 1 - SHARE), (3, SHARE)):
                    hits = int((cells == state).sum())
                    yield stats.binomtest(hits, cells.size, q * float(share)).pvalue


@pytest.mark.parametrize("shape", [0.5, 2.0])
@pytest.mark.parametrize("rate", [0.02, 0.3, 0.7])
def test_rates_of_tiles_are_honest(shape, rate):
    values = list(p_values(Clustered(shape), rate, 3))
    assert min(values) > ALPHA / len(values)


def test_multipliers_are_equally_likely_and_independent_of_all_else():
    drawn = np.stack([tile_multipliers(array_key(c), SPEC, ROWS, COLUMNS) for c in range(300)])
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
    share = np.concatenate([(tiles(states(fault, rate, c)) > 0).mean((2, 3)).ravel()
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
    fault = Clustered(0.5)
    got = np.stack([states(fault, 0.2, chip, spec, (20, 11)) > 0 for chip in range(20)])
    assert stats.binomtest(int(got.sum()), got.size, 0.2).pvalue > ALPHA


def test_a_dose_of_another_model_is_refused():
    words = jnp.zeros((1, 4, 4), jnp.uint8)
    with pytest.raises(ValueError, match=r"make it by dose\(rate, share, fault\)"):
        Clustered(2.0).disturb(words, array_key(0), dose(0.1), SPEC)
