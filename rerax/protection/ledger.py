"""What a protection stores and reads, to the cell. NumPy only."""

from dataclasses import dataclass, fields

import numpy as np

from rerax.crossbar.spec import ChipSpec
from rerax.protection.placement import Wish, copied_cells, host_slices, low_bits, served_columns


@dataclass(frozen=True)
class Ledger:
    """Cells of one matrix, or of several added up.

    Attributes:
        physical: cells of the array, those of the unpruned and unprotected matrix.
        used: cells that hold bits of kept weights (a cell with a copy beside them counts here).
        free: cells that pruning freed and that hold nothing.
        copies: cells that hold copies alone.
        left_over: cells of low bits given up in which no copy lies.
        spare: cells of further arrays.
        freed: cells that pruning freed: `free`, and those of `copies` that are not low bits.
        weights: kept weights.
        reads: cells sensed to read all kept weights once.
    """

    physical: int = 0
    used: int = 0
    free: int = 0
    copies: int = 0
    left_over: int = 0
    spare: int = 0
    freed: int = 0
    weights: int = 0
    reads: int = 0

    def __add__(self, other: "Ledger") -> "Ledger":
        return Ledger(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    @property
    def reads_per_weight(self) -> float:
        """Cells sensed for one kept weight."""
        return self.reads / self.weights if self.weights else 0.0


def unprotected_ledger(row: np.ndarray, column: np.ndarray, spec: ChipSpec) -> Ledger:
    """Ledger of a matrix without copies; `row` and `column` say which lines are open."""
    s, kept = spec.cells_per_weight, int(row.sum()) * int(column.sum())
    physical = row.size * column.size * s
    used = kept * s
    return Ledger(
        physical, used, physical - used, 0, 0, freed=physical - used, weights=kept, reads=used
    )


def embedded_ledger(row: np.ndarray, column: np.ndarray, wish: Wish, spec: ChipSpec) -> Ledger:
    """Ledger of a matrix that holds the copies a wish asks for; they must fit."""
    plain = unprotected_ledger(row, column, spec)
    rows, columns = int(row.sum()), int(column.sum())
    served = served_columns(wish, spec, row, column)
    in_freed = rows * served * wish.cell_copies(spec)
    given = low_bits(wish, columns, served)
    filled = rows * (columns - served) * wish.copies * spec.groups  # bits, so cells where c = 1
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
    row: np.ndarray, column: np.ndarray, wish: Wish, spec: ChipSpec
) -> tuple[int, int] | None:
    """Bits that do not fit, and the most bits that could be voted as deep; None if all fit.

    A wish without low bits fits when freed cells serve all kept weights; one with low bits fits
    when each group keeps at least the bits that are voted.
    """
    if fits(row, column, wish, spec):
        return None
    short = _short(row, column, wish, spec)
    fewer = len(wish.depths) - 1
    while fewer and not fits(row, column, Wish(wish.depths[:fewer], wish.freed, wish.low), spec):
        fewer -= 1
    return short, fewer


def fits(row: np.ndarray, column: np.ndarray, wish: Wish, spec: ChipSpec) -> bool:
    """Whether the copies that a wish asks for have room."""
    return _short(row, column, wish, spec) <= 0


def _short(row: np.ndarray, column: np.ndarray, wish: Wish, spec: ChipSpec) -> int:
    rows, columns = int(row.sum()), int(column.sum())
    if rows * columns == 0:
        return 0
    if wish.low:
        served = served_columns(wish, spec, row, column)
        room = spec.group_bits - len(wish.depths)
        return (low_bits(wish, columns, served) - room) * rows * columns * spec.groups
    need = (
        rows
        * columns
        * sum(
            spec.bits_of_cell(s % spec.cells_per_group)
            for q in range(wish.rounds)
            for s in copied_cells(wish, q, spec)
        )
    )
    cells = rows * columns * wish.cell_copies(spec)
    supply = (row.size * column.size - rows * columns) * len(host_slices(wish, spec))
    return 0 if cells <= supply else max(1, need * (cells - supply) // cells)
