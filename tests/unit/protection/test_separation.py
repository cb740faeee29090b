"""Images of a bit kept apart: what a chip reads says where they are, and loops count misses."""

import collections
import itertools

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from placed import address, images_read, lines

from rerax.protection.ledger import fits
from rerax.protection.placement import Wish, host_slices, lay_out
from rerax.protection.separation import Misses, count_misses
from rerax.spec import ENCODINGS, ChipSpec

PRUNED, DEEP = Wish((3, 3), True, False), Wish((5, 3), True, False)
LSB, BOTH = Wish((3,), False, True), Wish((3,), True, True)


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


@pytest.mark.parametrize("layout", ["interleaved", "separate"])
@pytest.mark.parametrize("wish", [PRUNED, DEEP, LSB, BOTH], ids=str)
@pytest.mark.parametrize(
    ("encoding", "cell"), [("offset", 1), ("differential", 1), ("sign_magnitude", 2)]
)
def test_misses_are_those_of_the_cells_that_are_read(encoding, cell, wish, layout):
    spec = ChipSpec(encoding, 8, cell, tile=(4, 16), layout=layout)
    row, column = lines(np.random.default_rng(len(layout)), 9, 8, 5, 3)
    assert fits(row, column, wish, spec)
    found = images_read(row, column, wish, spec)
    cells = [address(image, spec, 8) for images in found.values() for image in images[1:]]
    if cell == 1:  # every copy has a cell of its own
        assert len(set(cells)) == len(cells)
    expected = missed(found, row, column, spec)
    assert expected.bits > 0
    assert count_misses(lay_out(row, column, wish, spec), row, column, wish, spec) == expected


def least_misses(line_of_copy, own_lines, rounds):
    """Bits that must have two images on one line, by counting cells.

    Args:
        line_of_copy: line of every cell that may hold a copy.
        own_lines: line of every bit's original.
        rounds: copies of each.
    """
    supply, need = collections.Counter(line_of_copy), collections.Counter(own_lines)
    total = sum(supply.values())
    crowded = max(-(-(rounds * n - (total - supply[a])) // rounds) for a, n in need.items())
    few = sum(n for a, n in need.items() if len(supply.keys() - {a}) < rounds)
    return max(crowded, few, 0)


@given(
    st.integers(3, 12),
    st.integers(3, 12),
    st.integers(0, 8),
    st.integers(0, 8),
    st.sampled_from([(3,), (3, 3), (5,)]),
    st.sampled_from(ENCODINGS),
    st.integers(0, 2**32 - 1),
)
@settings(max_examples=60, deadline=None)
def test_without_slack_misses_stay_within_a_line_of_the_least(
    rows, columns, closed_rows, closed_columns, depths, encoding, seed
):
    spec, wish = ChipSpec(encoding, 8, 1), Wish(depths, True, False)
    rng = np.random.default_rng(seed)
    row, column = lines(rng, rows, columns, closed_rows, closed_columns)
    assume(row.any() and column.any() and fits(row, column, wish, spec))
    found = count_misses(lay_out(row, column, wish, spec), row, column, wish, spec)
    freed = np.argwhere(~(row[:, None] & column[None, :]))
    hosts = [(r, spec.bitline(c, s, columns)) for r, c in freed for s in host_slices(wish, spec)]
    kept = np.argwhere(row[:, None] & column[None, :])
    top = spec.cells_per_group - 1
    own = [
        (r, spec.bitline(c, g * spec.cells_per_group + top - p, columns))
        for r, c in kept
        for g in range(spec.groups)
        for p in range(len(depths))
    ]
    for axis, misses, line in (
        (0, found.wordline, spec.bitlines(columns)),
        (1, found.bitline, rows),
    ):
        least = least_misses([h[axis] for h in hosts], [o[axis] for o in own], wish.rounds)
        assert least <= misses <= least + line
