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

import functools
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from rerax.crossbar.spec import ChipSpec
from rerax.protection.msb.swap import cell_address, cell_number, lines_of_cells, meets_own, swap

AnyArray = Any  # of NumPy, or of JAX inside jit

NOWHERE = 1 << 30  # no row, column or place: it reads as the last one and writes nowhere


@dataclass(frozen=True)
class CopySpec:
    """Which bits of a weight are to be voted, how deep, and who pays.

    Attributes:
        depths: images (the original included) of each bit from the most significant down; odd,
            none above the one before.
        freed: freed cells pay.
        low: low bits of other weights pay for what freed cells do not.
    """

    depths: tuple[int, ...]
    freed: bool
    low: bool

    @property
    def rounds(self) -> int:
        """Copies of the top bit."""
        return self.depths[0] - 1

    def bits_in(self, round_: int) -> int:
        """Count the top bits of each group that a round copies."""
        return sum(depth - 1 > round_ for depth in self.depths)

    @property
    def copies(self) -> int:
        """Copies of bits for each group of a weight."""
        return sum(self.bits_in(q) for q in range(self.rounds))

    def cells_in(self, round_: int, spec: ChipSpec) -> int:
        """Count the top cells of each group that hold the bits of a round."""
        bits, cells = self.bits_in(round_), 0
        while bits > 0:
            bits -= spec.bits_of_cell(spec.cells_per_group - 1 - cells)
            cells += 1
        return cells

    def cell_copies(self, spec: ChipSpec) -> int:
        """Count the copies of cells for each weight, over all groups."""
        return spec.groups * sum(self.cells_in(q, spec) for q in range(self.rounds))


class Freed(NamedTuple):
    """How freed cells hold the copies of the first open columns. Arrays may lead with [L].

    Attributes:
        rows: [a] closed rows in order, filled up with NOWHERE.
        columns: [w] closed columns in order, filled up likewise.
        kept: [c] the open columns that freed cells serve, in order, filled up likewise.
        place: [C] place of each column in `kept`, or NOWHERE.
        quota: [K] for each round, the first cells of every row's run, which lie in closed
            columns of a wordline; the rest of the run lies on closed rows.
        start: [K] for each round, where these cells begin among a wordline's cells in closed
            columns: behind those of the rounds before.
        base: [K] for each round, where the first open row's rest begins among the cells of the
            closed rows; the rests of the other rows follow.
        fix: [4, f] copies that traded places: round, which copied cell, row, place in `kept`;
            filled up likewise.
        fix_at: [3, f] where they are: row, slice, column.
    """

    rows: AnyArray
    columns: AnyArray
    kept: AnyArray
    place: AnyArray
    quota: AnyArray
    start: AnyArray
    base: AnyArray
    fix: AnyArray
    fix_at: AnyArray


class Low(NamedTuple):
    """How low bits of other weights hold the copies of the columns that freed cells do not serve.

    Attributes:
        column: [N, C] host column of each copy of a bit (round by round, top bit first).
        bit: [N, C] which low bit of the host holds it.
        served: [C] 1 where low bits pay for a column's copies.
        mask: [1] the low bits given up, as a word.
    """

    column: AnyArray
    bit: AnyArray
    served: AnyArray
    mask: AnyArray


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


def voted_bits(asked: CopySpec, spec: ChipSpec) -> list[int]:
    """Mask the bits of a word that each round's copies hold and vote on.

    Freed cells copy whole cells, and all their bits vote; where low bits pay too, only the bits
    asked for do.
    """
    masks = []
    for q in range(asked.rounds):
        bits = asked.bits_in(q)
        if not asked.low:
            top = spec.cells_per_group - 1
            bits = sum(spec.bits_of_cell(top - i) for i in range(asked.cells_in(q, spec)))
        masks.append(((1 << bits) - 1) << (spec.group_bits - bits))
    return masks


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
        freed = _place_in_freed(row, column, rows, open_columns[:served], asked, spec)
    if asked.low:
        low = _place_in_low(open_columns, served, asked, column.size)
    return stack_copies([CopyPlacement(rows, place, freed, low)], one=True)


def served_columns(asked: CopySpec, spec: ChipSpec, row: np.ndarray, column: np.ndarray) -> int:
    """Count the open columns whose copies all fit into freed cells.

    They are the first ones: freed cells, divided by what a column takes.
    """
    rows, columns = int(row.sum()), int(column.sum())
    if not asked.freed or rows == 0:
        return 0
    supply = (row.size * column.size - rows * columns) * len(host_slices(asked, spec))
    return min(columns, supply // (rows * asked.cell_copies(spec)))


def low_bits(asked: CopySpec, columns: int, served: int) -> int:
    """Count the low bits that every kept weight gives up for the copies of unserved columns."""
    if not asked.low or columns == 0:
        return 0
    return -(-asked.copies * (columns - served) // columns)


def host_slices(asked: CopySpec, spec: ChipSpec) -> tuple[int, ...]:
    """List the slices of a freed weight whose cells have levels enough for every copied cell."""
    widest = max(spec.bits_of_cell(s % spec.cells_per_group) for s in copied_cells(asked, 0, spec))
    return tuple(
        s
        for s in range(spec.cells_per_weight)
        if spec.bits_of_cell(s % spec.cells_per_group) >= widest
    )


def copied_cells(asked: CopySpec, round_: int, spec: ChipSpec) -> tuple[int, ...]:
    """List the slices that a round copies, group by group, top cell first."""
    top = spec.cells_per_group - 1
    return tuple(
        group * spec.cells_per_group + top - i
        for group in range(spec.groups)
        for i in range(asked.cells_in(round_, spec))
    )


def _shifted_rows(open_rows: np.ndarray, rounds: int) -> np.ndarray:
    """Choose, for each round and open row [K, r], the open row on whose wordline its copies lie.

    Rounds are shifted apart by equal parts of the matrix, so by tiles wherever it has them.
    """
    step = max(1, len(open_rows) // (rounds + 1))
    return np.stack([np.roll(open_rows, -(q + 1) * step) for q in range(rounds)])


def _place_in_freed(
    row: np.ndarray,
    column: np.ndarray,
    rows: np.ndarray,
    kept: np.ndarray,
    asked: CopySpec,
    spec: ChipSpec,
) -> Freed:
    """Place the copies of the columns `kept` in freed cells: in runs, then trade what clashes."""
    closed_rows, closed_columns = np.flatnonzero(~row), np.flatnonzero(~column)
    run = np.array([len(copied_cells(asked, q, spec)) * len(kept) for q in range(asked.rounds)])
    line = len(host_slices(asked, spec)) * len(closed_columns)
    before = np.cumsum(run) - run
    quota = np.clip(line - before, 0, run)
    rest = (run - quota) * int(row.sum())
    place = np.full(column.size, NOWHERE)
    place[kept] = np.arange(len(kept))
    plain = Freed(
        closed_rows,
        closed_columns,
        kept,
        place,
        quota,
        np.cumsum(quota) - quota,
        np.cumsum(rest) - rest,
        np.zeros((4, 0), int),
        np.zeros((3, 0), int),
    )
    open_rows = np.flatnonzero(row)
    planned = run_cells(plain, rows[:, open_rows], asked, spec)
    lines = functools.partial(lines_of_cells, spec=spec, columns=column.size)
    own = meets_own(_own_cells(open_rows, kept, asked, spec, column.size), lines)
    settled = swap(planned, own, lines, _unused(planned, row, column, asked, spec))
    moved = np.nonzero(settled != planned)
    fix = np.stack([moved[0], moved[1], open_rows[moved[2]], moved[3]])
    return plain._replace(fix=fix, fix_at=np.stack(cell_address(settled[moved], spec, column.size)))


def run_cells(freed: Freed, turned: np.ndarray, asked: CopySpec, spec: ChipSpec) -> np.ndarray:
    """Lay copies in runs: cell numbers [K, X, r, c], -1 where a round has none.

    Args:
        freed: as laid out for one layer, but for `fix`, which is not looked at.
        turned: [K, r] wordline of each open row's copies on closed columns, each round.
        asked, spec: what is copied, geometry.
    """
    hosts = np.array(host_slices(asked, spec))
    columns_of_matrix, c = len(freed.place), len(freed.kept)
    cells = copied_cells(asked, 0, spec)
    at = np.full((asked.rounds, len(cells), turned.shape[1], c), -1, np.int64)
    if at.size == 0:
        return at
    rank = np.arange(turned.shape[1])[:, None]
    for q in range(asked.rounds):
        copied = copied_cells(asked, q, spec)
        p = np.arange(len(copied) * c)[None, :]
        on_line = p < freed.quota[q]
        x = np.where(on_line, freed.start[q] + p, 0)
        beside = cell_number(
            turned[q][:, None],
            hosts[x % len(hosts)],
            freed.columns[x // len(hosts)] if len(freed.columns) else 0,
            spec,
            columns_of_matrix,
        )
        y = np.where(
            on_line, 0, freed.base[q] + rank * (p.size - freed.quota[q]) + p - freed.quota[q]
        )
        below = cell_number(
            freed.rows[y // (len(hosts) * columns_of_matrix)] if len(freed.rows) else 0,
            hosts[y % len(hosts)],
            y // len(hosts) % columns_of_matrix,
            spec,
            columns_of_matrix,
        )
        laid = np.where(on_line, beside, below).reshape(-1, len(copied), c)
        for i, slice_ in enumerate(copied):
            at[q, cells.index(slice_)] = laid[:, i]
    return at


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


def _own_cells(
    open_rows: np.ndarray, kept: np.ndarray, asked: CopySpec, spec: ChipSpec, columns: int
) -> np.ndarray:
    """Number the cells [X, r, c] that are copied."""
    slices = np.array(copied_cells(asked, 0, spec))
    return cell_number(
        open_rows[None, :, None], slices[:, None, None], kept[None, None, :], spec, columns
    )


def _unused(
    at: np.ndarray, row: np.ndarray, column: np.ndarray, asked: CopySpec, spec: ChipSpec
) -> np.ndarray:
    """List the freed cells that could hold a copy and hold none."""
    freed = ~(row[:, None] & column[None, :])
    slices = np.array(host_slices(asked, spec))
    r, c = np.nonzero(freed)
    every = cell_number(r[:, None], slices[None, :], c[:, None], spec, column.size).ravel()
    return np.setdiff1d(every, at[at >= 0], assume_unique=True)


def _place_in_low(open_columns: np.ndarray, served: int, asked: CopySpec, columns: int) -> Low:
    """Place copies in low bits, one after another through the open columns, plane by plane."""
    c, rest = len(open_columns), len(open_columns) - served
    given = low_bits(asked, c, served)
    numbers = [(q, p) for q in range(asked.rounds) for p in range(asked.bits_in(q))]
    x = np.arange(len(numbers))[:, None] * rest + np.arange(rest)[None, :]
    plane = x // max(c, 1)
    host = (x + _shifts(x, plane, numbers, served, c)[plane]) % max(c, 1)
    column = np.zeros((len(numbers), columns), np.int64)
    bit = np.zeros((len(numbers), columns), np.int64)
    column[:, open_columns[served:]] = open_columns[host]
    bit[:, open_columns[served:]] = plane
    pays = np.zeros(columns, np.int64)
    pays[open_columns[served:]] = 1
    return Low(column, bit, pays, np.array([(1 << given) - 1]))


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
        _place_in_low(open_columns, served, asked, column.size),
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


def _shifts(
    x: np.ndarray, plane: np.ndarray, numbers: list[tuple[int, int]], served: int, c: int
) -> np.ndarray:
    """Choose by how many columns each plane of low bits is turned, so that images keep apart.

    Plane by plane, the first turn from an equal part of the matrix on that leaves fewest copies
    in the column of another image of their bit.
    """
    planes = int(plane.max(initial=-1)) + 1
    turns = np.zeros(max(planes, 1), np.int64)
    rounds = max(q for q, _ in numbers) + 1
    own = np.arange(served, c)
    for s in range(planes):
        here, fewest = plane == s, None
        first = (numbers[int(np.argmax(here.any(axis=1)))][0] + 1) * (c // (rounds + 1))
        for turn in [(first + i) % c for i in range(c)]:
            host = np.where(plane <= s, (x + np.where(here, turn, turns[plane])) % c, -1)
            clashes = int(((host == own) & here).sum())
            for n, (q, p) in enumerate(numbers):
                for other, (q2, p2) in enumerate(numbers):
                    if p == p2 and q2 < q:
                        clashes += int(((host[n] == host[other]) & (host[n] >= 0)).sum())
            if fewest is None or clashes < fewest:
                fewest, turns[s] = clashes, turn
            if clashes == 0:
                break
    return turns


def stack_copies(layouts: list[CopyPlacement], one: bool = False) -> CopyPlacement:
    """Stack the placements of a matrix's layers; lists are filled up to the longest.

    With `one` there is a single layer, and its arrays do not lead with [L].
    """

    def joined(parts: list[Any]) -> Any:
        if parts[0] is None or isinstance(parts[0], np.ndarray):
            return None if parts[0] is None else _filled(parts)[0 if one else slice(None)]
        return type(parts[0])(*(joined(list(same)) for same in zip(*parts, strict=True)))

    return joined(list(layouts))


def _filled(arrays: list[np.ndarray]) -> np.ndarray:
    longest = max(a.shape[-1] for a in arrays)
    pad = [[(0, 0)] * (a.ndim - 1) + [(0, longest - a.shape[-1])] for a in arrays]
    same = [np.pad(a, p, constant_values=NOWHERE) for a, p in zip(arrays, pad, strict=True)]
    return np.stack(same).astype(np.int32)
