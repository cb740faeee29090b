"""What a protection is, and the table of those that have a name. No JAX here."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int8, UInt8

from rerax.crossbar.spec import ChipSpec
from rerax.protection.cost import Ledger, Misses, unprotected_ledger
from rerax.protection.expected_error import Votes
from rerax.registry import Entry, Registry
from rerax.values import check_integer


class StoredMatrix(NamedTuple):
    """A matrix, or one matrix in every layer, as it lies on crossbars.

    Attributes:
        words: [*L, G, R, C] words of the base array.
        extra: arrays that `recover` needs to find what it looks for, each leading with [*L];
            None where it needs nothing.
        complement: [*L, G, R, C] bits of words that are to be stored complemented, where the spec
            has a polarity and what is stored is no row's own; None: as each row's are
            (`crossbar.encoding.complement`). `recover` gets words as they are here.
        spare: [*L, G, S, C] words of the spare array, where they are others than the base array's.
    """

    words: UInt8[np.ndarray, "*L G R C"]
    extra: Any = None
    complement: Any = None
    spare: Any = None


KNOWLEDGE = ("nothing", "polarity", "rate", "map at reading", "map at writing")
"""What a protection may know of a chip, from the least: nothing; which polarity of stuck cells is
commoner; their rate; which cells are stuck, and at what, when they are read or before they are
written."""

GatedLines = tuple[np.ndarray, np.ndarray] | None
"""Open rows [*L, R] and columns [*L, C] of a gated matrix; None: the matrix has no gates."""


def all_lines(lines: GatedLines, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Give open rows and columns of a matrix [*L, R, C]; without gates all are."""
    return lines or (np.ones(shape[:-1], bool), np.ones((*shape[:-2], shape[-1]), bool))


ColumnVotes = list[tuple[np.ndarray, Votes]]
"""Columns of a matrix, by their numbers, and how the bits of each of them are voted."""


class Protection:
    """What a protection has to be: a frozen dataclass, without state.

    By default it stores plain words and reads them as they are: override what differs. Methods
    import JAX themselves, so that names can be checked without it.
    """

    spare_arrays: int = 0
    """Further arrays for each matrix, which hold the same words."""

    knows: str = "nothing"
    """What it has to know of the chip it is on: one of `KNOWLEDGE`."""

    exact: bool = True
    """Whether codes are read as they were where nothing is faulty: no low bit made room."""

    needs_gates: bool = False
    """Whether it can do nothing for a matrix without gates, of which no cell is freed."""

    tells_arrays_apart: bool = True
    """Whether `write` or `recover` look at the matrix's name; if not, matrices of one shape share
    what is compiled."""

    @property
    def text(self) -> str:
        """Its name in rows and flags (`register_protection`), as `protection` takes it.

        Raises:
            ValueError: it has none.
        """
        raise ValueError(
            f"protection {self!r} has no name for rows: give it a property `text` and enter it "
            "with rerax.register_protection"
        )

    @property
    def named_matrices(self) -> tuple[str, ...]:
        """Those that it protects by name; none where it protects all alike."""
        return ()

    def of(self, matrix: str) -> "Protection":
        """Find what protects one matrix."""
        return self

    def check(self, spec: ChipSpec) -> None:
        """Refuse crossbars that it cannot work with.

        Raises:
            ValueError: why.
        """

    def store(
        self, codes: Int8[np.ndarray, "*L R C"], lines: GatedLines, spec: ChipSpec, matrix: str
    ) -> StoredMatrix:
        """Lay out a matrix, once for each model, on the host.

        Raises:
            ValueError: a matrix without room.
        """
        from rerax.crossbar.encoding import encode

        return StoredMatrix(encode(codes, spec))

    def write(
        self,
        words: UInt8[Any, "G R C"],
        stuck: UInt8[Any, "G R C"],
        held: UInt8[Any, "G R C"],
        extra: Any,
        spec: ChipSpec,
        matrix: str,
    ) -> tuple[Any, Any]:
        """Choose what one chip is written with, inside jit, where the map at writing is known.

        Args:
            words: those of one layer that `store` gave.
            stuck: bits of the base array that known stuck cells hold.
            held: what those bits read; 0 elsewhere.
            extra: what `store` gave, of the layer.
            spec: geometry.
            matrix: name of the matrix.

        Returns:
            Words to write, and what was decided for this chip: metadata, which the ledger counts.
            `recover` then gets the pair of `extra` and that in place of `extra`.
        """
        return words, None

    def write_spare(
        self, number: int, stuck: Any, held: Any, chosen: Any, spec: ChipSpec, matrix: str
    ) -> Any:
        """Choose what one chip's spare array is written with, inside jit, behind `write`.

        Args:
            number: of the spare array.
            stuck, held: its known stuck bits and what they read, [G, S, C].
            chosen: what `write` decided.
            spec: geometry.
            matrix: name of the matrix.

        Returns:
            Words [G, S, C]; None: those that `store` gave.
        """
        return None

    def recover(self, arrays: list[Any], extra: Any, spec: ChipSpec, matrix: str) -> Any:
        """Recover words [G, R, C] of one layer's matrix from what its arrays read, inside jit.

        Args:
            arrays: `faults.read_out.ReadOut` of the base array and of the spare ones.
            extra: what `store` gave, of the layer.
            spec: geometry.
            matrix: name of the matrix.
        """
        return arrays[0].words

    def ledger(
        self, row: np.ndarray, column: np.ndarray, gated: bool, spec: ChipSpec, matrix: str
    ) -> Ledger:
        """Count cells and reads of a layer's matrix with open lines `row` [R] and `column` [C]."""
        return unprotected_ledger(row, column, spec)

    def votes(
        self, row: np.ndarray, column: np.ndarray, gated: bool, spec: ChipSpec
    ) -> ColumnVotes | None:
        """Say how the bits of each column are voted, for its expected error; None: not known."""
        return None

    def expected_error(self, share: np.ndarray, chances: Any, spec: ChipSpec) -> np.ndarray | None:
        """Compute the expected squared error of codes -128 .. 127 where `votes` gives None.

        Args:
            share: [256] share of each code among the weights of the matrix.
            chances: odds of a cell (`faults.base.Odds`).
            spec: encoding and cells.
        """
        return None

    def misses(self, row: np.ndarray, column: np.ndarray, spec: ChipSpec) -> Misses:
        """Count voted bits of one layer's matrix whose images are not kept apart."""
        return Misses()


class WriteAround(Protection):
    """What protections share that write a tested chip around its stuck cells.

    Their `write` gets, as `extra`, which rows and columns are open: errors elsewhere count nothing.
    """

    tells_arrays_apart = False
    knows = "map at writing"

    def store(
        self, codes: Int8[np.ndarray, "*L R C"], lines: GatedLines, spec: ChipSpec, matrix: str
    ) -> StoredMatrix:
        """Encode plain words, beside the open rows and columns."""
        plain = super().store(codes, lines, spec, matrix)
        return plain._replace(extra=all_lines(lines, codes.shape))


def left_bare(scheme: Protection, gated: Mapping[str, bool]) -> tuple[str, ...]:
    """List matrices that a protection means to protect and cannot, for want of gates.

    Copies that may go to low bits as well (`lsb`, `pruned+lsb`) do without freed cells.

    Args:
        scheme: the protection.
        gated: whether each matrix on crossbars has gates.

    Raises:
        ValueError: not one of those that it means to protect has gates, so it would do nothing.
    """
    asked = [matrix for matrix in gated if scheme.of(matrix).needs_gates]
    bare = tuple(matrix for matrix in asked if not gated[matrix])
    if bare and len(bare) == len(asked):
        name = scheme.text
        other = "another plan or " if scheme.of(bare[0]) != scheme else _in_low_bits(name)
        raise ValueError(
            f"{name} keeps copies in cells that pruning freed, and no matrix has gates "
            f"({', '.join(bare)}): prune with rerax train --sparsity or give gates, or use "
            f"{other}duplicate:3"
        )
    return bare


def _in_low_bits(name: str) -> str:
    """Name the same in low bits, where there is such a protection and it fits 8-bit codes."""
    all_open = np.ones(128, bool)
    try:
        same = protection(name.replace(":pruned", ":lsb"))
        same.ledger(all_open, all_open, False, ChipSpec(), "a matrix")
    except ValueError:
        return ""
    return "" if same.text == name else f"{same.text} or "


def check_named(scheme: Protection, known: Iterable[str]) -> None:
    """Refuse a protection that names a matrix which is not there, and so would do nothing.

    Args:
        scheme: the protection.
        known: names of the matrices that there may be.

    Raises:
        ValueError: which name.
    """
    known = tuple(known)
    for name in scheme.named_matrices:
        if name not in known:
            more = ", .." if len(known) > 12 else ""
            raise ValueError(
                f"{scheme.text} names {name!r}, which is no matrix of the model: use some of "
                f"{', '.join(known[:12])}{more}"
            )


PROTECTIONS = Registry("protection", Protection)


def register_protection(
    kind: str, make: Callable[[list[str]], Protection], form: str | None = None
) -> None:
    """Give a protection a name, so that `protection`, sweeps and flags find it.

    A name that is registered again means the new protection. Rows in a folder keep no more than
    the name, so a protection that has changed needs another.

    Args:
        kind: the part of the name before its first colon; none of the package's.
        make: gives the protection for the parts behind it.
        form: how such names look, for messages; by default the kind alone, "" hides it.

    Raises:
        ValueError: a name that rows and flags cannot hold, or one of the package's.
    """
    whole = kind if form is None else form
    PROTECTIONS.enter(kind, make, Entry(lambda name: make(name.split(":")[1:]), whole))


def registered_protections() -> Mapping[str, str]:
    """List the forms of all names, by kind, in order."""
    return PROTECTIONS.forms()


def protection(name: Any) -> Protection:
    """Make the protection of that name: none, duplicate:3, msb:2x3:pruned, msb:1x3:lsb:erasures.

    A protection is given back.

    Raises:
        ValueError: unknown name (the known ones are listed), or parts that it does not take.
    """
    return PROTECTIONS.make(name)


def without_ending(parts: list[str], words: tuple[str, ...]) -> tuple[list[str], dict[str, bool]]:
    """Split a name's parts from some words that may stand at its end, in this order.

    Example:
        >>> without_ending(["2x3", "pruned", "closest"], ("erasures", "closest"))
        (['2x3', 'pruned'], {'erasures': False, 'closest': True})
    """
    found = dict.fromkeys(words, False)
    for word in reversed(words):
        if parts[-1:] == [word]:
            parts, found[word] = parts[:-1], True
    return parts, found


def check_copies(copies: int, erasures: bool) -> None:
    """Refuse a number of images that has no majority; with erasures even ones can do."""
    check_integer("copies", copies)
    if erasures and not 2 <= copies <= 99:
        raise ValueError(f"{copies} copies cannot be voted: give a number from 2 to 99")
    if not erasures and (not 3 <= copies <= 99 or copies % 2 == 0):
        raise ValueError(f"{copies} copies cannot be voted: give an odd number from 3 to 99")
