"""Protections: what is stored where, what is read back, what it takes.

A protection is a frozen dataclass with the four members of `Protection`; `register` gives it a
name for `sweep --protection`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int8, UInt8

from rerax.crossbar.encoding import encode
from rerax.crossbar.spec import ChipSpec
from rerax.crossbar.voting import majority_vote
from rerax.faults import Disturbed
from rerax.names import (
    PROTECTIONS,
    Msb,
    check_copies,
    check_msbs,
    check_none,
    check_protection,
    depths_of,
    read_duplicate,
    read_msb,
)
from rerax.protection.embed import embed
from rerax.protection.ledger import Ledger, embedded_ledger, shortage, unprotected_ledger
from rerax.protection.placement import Wish, images_meet
from rerax.protection.recover import recover


class Stored(NamedTuple):
    """A matrix, or one matrix in every layer, as it lies on crossbars.

    Attributes:
        words: [*L, G, R, C] words of the base array.
        extra: arrays that `recover` needs to find what it looks for, each leading with [*L];
            None where it needs nothing.
    """

    words: UInt8[np.ndarray, "*L G R C"]
    extra: Any


Lines = tuple[np.ndarray, np.ndarray] | None
"""Open rows [*L, R] and columns [*L, C] of a gated matrix; None: the matrix has no gates."""


@runtime_checkable
class Protection(Protocol):
    """What a notebook implements to add a protection; instances are hashable and stateless."""

    @property
    def spare_arrays(self) -> int:
        """Further arrays for each matrix, which hold the same words."""
        ...

    def store(
        self, codes: Int8[np.ndarray, "*L R C"], lines: Lines, spec: ChipSpec, matrix: str
    ) -> Stored:
        """Lay out a matrix, once for each model, on the host."""
        ...

    def recover(
        self, arrays: list[Disturbed], extra: Any, spec: ChipSpec, matrix: str
    ) -> UInt8[Array, "G R C"]:
        """Words of one layer's matrix from what its arrays read, inside jit."""
        ...

    def ledger(
        self, row: np.ndarray, column: np.ndarray, gated: bool, spec: ChipSpec, matrix: str
    ) -> Ledger:
        """Cells and reads of one layer's matrix with open lines `row` [R] and `column` [C]."""
        ...


@dataclass(frozen=True)
class Unprotected:
    """Words as they are."""

    spare_arrays: int = 0

    def store(
        self, codes: Int8[np.ndarray, "*L R C"], lines: Lines, spec: ChipSpec, matrix: str
    ) -> Stored:
        """Plain words."""
        return Stored(encode(codes, spec), None)

    def recover(
        self, arrays: list[Disturbed], extra: Any, spec: ChipSpec, matrix: str
    ) -> UInt8[Array, "G R C"]:
        """Words as read."""
        return arrays[0].words

    def ledger(
        self, row: np.ndarray, column: np.ndarray, gated: bool, spec: ChipSpec, matrix: str
    ) -> Ledger:
        """Kept weights and free cells."""
        return unprotected_ledger(row, column, spec)


@dataclass(frozen=True)
class Duplicate:
    """Whole words on spare crossbars, bitwise majority: the costly reference.

    Attributes:
        copies: images of every word, the original included; odd, at least 3.
        erasures: stuck cells known to the tester do not vote.

    Raises:
        ValueError: an even number, or fewer than 3.
    """

    copies: int = 3
    erasures: bool = False

    def __post_init__(self) -> None:
        check_copies(self.copies)

    @property
    def spare_arrays(self) -> int:
        """One for each further image."""
        return self.copies - 1

    def store(
        self, codes: Int8[np.ndarray, "*L R C"], lines: Lines, spec: ChipSpec, matrix: str
    ) -> Stored:
        """Plain words."""
        return Stored(encode(codes, spec), None)

    def recover(
        self, arrays: list[Disturbed], extra: Any, spec: ChipSpec, matrix: str
    ) -> UInt8[Array, "G R C"]:
        """The majority of all arrays."""
        stuck = jnp.stack([a.known for a in arrays]) if self.erasures else None
        return majority_vote(jnp.stack([a.words for a in arrays]), stuck)

    def ledger(
        self, row: np.ndarray, column: np.ndarray, gated: bool, spec: ChipSpec, matrix: str
    ) -> Ledger:
        """The base array, and `copies` - 1 spare ones of its size."""
        plain = unprotected_ledger(row, column, spec)
        more = self.spare_arrays
        return plain + Ledger(spare=more * plain.physical, reads=more * plain.reads)


@dataclass(frozen=True)
class MsbEmbed:
    """Copies of the most significant bits inside the matrix's own array (arXiv 2401.11664).

    Attributes:
        msbs: most significant bits m of each group that are voted.
        copies: images of each, the original included, odd; or one number for each bit from the
            top down, none above the one before.
        into: `pruned`: freed cells; `lsb`: low bits of other weights; `pruned+lsb`: freed cells
            as far as they go, then low bits.
        erasures: stuck cells known to the tester do not vote.

    Raises:
        ValueError: a field outside its range.
    """

    msbs: int = 2
    copies: int | tuple[int, ...] = 3
    into: str = "pruned"
    erasures: bool = False
    spare_arrays: int = 0

    def __post_init__(self) -> None:
        check_msbs(Msb(self.msbs, self.copies, self.into, self.erasures))

    @property
    def depths(self) -> tuple[int, ...]:
        """Images of each voted bit, from the top down."""
        return depths_of(self.msbs, self.copies)

    @property
    def wish(self) -> Wish:
        """What placement is asked for."""
        return Wish(self.depths, "pruned" in self.into, "lsb" in self.into)

    def store(
        self, codes: Int8[np.ndarray, "*L R C"], lines: Lines, spec: ChipSpec, matrix: str
    ) -> Stored:
        """Words with copies in them.

        Raises:
            ValueError: a gated matrix without room, or low bits that are too few.
        """
        if lines is None and self.into == "pruned":
            return Unprotected().store(codes, lines, spec, matrix)
        shape = codes.shape
        row, column = lines or (np.ones(shape[:-1], bool), np.ones((*shape[:-2], shape[-1]), bool))
        for r, c in zip(row.reshape(-1, shape[-2]), column.reshape(-1, shape[-1]), strict=True):
            self.check(r, c, spec, matrix)
        return Stored(*embed(codes, row, column, self.wish, spec))

    def recover(
        self, arrays: list[Disturbed], extra: Any, spec: ChipSpec, matrix: str
    ) -> UInt8[Array, "G R C"]:
        """Words after the vote."""
        if extra is None:
            return arrays[0].words
        known = arrays[0].known if self.erasures else None
        return recover(arrays[0].words, known, extra, self.wish, spec)

    def ledger(
        self, row: np.ndarray, column: np.ndarray, gated: bool, spec: ChipSpec, matrix: str
    ) -> Ledger:
        """Kept weights, copies and what is left."""
        if not gated and self.into == "pruned":
            return unprotected_ledger(row, column, spec)
        self.check(row, column, spec, matrix)
        return embedded_ledger(row, column, self.wish, spec)

    def check(self, row: np.ndarray, column: np.ndarray, spec: ChipSpec, matrix: str) -> None:
        """Raise ValueError where the copies do not fit: matrix, bits short, most that fit."""
        check_msbs(Msb(self.msbs, self.copies, self.into, self.erasures), spec.group_bits)
        missing = shortage(row, column, self.wish, spec)
        if missing is not None:
            short, most = missing
            advice = f"at most {most} msbs fit" if most else "prune more or give fewer copies"
            raise ValueError(
                f"{matrix} has no room for {scheme_name(self)}: {short} bits short: {advice}"
            )
        if images_meet(row, column, self.wish, spec):
            raise ValueError(
                f"{matrix} keeps {int(row.sum())} x {int(column.sum())} weights, too few for "
                f"{scheme_name(self)} to hold copies of a bit apart: leave the matrix out, or use "
                f"duplicate:{self.depths[0]}"
            )


def register(kind: str, make: Callable[[list[str]], Protection]) -> None:
    """Let `sweep --protection KIND:PART:PART` find a protection."""
    PROTECTIONS[kind] = make


def protection(name: str) -> Protection:
    """Protection of that name: none, duplicate:3, msb:2x3:pruned, msb:1x3:lsb:erasures ...

    Raises:
        ValueError: unknown name, or parts that it does not take.
    """
    check_protection(name)
    kind, *parts = name.split(":")
    made: Protection = PROTECTIONS[kind](parts)
    return made


def scheme_name(scheme: Protection) -> str:
    """Name of a protection of this package, as `protection` takes it."""
    if isinstance(scheme, MsbEmbed):
        depths = set(scheme.depths)
        deep = (
            f"{scheme.msbs}x{scheme.depths[0]}"
            if len(depths) == 1
            else ".".join(map(str, scheme.depths))
        )
        return f"msb:{deep}:{scheme.into}" + ":erasures" * scheme.erasures
    if isinstance(scheme, Duplicate):
        return f"duplicate:{scheme.copies}" + ":erasures" * scheme.erasures
    return "none"


def _none(parts: list[str]) -> Protection:
    check_none(parts)
    return Unprotected()


register("none", _none)
register("duplicate", lambda parts: Duplicate(*read_duplicate(parts)))
register("msb", lambda parts: MsbEmbed(*read_msb(parts)))
