"""Broken lines and shorts of given lines, read as plain loops do; sampling is no part of it."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest
from arrays import array_key, physical
from quick import WITHOUT_OPTIMISING

from rerax.crossbar.encoding import decode, encode
from rerax.crossbar.spec import ChipSpec
from rerax.faults import fault_model
from rerax.faults.bit_filter import disturb_bits
from rerax.faults.sampling import lines as lines_
from rerax.faults.sampling import shorts
from rerax.faults.sampling.lines import to_bitlines, to_slices
from rerax.faults.sampling.rates import rate_table

SHAPE = ROWS, COLUMNS = 13, 6
quickly = functools.partial(jax.jit, compiler_options=WITHOUT_OPTIMISING)
KEY, DOSE = array_key(0), rate_table(0.5)
STATES = np.array([None, "SA0", "broken", "SA1"], object)
SPECS = [
    ChipSpec("offset", 8, 1, (5, 7)),
    ChipSpec("twos_complement", 7, 2, (4, 9), "separate"),
    ChipSpec("differential", 6, 4, (6, 4)),
]
each_spec = pytest.mark.parametrize("spec", SPECS, ids=lambda s: f"{s.encoding}-{s.layout}")


def random_codes(spec, seed=0):
    q = 2 ** (spec.bits - 1) - 1
    return np.random.default_rng(seed).integers(-q, q + 1, SHAPE).astype(np.int8)


@pytest.fixture
def given_units(monkeypatch):
    """In place of sampling: units as given, on whatever grid of lines is asked for."""
    grids = []

    def give(units):
        def sample(key, rates, grid):
            grids.append((grid.rows, grid.width))
            return jnp.asarray(units(grid.rows, grid.width))[None]

        for module in (lines_, shorts):
            monkeypatch.setattr(module, "sample", sample)
        return grids

    return give


def random_units(states, odds):
    rng = np.random.default_rng(1)
    return lambda rows, width: rng.choice(np.array(states, np.uint8), (rows, width), p=odds)


def disturb(name, spec, words):
    read = quickly(lambda w: fault_model(name).disturb(w, KEY, DOSE, spec))
    return jax.device_get(read(jnp.asarray(words)))


@each_spec
def test_physical_order_is_that_of_the_addresses(spec):
    planes = np.random.default_rng(0).integers(0, 255, (spec.cells_per_weight, *SHAPE), np.uint8)
    expected = physical(planes, spec)
    np.testing.assert_array_equal(to_bitlines(jnp.asarray(planes), spec), expected)
    np.testing.assert_array_equal(to_slices(jnp.asarray(expected), spec), planes)


@each_spec
@pytest.mark.parametrize("name", ["wordline", "bitline"])
def test_broken_lines_are_read_as_by_loops(spec, name, given_units):
    codes, bitlines = random_codes(spec), spec.bitlines(COLUMNS)
    across, down = -(-bitlines // spec.tile[1]), -(-ROWS // spec.tile[0])
    rng = np.random.default_rng(2)
    size = (ROWS, across) if name == "wordline" else (down, bitlines)
    units = rng.choice(np.array([0, 1, 3], np.uint8), size)
    grids = given_units(lambda rows, width: units)
    read, known, counts = disturb(name, spec, encode(codes, spec))
    assert grids == [size]
    stuck = oracle.cells_of_lines(STATES[units], name, spec, ROWS, bitlines)
    np.testing.assert_array_equal(decode(jnp.asarray(read), spec), oracle.read(codes, stuck, spec))
    assert counts.stuck_at_0 == (stuck == "SA0").sum()
    assert counts.stuck_at_1 == (stuck == "SA1").sum()
    held = oracle.levels_of(known, spec) > 0
    np.testing.assert_array_equal(held, stuck != np.array(None))


@each_spec
def test_shorts_are_read_as_by_loops(spec, given_units):
    words, bitlines = encode(random_codes(spec, 1), spec), spec.bitlines(COLUMNS)
    left = [b for b in range(bitlines - 1) if b // spec.tile[1] == (b + 1) // spec.tile[1]]
    down = -(-ROWS // spec.tile[0])
    units = random_units([0, 1], [0.5, 0.5])(down, len(left))
    grids = given_units(lambda rows, width: units)
    read, known, counts = disturb("short", spec, words)
    assert grids == [(down, len(left))]
    joined = np.zeros((down, bitlines), bool)
    joined[:, left] = units
    expected, shorted = oracle.short(words, joined, spec)
    np.testing.assert_array_equal(read, expected)
    assert counts.shorted == shorted == sum(counts) > 0
    assert not known.any()


def test_chosen_bits_of_shorts_are_counted_by_the_cells_that_hold_them(given_units):
    """All pairs joined: on a tile of 4 x 9 bitlines every cell is on a shorted line."""
    spec = SPECS[1]  # seven-bit words in cells of 2, 2, 2 and 1 bits
    words = encode(random_codes(spec), spec)
    given_units(lambda rows, width: np.ones((rows, width), np.uint8))
    whole = disturb("short", spec, words)
    assert whole.counts.shorted == words.size * 4
    chosen = quickly(
        lambda planes, w: disturb_bits(fault_model("short"), planes, w, KEY, DOSE, spec)
    )
    for planes, cells in ((0b1000000, 1), (0b0001101, 2), (0b1111111, 4)):
        some = chosen(np.uint8(planes), words)
        rest = words & np.uint8(0xFF ^ planes)
        np.testing.assert_array_equal(some.words, rest | (whole.words & np.uint8(planes)))
        assert some.counts.shorted == sum(some.counts) == words.size * cells


def test_a_run_of_three_reads_its_highest_level_and_a_small_cell_its_own(given_units):
    """Written out by hand: seven-bit words in cells of 2, 2, 2 and 1 bits."""
    spec = ChipSpec("offset", 7, 2, (2, 6))
    words = np.uint8([[[0b0_01_10_00, 0b1_00_00_11]]])
    joined = np.zeros((1, 8), bool)
    joined[0, [1, 2, 4]] = True  # 1-2-3 and 4-5; the tile ends after 5
    left = np.uint8([[0, 1, 1, 0, 1, 0]])  # 0-1, 1-2, 2-3, 3-4, 4-5, 6-7
    given_units(lambda rows, width: left)
    read, _, counts = disturb("short", spec, words)
    assert read.tolist() == [[[0b1_10_10_00, 0b1_00_11_11]]]
    assert counts.shorted == 5
    by_loops, shorted = oracle.short(words, joined, spec)
    assert (by_loops.tolist(), shorted) == (read.tolist(), 5)


@pytest.mark.parametrize(
    ("name", "tile"),
    [
        ("wordline", (1, 1)),
        ("wordline", (50, 1)),
        ("bitline", (1, 50)),
        ("bitline", (3, 2)),
        ("short", (50, 1)),
        ("short", (1, 50)),
        ("short", (3, 2)),
    ],
    ids=str,
)
def test_tiles_one_line_wide(name, tile, given_units):
    """A line of one cell is a cell; a tile of one bitline has nothing to short."""
    spec = ChipSpec("offset", 4, 2, tile)
    words = np.random.default_rng(0).integers(0, 16, (1, 7, 5), np.uint8)
    given_units(lambda rows, width: np.full((rows, width), 3, np.uint8))
    read, _, counts = disturb(name, spec, words)
    expected = oracle.all_shorted(words, spec) if name == "short" else np.full_like(words, 15)
    np.testing.assert_array_equal(read, expected)
    assert sum(counts) == (0 if name == "short" and tile[1] == 1 else 7 * 10)
