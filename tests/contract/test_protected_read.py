"""Protections on sampled chips: which arrays are read, by which keys, and how they vote."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest
from arrays import read_matrix
from placed import lines, random_codes

from rerax.crossbar.encoding import decode
from rerax.crossbar.keys import array_key, chip_key, root_key, spare_key
from rerax.crossbar.spec import ChipSpec
from rerax.faults import fault_model
from rerax.faults.sampling.rates import rate_table
from rerax.hardware import Hardware
from rerax.models.bert.names import IDS
from rerax.protection import protection

ROWS, COLUMNS, RATE = 10, 9, 0.15
SPEC = ChipSpec()
KEY = chip_key(root_key(3), jnp.uint32(0))


@pytest.fixture(scope="module")
def matrix():
    rng = np.random.default_rng(0)
    row, column = lines(rng, ROWS, COLUMNS, 5, 4)
    return random_codes(rng, row, column, ChipSpec()), row, column


@functools.partial(jax.jit, static_argnames="hardware")
def _read(hardware, words, extra, rates):
    spec, scheme = hardware.spec, hardware.protection
    found = read_matrix(words, KEY, rates, hardware, extra=extra)
    chips = [KEY, *(spare_key(KEY, j) for j in range(scheme.spare_arrays))]
    own = [array_key(key, IDS["query"], 0) for key in chips]
    arrays = [hardware.fault.disturb(words, key, rates, spec) for key in own]
    return found, arrays, decode(scheme.recover(arrays, extra, spec, "query"), spec)


def read(name, fault, codes, row, column, spec=SPEC):
    """Codes and counts by `read_codes`; each array by its own key, and codes recovered of them."""
    stored = jax.tree.map(jnp.asarray, protection(name).store(codes, (row, column), spec, "query"))
    rates = jax.tree.map(jnp.asarray, rate_table(RATE, 0.5, fault_model(fault)))
    hardware = Hardware(spec, fault, name)
    (found, counts), *rest = jax.device_get(_read(hardware, *stored[:2], rates))
    return found, counts, *rest


@pytest.mark.parametrize(
    ("name", "spec", "fault"),
    [
        ("msb:2x3:pruned", ChipSpec("differential", 8, 2), "bitline"),
        ("msb:5.3:pruned:erasures", SPEC, "uniform"),
        ("msb:1x3:lsb", SPEC, "flip"),
    ],
    ids=str,
)
def test_copies_are_read_from_the_base_array(matrix, name, spec, fault):
    """That `recover` is the vote of the images, test_copies has for words of any kind."""
    codes, row, column = matrix
    found, counts, (array,), expected = read(name, fault, codes, row, column, spec)
    kept = row[:, None] & column[None, :]
    np.testing.assert_array_equal(found[kept], expected[kept])
    assert counts == array.counts
    assert sum(counts) > 0
    plain = np.asarray(decode(jnp.asarray(array.words), spec))[kept]
    assert (plain != found[kept]).any()  # voting had something to do


@pytest.mark.parametrize(
    ("name", "fault"), [("duplicate:3:erasures", "uniform"), ("duplicate:3", "flip")]
)
def test_spare_arrays_have_faults_of_their_own_and_a_vote(matrix, name, fault):
    """Every bit against a loop over its images."""
    found, counts, arrays, _ = read(name, fault, *matrix)
    assert len({array.words.tobytes() for array in arrays}) == len(arrays)
    expected = np.zeros_like(arrays[0].words)
    for place in np.ndindex(expected.shape):
        images = [int(array.words[place]) for array in arrays]
        stuck = [int(array.known[place]) for array in arrays]
        erased = stuck if "erasures" in name else [0] * len(arrays)
        expected[place] = oracle.vote(images, erased, 8)
    np.testing.assert_array_equal(found, decode(jnp.asarray(expected), SPEC))
    assert counts == tuple(sum(c) for c in zip(*(a.counts for a in arrays), strict=True))


def test_protections_see_the_same_cells_of_the_base_array(matrix):
    counts = [read(name, "uniform", *matrix)[1] for name in ("none", "msb:5.3:pruned:erasures")]
    assert counts[0] == counts[1]
    assert sum(counts[0]) > 0
