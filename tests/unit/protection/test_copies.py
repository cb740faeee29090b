"""Copies as they are read: they come back, outvote any single cell, and lie where they should."""

import collections
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest
from placed import address, given_up, lines, random_codes, read_case

from rerax.crossbar.encoding import decode, encode
from rerax.crossbar.spec import ChipSpec
from rerax.protection.cost import Misses
from rerax.protection.msb.copy_spec import CopySpec, voted_bits
from rerax.protection.msb.diversity import _misses, count_misses
from rerax.protection.msb.placement import lay_out_copies
from rerax.protection.msb.read import read_voted
from rerax.protection.msb.room import fits
from rerax.protection.msb.swap import cell_number
from rerax.protection.msb.write import rounded_codes, write_copies

PRUNED, DEEP = CopySpec((3, 3), True, False), CopySpec((5, 3), True, False)
LSB, BOTH = CopySpec((3,), False, True), CopySpec((3,), True, True)
CASES = [
    ("offset", 1, "interleaved", PRUNED, False),
    ("offset", 2, "separate", BOTH, True),
    ("twos_complement", 1, "separate", DEEP, True),
    ("twos_complement", 4, "interleaved", LSB, False),
    ("sign_magnitude", 1, "separate", LSB, True),
    ("sign_magnitude", 2, "interleaved", DEEP, False),
    ("differential", 1, "interleaved", BOTH, False),
    ("differential", 4, "separate", PRUNED, True),
]
"""Every encoding, cell, layout and wish, stuck cells known or not: one compiled function each."""


@pytest.fixture(scope="module", params=CASES, ids=lambda c: f"{c[0]}-{c[1]}-{c[3]}")
def case(request):
    encoding, cell, layout, wish, erasures = request.param
    return read_case(ChipSpec(encoding, 8, cell, tile=(4, 16), layout=layout), wish, erasures)


def test_codes_come_back(case):
    spec, wish, kept = case.spec, case.wish, case.kept
    assert fits(case.row, case.column, wish, spec)
    assert case.stored.shape == encode(case.codes, spec).shape  # the dense model's own shape
    expected = rounded_codes(case.codes, case.low, spec)
    voted = np.asarray(decode(jnp.asarray(case.recovered[0]), spec))
    np.testing.assert_array_equal(voted[kept], expected[kept])
    for mask, image in zip(voted_bits(wish, spec), case.images[0], strict=True):
        mask &= ~((1 << case.low) - 1)
        np.testing.assert_array_equal((image & mask)[:, kept], (case.stored & mask)[:, kept])


def test_one_stuck_cell_never_changes_a_voted_bit(case):
    """Every cell of the matrix, stuck at either level."""
    voted = np.bitwise_or.reduce(voted_bits(case.wish, case.spec))
    voted &= ~((1 << case.low) - 1)
    changed = (case.recovered[case.broken] ^ case.recovered[0]) & voted
    assert len(changed) == 2 * case.row.size * case.column.size * case.spec.cells_per_weight
    assert not changed[:, :, case.kept].any()


def test_what_is_read_is_the_vote_of_the_images(case):
    """Of words that have nothing in common, every bit against a loop over its images."""
    images, top = case.found(), (1 << case.spec.group_bits) - 1
    for words, known, recovered in zip(
        case.words[-4:], case.known[-4:], case.recovered[-4:], strict=True
    ):
        expected = words & np.uint8(top ^ ((1 << case.low) - 1))
        for (place, bit), seen in images.items():
            values = [int(words[at]) >> plane & 1 for at, plane in seen]
            stuck = [int(known[at]) >> plane & 1 for at, plane in seen]
            mask = np.uint8(1 << bit)
            voted = mask if oracle.vote(values, stuck, 1) else np.uint8(0)
            expected[place] = expected[place] & ~mask | voted
        np.testing.assert_array_equal(recovered[:, case.kept], expected[:, case.kept])


def missed(found, row, column, spec):
    """Misses counted in plain loops."""
    down = -(-row.size // spec.tile[0])
    across = -(-spec.bitlines(column.size) // spec.tile[1])
    counts = collections.Counter()
    for bits in found.values():
        images = [address(bit, spec, column.size) for bit in bits]
        pairs = list(itertools.combinations(images, 2))
        counts["bits"] += 1
        counts["wordline"] += any(a[0] == b[0] for a, b in pairs)
        counts["bitline"] += any(a[1] == b[1] for a, b in pairs)
        counts["adjacent"] += any(abs(a[1] - b[1]) == 1 for a, b in pairs)
        tiles = {(r // spec.tile[0], b // spec.tile[1]) for r, b in images}
        counts["tile"] += len(tiles) < min(len(images), down * across)
    return Misses(**counts)


def test_misses_are_those_of_the_cells_that_are_read(case):
    found, spec = case.found(), case.spec
    cells = [address(image, spec, case.column.size) for of in found.values() for image in of[1:]]
    if spec.bits_per_cell == 1:  # every copy has a cell of its own
        assert len(set(cells)) == len(cells)
    expected = missed(found, case.row, case.column, spec)
    assert expected.bits > 0
    assert expected.wordline == 0
    layout = lay_out_copies(case.row, case.column, case.wish, spec)
    assert count_misses(layout, case.row, case.column, case.wish, spec) == expected


def test_misses_of_images_that_lie_anywhere():
    spec, rng = (
        ChipSpec("differential", 5, tile=(4, 9), layout="separate"),
        np.random.default_rng(0),
    )
    row, slice_, column = rng.integers(0, [[[9]], [[8]], [[5]]], (3, 3, 300))
    group, bit = slice_ // 4, slice_ % 4
    found = {
        n: [((group[i, n], row[i, n], column[i, n]), bit[i, n]) for i in range(3)]
        for n in range(300)
    }
    expected = missed(found, np.ones(9), np.ones(5), spec)
    images = cell_number(row, slice_, column, spec, 5)
    assert _misses(images, np.ones(300, int), 9, 5, spec) == expected
    assert min(expected.wordline, expected.bitline, expected.adjacent, expected.tile) > 10


def test_layers_of_different_lines_share_one_layout():
    spec, wish, rng = ChipSpec(), CopySpec((3, 3), True, True), np.random.default_rng(2)
    masks = [lines(rng, 17, 13, *closed) for closed in ((9, 0), (0, 7), (3, 2), (0, 0), (8, 8))]
    row, column = (np.stack(side) for side in zip(*masks, strict=True))
    codes = np.stack([random_codes(rng, r, c, spec) for r, c in masks])
    words, places, *_ = write_copies(codes, row, column, wish, spec)
    read = jax.jit(lambda w, p: read_voted(w, None, p, wish, spec))
    for layer, (r, c) in enumerate(masks):
        one = jax.tree.map(lambda a, layer=layer: jnp.asarray(a[layer]), places)
        voted = decode(read(jnp.asarray(words[layer]), one), spec)
        expected = rounded_codes(codes[layer], given_up(wish, r, c, spec), spec)
        kept = r[:, None] & c[None, :]
        np.testing.assert_array_equal(np.asarray(voted)[kept], expected[kept])
