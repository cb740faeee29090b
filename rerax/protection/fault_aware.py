"""Chips that were tested and are written around their faults. No JAX here."""

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import UInt8

from rerax.crossbar.spec import ChipSpec
from rerax.protection.base import ColumnVotes, Protection, WriteAround, register_protection
from rerax.protection.cost import Ledger, unprotected_ledger
from rerax.protection.expected_error import no_copies
from rerax.values import is_whole

WAYS = ("closest", "sign", "bit")
BLOCKS = (64, 128)


@dataclass(frozen=True)
class FaultAware(WriteAround):
    """Weights written so that a chip's own stuck cells hurt least. It knows them and their levels.

    - `closest`: each weight takes the nearest value that its stuck cells allow (closest-value
      mapping).
    - `sign`: a column of a block of rows holds the negative weights where that is better, and
      its sums are negated.
    - `bit`: a column of a block holds chosen bits complemented, and they are turned on reading.

    What is chosen leaves the least sum of squared errors of the codes of open rows and columns,
    in whole numbers; where choices are equally good, the one of fewer flips. All choices of a
    block are tried. No cell is added; `sign` and `bit` keep bits beside the array (`metadata`).

    Attributes:
        ways: some of `WAYS`, in that order.
        rows: rows of a block, 64 or 128; it means nothing to `closest` alone, and is 128 there.

    Raises:
        ValueError: unknown ways, or another number of rows.

    Source: closest-value mapping, sign-flip and bit-flip as compared in arXiv 2512.18459.
    """

    ways: tuple[str, ...] = ("closest",)
    rows: int = 128

    def __post_init__(self) -> None:
        ways = (self.ways,) if isinstance(self.ways, str) else tuple(self.ways)
        if not ways or list(ways) != [way for way in WAYS if way in ways]:
            raise ValueError(
                f"ways {'+'.join(map(str, ways))} are not understood: use closest, sign, bit, or "
                "some of them in that order, as closest+sign"
            )
        object.__setattr__(self, "ways", ways)
        if self.rows not in BLOCKS:
            raise ValueError(f"rows {self.rows!r} of a block are not supported: use 64 or 128")
        if not self.flips:  # and so has no blocks
            object.__setattr__(self, "rows", 128)

    @property
    def text(self) -> str:
        """Such as `closest`, `closest+bit` or `sign:64`."""
        block = f":{self.rows}" if self.flips and self.rows != 128 else ""
        return "+".join(self.ways) + block

    @property
    def flips(self) -> bool:
        """Whether blocks are flipped, which takes metadata."""
        return "sign" in self.ways or "bit" in self.ways

    def write(
        self,
        words: UInt8[Any, "G R C"],
        stuck: UInt8[Any, "G R C"],
        held: UInt8[Any, "G R C"],
        extra: Any,
        spec: ChipSpec,
        matrix: str,
    ) -> tuple[Any, Any]:
        """Choose the words to be written, and the flips of every column of every block."""
        from rerax.protection.column_flips import write_around

        return write_around(words, stuck, held, extra, spec, self.ways, self.rows)

    def recover(self, arrays: list[Any], extra: Any, spec: ChipSpec, matrix: str) -> Any:
        """Undo the flips of words."""
        from rerax.protection.column_flips import unflipped

        _, flips = extra
        return unflipped(arrays[0].words, flips, spec, self.rows)

    def votes(
        self, row: np.ndarray, column: np.ndarray, gated: bool, spec: ChipSpec
    ) -> ColumnVotes | None:
        """Say that nothing is voted, of `closest` alone."""
        if self.flips:
            return None
        return [(np.flatnonzero(column), no_copies(spec)._replace(closest=True))]

    def ledger(
        self, row: np.ndarray, column: np.ndarray, gated: bool, spec: ChipSpec, matrix: str
    ) -> Ledger:
        """Count the plain array, and the bits of its flips."""
        bits = ("sign" in self.ways) + ("bit" in self.ways) * spec.group_bits
        blocks = -(-row.size // self.rows)
        return unprotected_ledger(row, column, spec) + Ledger(
            metadata=bits * blocks * int(column.sum())
        )


def _fault_aware(first: str, parts: list[str]) -> Protection:
    if parts and not (len(parts) == 1 and is_whole(parts[0])):
        raise ValueError(
            f"{first}:{':'.join(parts)} is not understood: use {first}, or the rows of a block "
            f"behind it, {first}:64"
        )
    return FaultAware(tuple(first.split("+")), int(parts[0]) if parts else 128)


def _register() -> None:
    for mask in range(1, 1 << len(WAYS)):
        first = "+".join(way for k, way in enumerate(WAYS) if mask >> k & 1)
        shown = "closest+bit (or closest, sign, bit, closest+sign, ..; :64)"
        register_protection(
            first, functools.partial(_fault_aware, first), shown if first == "closest+bit" else ""
        )


_register()
