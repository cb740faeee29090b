"""Cells of every spec: where they lie, and what a weight reads when they are faulty."""

import itertools

import jax.numpy as jnp
import numpy as np
import oracle
import pytest
from arrays import physical

from rerax.crossbar import keys
from rerax.crossbar.encoding import decode, encode
from rerax.crossbar.spec import BITS_PER_CELL, ENCODINGS, LAYOUTS, ChipSpec
from rerax.faults import Flip, read_out
from rerax.faults.sampling import flips
from rerax.faults.sampling.addresses import Cells
from rerax.faults.sampling.rates import rate_table

WIDTHS = (2, 3, 5, 8)  # top cells of every number of bits, in groups of 1 to 8
SPECS = [
    ChipSpec(encoding, bits, per_cell, layout=LAYOUTS[(bits + per_cell) % 2])
    for encoding, bits, per_cell in itertools.product(ENCODINGS, WIDTHS, BITS_PER_CELL)
]
each_encoding = pytest.mark.parametrize("encoding", ENCODINGS)
SHAPE = ROWS, COLUMNS = 5, 7
MOST = 16 * COLUMNS  # units on a wordline, so that all specs share an array's shape
STATES = np.array([None, "SA0", "broken", "SA1"], object)


def specs_of(encoding):
    return [spec for spec in SPECS if spec.encoding == encoding]


def random_codes(spec):
    q = 2 ** (spec.bits - 1) - 1
    return np.random.default_rng(spec.bits).integers(-q, q + 1, SHAPE).astype(np.int8)


def random_states(spec, planes):
    rng = np.random.default_rng(planes)
    return rng.choice(np.array([0, 1, 3], np.uint8), (planes, *SHAPE))


@each_encoding
def test_every_unit_has_its_place(encoding):
    """Cells, and bits of cells for flips: from an address to its place and back."""
    rows, units = (jnp.asarray(a) for a in np.indices((ROWS, MOST), np.uint32))
    for spec in specs_of(encoding):
        for per_cell in {1, spec.bits_per_cell}:
            grid, slices = Cells(spec, *SHAPE, per_cell), spec.cells_per_weight
            assert (grid.rows, grid.width) == (ROWS, COLUMNS * slices * per_cell)
            assert grid.planes == (slices * per_cell, *SHAPE)
            plane, row, column = np.indices(grid.planes)
            bitline = oracle.bitline_of(column, plane // per_cell, slices, COLUMNS, spec)
            unit = bitline * per_cell + plane % per_cell
            places = np.asarray(grid.place(rows, units))
            np.testing.assert_array_equal(
                places[row, unit].ravel(), np.arange(plane.size), err_msg=str(spec)
            )
            for p in range(len(plane)):
                found = grid.addresses(jnp.uint32(p))
                np.testing.assert_array_equal(found, (row[p], unit[p]), err_msg=str(spec))


@each_encoding
def test_stuck_cells_hold_their_level(encoding):
    for spec in specs_of(encoding):
        codes, states = random_codes(spec), random_states(spec, spec.cells_per_weight)
        stuck = STATES[physical(states, spec)]
        stored = jnp.asarray(encode(codes, spec))
        words, _, counts = read_out.stick(stored, jnp.asarray(states), spec)
        expected = oracle.read(codes, stuck, spec)
        np.testing.assert_array_equal(decode(words, spec), expected, err_msg=str(spec))
        assert int(counts.stuck_at_0) == (stuck == "SA0").sum()
        assert int(counts.stuck_at_1) == (stuck == "SA1").sum()


@each_encoding
def test_flips_invert_the_bits_that_a_cell_has(encoding, monkeypatch):
    """Bits that the top cell lacks are neither inverted nor counted."""
    for spec in specs_of(encoding):
        if spec.bits not in (3, 5, 8):  # top cells of 1, 2, 3 and all bits
            continue
        codes, per_cell = random_codes(spec), spec.bits_per_cell
        states = random_states(spec, spec.cells_per_weight * per_cell)
        monkeypatch.setattr(flips, "sample", lambda *_, states=states: jnp.asarray(states))
        words, known, counts = Flip().disturb(
            jnp.asarray(encode(codes, spec)), keys.root_key(0), rate_table(0.5), spec
        )
        flipped = np.empty(SHAPE, object)
        for r, c in np.ndindex(SHAPE):
            flipped[r, c] = [[] for _ in range(spec.groups)]
            for slice_ in range(spec.cells_per_weight):
                group, cell = divmod(slice_, spec.cells_per_group)
                for bit in range(spec.bits_of_cell(cell)):
                    if states[slice_ * per_cell + bit, r, c]:
                        flipped[r, c][group].append(cell * per_cell + bit)
        expected = oracle.flip(codes, flipped, spec)
        np.testing.assert_array_equal(decode(words, spec), expected, err_msg=str(spec))
        assert int(counts.flipped) == sum(len(bits) for groups in flipped.flat for bits in groups)
        assert not known.any()
