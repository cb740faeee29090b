"""Copies that share a wordline, bitline or tile with another image of their bit trade places.

A cell has a number here: row * (S * C) + slice * C + column, S slices and C columns.
"""

from collections.abc import Callable
from math import gcd
from typing import Any, NamedTuple

import numpy as np

from rerax.crossbar.spec import ChipSpec

TURNS = 48  # attempts for a large matrix, of which each meets another partner
EVERY = 4096  # pools up to this size try all partners


def cell_number(row: Any, slice_: Any, column: Any, spec: ChipSpec, columns: int) -> np.ndarray:
    """Number a cell by its row, slice and column."""
    return np.asarray((row * spec.cells_per_weight + slice_) * columns + column)


def cell_address(cell: np.ndarray, spec: ChipSpec, columns: int) -> tuple[np.ndarray, ...]:
    """Find row, slice and column of a cell number."""
    line = cell // columns
    return line // spec.cells_per_weight, line % spec.cells_per_weight, cell % columns


LineLookup = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
"""Wordlines and bitlines of cells."""


class Near(NamedTuple):
    """What counts as a line that two cells share.

    Attributes:
        apart: bitlines that they must be further apart than.
        tile: size of a tile that they must not both be in; None: they may.
    """

    apart: int
    tile: tuple[int, int] | None = None

    def meet(self, row: Any, bitline: Any, other_row: Any, other_bitline: Any) -> Any:
        """Whether cells at some addresses are so near."""
        found = (row == other_row) | (np.abs(bitline - other_bitline) <= self.apart)
        if self.tile is not None:
            rows, columns = self.tile
            same = row // rows == other_row // rows
            found |= same & (bitline // columns == other_bitline // columns)
        return found


Meets = Callable[[tuple[np.ndarray, ...], np.ndarray, np.ndarray, Near], np.ndarray]
"""How often copies (indices into [X, r, c]) would be near what they are copies of: the arguments
are index, wordline, bitline, and what is near."""


def lines_of_cells(cell: np.ndarray, spec: ChipSpec, columns: int) -> tuple[np.ndarray, np.ndarray]:
    """Find wordline and bitline of cell numbers."""
    row, slice_, column = cell_address(cell, spec, columns)
    return row, spec.bitline(column, slice_, columns)


def meets_own(own: np.ndarray, lines: LineLookup) -> Meets:
    """Say how copies of the cells `own` [X, r, c] meet them."""

    def meets(
        where: tuple[np.ndarray, ...], row: np.ndarray, bitline: np.ndarray, near: Near
    ) -> np.ndarray:
        return np.asarray(near.meet(*lines(own[where]), row, bitline))

    return meets


def swap(
    at: np.ndarray,
    meets: Meets,
    lines: LineLookup,
    unused: np.ndarray,
    every: int = EVERY,
    tile: tuple[int, int] | None = None,
) -> np.ndarray:
    """Trade places of copies until no two images of a cell share a line, as far as that can be had.

    Args:
        at: [K, X, r, c] cell number of every copy, -1 where a round has none.
        meets: how a copy meets what it is a copy of.
        lines: wordline and bitline of cell numbers.
        unused: cells that hold nothing and may be taken.
        every: pools up to this size try all partners.
        tile: size of tiles to keep apart on as well; None: lines alone.

    Returns:
        `at`, changed in few places. Common tiles and neighbouring bitlines are avoided first; what
        cannot do so is only kept off the same lines.
    """
    pool = _Pool(at, meets, lines, unused)
    for near in [Near(1, tile)] * (tile is not None) + [Near(1), Near(0)]:
        pool.settle(near, every)
    return pool.at


class _Pool:
    """All copies, and the unused cells behind them, as places that can be traded."""

    def __init__(self, at: np.ndarray, meets: Meets, lines: LineLookup, unused: np.ndarray) -> None:
        self.at, self.meets, self.lines = at.copy(), meets, lines
        self.row, self.bitline = (line.copy() for line in lines(at))
        self.copies = np.flatnonzero(at >= 0)
        self.unused = unused.copy()
        self.size = len(self.copies) + len(unused)

    def settle(self, near: Near, every: int) -> None:
        """Trade until no clash is left or every attempt was made."""
        if self.size < 2:
            return
        everyone = np.arange(len(self.copies))
        bad = everyone[self.clashes(everyone, self.cells(everyone), near) > 0]
        span = self.size - 1
        stride = next(
            n for n in range(max(1, int(0.618 * span)), 2 * span + 2) if gcd(n, span) == 1
        )
        for turn in range(span if self.size <= every else TURNS):
            if not len(bad):
                return
            partner = (bad + 1 + turn * stride % span) % self.size
            touched = self.trade(bad, partner, near)
            if len(touched):
                bad = np.union1d(bad, touched)
                bad = bad[self.clashes(bad, self.cells(bad), near) > 0]

    def cells(self, place: np.ndarray) -> np.ndarray:
        """Look up the cell at each place of the pool."""
        n = len(self.copies)
        found = np.empty(len(place), np.int64)
        copy = place < n
        found[copy] = self.at.flat[self.copies[place[copy]]]
        found[~copy] = self.unused[place[~copy] - n]
        return found

    def clashes(self, place: np.ndarray, cell: np.ndarray, near: Near) -> np.ndarray:
        """Count the images that each copy would share a line with in a cell; 0 if unused."""
        found = np.zeros(len(place), np.int64)
        copy = place < len(self.copies)
        number = self.copies[place[copy]]
        q, of = number // self.at[0].size, number % self.at[0].size
        row, bitline = self.lines(cell[copy])
        own = np.unravel_index(of, self.at.shape[1:])
        count = np.asarray(self.meets(own, row, bitline, near), np.int64)
        for other, there in enumerate(self.at.reshape(len(self.at), -1)):
            lines = (self.row[other].ravel().take(of), self.bitline[other].ravel().take(of))
            same = near.meet(*lines, row, bitline)
            count += same & (there.take(of) >= 0) & (other != q)
        found[copy] = count
        return found

    def trade(self, one: np.ndarray, other: np.ndarray, near: Near) -> np.ndarray:
        """Exchange the cells of pairs where that lessens their clashes; give what moved."""
        mine, theirs = self.cells(one), self.cells(other)
        now = self.clashes(one, mine, near) + self.clashes(other, theirs, near)
        then = self.clashes(one, theirs, near) + self.clashes(other, mine, near)
        weight = self.at[0].size
        moved: list[int] = []
        busy: set[int] = set()
        n = len(self.copies)
        for pair in np.flatnonzero(then < now):
            a, b = int(one[pair]), int(other[pair])
            # Two trades that touch one bit were not weighed together: the later one waits.
            names = {int(self.copies[p]) % weight if p < n else -p for p in (a, b)}
            if busy & names:
                continue
            busy |= names
            self.at.flat[self.copies[a]] = theirs[pair]
            if b < n:
                self.at.flat[self.copies[b]] = mine[pair]
                moved.append(b)
            else:
                self.unused[b - n] = mine[pair]
            moved.append(a)
        touched = np.array(moved, np.int64)
        where = self.copies[touched]
        self.row.flat[where], self.bitline.flat[where] = self.lines(self.at.flat[where])
        return touched
