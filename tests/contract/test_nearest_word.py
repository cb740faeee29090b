"""The nearest word that stuck cells allow, against all words."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rerax.crossbar.encoding import decode, encode
from rerax.crossbar.spec import ChipSpec
from rerax.protection.nearest_word import nearest_word, negated


def patterns(spec):
    """Stuck bits of a group and what they read, for every state of its cells: 3^cells of each."""
    cells = []
    for cell in range(spec.cells_per_group):
        level = ((1 << spec.bits_of_cell(cell)) - 1) << (cell * spec.bits_per_cell)
        cells.append([(0, 0), (level, 0), (level, level)])
    found = [tuple(map(sum, zip(*states, strict=True))) for states in itertools.product(*cells)]
    return np.array(found, np.uint8)


def codes_of(words, spec):
    return np.asarray(decode(jnp.asarray(words), spec)).astype(int)


def all_codes(spec):
    most = 2 ** (spec.bits - 1) - 1
    return np.arange(-most, most + 1, dtype=np.int8)


SINGLE = [
    ChipSpec(encoding, bits, cell)
    for encoding in ("offset", "twos_complement", "sign_magnitude")
    for bits, cell in ((8, 1), (8, 2), (8, 4), (7, 2), (5, 1), (2, 1))
]


@pytest.mark.parametrize("spec", SINGLE, ids=lambda s: f"{s.encoding}-{s.bits}-{s.bits_per_cell}")
def test_it_is_the_nearest_of_all_words(spec):
    """For every state of the cells of a weight and every code."""
    stuck, held = patterns(spec).T
    codes = all_codes(spec)
    words = encode(codes[None], spec)  # [1, 1, n]
    shape = (1, len(stuck), len(codes))
    given = [np.broadcast_to(a, shape) for a in (words, stuck[None, :, None], held[None, :, None])]
    found = np.asarray(jax.jit(nearest_word, static_argnums=3)(*map(jnp.asarray, given), spec))
    assert ((found & given[1]) == given[2]).all()  # read as written
    assert (found < 1 << spec.group_bits).all()
    apart = np.abs(codes_of(found, spec) - codes)
    every = np.arange(1 << spec.group_bits)
    meant = codes_of(every.astype(np.uint8)[None, None], spec)[0]
    for pattern in range(len(stuck)):
        allowed = meant[(every & stuck[pattern]) == held[pattern]]
        least = np.abs(allowed[:, None] - codes).min(0)
        np.testing.assert_array_equal(apart[pattern], least)
        bare = (words[0, 0] & ~stuck[pattern]) | held[pattern]
        assert (apart[pattern] <= np.abs(codes_of(bare[None, None], spec)[0] - codes)).all()
    unhurt = ((words ^ given[2]) & given[1]) == 0
    np.testing.assert_array_equal(found[unhurt], given[0][unhurt])


@pytest.mark.parametrize(("bits", "cell", "some"), [(4, 1, 1.0), (5, 2, 1.0), (8, 1, 2e-4)])
def test_pairs_of_words_are_the_nearest_of_all_pairs(bits, cell, some):
    """Of `differential`, every state of both words where they are few."""
    spec, rng = ChipSpec("differential", bits, cell), np.random.default_rng(0)
    one = patterns(spec)
    pairs = np.array([(a, b) for a in range(len(one)) for b in range(len(one))])
    pairs = pairs[rng.random(len(pairs)) < some]
    stuck, held = (one[pairs, k].T[:, :, None] for k in (0, 1))
    codes = all_codes(spec)
    words = encode(codes[None], spec)
    shape = (2, len(pairs), len(codes))
    given = [np.broadcast_to(a, shape) for a in (words, stuck, held)]
    found = np.asarray(jax.jit(nearest_word, static_argnums=3)(*map(jnp.asarray, given), spec))
    assert ((found & given[1]) == given[2]).all()
    apart = np.abs(codes_of(found, spec) - codes)
    every = np.arange(1 << spec.group_bits)
    for k in range(len(pairs)):
        plus, minus = (every[(every & stuck[g, k]) == held[g, k]] for g in (0, 1))
        allowed = np.unique(plus[:, None] - minus)
        np.testing.assert_array_equal(apart[k], np.abs(allowed[:, None] - codes).min(0))
    unhurt = (((words ^ given[2]) & given[1]) == 0).all(0)
    np.testing.assert_array_equal(found[:, unhurt], given[0][:, unhurt])


@pytest.mark.parametrize(
    "encoding", ["offset", "twos_complement", "sign_magnitude", "differential"]
)
@pytest.mark.parametrize("bits", [8, 5])
def test_negated_words_mean_the_negative(encoding, bits):
    spec = ChipSpec(encoding, bits)
    codes = all_codes(spec)[None]
    words = negated(jnp.asarray(encode(codes, spec)), spec)
    np.testing.assert_array_equal(codes_of(words, spec), -codes)
    if encoding in ("offset", "twos_complement"):
        lowest = jnp.full((1, 1, 1), 0 if encoding == "offset" else 1 << (bits - 1), jnp.uint8)
        assert codes_of(negated(lowest, spec), spec).item() == 2 ** (bits - 1) - 1
