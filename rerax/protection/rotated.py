"""Chips that were tested, whose rows are moved around their faults. No JAX here."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import UInt8

from rerax.crossbar.spec import ChipSpec
from rerax.protection.base import (
    Protection,
    WriteAround,
    register_protection,
    without_ending,
)
from rerax.protection.cost import Ledger, unprotected_ledger
from rerax.values import is_integer, is_whole

MOST_TRIES = 128


@dataclass(frozen=True)
class Rotated(WriteAround):
    """Rows of every tile stored rotated by the one of a few steps at which stuck cells hurt least.

    The chip's stuck cells and their levels are known. The rows of a tile move down by k/R of its
    height, k = 0 .. R-1, what falls off the end comes in at the top, and the inputs are driven
    in that order. That k is taken whose codes have the least sum of squared errors, over open rows
    and columns, in whole numbers; of equally good ones the smallest. A block of rows is as high as
    a tile, and takes the columns of weights whose first cell lies on one tile; they are rotated
    together, wherever their other cells lie. No cell is added; the k are kept beside the array
    (`metadata`).

    Attributes:
        tries: R, 2 to `MOST_TRIES`.
        closest: each weight is written as the nearest value that its stuck cells allow besides.

    Raises:
        ValueError: another number of tries.

    Source: rotations of the rows of a block, as in CRAFT (arXiv 2302.03862), without its
    orders of bits.
    """

    tries: int = 16
    closest: bool = False

    def __post_init__(self) -> None:
        if not is_integer(self.tries) or not 2 <= self.tries <= MOST_TRIES:
            raise ValueError(
                f"rotate:{self.tries} is not supported: try 2 to {MOST_TRIES} rotations"
            )

    @property
    def text(self) -> str:
        """Such as `rotate:16` or `rotate:16:closest`."""
        return f"rotate:{self.tries}" + ":closest" * self.closest

    def check(self, spec: ChipSpec) -> None:
        """Refuse tiles whose errors add up to more than a 32-bit number holds.

        Raises:
            ValueError: so.
        """
        rows, bitlines = spec.tile
        most = (2**spec.bits - 1) ** 2 * rows * spec.block_columns
        if most >= 2**31:
            raise ValueError(
                f"{self.text} adds up the errors of a tile of {rows}x{bitlines} in 32 bits, which "
                "are too few: use a smaller tile"
            )

    def write(
        self,
        words: UInt8[Any, "G R C"],
        stuck: UInt8[Any, "G R C"],
        held: UInt8[Any, "G R C"],
        extra: Any,
        spec: ChipSpec,
        matrix: str,
    ) -> tuple[Any, Any]:
        """Choose the rotation of every block, and the words to be written."""
        from rerax.protection.row_rotation import write_around

        return write_around(words, stuck, held, extra, spec, self.tries, self.closest)

    def recover(self, arrays: list[Any], extra: Any, spec: ChipSpec, matrix: str) -> Any:
        """Put rows back where they belong."""
        from rerax.protection.row_rotation import unrotated

        _, chosen = extra
        return unrotated(arrays[0].words, chosen, spec, self.tries)

    def ledger(
        self, row: np.ndarray, column: np.ndarray, gated: bool, spec: ChipSpec, matrix: str
    ) -> Ledger:
        """Count the plain array, and the bits of its rotations."""
        blocks = -(-row.size // spec.tile[0]) * len(set(spec.column_blocks(column.size)))
        bits = (self.tries - 1).bit_length()
        return unprotected_ledger(row, column, spec) + Ledger(metadata=bits * blocks)


def _rotated(parts: list[str]) -> Protection:
    own, more = without_ending(parts, ("closest",))
    if len(own) > 1 or not all(map(is_whole, own)):
        raise ValueError(
            f"rotate:{':'.join(parts)} is not understood: use rotate:16, or rotate:16:closest"
        )
    return Rotated(int(own[0]) if own else 16, **more)


register_protection("rotate", _rotated, "rotate:16 (or rotate:16:closest)")
