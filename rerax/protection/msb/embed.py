"""Copies of the most significant bits inside the matrix's own array. No JAX here."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Int8, UInt8

from rerax.crossbar.spec import ChipSpec
from rerax.protection.base import (
    ColumnVotes,
    GatedLines,
    Protection,
    StoredMatrix,
    all_lines,
    check_copies,
    register_protection,
    without_ending,
)
from rerax.protection.cost import Ledger, Misses, unprotected_ledger
from rerax.protection.expected_error import Votes, no_copies
from rerax.protection.msb.copy_spec import CopySpec, low_bits, served_columns, voted_bits
from rerax.protection.msb.diversity import count_misses
from rerax.protection.msb.placement import images_meet, lay_out_copies
from rerax.protection.msb.room import embedded_ledger, shortage
from rerax.values import check_integer, is_whole

PURSES = ("pruned", "lsb", "pruned+lsb")
"""Cells that may pay for copies."""


@dataclass(frozen=True)
class MsbEmbed(Protection):
    """Copies of the most significant bits inside the matrix's own array (arXiv 2401.11664).

    Attributes:
        msbs: most significant bits m of each group that are voted.
        copies: images of each, the original included, odd but with erasures; or one number for
            each bit from the top down, none above the one before.
        into: `pruned`: freed cells; `lsb`: low bits of other weights; `pruned+lsb`: freed cells
            as far as they go, then low bits.
        erasures: stuck cells known to the tester do not vote; where others tie, the original
            counts.
        closest: a tested chip is written so that what is voted differs least: a bit counts as
            stuck where its vote is settled whatever is written.

    Raises:
        ValueError: a field outside its range.
    """

    tells_arrays_apart = False

    msbs: int = 2
    copies: int | tuple[int, ...] = 3
    into: str = "pruned"
    erasures: bool = False
    closest: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.into, str) or self.into not in PURSES:
            raise ValueError(f"copies into {self.into!r}: use one of {', '.join(PURSES)}")
        check_integer("msbs", self.msbs)
        if not 1 <= self.msbs <= 8:
            raise ValueError(f"msbs {self.msbs} is outside 1..8: give a whole number in the range")
        if isinstance(self.copies, list):
            object.__setattr__(self, "copies", tuple(self.copies))
        if not isinstance(self.copies, tuple):
            check_integer("copies", self.copies)
        depths = self.depths
        for depth in depths:
            check_copies(depth, self.erasures)
        if len(depths) != self.msbs or list(depths) != sorted(depths, reverse=True):
            raise ValueError(
                f"copies {self.copies} do not fit {self.msbs} msbs: give one odd number, or one "
                "for each bit from the top down, none above the one before"
            )
        if len(set(depths)) == 1:  # one way to write it, so that equal ones are equal
            object.__setattr__(self, "copies", depths[0])

    @property
    def depths(self) -> tuple[int, ...]:
        """Images of each voted bit, from the top down."""
        return (self.copies,) * self.msbs if isinstance(self.copies, int) else self.copies

    @property
    def copy_spec(self) -> CopySpec:
        """What placement is asked for."""
        return CopySpec(self.depths, "pruned" in self.into, "lsb" in self.into)

    @property
    def text(self) -> str:
        """Such as `msb:2x3:pruned`, or `msb:5.3:lsb:erasures`."""
        alike = len(set(self.depths)) == 1
        deep = f"{self.msbs}x{self.depths[0]}" if alike else ".".join(map(str, self.depths))
        more = ":erasures" * self.erasures + ":closest" * self.closest
        return f"msb:{deep}:{self.into}{more}"

    @property
    def needs_gates(self) -> bool:  # type: ignore[override]
        """Whether freed cells alone pay."""
        return self.into == "pruned"

    @property
    def knows(self) -> str:  # type: ignore[override]
        """Which cells are stuck, with erasures; before they are written, with closest."""
        if self.closest:
            return "map at writing"
        return "map at reading" if self.erasures else "nothing"

    @property
    def exact(self) -> bool:  # type: ignore[override]
        """Whether no copy takes the place of a low bit."""
        return "lsb" not in self.into

    def check(self, spec: ChipSpec) -> None:
        """Refuse more bits than a group has."""
        if self.msbs > spec.group_bits:
            raise ValueError(
                f"msbs {self.msbs} are more than the {spec.group_bits} bits of a group: give fewer"
            )

    def store(
        self, codes: Int8[np.ndarray, "*L R C"], lines: GatedLines, spec: ChipSpec, matrix: str
    ) -> StoredMatrix:
        """Encode words with copies in them.

        Raises:
            ValueError: a gated matrix without room, or low bits that are too few.
        """
        from rerax.protection.msb.write import write_copies

        if lines is None and self.into == "pruned":
            return super().store(codes, lines, spec, matrix)
        shape = codes.shape
        row, column = all_lines(lines, shape)
        for r, c in zip(row.reshape(-1, shape[-2]), column.reshape(-1, shape[-1]), strict=True):
            self.check_room(r, c, spec, matrix)
        return write_copies(codes, row, column, self.copy_spec, spec, self.closest)

    def write(
        self,
        words: UInt8[Any, "G R C"],
        stuck: UInt8[Any, "G R C"],
        held: UInt8[Any, "G R C"],
        extra: Any,
        spec: ChipSpec,
        matrix: str,
    ) -> tuple[Any, Any]:
        """Find words and copies whose vote is nearest to what is wanted."""
        from rerax.protection.msb.write_around import write_around
        from rerax.protection.nearest_word import nearest_word

        if extra is None:
            return nearest_word(words, stuck, held, spec), None
        asked = self.copy_spec
        return write_around(words, stuck, held, extra, asked, self.erasures, spec), None

    def recover(self, arrays: list[Any], extra: Any, spec: ChipSpec, matrix: str) -> Any:
        """Vote words with their copies."""
        from rerax.protection.msb.read import read_voted

        if self.closest:
            extra, _ = extra
            extra = None if extra is None else extra.copies
        if extra is None:
            return arrays[0].words
        known = arrays[0].known if self.erasures else None
        return read_voted(arrays[0].words, known, extra, self.copy_spec, spec)

    def ledger(
        self, row: np.ndarray, column: np.ndarray, gated: bool, spec: ChipSpec, matrix: str
    ) -> Ledger:
        """Count cells of kept weights and copies, and what is left."""
        if not gated and self.needs_gates:
            return unprotected_ledger(row, column, spec)
        self.check_room(row, column, spec, matrix)
        return embedded_ledger(row, column, self.copy_spec, spec)

    def votes(
        self, row: np.ndarray, column: np.ndarray, gated: bool, spec: ChipSpec
    ) -> ColumnVotes | None:
        """Say how columns are voted: those with copies in freed cells, and those in low bits."""
        if self.closest and "lsb" in self.into and spec.bits_per_cell > 1:
            return None  # bits of a cell whose copies are apart
        kept, asked = np.flatnonzero(column), self.copy_spec
        if not gated and self.needs_gates:
            return [(kept, no_copies(spec)._replace(closest=self.closest))]
        served = served_columns(asked, spec, row, column)
        low = low_bits(asked, int(column.sum()), served)
        return [
            (columns, Votes(_depths(asked, freed, spec), freed, self.erasures, low, self.closest))
            for columns, freed in ((kept[:served], True), (kept[served:], False))
        ]

    def misses(self, row: np.ndarray, column: np.ndarray, spec: ChipSpec) -> Misses:
        """Count voted bits whose images are not kept apart."""
        layout = lay_out_copies(row, column, self.copy_spec, spec)
        return count_misses(layout, row, column, self.copy_spec, spec)

    def check_room(self, row: np.ndarray, column: np.ndarray, spec: ChipSpec, matrix: str) -> None:
        """Raise ValueError where the copies do not fit: matrix, bits short, most that fit."""
        self.check(spec)
        missing = shortage(row, column, self.copy_spec, spec)
        if missing is not None:
            short, most = missing
            advice = f"at most {most} msbs fit" if most else "prune more or give fewer copies"
            raise ValueError(f"{matrix} has no room for {self.text}: {short} bits short: {advice}")
        if images_meet(row, column, self.copy_spec, spec):
            raise ValueError(
                f"{matrix} keeps {int(row.sum())} x {int(column.sum())} weights, too few for "
                f"{self.text} to hold copies of a bit apart: leave the matrix out, or use "
                f"duplicate:{self.depths[0]}"
            )


def _depths(asked: CopySpec, freed: bool, spec: ChipSpec) -> tuple[int, ...]:
    """Count the images of each bit of a group, from the least significant up."""
    if freed:
        masks = voted_bits(asked, spec)
        return tuple(1 + sum(mask >> bit & 1 for mask in masks) for bit in range(spec.group_bits))
    below = (1,) * (spec.group_bits - len(asked.depths))
    return below + asked.depths[::-1]


def _msb(parts: list[str]) -> Protection:
    own, more = without_ending(parts, ("erasures", "closest"))
    deep = own[0] if own else ""
    msbs, x, copies = deep.partition("x")
    depths = deep.split(".")
    if len(own) == 2 and x and is_whole(msbs) and is_whole(copies):
        return MsbEmbed(int(msbs), int(copies), own[1], **more)
    if len(own) == 2 and all(map(is_whole, depths)):
        return MsbEmbed(len(depths), tuple(map(int, depths)), own[1], **more)
    raise ValueError(
        f"msb:{':'.join(parts)} is not understood: use msb:2x3:pruned, :lsb or :pruned+lsb, or a "
        "depth for each bit, msb:5.3:pruned"
    )


register_protection(
    "msb", _msb, "msb:2x3:pruned (or :lsb, :pruned+lsb; with :erasures, :closest behind)"
)
