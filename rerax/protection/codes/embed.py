"""Error-correcting codes over the top bits of weights, in no cell more. No JAX here."""

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
from rerax.protection.codes.block_code import LONGEST, MOST, CheckSpec
from rerax.protection.cost import Ledger, Misses, unprotected_ledger
from rerax.values import check_integer, is_whole

PURSES = ("pruned", "lsb", "spare")
"""Cells that may hold check bits."""


@dataclass(frozen=True)
class Code(Protection):
    """Check bits over the top bits of several weights; wrong bits are put right on reading.

    A code word is the top bits of weights in one column and several rows, one from each equal part
    of the open rows, so that a dead wordline costs it one weight's bits. It is decoded by the table
    of its syndromes; one with too many wrong bits is left as read, or put wrong further, as a
    decoder would.

    Attributes:
        name: `hamming` (one wrong bit of a code word), `secded` (one, and two leave it as read),
            `bch` (two) or `golay` (three).
        bits: top bits of each group that are protected.
        into: where check bits lie. `pruned`: freed cells; `lsb`: low bits of other weights, which
            are given up (in place, as "zero-space" codes do); `spare`: a further array.
        erasures: bits known to be stuck are filled by 0 and by 1, and what is nearer on the
            other bits is taken.
        closest: a tested chip is written so that what is decoded differs least.

    Raises:
        ValueError: a field outside its range.

    Source: in-place codes, arXiv 1910.14479; Golay, BCH and Hsiao codes are the textbooks'.
    """

    tells_arrays_apart = False

    name: str = "golay"
    bits: int = 4
    into: str = "pruned"
    erasures: bool = False
    closest: bool = False

    def __post_init__(self) -> None:
        if self.name not in LONGEST:
            raise ValueError(f"unknown code {self.name!r}: use one of {', '.join(LONGEST)}")
        if self.into not in PURSES:
            raise ValueError(f"check bits into {self.into!r}: use one of {', '.join(PURSES)}")
        check_integer("bits", self.bits)
        most = min(8, MOST[self.name])
        if not 1 <= self.bits <= most:
            raise ValueError(
                f"{self.bits} protected bits are outside 1..{most}: give a whole number in the "
                "range"
            )
        if self.erasures and self.closest:
            raise ValueError(
                f"{self.text} has erasures and closest: leave one out, since what is written "
                "around is not decoded twice"
            )
        if self.closest and self.into == "spare":
            raise ValueError(
                f"{self.text} would have to know the spare array when the base array is written: "
                "use :pruned or :lsb, or leave out closest"
            )
        if self.into == "lsb" and not _has_check_spec(self):
            raise ValueError(f"{self.text} is too long a code word for low bits: protect fewer")
        if self.into == "lsb" and self.bits + self.low > 8:
            raise ValueError(
                f"{self.text} needs {self.low} low bits below {self.bits} protected ones, and a "
                "weight has 8: protect fewer"
            )

    @property
    def check_spec(self) -> CheckSpec:
        """What is asked of placement and decoder."""
        return CheckSpec(self.name, self.bits, self.into)

    @property
    def low(self) -> int:
        """Low bits of every weight that check bits take the place of."""
        return self.check_spec.low

    @property
    def text(self) -> str:
        """Such as `code:golay:4:pruned` or `code:bch:6:lsb:closest`."""
        more = ":erasures" * self.erasures + ":closest" * self.closest
        return f"code:{self.name}:{self.bits}:{self.into}{more}"

    @property
    def needs_gates(self) -> bool:  # type: ignore[override]
        """Whether freed cells pay."""
        return self.into == "pruned"

    @property
    def spare_arrays(self) -> int:  # type: ignore[override]
        """One for check bits that have no room elsewhere."""
        return 1 if self.into == "spare" else 0

    @property
    def knows(self) -> str:  # type: ignore[override]
        """Which cells are stuck, with erasures; before they are written, with closest."""
        if self.closest:
            return "map at writing"
        return "map at reading" if self.erasures else "nothing"

    @property
    def exact(self) -> bool:  # type: ignore[override]
        """Whether no check bit takes the place of a low bit."""
        return self.into != "lsb"

    def check(self, spec: ChipSpec) -> None:
        """Refuse more bits than a group has."""
        if self.bits + self.low > spec.group_bits:
            low = f" and {self.low} low ones" if self.low else ""
            raise ValueError(
                f"{self.text} takes {self.bits} bits{low} of a group, which has "
                f"{spec.group_bits}: protect fewer"
            )

    def store(
        self, codes: Int8[np.ndarray, "*L R C"], lines: GatedLines, spec: ChipSpec, matrix: str
    ) -> StoredMatrix:
        """Encode words with check bits in them, or with a further array that holds these.

        Raises:
            ValueError: a gated matrix without room, or low bits that are too few.
        """
        from rerax.protection.codes.write import write_checks

        self.check(spec)
        if lines is None and self.needs_gates:
            return super().store(codes, lines, spec, matrix)
        row, column = all_lines(lines, codes.shape)
        for r, c in zip(
            row.reshape(-1, row.shape[-1]), column.reshape(-1, column.shape[-1]), strict=True
        ):
            self.check_room(r, c, spec, matrix)
        return write_checks(codes, row, column, self.check_spec, spec, self.closest)

    def write(
        self,
        words: UInt8[Any, "G R C"],
        stuck: UInt8[Any, "G R C"],
        held: UInt8[Any, "G R C"],
        extra: Any,
        spec: ChipSpec,
        matrix: str,
    ) -> tuple[Any, Any]:
        """Find words and check bits whose decoded result is nearest to what is wanted."""
        from rerax.protection.codes.read import write_around
        from rerax.protection.nearest_word import nearest_word

        if extra is None:
            return nearest_word(words, stuck, held, spec), None
        layout, hosts = extra
        return write_around(words, stuck, held, layout, hosts, self.check_spec, spec), None

    def recover(self, arrays: list[Any], extra: Any, spec: ChipSpec, matrix: str) -> Any:
        """Decode words with their check bits."""
        from rerax.protection.codes.read import read_decoded, read_with_erasures

        if self.closest:
            extra, _ = extra
            extra = None if extra is None else extra[0]
        if extra is None:
            return arrays[0].words
        decode = read_with_erasures if self.erasures else read_decoded
        return decode(arrays[0], arrays[-1], extra, self.check_spec, spec)

    def ledger(
        self, row: np.ndarray, column: np.ndarray, gated: bool, spec: ChipSpec, matrix: str
    ) -> Ledger:
        """Count cells of kept weights and check bits, and what is left."""
        from rerax.protection.codes.room import code_ledger

        if not gated and self.needs_gates:
            return unprotected_ledger(row, column, spec)
        self.check_room(row, column, spec, matrix)
        return code_ledger(row, column, self.check_spec, spec)

    def expected_error(self, share: np.ndarray, chances: Any, spec: ChipSpec) -> np.ndarray | None:
        """Compute the expected squared error of codes in code words of weights such as `share`."""
        from rerax.protection.codes.expected import decoded_error

        if self.erasures or self.closest:
            return None
        return decoded_error(self.check_spec, share, chances, spec)

    def misses(self, row: np.ndarray, column: np.ndarray, spec: ChipSpec) -> Misses:
        """Count code words whose check bits are not kept apart from them and from each other."""
        from rerax.protection.codes.placement import count_misses

        return count_misses(row, column, self.check_spec, spec)

    def check_room(self, row: np.ndarray, column: np.ndarray, spec: ChipSpec, matrix: str) -> None:
        """Raise ValueError where the check bits do not fit: matrix, bits short."""
        from rerax.protection.codes.room import bits_short

        self.check(spec)
        short = bits_short(row, column, self.check_spec, spec)
        if short > 0:
            advice = (
                "prune more or protect fewer bits"
                if self.into == "pruned"
                else ("leave the matrix out, since its last code word is too empty")
            )
            raise ValueError(f"{matrix} has no room for {self.text}: {short} bits short: {advice}")


def _has_check_spec(code: Code) -> bool:
    try:
        return code.low > 0
    except ValueError:  # the weights of a code word have more bits than the code takes
        return False


def _code(parts: list[str]) -> Protection:
    own, more = without_ending(parts, ("erasures", "closest"))
    if len(own) == 3 and is_whole(own[1]):
        return Code(own[0], int(own[1]), own[2], **more)
    raise ValueError(
        f"code:{':'.join(parts)} is not understood: use code:golay:4:pruned, that is a code, the "
        "bits of a weight, and pruned, lsb or spare; :erasures or :closest behind"
    )


register_protection(
    "code", _code, "code:golay:4:pruned (or hamming, secded, bch; :lsb, :spare; with :closest)"
)
