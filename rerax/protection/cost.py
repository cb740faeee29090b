"""What a protection stores and reads, to the cell, and how far apart. NumPy only."""

from dataclasses import dataclass, fields

import numpy as np

from rerax.crossbar.spec import ChipSpec


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
        metadata: bits that the chip's own choices take outside the array.
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
    metadata: int = 0

    def __add__(self, other: "Ledger") -> "Ledger":
        return Ledger(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    @property
    def reads_per_weight(self) -> float:
        """Cells sensed for one kept weight."""
        return self.reads / self.weights if self.weights else 0.0


@dataclass(frozen=True)
class Misses:
    """Voted bits whose images are not kept apart in some way.

    Attributes:
        bits: voted bits in all.
        wordline, bitline: two images of the bit on one wordline, on one bitline.
        adjacent: two on neighbouring bitlines.
        tile: fewer tiles than images, though the matrix has more.
    """

    bits: int = 0
    wordline: int = 0
    bitline: int = 0
    adjacent: int = 0
    tile: int = 0

    def __add__(self, other: "Misses") -> "Misses":
        return Misses(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))


def unprotected_ledger(row: np.ndarray, column: np.ndarray, spec: ChipSpec) -> Ledger:
    """Count what a matrix without copies stores; `row` and `column` say which lines are open."""
    s, kept = spec.cells_per_weight, int(row.sum()) * int(column.sum())
    physical = row.size * column.size * s
    used = kept * s
    return Ledger(
        physical, used, physical - used, 0, 0, freed=physical - used, weights=kept, reads=used
    )
