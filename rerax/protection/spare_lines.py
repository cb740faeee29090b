"""Chips that were tested, whose worst lines are replaced by spare ones. No JAX here."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Int8, UInt8

from rerax.crossbar.spec import ChipSpec
from rerax.protection.base import (
    GatedLines,
    Protection,
    StoredMatrix,
    WriteAround,
    register_protection,
    without_ending,
)
from rerax.protection.cost import Ledger, unprotected_ledger
from rerax.values import is_integer, is_whole


@dataclass(frozen=True)
class SpareLines(WriteAround):
    """Spare lines in every tile, which take the place of those that stuck cells hurt most.

    The chip's stuck cells and their levels are known. Errors are sums of squared errors of codes
    over open rows and columns, in whole numbers. Of a tile's wordlines those with the largest
    errors are read from spare ones; a tile stands for the block of rows and columns that
    `ChipSpec.column_blocks` tells of. Of its bitlines those are read from spare ones whose
    replacing, each alone, takes most errors away. Of equally bad lines the first are replaced, and
    none whose replacing helps nothing. Spare lines have stuck cells as others have, which are not
    looked at before, and break by themselves; faults restricted to bits, and inverted bits, go by
    the place that a spare bitline has among the others, not by the bits it stands for. Which lines
    are replaced is kept beside the array (`metadata`).

    Attributes:
        lines: spare lines a tile, fewer than it has.
        closest: each weight is written as the nearest value that its stuck cells allow besides.
        along: which lines are spare, `wordlines` or `bitlines`.

    Raises:
        ValueError: no whole number of lines, or others.

    Source: redundant lines, as in Xia et al., JETCAS 8(1), 2018.
    """

    spare_arrays = 1

    lines: int = 4
    closest: bool = False
    along: str = "wordlines"

    def __post_init__(self) -> None:
        if not is_integer(self.lines) or self.lines < 1:
            raise ValueError(f"spare:{self.lines} is too few: give 1 or more lines a tile")
        if self.along not in ("wordlines", "bitlines"):
            raise ValueError(f"spare lines {self.along!r} are unknown: use wordlines or bitlines")

    @property
    def text(self) -> str:
        """Such as `spare:4`, `spare:4:closest` or `spare:8:bitlines`."""
        along = ":bitlines" * (self.along == "bitlines")
        return f"spare:{self.lines}{along}" + ":closest" * self.closest

    def check(self, spec: ChipSpec) -> None:
        """Refuse tiles without so many lines, or with sums of errors past 32 bits.

        Raises:
            ValueError: so, or spare bitlines of cells that do not all hold as many bits.
        """
        rows, bitlines = spec.tile
        of_words = self.along == "wordlines"
        if self.lines >= (rows if of_words else bitlines):
            raise ValueError(
                f"{self.text} has as many spare {self.along} as a tile of {rows}x{bitlines} has: "
                "give fewer"
            )
        if (2**spec.bits - 1) ** 2 * (spec.block_columns if of_words else rows) >= 2**31:
            raise ValueError(
                f"{self.text} adds up the errors of a line of a tile of {rows}x{bitlines} in 32 "
                "bits, which are too few: use a smaller tile"
            )
        if not of_words and spec.group_bits % spec.bits_per_cell:
            raise ValueError(
                f"{self.text} stores {spec.group_bits} bits in cells of {spec.bits_per_cell}, of "
                "which the last holds fewer, so a spare bitline cannot stand for any: use another "
                "number of bits a cell"
            )

    def store(
        self, codes: Int8[np.ndarray, "*L R C"], lines: GatedLines, spec: ChipSpec, matrix: str
    ) -> StoredMatrix:
        """Encode plain words, beside the open rows and columns and empty spare lines."""
        plain = super().store(codes, lines, spec, matrix)
        *layers, rows, columns = codes.shape
        spare = np.zeros((*layers, spec.groups, *self._spare_shape(rows, columns, spec)), np.uint8)
        return plain._replace(spare=spare)

    def _spare_shape(self, rows: int, columns: int, spec: ChipSpec) -> tuple[int, int]:
        """Count rows and columns of words of the spare lines of a matrix."""
        down, across = spec.tiles(rows, columns)
        if self.along == "wordlines":
            return self.lines * down, columns
        return rows, -(-self.lines * across // spec.cells_per_weight)

    def write(
        self,
        words: UInt8[Any, "G R C"],
        stuck: UInt8[Any, "G R C"],
        held: UInt8[Any, "G R C"],
        extra: Any,
        spec: ChipSpec,
        matrix: str,
    ) -> tuple[Any, Any]:
        """Choose the lines to replace, and the words to be written."""
        from rerax.protection import bitline_replacement, line_replacement

        given = (words, stuck, held, extra, spec, self.lines, self.closest)
        if self.along == "bitlines":
            return bitline_replacement.write_around(*given)
        return line_replacement.write_around(*given)

    def write_spare(
        self, number: int, stuck: Any, held: Any, chosen: Any, spec: ChipSpec, matrix: str
    ) -> Any:
        """Choose the words of spare lines: those of the lines that they stand for."""
        if not self.closest or self.along == "bitlines":
            return chosen.words
        from rerax.protection.nearest_word import nearest_word

        return nearest_word(chosen.words, stuck, held, spec)

    def recover(self, arrays: list[Any], extra: Any, spec: ChipSpec, matrix: str) -> Any:
        """Read the replaced lines from the spare ones."""
        from rerax.protection import bitline_replacement, line_replacement

        base, spare = arrays
        _, replaced = extra
        if self.along == "bitlines":
            return bitline_replacement.with_spare(base.words, spare.words, replaced, spec)
        return line_replacement.with_spare(base.words, spare.words, replaced)

    def ledger(
        self, row: np.ndarray, column: np.ndarray, gated: bool, spec: ChipSpec, matrix: str
    ) -> Ledger:
        """Count the plain array, spare lines, and the bits of which they stand for.

        Spare bitlines are counted as many as fill whole words.
        """
        down, across = spec.tiles(row.size, column.size)
        spare = spec.cells(*self._spare_shape(row.size, column.size, spec))
        if self.along == "wordlines":
            blocks, of = down * len(set(spec.column_blocks(column.size))), spec.tile[0]
        else:
            blocks, of = down * across, spec.tile[1]
        bits = self.lines * of.bit_length()  # 0: it stands for none
        return unprotected_ledger(row, column, spec) + Ledger(spare=spare, metadata=bits * blocks)


def _spare(parts: list[str]) -> Protection:
    own, more = without_ending(parts, ("bitlines", "closest"))
    if len(own) > 1 or not all(map(is_whole, own)):
        raise ValueError(
            f"spare:{':'.join(parts)} is not understood: use spare:4, spare:4:closest or "
            "spare:8:bitlines:closest"
        )
    along = "bitlines" if more.pop("bitlines") else "wordlines"
    return SpareLines(int(own[0]) if own else 4, **more, along=along)


register_protection("spare", _spare, "spare:4 (or spare:4:closest, spare:8:bitlines)")
