"""Protections end to end: what a chip reads, against votes in plain loops."""

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest
from placed import images_read, lines

from rerax import chip
from rerax.encoding import decode, encode
from rerax.faults import dose, fault_model
from rerax.keys import chip_key, matrix_key, root_key, spare_key
from rerax.protection import Duplicate, MsbEmbed, protection
from rerax.protection.embed import rounded_codes
from rerax.protection.placement import low_bits, served_columns
from rerax.spec import ENCODINGS, ChipSpec

ROWS, COLUMNS, RATE = 10, 9, 0.15
NAMES = (
    "none",
    "msb:1x3:pruned",
    "msb:2x3:pruned",
    "msb:5.3:pruned",
    "msb:2x3:pruned:erasures",
    "msb:1x3:lsb",
    "msb:2x3:lsb:erasures",
    "msb:2x3:pruned+lsb",
    "duplicate:3",
    "duplicate:5:erasures",
    "allocation:query=msb:1x3:lsb",
)
KEY = chip_key(root_key(3), jnp.uint32(0))


@pytest.fixture(scope="module")
def matrix():
    rng = np.random.default_rng(0)
    row, column = lines(rng, ROWS, COLUMNS, 5, 4)
    codes = rng.integers(-127, 128, (ROWS, COLUMNS)).astype(np.int8)
    return np.where(row[:, None] & column[None, :], codes, 0).astype(np.int8), row, column


def read(name, codes, row, column, spec, rate, fault="uniform"):
    """Codes of kept weights as the chip reads them, and what it counted."""
    shield, model = protection(name), fault_model(fault)
    stored = shield.store(codes, (row, column), spec, "query")

    def one(words, extra):
        how = (dose(rate, 0.5, model), model, spec, shield, {"query": extra})
        return chip.read({"query": words}, KEY, 0, *how)

    got, counts = jax.jit(one)(*jax.tree.map(jnp.asarray, stored))
    kept = row[:, None] & column[None, :]
    return np.asarray(got["query"])[kept], counts["query"]


@pytest.mark.parametrize("name", NAMES)
def test_without_faults_the_codes_come_back(matrix, name):
    codes, row, column = matrix
    spec = ChipSpec(ENCODINGS[len(name) % 4])
    got, counts = read(name, codes, row, column, spec, 0.0)
    given_up = {"msb:1x3:lsb": 2, "msb:2x3:lsb:erasures": 4, NAMES[-1]: 2}.get(name, 0)
    if name == "msb:2x3:pruned+lsb":
        wish = MsbEmbed(2, 3, "pruned+lsb").wish
        given_up = low_bits(wish, int(column.sum()), served_columns(wish, spec, row, column))
    kept = row[:, None] & column[None, :]
    np.testing.assert_array_equal(got, rounded_codes(codes, given_up, spec)[kept])
    assert all(int(count) == 0 for count in counts)


@pytest.mark.parametrize("fault", ["uniform", "flip"])
def test_protections_see_the_same_cells_of_the_base_array(matrix, fault):
    codes, row, column = matrix
    found = {
        name: jax.device_get(read(name, codes, row, column, ChipSpec(), RATE, fault)[1])
        for name in ("none", "msb:2x3:pruned", "msb:1x3:lsb", "msb:2x3:pruned+lsb")
    }
    assert sum(int(count) for count in found["none"]) > 0
    for name, counts in found.items():
        assert counts == found["none"], name


@pytest.mark.parametrize(
    ("name", "encoding", "cell", "fault"),
    [
        ("msb:2x3:pruned", "offset", 1, "uniform"),
        ("msb:2x3:pruned", "differential", 2, "bitline"),
        ("msb:5.3:pruned", "twos_complement", 1, "flip"),
        ("msb:2x3:pruned:erasures", "offset", 1, "bitline"),
        ("msb:1x3:lsb", "offset", 2, "uniform"),
        ("msb:2x3:lsb:erasures", "sign_magnitude", 1, "uniform"),
        ("msb:2x3:pruned+lsb", "differential", 1, "uniform"),
        ("duplicate:3", "offset", 1, "uniform"),
        ("duplicate:5:erasures", "offset", 1, "uniform"),
        ("duplicate:5:erasures", "offset", 1, "flip"),
    ],
)
def test_what_is_read_is_the_vote_of_the_cells_that_were_read(matrix, name, encoding, cell, fault):
    """Every voted bit against a loop over its images, wherever reading found them to be."""
    codes, row, column = matrix
    spec, shield, model = ChipSpec(encoding, 8, cell), protection(name), fault_model(fault)
    at = dose(RATE, 0.5, model)
    words = jnp.asarray(shield.store(codes, (row, column), spec, "query").words)
    keys = [KEY, *(spare_key(KEY, j) for j in range(shield.spare_arrays))]
    arrays = [
        jax.device_get(model.disturb(words, matrix_key(key, "query", 0), at, spec)) for key in keys
    ]
    expected = arrays[0].words.copy()
    if isinstance(shield, Duplicate):
        bits = [
            ((g, r, c), bit)
            for g, r, c in np.ndindex(expected.shape)
            for bit in range(spec.group_bits)
        ]
        votes = {bit: [(a, *bit) for a in arrays] for bit in bits}
    else:
        images = images_read(row, column, shield.wish, spec)
        votes = {bit: [(arrays[0], *one) for one in all_] for bit, all_ in images.items()}
        low = low_bits(
            shield.wish, int(column.sum()), served_columns(shield.wish, spec, row, column)
        )
        expected &= np.uint8(0xFF ^ ((1 << low) - 1))
    for (place, bit), seen in votes.items():
        values = [int(a.words[at]) >> plane & 1 for a, at, plane in seen]
        stuck = [int(a.known[at]) >> plane & 1 for a, at, plane in seen]
        erased = stuck if shield.erasures else [0] * len(seen)
        mask = np.uint8(1 << bit)
        voted = mask if oracle.vote(values, erased, 1) else np.uint8(0)
        expected[place] = expected[place] & ~mask | voted
    got, _ = read(name, codes, row, column, spec, RATE, fault)
    kept = row[:, None] & column[None, :]
    wanted = np.asarray(decode(jnp.asarray(expected), spec))[kept]
    np.testing.assert_array_equal(got, wanted)
    plain = np.asarray(decode(jnp.asarray(arrays[0].words), spec))[kept]
    assert (plain != got).any()  # voting had something to do


def test_stored_words_are_no_larger_than_plain_ones(matrix):
    codes, row, column = matrix
    for encoding in ENCODINGS:
        plain = encode(codes, ChipSpec(encoding))
        for name in NAMES:
            stored = protection(name).store(codes, (row, column), ChipSpec(encoding), "query")
            assert stored.words.shape == plain.shape
            assert stored.words.dtype == plain.dtype
