"""Which bits are copied, and how many copies fit into the cells and bits that are free."""

from dataclasses import dataclass

import numpy as np

from rerax.crossbar.spec import ChipSpec


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


def copied_cells(asked: CopySpec, round_: int, spec: ChipSpec) -> tuple[int, ...]:
    """List the slices that a round copies, group by group, top cell first."""
    top = spec.cells_per_group - 1
    return tuple(
        group * spec.cells_per_group + top - i
        for group in range(spec.groups)
        for i in range(asked.cells_in(round_, spec))
    )


def host_slices(asked: CopySpec, spec: ChipSpec) -> tuple[int, ...]:
    """List the slices of a freed weight whose cells have levels enough for every copied cell."""
    widest = max(spec.bits_of_cell(s % spec.cells_per_group) for s in copied_cells(asked, 0, spec))
    return tuple(
        s
        for s in range(spec.cells_per_weight)
        if spec.bits_of_cell(s % spec.cells_per_group) >= widest
    )


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
