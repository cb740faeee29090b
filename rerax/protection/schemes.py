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

from rerax.encoding import encode
from rerax.faults import Disturbed
from rerax.protection.embed import embed
from rerax.protection.ledger import Ledger, embedded_ledger, shortage, unprotected_ledger
from rerax.protection.placement import Wish, images_meet
from rerax.protection.recover import recover
from rerax.spec import ChipSpec
from rerax.values import is_whole
from rerax.voting import majority_vote

PURSES = ("pruned", "lsb", "pruned+lsb")


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
        _check_odd(self.copies)

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
        if self.into not in PURSES:
            raise ValueError(f"copies into {self.into!r}: use one of {', '.join(PURSES)}")
        if not 1 <= self.msbs <= 8:
            raise ValueError(f"msbs {self.msbs} is outside 1..8: give a whole number in the range")
        for depth in self.depths:
            _check_odd(depth)
        if len(self.depths) != self.msbs or list(self.depths) != sorted(self.depths, reverse=True):
            raise ValueError(
                f"copies {self.copies} do not fit {self.msbs} msbs: give one odd number, or one "
                "for each bit from the top down, none above the one before"
            )

    @property
    def depths(self) -> tuple[int, ...]:
        """Images of each voted bit, from the top down."""
        return (self.copies,) * self.msbs if isinstance(self.copies, int) else self.copies

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
        if self.msbs > spec.group_bits:
            raise ValueError(
                f"msbs {self.msbs} are more than the {spec.group_bits} bits of a group: give fewer"
            )
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


PROTECTIONS: dict[str, Callable[[list[str]], Protection]] = {}
"""Kind of protection -> what makes one from the parts of its name behind the first colon."""


FORMS = {
    "duplicate": "duplicate:3",
    "msb": "msb:2x3:pruned (or :lsb, :pruned+lsb; with :erasures behind)",
    "allocation": "",  # what a plan is resolved to; nobody writes it
    "plan": "plan, plan:FILE",
}
"""How names of a kind look, for those who have to give one; other kinds by their name alone."""


def register(kind: str, make: Callable[[list[str]], Protection]) -> None:
    """Let `sweep --protection KIND:PART:PART` find a protection."""
    PROTECTIONS[kind] = make


def protection(name: str) -> Protection:
    """Protection of that name: none, duplicate:3, msb:2x3:pruned, msb:1x3:lsb:erasures ...

    Raises:
        ValueError: unknown name, or parts that it does not take.
    """
    kind, *parts = name.split(":")
    if kind not in PROTECTIONS:
        known = ", ".join(FORMS.get(kind, kind) for kind in PROTECTIONS if FORMS.get(kind) != "")
        raise ValueError(f"unknown protection {name!r}: use one of {known}")
    return PROTECTIONS[kind](parts)


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
    if parts:
        raise ValueError(f"protection none takes nothing, not {':'.join(parts)!r}: use none")
    return Unprotected()


def _duplicate(parts: list[str]) -> Protection:
    parts, erasures = _erasures(parts)
    if len(parts) != 1 or not is_whole(parts[0]):
        raise ValueError(f"duplicate:{':'.join(parts)} is not understood: use duplicate:3")
    return Duplicate(int(parts[0]), erasures)


def _msb(parts: list[str]) -> Protection:
    parts, erasures = _erasures(parts)
    deep = parts[0] if parts else ""
    msbs, x, copies = deep.partition("x")
    depths = deep.split(".")
    if len(parts) == 2 and x and is_whole(msbs) and is_whole(copies):
        return MsbEmbed(int(msbs), int(copies), parts[1], erasures)
    if len(parts) == 2 and all(map(is_whole, depths)):
        return MsbEmbed(len(depths), tuple(map(int, depths)), parts[1], erasures)
    raise ValueError(
        f"msb:{':'.join(parts)} is not understood: use msb:2x3:pruned, :lsb or :pruned+lsb, or a "
        "depth for each bit, msb:5.3:pruned"
    )


def _erasures(parts: list[str]) -> tuple[list[str], bool]:
    return (parts[:-1], True) if parts[-1:] == ["erasures"] else (parts, False)


def _check_odd(copies: int) -> None:
    if not 3 <= copies <= 99 or copies % 2 == 0:
        raise ValueError(f"{copies} copies cannot be voted: give an odd number from 3 to 99")


register("none", _none)
register("duplicate", _duplicate)
register("msb", _msb)
