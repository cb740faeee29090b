"""Where copies of bits lie: freed cells and low bits of the same matrix. NumPy, once per model.

A matrix W[R, C] keeps r rows and c columns. Two purses pay for copies. *Freed cells* are those
of closed rows (whole wordlines) and of closed columns on open rows. *Low bits* are those of
other kept weights, which are rounded to fewer bits.

Copies are made in rounds: round q makes the (q+1)-th copy of every bit that is to have so many.
Each round has a list of wordlines, the open rows rotated by a shift of its own, which says on
whose wordline the copies of a row go: so no two images of a bit share a wordline.

A row's copies of one round are a *run* of cells, of one length for all rows. The run begins on
that wordline, in the cells of closed columns. How many of its cells lie there is the round's
*quota*: a wordline has the same cells for all rounds, and the rounds are served one after the
other until they are used up. The rest of every run is laid on closed rows, row after row and
round after round, end to end. A chip can therefore read copies as slices of lines, without an
address for each. The few copies that this leaves on a wordline or bitline with another image of
their bit trade places with others (`swap`), and only those are listed one by one (`fix`).

In low bits the copies of a row lie on the wordline of the round, shifted by a number of columns
that keeps images apart.
"""

from typing import Any, NamedTuple

import numpy as np

from rerax.crossbar.spec import ChipSpec
from rerax.protection.msb.copy_spec import CopySpec, served_columns
from rerax.protection.msb.freed_cells import NOWHERE, AnyArray, Freed, place_in_freed, run_cells
from rerax.protection.msb.low_bits import Low, place_in_low
from rerax.protection.msb.swap import cell_number


class CopyPlacement(NamedTuple):
    """Where one matrix, or one matrix in every layer, keeps its copies.

    Attributes:
        rows: [K, R] wordline on which each round keeps an open row's copies.
        place: [R] number of each open row among the open ones, by which its rest is found on the
            closed rows (`Freed.base`); 0 for closed rows.
        freed, low: the two purses; None where one never pays.
    """

    rows: AnyArray
    place: AnyArray
    freed: Freed | None
    low: Low | None


def lay_out_copies(
    row: np.ndarray, column: np.ndarray, asked: CopySpec, spec: ChipSpec
) -> CopyPlacement:
    """Choose places for all copies of one matrix.

    Args:
        row, column: [R], [C] whether each line is open.
        asked: what to copy; it must fit.
        spec: geometry.
    """
    open_rows, open_columns = np.flatnonzero(row), np.flatnonzero(column)
    rows = np.zeros((asked.rounds, row.size), np.int32)
    rows[:, open_rows] = _shifted_rows(open_rows, asked.rounds)
    place = np.zeros(row.size, np.int32)
    place[open_rows] = np.arange(len(open_rows))
    served = served_columns(asked, spec, row, column)
    freed = low = None
    if asked.freed:
        freed = place_in_freed(row, column, rows, open_columns[:served], asked, spec)
    if asked.low:
        low = place_in_low(open_columns, served, asked, column.size)
    return stack_copies([CopyPlacement(rows, place, freed, low)], one=True)


def copy_cells(
    layout: CopyPlacement, row: np.ndarray, asked: CopySpec, spec: ChipSpec
) -> np.ndarray:
    """Find the cell number [K, X, r, c] of every copy in freed cells of one layer; -1 for none.

    X are the cells of `copied_cells(asked, 0, spec)`, r the open rows, c the served columns.
    """
    freed = layout.freed
    assert freed is not None
    open_rows = np.flatnonzero(row)
    at = run_cells(freed, np.asarray(layout.rows)[:, open_rows], asked, spec)
    round_, which, moved_row, place = freed.fix
    row_at, slice_at, column_at = freed.fix_at
    moved_to = cell_number(row_at, slice_at, column_at, spec, len(freed.place))
    at[round_, which, layout.place[moved_row], place] = moved_to
    return at


def images_meet(row: np.ndarray, column: np.ndarray, asked: CopySpec, spec: ChipSpec) -> bool:
    """Whether low bits would hold a copy in its own weight, or two copies of a bit in one cell.

    So it is in matrices of very few kept weights, whose lines cannot be turned apart.

    Args:
        row, column: [R], [C] whether each line is open.
        asked: what to copy; it must fit.
        spec: geometry.
    """
    open_rows, open_columns = np.flatnonzero(row), np.flatnonzero(column)
    if not asked.low or len(open_rows) > asked.rounds or not len(open_columns):
        return False  # with more rows every round has its own
    served = served_columns(asked, spec, row, column)
    if served == len(open_columns):
        return False
    low, turned = (
        place_in_low(open_columns, served, asked, column.size),
        _shifted_rows(open_rows, asked.rounds),
    )
    own = open_columns[served:]
    numbers = [(q, p) for q in range(asked.rounds) for p in range(asked.bits_in(q))]
    for n, (q, p) in enumerate(numbers):
        if (turned[q] == open_rows).all() and (low.column[n, own] == own).any():
            return True
        for m, (other, bit) in enumerate(numbers[:n]):
            if bit == p and (turned[q] == turned[other]).all():
                same = low.column[n, own] == low.column[m, own]
                cells = (low.bit[[n, m]][:, own]) // spec.bits_per_cell
                if (same & (cells[0] == cells[1])).any():
                    return True
    return False


def stack_copies(layouts: list[CopyPlacement], one: bool = False) -> CopyPlacement:
    """Stack the placements of a matrix's layers; lists are filled up to the longest.

    With `one` there is a single layer, and its arrays do not lead with [L].
    """

    def joined(parts: list[Any]) -> Any:
        if parts[0] is None or isinstance(parts[0], np.ndarray):
            return None if parts[0] is None else _filled(parts)[0 if one else slice(None)]
        return type(parts[0])(*(joined(list(same)) for same in zip(*parts, strict=True)))

    return joined(list(layouts))


def _shifted_rows(open_rows: np.ndarray, rounds: int) -> np.ndarray:
    """Choose, for each round and open row [K, r], the open row on whose wordline its copies lie.

    Rounds are shifted apart by equal parts of the matrix, so by tiles wherever it has them.
    """
    step = max(1, len(open_rows) // (rounds + 1))
    return np.stack([np.roll(open_rows, -(q + 1) * step) for q in range(rounds)])


def _filled(arrays: list[np.ndarray]) -> np.ndarray:
    longest = max(a.shape[-1] for a in arrays)
    pad = [[(0, 0)] * (a.ndim - 1) + [(0, longest - a.shape[-1])] for a in arrays]
    same = [np.pad(a, p, constant_values=NOWHERE) for a, p in zip(arrays, pad, strict=True)]
    return np.stack(same).astype(np.int32)
