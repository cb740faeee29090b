"""Copies in freed cells: runs of cells on closed columns and closed rows. NumPy, once per model."""

import functools
from typing import Any, NamedTuple

import numpy as np

from rerax.crossbar.spec import ChipSpec
from rerax.protection.msb.copy_spec import CopySpec, copied_cells, host_slices
from rerax.protection.msb.swap import cell_address, cell_number, lines_of_cells, meets_own, swap

AnyArray = Any  # of NumPy, or of JAX inside jit

NOWHERE = 1 << 30  # no row, column or place: it reads as the last one and writes nowhere


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


def place_in_freed(
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
