"""What check bits take, and whether they fit. NumPy only."""

import numpy as np

from rerax.crossbar.spec import ChipSpec
from rerax.protection.codes.block_code import CheckSpec
from rerax.protection.cost import Ledger, unprotected_ledger


def code_words_of_rows(rows: int, weights: int) -> int:
    """Count the code words of a column of open rows; the last one may be filled up with zeros."""
    return -(-rows // weights)


def check_bits(row: np.ndarray, column: np.ndarray, asked: CheckSpec, spec: ChipSpec) -> int:
    """Count the check bits of one layer's matrix."""
    code_words = code_words_of_rows(int(row.sum()), asked.weights)
    return asked.code.check * spec.groups * code_words * int(column.sum())


def spare_rows(rows: int, asked: CheckSpec, spec: ChipSpec) -> int:
    """Count the rows of a spare array, as wide as the matrix, for the check bits of so many rows.

    All of them, open or not, so that every layer has spare arrays of one size.
    """
    return -(-asked.code.check * code_words_of_rows(rows, asked.weights) // spec.group_bits)


def bits_short(row: np.ndarray, column: np.ndarray, asked: CheckSpec, spec: ChipSpec) -> int:
    """Count the check bits that do not fit; 0 or less: all do."""
    needed, kept = check_bits(row, column, asked, spec), int(row.sum()) * int(column.sum())
    if asked.into == "lsb":
        return needed - kept * spec.groups * asked.low
    if asked.into == "spare":
        return 0
    return needed - (row.size * column.size - kept) * spec.groups * spec.group_bits


def code_ledger(row: np.ndarray, column: np.ndarray, asked: CheckSpec, spec: ChipSpec) -> Ledger:
    """Count what a matrix stores that holds its check bits; they must fit."""
    plain = unprotected_ledger(row, column, spec)
    bits = check_bits(row, column, asked, spec)
    if asked.into == "spare":
        cells = spec.cells(spare_rows(row.size, asked, spec), column.size)
        return plain + Ledger(spare=cells, reads=_cells_for(bits, spec))
    if asked.into == "pruned":
        cells = _cells_for(bits, spec)
        return plain + Ledger(free=-cells, copies=cells, reads=cells)
    # Low cells that hold no own bit any more; with several bits a cell the topmost may hold both.
    given = plain.weights * spec.groups * (asked.low // spec.bits_per_cell)
    taken = given if spec.bits_per_cell > 1 else min(bits, given)
    return plain + Ledger(used=-given, copies=taken, left_over=given - taken, reads=taken - given)


def _cells_for(bits: int, spec: ChipSpec) -> int:
    """Count the cells that hold so many bits, laid one after another through whole words."""
    words, rest = divmod(bits, spec.group_bits)
    return words * spec.cells_per_group + -(-rest // spec.bits_per_cell)
