"""Levels that are sensed wrongly: how often, of which cells, and what they leave alone."""

import functools
import hashlib
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from arrays import array_key, p_values, read_matrix
from quick import WITHOUT_OPTIMISING
from scipy.stats import norm

from rerax.crossbar.encoding import complement, decode, encode
from rerax.crossbar.keys import chip_key, root_key
from rerax.crossbar.spec import ChipSpec
from rerax.faults.mask import FaultMask
from rerax.faults.sampling.misread import far_chances, sense
from rerax.faults.sampling.rates import rate_table
from rerax.hardware import Hardware
from rerax.protection import protection

ROWS, COLUMNS = 40, 32
RNG = np.random.default_rng(3)
CODES = RNG.integers(-31, 32, (ROWS, COLUMNS)).astype(np.int8)
KEY = chip_key(root_key(0), jnp.uint32(5))


@functools.partial(jax.jit, static_argnames="hardware", compiler_options=WITHOUT_OPTIMISING)
def _read(words, rates, hardware, mask=None):
    return read_matrix(words, KEY, rates, hardware, mask=mask)


def read(spec, scheme="none", rate=0.0, mask=None, fault="uniform"):
    """Codes and counts of the matrix on one chip."""
    hardware = Hardware(spec, fault, protection(scheme))
    words = jax.tree.map(jnp.asarray, hardware.protection.store(CODES, None, spec, "query"))
    codes, counts = _read(words, rate_table(rate, fault=fault), hardware, mask)
    return np.asarray(codes), [int(n) for n in counts]


def noise(spec, shape=(ROWS, COLUMNS)):
    """By how many levels each cell is sensed too high or too low, as far as levels go, [S, R, C].

    Found from what arrays of lowest and of highest levels are sensed as.
    """
    words, whole = np.zeros((spec.groups, *shape), np.uint8), (1 << spec.group_bits) - 1
    of = jax.jit(lambda w: sense(w, array_key(5), spec, None))
    up, down = np.asarray(of(words)), whole - np.asarray(of(words + np.uint8(whole)))
    steps = []
    for group in range(spec.groups):
        for cell in range(spec.cells_per_group):
            top, shift = (1 << spec.bits_of_cell(cell)) - 1, cell * spec.bits_per_cell
            above, below = ((sensed[group] >> shift & top).astype(int) for sensed in (up, down))
            steps.append(above - below)
    return np.stack(steps)


@pytest.mark.parametrize(("bits_per_cell", "sigma"), [(1, 0.3), (2, 0.45), (4, 1.0)])
def test_levels_are_as_far_away_as_a_gaussian_says(bits_per_cell, sigma):
    """Of every level, to every other, two planes apart and both ways."""
    spec = ChipSpec(bits_per_cell=bits_per_cell, misread=sigma)
    words = RNG.integers(0, 256, (1, 256, 256)).astype(np.uint8)
    sensed = np.asarray(jax.jit(lambda w: sense(w, array_key(0), spec, None))(words))
    top, last = (1 << bits_per_cell) - 1, 8 // bits_per_cell - 1
    for cell in (0, last):
        before, after = ((w >> cell * bits_per_cell & top).ravel() for w in (words, sensed))
        found = np.zeros((top + 1, top + 1), int)
        np.add.at(found, (before, after), 1)
        edges = np.concatenate([[-np.inf], np.arange(top) + 0.5, [np.inf]])
        chances = np.diff(norm.cdf((edges - np.arange(top + 1)[:, None]) / sigma), axis=1)
        assert p_values(found, found.sum(1, keepdims=True), chances).min() > 1e-5
        assert found[0, 1:].sum() > 1000


@pytest.mark.parametrize("bits_per_cell", [1, 2])
def test_what_is_misread_is_misread_with_more_noise_too(bits_per_cell):
    little, much = (
        noise(ChipSpec("differential", bits_per_cell=bits_per_cell, misread=sigma))
        for sigma in (0.25, 0.5)
    )
    assert 0 < (little != 0).sum() < (much != 0).sum()
    assert ((np.abs(much) >= np.abs(little)) & (np.sign(little) * np.sign(much) >= 0)).all()


@pytest.mark.parametrize(
    ("spec", "scheme", "fault"),
    [
        (ChipSpec(misread=0.4), "none", "uniform"),
        (
            ChipSpec("twos_complement", 8, 2, polarity="alternate", misread=0.4),
            "closest",
            "uniform",
        ),
        (ChipSpec("offset", 8, 1, polarity="inverted:0x70", misread=0.4), "none", "wordline"),
        (ChipSpec("twos_complement", 6, 4, misread=0.6), "none", "clustered:2"),
        (ChipSpec("offset", 7, 4, misread=0.6), "none", "flip"),
    ],
    ids=str,
)
def test_stuck_cells_stay_and_are_sensed_like_others(spec, scheme, fault):
    """What is read are the levels of the chip without noise, sensed; its counts do not move."""
    exact = replace(spec, misread=0.0)
    before, counts = read(exact, scheme, 0.1, fault=fault)
    codes, same = read(spec, scheme, 0.1, fault=fault)
    assert counts == same
    assert sum(counts) > 0
    turned = 0 if exact.polarity == "plain" else complement(ROWS, exact)
    levels, steps = encode(before, exact) ^ turned, noise(spec)
    sensed = np.zeros_like(levels)
    for cell in range(spec.cells_per_group):
        top, shift = (1 << spec.bits_of_cell(cell)) - 1, cell * spec.bits_per_cell
        level = np.clip((levels[0] >> shift & top).astype(int) + steps[cell], 0, top)
        sensed[0] |= (level << shift).astype(np.uint8)
    assert (codes != before).any()
    np.testing.assert_array_equal(codes, decode(jnp.asarray(sensed ^ turned), exact))


@pytest.mark.parametrize("sigma", [0.0625, 0.2, 0.5, 1.0])
def test_chances_are_those_of_a_gaussian(sigma):
    found = far_chances(ChipSpec(bits_per_cell=4, misread=sigma))
    wanted = 2 * norm.sf((np.arange(15) + 0.5) / sigma)
    np.testing.assert_allclose(found, wanted[wanted > 1e-15], rtol=1e-13)
    assert far_chances(ChipSpec(misread=1e-300)) == []


def test_golden_cells():
    """What is sensed wrongly of a chip never moves, on any machine."""
    steps = noise(ChipSpec("differential", bits_per_cell=2, misread=0.5)).astype(np.int8)
    assert np.bincount(steps.ravel() + 3).tolist() == [0, 10, 1613, 6994, 1609, 14]
    assert hashlib.sha256(steps).hexdigest()[:16] == "f86931f438b85747"


def test_every_array_is_sensed_by_itself():
    """A vote of three is wrong where two of three are, p of each by chance."""
    spec = ChipSpec(misread=0.4)
    one = norm.sf(0.5 / 0.4)
    (single, _), (voted, _) = read(spec), read(spec, "duplicate:3")
    for codes, chance in ((single, one), (voted, 3 * one**2 - 2 * one**3)):
        wrong = np.bitwise_count(encode(codes, spec) ^ encode(CODES, spec)).sum()
        assert p_values(wrong, 8 * CODES.size, chance) > 1e-4


@pytest.mark.parametrize("scheme", ["duplicate:3:erasures", "closest"])
def test_a_tester_knows_as_much_with_noise(scheme):
    """Cells that are sensed wrongly are not known; without any noise nothing is."""
    spec = ChipSpec(misread=0.12)  # a cell in 60,000
    found, exact = (read(s, scheme, 0.2)[0] for s in (spec, replace(spec, misread=0.0)))
    assert (found != exact).mean() < 0.01


def test_cells_are_sensed_wrongly_where_faults_act():
    spec = ChipSpec(misread=0.4)
    assert (read(spec, mask=FaultMask({"query": np.array([False])}))[0] == CODES).all()
    some = np.uint8(0b110)
    here, _ = read(spec, mask=FaultMask({"query": np.array([True])}, some))
    moved = encode(here, spec) ^ encode(CODES, spec)
    assert moved.any()
    assert not (moved & ~some).any()
    everywhere = encode(read(spec)[0], spec) ^ encode(CODES, spec)
    np.testing.assert_array_equal(moved, everywhere & some)
