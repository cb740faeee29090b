"""The fast path from keys to codes equals plain loops: sample, stick or flip, decode.

What it is made of is compared for every spec, without sampling, in `tests/unit`.
"""

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest
from arrays import array_key, read_matrix
from quick import WITHOUT_OPTIMISING

from rerax.crossbar import keys
from rerax.crossbar.encoding import decode, encode
from rerax.crossbar.spec import BITS_PER_CELL, ENCODINGS, LAYOUTS, ChipSpec
from rerax.faults import Flip, Uniform
from rerax.faults.sampling.rates import rate_table
from rerax.hardware import Hardware

SPECS = [
    ChipSpec("offset", 8, 1),
    ChipSpec("offset", 7, 2, layout="separate"),
    ChipSpec("offset", 5, 4),
    ChipSpec("twos_complement", 2, 1, layout="separate"),
    ChipSpec("twos_complement", 8, 2),
    ChipSpec("twos_complement", 6, 4, layout="separate"),
    ChipSpec("sign_magnitude", 3, 1),
    ChipSpec("sign_magnitude", 5, 2, layout="separate"),
    ChipSpec("sign_magnitude", 8, 4),
    ChipSpec("differential", 8, 1, layout="separate"),
    ChipSpec("differential", 4, 2),
    ChipSpec("differential", 8, 4, layout="separate"),
]
SHAPE = (5, 7)


def spec_name(spec):
    return f"{spec.encoding}-{spec.bits}b-{spec.bits_per_cell}c-{spec.layout}"


def test_every_encoding_cell_width_and_layout_is_among_the_specs():
    cells = {(s.encoding, s.bits_per_cell) for s in SPECS}
    assert cells == {(e, c) for e in ENCODINGS for c in BITS_PER_CELL}
    assert {s.bits for s in SPECS} == {*range(2, 9)}
    assert {(s.bits_per_cell, s.layout) for s in SPECS} == {
        (c, layout) for c in BITS_PER_CELL for layout in LAYOUTS
    }


def random_codes(spec):
    q = 2 ** (spec.bits - 1) - 1
    return np.random.default_rng(1).integers(-q, q + 1, SHAPE).astype(np.int8)


def stuck_units(key, rates, spec, units):
    words = np.asarray(keys.purpose_keys(key, 3))
    return oracle.stuck_cells(words, rates, spec, SHAPE[0], units)


READINGS = [(spec, True) for spec in SPECS] + [(SPECS[0], False)]


@pytest.mark.parametrize(
    ("spec", "jit"),
    READINGS,
    ids=[f"{spec_name(s)}-{'jit' if j else 'nojit'}" for s, j in READINGS],
)
def test_read_through_stuck_cells(spec, jit):
    """Sampling, sticking and decoding, at a rate on either side of one half."""
    codes = random_codes(spec)
    words = jnp.asarray(encode(codes, spec))

    def read_one(rates, chip):
        chip_key = keys.chip_key(keys.root_key(5), chip)
        return read_matrix(words, chip_key, rates, Hardware(spec, Uniform()))

    run = jax.jit(read_one, compiler_options=WITHOUT_OPTIMISING) if jit else read_one
    for rate, share, chip in ((0.2, 0.8, 0), (0.7, 0.3, 1)):
        rates = rate_table(rate, share)
        stuck = stuck_units(array_key(chip, seed=5), rates, spec, spec.bitlines(SHAPE[1]))
        got, counts = run(jax.tree.map(jnp.asarray, rates), jnp.uint32(chip))
        np.testing.assert_array_equal(got, oracle.read(codes, stuck, spec))
        assert int(counts.stuck_at_0) == (stuck == "SA0").sum()
        assert int(counts.stuck_at_1) == (stuck == "SA1").sum()


@pytest.mark.parametrize("spec", [SPECS[i] for i in (0, 4, 8, 11)], ids=spec_name)
def test_flips(spec):
    """Flips follow the same process over bits; bits that a cell lacks are not counted."""
    codes, key, rates = random_codes(spec), array_key(0, seed=1), rate_table(0.15, 0.0)
    words, _, counts = Flip().disturb(jnp.asarray(encode(codes, spec)), key, rates, spec)
    hit = stuck_units(key, rates, spec, spec.bitlines(SHAPE[1]) * spec.bits_per_cell)
    flipped = np.empty(SHAPE, object)
    for r, c in np.ndindex(SHAPE):
        flipped[r, c] = [[] for _ in range(spec.groups)]
        for slice_ in range(spec.cells_per_weight):
            group, cell = divmod(slice_, spec.cells_per_group)
            for bit in range(spec.bits_of_cell(cell)):
                unit = spec.bitline(c, slice_, SHAPE[1]) * spec.bits_per_cell + bit
                if hit[r, unit] is not None:
                    flipped[r, c][group].append(cell * spec.bits_per_cell + bit)
    np.testing.assert_array_equal(decode(words, spec), oracle.flip(codes, flipped, spec))
    assert int(counts.flipped) == sum(len(bits) for groups in flipped.flat for bits in groups)
