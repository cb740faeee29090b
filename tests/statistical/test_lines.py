"""Broken lines over many chips: as many as asked for, independent, and whole."""

import functools
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from arrays import array_key, p_values, physical
from scipy import stats

from rerax.crossbar.spec import ChipSpec
from rerax.faults import fault_model
from rerax.faults.sampling.rates import rate_table
from rerax.faults.sampling.shorts import shorted_pairs

SHARE = Fraction(1, 3)
ALPHA = 1e-6
ROWS, COLUMNS = 200, 61
TILE = (32, 50)
LAYOUT = {"wordline": "interleaved", "bitline": "separate", "short": "interleaved"}
NAMES = list(LAYOUT)
CHIPS = 300


@functools.partial(jax.jit, static_argnames="name")
def _look(name, chip, rates):
    """Shorted pairs, or which cells of zero words are stuck and what they read."""
    spec = ChipSpec(tile=TILE, layout=LAYOUT[name])
    if name == "short":
        return shorted_pairs(array_key(chip), rates, spec, ROWS, COLUMNS)
    words = jnp.zeros((1, ROWS, COLUMNS), jnp.uint8)
    return fault_model(name).disturb(words, array_key(chip), rates, spec)


def look(name, chip, rate, share):
    rates = jax.tree.map(jnp.asarray, rate_table(rate, share))
    return jax.device_get(_look(name, jnp.uint32(chip), rates))


def units(name, rate, chip, share=SHARE):
    """States of all lines, seen from the cells; whether each pair of lines is shorted."""
    found, spec = look(name, chip, rate, share), ChipSpec(tile=TILE, layout=LAYOUT[name])
    if name == "short":
        within = np.arange(1, spec.bitlines(COLUMNS)) // 50 == np.arange(487) // 50
        assert not found[:, :-1][:, ~within].any()
        assert not found[:, -1].any()
        return found[:, :-1][:, within].astype(np.uint8)
    bits = [(found.known[0] >> i & 1) + 2 * (found.words[0] >> i & 1) for i in range(8)]
    cells = physical(np.stack(bits), spec)
    lines = cells if name == "wordline" else cells.T
    length = TILE[1] if name == "wordline" else TILE[0]
    starts = lines[:, ::length]  # along its line, within its tile, every cell is in one state
    np.testing.assert_array_equal(np.repeat(starts, length, axis=1)[:, : lines.shape[1]], lines)
    return starts


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("rate", [0.0, 1e-3, 0.1079, 0.5, 0.9, 1.0])
def test_realised_rates_of_lines_are_binomial(name, rate):
    share = Fraction(0) if name == "short" else SHARE
    values = []
    for chip in range(5):
        found = units(name, rate, chip, share)
        for place in (found, *np.array_split(found, 3), *np.array_split(found, 3, axis=1)):
            for state, p in ((1, rate * float(1 - share)), (3, rate * float(share))):
                values.append(p_values((place == state).sum(), place.size, p))
    assert min(values) > ALPHA / len(values)


@pytest.mark.parametrize("name", NAMES)
def test_number_of_broken_lines_varies_as_independent_ones_do(name):
    rate = 0.05
    found = [units(name, rate, chip) for chip in range(CHIPS)]
    size = found[0].size
    chi2 = (CHIPS - 1) * np.var([(f > 0).sum() for f in found], ddof=1) / (size * rate * (1 - rate))
    assert ALPHA < stats.chi2.cdf(chi2, CHIPS - 1) < 1 - ALPHA


@pytest.mark.parametrize(
    ("name", "parts"), [("wordline", [50] * 9 + [38]), ("bitline", [32] * 6 + [8])]
)
def test_stuck_cells_vary_by_whole_lines(name, parts):
    """Variance of the stuck cells of a chip: that of lines, a line's length above uniform's."""
    rate = 0.05
    counts = [int(look(name, chip, rate, 0.0).counts.stuck_at_0) for chip in range(CHIPS)]
    ratio = np.var(counts, ddof=1) / (ROWS * 8 * COLUMNS * rate * (1 - rate))
    low, high = stats.chi2.ppf([ALPHA, 1 - ALPHA], CHIPS - 1) / (CHIPS - 1)
    expected = sum(p * p for p in parts) / sum(parts)  # cells lie in parts of lines
    assert low * expected < ratio < high * expected
