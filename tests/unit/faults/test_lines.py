"""Broken lines and shorts: whole lines within a tile and nothing else, read as plain loops do."""

import functools
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest
from arrays import array_key
from scipy import stats

from rerax import keys
from rerax.encoding import decode, encode
from rerax.faults import dose, fault_model
from rerax.faults.lines import (
    shorted_pairs,
    stuck_bitlines,
    stuck_wordlines,
    to_bitlines,
    to_slices,
)
from rerax.spec import BITS_PER_CELL, ENCODINGS, LAYOUTS, ChipSpec

SHARE = Fraction(1, 3)
ALPHA = 1e-6
SHAPE = (13, 6)
STATE = {0: None, 1: "SA0", 3: "SA1"}

SPECS = [
    ChipSpec(encoding, bits, per_cell, tile, LAYOUTS[(i + j) % 2])
    for i, (encoding, bits, tile) in enumerate(
        zip(ENCODINGS, (8, 7, 5, 6), [(5, 7), (4, 9), (6, 4), (13, 200)], strict=True)
    )
    for j, per_cell in enumerate(BITS_PER_CELL)
]
each_spec = pytest.mark.parametrize(
    "spec", SPECS, ids=[f"{s.encoding}-{s.bits_per_cell}c-{s.layout}" for s in SPECS]
)


@functools.partial(jax.jit, static_argnames=("name", "spec"))
def _disturb(name, spec, words, chip, doses):
    return fault_model(name).disturb(words, array_key(chip), doses, spec)


def disturb(name, spec, words, chip, doses):
    on_device = jax.tree.map(jnp.asarray, (words, jnp.uint32(chip), doses))
    return jax.device_get(_disturb(name, spec, *on_device))


def random_codes(spec, seed=0):
    q = 2 ** (spec.bits - 1) - 1
    return np.random.default_rng(seed).integers(-q, q + 1, SHAPE).astype(np.int8)


@each_spec
def test_physical_order_is_that_of_the_addresses(spec):
    s, r, c = np.indices((spec.cells_per_weight, *SHAPE))
    planes = np.random.default_rng(0).integers(0, 255, s.shape, np.uint8)
    expected = np.zeros((SHAPE[0], spec.bitlines(SHAPE[1])), np.uint8)
    expected[r, spec.bitline(c, s, SHAPE[1])] = planes
    np.testing.assert_array_equal(to_bitlines(jnp.asarray(planes), spec), expected)
    np.testing.assert_array_equal(to_slices(jnp.asarray(expected), spec), planes)


def oracle_units(chip, doses, spec, rows, width):
    hit = oracle.stuck_cells(
        np.asarray(keys.purpose_keys(array_key(chip), 3)), doses, spec, rows, width
    )
    return np.array(hit, object).reshape(rows, width)


@each_spec
@pytest.mark.parametrize("name", ["wordline", "bitline"])
def test_lines_are_sampled_and_read_as_by_loops(spec, name):
    codes, bitlines = random_codes(spec), spec.bitlines(SHAPE[1])
    doses = dose(0.25, SHARE)
    across, down = -(-bitlines // spec.tile[1]), -(-SHAPE[0] // spec.tile[0])
    size = (SHAPE[0], across) if name == "wordline" else (down, bitlines)
    stuck = oracle.cells_of_lines(
        oracle_units(2, doses, spec, *size), name, spec, SHAPE[0], bitlines
    )
    words = jnp.asarray(encode(codes, spec))
    read, _, counts = disturb(name, spec, words, 2, doses)
    np.testing.assert_array_equal(decode(jnp.asarray(read), spec), oracle.read(codes, stuck, spec))
    assert counts.stuck_at_0 == (stuck == "SA0").sum()
    assert counts.stuck_at_1 == (stuck == "SA1").sum()
    assert sum(counts) == (stuck != np.array(None)).sum() > 0


@functools.partial(jax.jit, static_argnames="spec")
def _short(spec, words, doses):
    pairs = shorted_pairs(array_key(3), doses, spec, *SHAPE)
    return pairs, fault_model("short").disturb(words, array_key(3), doses, spec)


@each_spec
def test_shorts_are_sampled_and_read_as_by_loops(spec):
    words, bitlines = encode(random_codes(spec, 1), spec), spec.bitlines(SHAPE[1])
    left = [b for b in range(bitlines - 1) if b // spec.tile[1] == (b + 1) // spec.tile[1]]
    down = -(-SHAPE[0] // spec.tile[0])
    for rate in (0.15, 0.6):
        doses = dose(rate)
        joined = np.zeros((down, bitlines), bool)
        joined[:, left] = oracle_units(3, doses, spec, down, len(left)) != np.array(None)
        found, (read, known, counts) = jax.device_get(_short(spec, jnp.asarray(words), doses))
        np.testing.assert_array_equal(found, joined)
        expected, shorted = oracle.short(words, joined, spec)
        np.testing.assert_array_equal(read, expected)
        assert counts.shorted == shorted == sum(counts) > 0
        assert not known.any()


def test_a_run_of_three_reads_its_highest_level_and_a_small_cell_its_own():
    """Written out by hand: seven-bit words in cells of 2, 2, 2 and 1 bits."""
    spec = ChipSpec("offset", 7, 2, (2, 6))
    words = np.uint8([[[0b0_01_10_00, 0b1_00_00_11]]])
    joined = np.zeros((1, 8), bool)
    joined[0, [1, 2, 4]] = True  # 1-2-3 and 4-5; the tile ends after 5
    read, shorted = oracle.short(words, joined, spec)
    assert read.tolist() == [[[0b1_10_10_00, 0b1_00_11_11]]]
    assert shorted == 5


@pytest.mark.parametrize("name", ["wordline", "bitline", "short"])
@pytest.mark.parametrize("tile", [(1, 1), (1, 50), (50, 1), (3, 2)], ids=str)
def test_tiles_one_line_wide(name, tile):
    """A line of one cell is a cell; a tile of one bitline has nothing to short."""
    spec = ChipSpec("offset", 4, 2, tile)
    words = np.random.default_rng(0).integers(0, 16, (1, 7, 5), np.uint8)
    read, _, counts = disturb(name, spec, words, 0, dose(1.0, 1.0))
    expected = oracle.all_shorted(words, spec) if name == "short" else np.full_like(words, 15)
    np.testing.assert_array_equal(read, expected)
    expected_cells = 0 if name == "short" and tile[1] == 1 else 7 * 10
    assert sum(counts) == expected_cells


LARGE = ChipSpec(tile=(32, 50))
ROWS, COLUMNS = 200, 61
UNITS = {"wordline": stuck_wordlines, "bitline": stuck_bitlines, "short": shorted_pairs}


@functools.partial(jax.jit, static_argnames="name")
def _units(name, chip, doses):
    return UNITS[name](array_key(chip), doses, LARGE, ROWS, COLUMNS)


def units(name, rate, chip, share=SHARE):
    found = np.asarray(_units(name, jnp.uint32(chip), jax.tree.map(jnp.asarray, dose(rate, share))))
    if name == "short":
        bitlines = LARGE.bitlines(COLUMNS)
        within = np.arange(1, bitlines) // 50 == np.arange(bitlines - 1) // 50
        assert not found[:, :-1][:, ~within].any()
        assert not found[:, -1].any()
        return found[:, :-1][:, within].astype(np.uint8)
    return found


@pytest.mark.parametrize("name", UNITS)
@pytest.mark.parametrize("rate", [0.0, 1e-3, 0.1079, 0.5, 0.9, 1.0])
def test_realised_rates_of_lines_are_binomial(name, rate):
    share = Fraction(0) if name == "short" else SHARE
    values = []
    for chip in range(5):
        found = units(name, rate, chip, share)
        for place in (found, *np.array_split(found, 3), *np.array_split(found, 3, axis=1)):
            for state, p in ((1, rate * float(1 - share)), (3, rate * float(share))):
                hits = int((place == state).sum())
                values.append(stats.binomtest(hits, place.size, p).pvalue)
    assert min(values) > ALPHA / len(values)


@pytest.mark.parametrize("name", UNITS)
def test_number_of_broken_lines_varies_as_independent_ones_do(name):
    rate, n = 0.05, 300
    counts = [int((units(name, rate, chip) > 0).sum()) for chip in range(n)]
    size = units(name, rate, 0).size
    chi2 = (n - 1) * np.var(counts, ddof=1) / (size * rate * (1 - rate))
    assert ALPHA < stats.chi2.cdf(chi2, n - 1) < 1 - ALPHA


@pytest.mark.parametrize("name", ["wordline", "bitline"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_whole_lines_of_a_tile_are_stuck_and_nothing_else(name, layout):
    """Seen from the cells alone: along its line, within its tile, every cell is in one state."""
    spec = ChipSpec(tile=(32, 50), layout=layout)
    words = jnp.zeros((1, ROWS, COLUMNS), jnp.uint8)
    read, known, _ = disturb(name, spec, words, 1, dose(0.2, SHARE))
    bits = [(np.asarray(known)[0] >> i & 1) + 2 * (np.asarray(read)[0] >> i & 1) for i in range(8)]
    cells = np.asarray(to_bitlines(jnp.asarray(np.stack(bits)), spec))
    lines = cells if name == "wordline" else cells.T
    length = 50 if name == "wordline" else 32
    segments = [line[i : i + length] for line in lines for i in range(0, lines.shape[1], length)]
    assert all(len(set(segment.tolist())) == 1 for segment in segments)
    states = np.array([segment[0] for segment in segments])
    assert set(states.tolist()) == {0, 1, 3}
    values = [
        stats.binomtest(int((states == state).sum()), len(states), p).pvalue
        for state, p in ((1, 0.2 * 2 / 3), (3, 0.2 / 3))
    ]
    assert min(values) > ALPHA / 2


def test_stuck_cells_vary_by_whole_lines():
    """Variance of the stuck cells of a chip: that of lines, a line's length above uniform's."""
    rate, n = 0.05, 300
    words = jnp.zeros((1, ROWS, COLUMNS), jnp.uint8)
    doses = jax.tree.map(jnp.asarray, dose(rate, 0.0))

    def ratio(name):
        @jax.jit
        def count(chip):
            key = array_key(chip)
            return fault_model(name).disturb(words, key, doses, LARGE).counts.stuck_at_0

        counts = [int(count(jnp.uint32(chip))) for chip in range(n)]
        return np.var(counts, ddof=1) / (ROWS * LARGE.bitlines(COLUMNS) * rate * (1 - rate))

    low, high = stats.chi2.ppf([ALPHA, 1 - ALPHA], n - 1) / (n - 1)
    lengths = {
        "wordline": [50] * 9 + [38],
        "bitline": [32] * 6 + [8],
        "uniform": [1],
    }
    for name, parts in lengths.items():  # cells lie in parts of lines: E[length^2] / E[length]
        expected = sum(p * p for p in parts) / sum(parts)
        assert low * expected < ratio(name) < high * expected
