"""Chips that were tested, whose worst wordlines are replaced by spare ones. No JAX here."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Int8, UInt8

from rerax.crossbar.spec import ChipSpec
from rerax.protection.base import (
    GatedLines,
    Protection,
    StoredMatrix,
    all_lines,
    register_protection,
    without_ending,
)
from rerax.protection.cost import Ledger, unprotected_ledger
from rerax.values import is_integer, is_whole


@dataclass(frozen=True)
class SpareLines(Protection):
    """Spare wordlines in every tile, which take the place of those that stuck cells hurt most.

    The chip's stuck cells and their levels are known. Of a tile's wordlines those whose codes have
    the largest sum of squared errors, over open rows and columns, in whole numbers, are read from
    spare ones; of equally bad ones the first, and none that has no error. Spare wordlines have
    stuck cells as others have, which are not looked at before. A tile stands for the block of rows
    and columns that `ChipSpec.column_blocks` tells of; which wordlines are replaced is kept beside
    the array (`metadata`).

    Attributes:
        lines: spare wordlines a tile, fewer than it has.
        closest: each weight is written as the nearest value that its stuck cells allow besides.

    Raises:
        ValueError: no whole number of lines.

    Source: redundant lines, as in Xia et al., JETCAS 8(1), 2018.
    """

    tells_arrays_apart = False
    spare_arrays = 1

    lines: int = 4
    closest: bool = False

    knows = "map at writing"

    def __post_init__(self) -> None:
        if not is_integer(self.lines) or self.lines < 1:
            raise ValueError(f"spare:{self.lines} is too few: give 1 or more wordlines a tile")

    @property
    def text(self) -> str:
        """Such as `spare:4` or `spare:4:closest`."""
        return f"spare:{self.lines}" + ":closest" * self.closest

    def check(self, spec: ChipSpec) -> None:
        """Refuse tiles without so many wordlines, or with sums of errors past 32 bits.

        Raises:
            ValueError: so.
        """
        rows, bitlines = spec.tile
        if self.lines >= rows:
            raise ValueError(
                f"{self.text} has as many spare wordlines as a tile of {rows}x{bitlines} has: give "
                "fewer"
            )
        if (2**spec.bits - 1) ** 2 * spec.block_columns >= 2**31:
            raise ValueError(
                f"{self.text} adds up the errors of a wordline of {bitlines} bitlines in 32 bits, "
                "which are too few: use a smaller tile"
            )

    def store(
        self, codes: Int8[np.ndarray, "*L R C"], lines: GatedLines, spec: ChipSpec, matrix: str
    ) -> StoredMatrix:
        """Encode plain words, beside the open rows and columns and empty spare wordlines."""
        plain = super().store(codes, lines, spec, matrix)
        *layers, rows, columns = codes.shape
        height = self.lines * -(-rows // spec.tile[0])
        spare = np.zeros((*layers, spec.groups, height, columns), np.uint8)
        return plain._replace(extra=all_lines(lines, codes.shape), spare=spare)

    def write(
        self,
        words: UInt8[Any, "G R C"],
        stuck: UInt8[Any, "G R C"],
        held: UInt8[Any, "G R C"],
        extra: Any,
        spec: ChipSpec,
        matrix: str,
    ) -> tuple[Any, Any]:
        """Choose the wordlines to replace, and the words to be written."""
        from rerax.protection.line_replacement import write_around

        return write_around(words, stuck, held, extra, spec, self.lines, self.closest)

    def write_spare(
        self, number: int, stuck: Any, held: Any, chosen: Any, spec: ChipSpec, matrix: str
    ) -> Any:
        """Choose the words of spare wordlines: those of the wordlines that they stand for."""
        if not self.closest:
            return chosen.words
        from rerax.protection.nearest_word import nearest_word

        return nearest_word(chosen.words, stuck, held, spec)

    def recover(self, arrays: list[Any], extra: Any, spec: ChipSpec, matrix: str) -> Any:
        """Read the replaced wordlines from the spare ones."""
        from rerax.protection.line_replacement import with_spare

        base, spare = arrays
        _, replaced = extra
        return with_spare(base.words, spare.words, replaced)

    def ledger(
        self, row: np.ndarray, column: np.ndarray, gated: bool, spec: ChipSpec, matrix: str
    ) -> Ledger:
        """Count the plain array, spare wordlines, and the bits of which they stand for."""
        down = -(-row.size // spec.tile[0])
        blocks = down * len(set(spec.column_blocks(column.size)))
        spare = self.lines * down * spec.bitlines(column.size)
        bits = self.lines * spec.tile[0].bit_length()  # 0: it stands for none
        return unprotected_ledger(row, column, spec) + Ledger(spare=spare, metadata=bits * blocks)


def _spare(parts: list[str]) -> Protection:
    own, more = without_ending(parts, ("closest",))
    if len(own) > 1 or not all(map(is_whole, own)):
        raise ValueError(
            f"spare:{':'.join(parts)} is not understood: use spare:4, or spare:4:closest"
        )
    return SpareLines(int(own[0]) if own else 4, **more)


register_protection("spare", _spare, "spare:4 (or spare:4:closest)")
