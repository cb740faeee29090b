"""What copies inside a matrix take, and whether they fit. NumPy only."""

from dataclasses import replace

import numpy as np

from rerax.crossbar.spec import ChipSpec
from rerax.protection.cost import Ledger, unprotected_ledger
from rerax.protection.msb.copy_spec import (
    CopySpec,
    copied_cells,
    host_slices,
    low_bits,
    served_columns,
)


def embedded_ledger(row: np.ndarray, column: np.ndarray, asked: CopySpec, spec: ChipSpec) -> Ledger:
    """Count what a matrix stores that holds the copies asked for; they must fit."""
    plain = unprotected_ledger(row, column, spec)
    rows, columns = int(row.sum()), int(column.sum())
    served = served_columns(asked, spec, row, column)
    in_freed = rows * served * asked.cell_copies(spec)
    given = low_bits(asked, columns, served)
    filled = rows * (columns - served) * asked.copies * spec.groups  # bits, so cells where c = 1
    # Low cells that hold own bits no more; with several bits a cell the topmost may hold both.
    low_cells = given // spec.bits_per_cell
    whole = rows * columns * spec.groups * low_cells
    in_low = whole if spec.bits_per_cell > 1 else min(filled, whole)
    return Ledger(
        plain.physical,
        used=plain.used - whole,
        free=plain.freed - in_freed,
        copies=in_freed + in_low,
        left_over=whole - in_low,
        freed=plain.freed,
        weights=plain.weights,
        reads=plain.used - (whole - in_low) + in_freed,
    )


def shortage(
    row: np.ndarray, column: np.ndarray, asked: CopySpec, spec: ChipSpec
) -> tuple[int, int] | None:
    """Count the bits that do not fit, and the most that could be voted as deep; None if all fit.

    Copies without low bits fit when freed cells serve all kept weights; those with low bits fit
    when each group keeps at least the bits that are voted.
    """
    if fits(row, column, asked, spec):
        return None
    short = _bits_missing(row, column, asked, spec)
    fewer = len(asked.depths) - 1
    while fewer and not fits(row, column, replace(asked, depths=asked.depths[:fewer]), spec):
        fewer -= 1
    return short, fewer


def fits(row: np.ndarray, column: np.ndarray, asked: CopySpec, spec: ChipSpec) -> bool:
    """Whether the copies asked for have room."""
    return _bits_missing(row, column, asked, spec) <= 0


def _bits_missing(row: np.ndarray, column: np.ndarray, asked: CopySpec, spec: ChipSpec) -> int:
    """Count the bits for which there is no room; 0 or less: all fit."""
    rows, columns = int(row.sum()), int(column.sum())
    if rows * columns == 0:
        return 0
    if asked.low:
        served = served_columns(asked, spec, row, column)
        room = spec.group_bits - len(asked.depths)
        return (low_bits(asked, columns, served) - room) * rows * columns * spec.groups
    need = (
        rows
        * columns
        * sum(
            spec.bits_of_cell(s % spec.cells_per_group)
            for q in range(asked.rounds)
            for s in copied_cells(asked, q, spec)
        )
    )
    cells = rows * columns * asked.cell_copies(spec)
    supply = (row.size * column.size - rows * columns) * len(host_slices(asked, spec))
    return 0 if cells <= supply else max(1, need * (cells - supply) // cells)
