"""Broken lines and shorts from keys to words: sampled and read as plain loops do."""

import functools
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest
from arrays import array_key

from rerax.crossbar import keys
from rerax.crossbar.encoding import decode, encode
from rerax.crossbar.spec import ChipSpec
from rerax.faults import fault_model
from rerax.faults.sampling.rates import rate_table

SHARE = Fraction(1, 3)
SHAPE = (13, 6)
OFFSET = ChipSpec("offset", 8, 1, (5, 7))
TWOS = ChipSpec("twos_complement", 7, 2, (4, 9), "separate")
DIFFERENTIAL = ChipSpec("differential", 6, 4, (6, 4))


@functools.partial(jax.jit, static_argnames=("name", "spec"))
def _disturb(name, spec, words, chip, rates):
    return fault_model(name).disturb(words, array_key(chip), rates, spec)


def disturb(name, spec, words, chip, rates):
    on_device = jax.tree.map(jnp.asarray, (words, jnp.uint32(chip), rates))
    return jax.device_get(_disturb(name, spec, *on_device))


def random_codes(spec, seed=0):
    q = 2 ** (spec.bits - 1) - 1
    return np.random.default_rng(seed).integers(-q, q + 1, SHAPE).astype(np.int8)


def oracle_units(chip, rates, spec, rows, width):
    hit = oracle.stuck_cells(
        np.asarray(keys.purpose_keys(array_key(chip), 3)), rates, spec, rows, width
    )
    return np.array(hit, object).reshape(rows, width)


@pytest.mark.parametrize(
    ("name", "spec"),
    [("wordline", OFFSET), ("wordline", TWOS), ("bitline", OFFSET), ("bitline", DIFFERENTIAL)],
    ids=lambda v: v if isinstance(v, str) else v.encoding,
)
def test_lines_are_sampled_and_read_as_by_loops(name, spec):
    codes, bitlines = random_codes(spec), spec.bitlines(SHAPE[1])
    across, down = -(-bitlines // spec.tile[1]), -(-SHAPE[0] // spec.tile[0])
    size = (SHAPE[0], across) if name == "wordline" else (down, bitlines)
    for rate in (0.25, 0.7):
        rates = rate_table(rate, SHARE)
        units = oracle_units(2, rates, spec, *size)
        stuck = oracle.cells_of_lines(units, name, spec, SHAPE[0], bitlines)
        read, _, counts = disturb(name, spec, encode(codes, spec), 2, rates)
        expected = oracle.read(codes, stuck, spec)
        np.testing.assert_array_equal(decode(jnp.asarray(read), spec), expected)
        assert counts.stuck_at_0 == (stuck == "SA0").sum()
        assert counts.stuck_at_1 == (stuck == "SA1").sum()
        assert sum(counts) == (stuck != np.array(None)).sum() > 0


@pytest.mark.parametrize("spec", [TWOS, DIFFERENTIAL], ids=lambda s: s.encoding)
def test_shorts_are_sampled_and_read_as_by_loops(spec):
    words, bitlines = encode(random_codes(spec, 1), spec), spec.bitlines(SHAPE[1])
    left = [b for b in range(bitlines - 1) if b // spec.tile[1] == (b + 1) // spec.tile[1]]
    down = -(-SHAPE[0] // spec.tile[0])
    for rate in (0.15, 0.6):
        rates = rate_table(rate)
        joined = np.zeros((down, bitlines), bool)
        joined[:, left] = oracle_units(3, rates, spec, down, len(left)) != np.array(None)
        read, known, counts = disturb("short", spec, words, 3, rates)
        expected, shorted = oracle.short(words, joined, spec)
        np.testing.assert_array_equal(read, expected)
        assert counts.shorted == shorted == sum(counts) > 0
        assert not known.any()
