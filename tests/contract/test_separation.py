"""Images of a bit kept apart as far as it can be had, when there is hardly room for them."""

import collections

import numpy as np
import pytest
from placed import lines

from rerax.crossbar.spec import ENCODINGS, ChipSpec
from rerax.protection.msb.copy_spec import CopySpec, host_slices
from rerax.protection.msb.diversity import count_misses
from rerax.protection.msb.placement import lay_out_copies
from rerax.protection.msb.room import fits


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


DEPTHS = ((3,), (3, 3), (5,))


def cases(n):
    """Matrices with closed lines, drawn anew until `n` have room for what they are to hold."""
    rng = np.random.default_rng(1)
    while n:
        rows, columns = rng.integers(3, 13, 2).tolist()
        spec = ChipSpec(ENCODINGS[rng.integers(len(ENCODINGS))], 8, 1)
        wish = CopySpec(DEPTHS[rng.integers(len(DEPTHS))], True, False)
        row, column = lines(rng, rows, columns, *rng.integers(0, 9, 2).tolist())
        if row.any() and column.any() and fits(row, column, wish, spec):
            yield spec, wish, row, column
            n -= 1


@pytest.mark.parametrize(("spec", "wish", "row", "column"), list(cases(15)))
def test_without_slack_misses_stay_within_a_line_of_the_least(spec, wish, row, column):
    rows, columns = len(row), len(column)
    found = count_misses(lay_out_copies(row, column, wish, spec), row, column, wish, spec)
    freed = np.argwhere(~(row[:, None] & column[None, :]))
    hosts = [(r, spec.bitline(c, s, columns)) for r, c in freed for s in host_slices(wish, spec)]
    kept = np.argwhere(row[:, None] & column[None, :])
    top = spec.cells_per_group - 1
    own = [
        (r, spec.bitline(c, g * spec.cells_per_group + top - p, columns))
        for r, c in kept
        for g in range(spec.groups)
        for p in range(len(wish.depths))
    ]
    for axis, misses, line in (
        (0, found.wordline, spec.bitlines(columns)),
        (1, found.bitline, rows),
    ):
        least = least_misses([h[axis] for h in hosts], [o[axis] for o in own], wish.rounds)
        assert least <= misses <= least + line
