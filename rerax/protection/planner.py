"""The planner: which bits of which matrix to copy, how often and where, at no extra cell.

Copies lie in their own matrix, so matrices do not compete for cells: each gets, of everything
that fits, what leaves the least expected damage. Damage is the expected squared error of the
codes as read (`damage`), each weighed by the sensitivity of its column.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Array, Float, Int8, UInt8

from rerax import names
from rerax.crossbar.spec import ChipSpec
from rerax.faults import Disturbed
from rerax.names import PURSES
from rerax.protection.damage import CODES, Odds, Votes, plain, squared_error
from rerax.protection.embed import rounded_codes
from rerax.protection.ledger import Ledger, fits
from rerax.protection.placement import Wish, low_bits, served_columns
from rerax.protection.recover import voted_bits
from rerax.protection.schemes import (
    Duplicate,
    Lines,
    MsbEmbed,
    Protection,
    Stored,
    Unprotected,
    protection,
    register,
    scheme_name,
)

DEPTHS = (3, 5, 7)
"""Images of a bit that the planner tries."""

PREFIX = "allocation:"


@dataclass(frozen=True)
class Allocation:
    """A protection of its own for every matrix; a matrix that is not named is left alone.

    Attributes:
        chosen: (matrix, name of its protection), sorted.

    Raises:
        ValueError: a protection that is unknown, or takes further arrays.
    """

    chosen: tuple[tuple[str, str], ...]
    spare_arrays: int = 0

    def __post_init__(self) -> None:
        names.check_allocation(dict(self.chosen))
        for matrix, name in self.chosen:
            if protection(name).spare_arrays:
                raise ValueError(
                    f"{matrix}={name} is not for one matrix: use msb, with no further array"
                )

    @classmethod
    def of(cls, chosen: Mapping[str, str]) -> "Allocation":
        """From a table of names; those left alone drop out."""
        names.check_allocation(chosen)  # raises; or nested ones would never end
        plain = {matrix: scheme_name(protection(name)) for matrix, name in chosen.items()}
        return cls(tuple(sorted((m, name) for m, name in plain.items() if name != "none")))

    @property
    def name(self) -> str:
        """The one way to write it, understood by `protection`."""
        return PREFIX + "/".join(f"{matrix}={name}" for matrix, name in self.chosen)

    def protects(self, matrix: str) -> Protection:
        """Protection of one matrix."""
        name = dict(self.chosen).get(matrix)
        return Unprotected() if name is None else protection(name)

    def store(
        self, codes: Int8[np.ndarray, "*L R C"], lines: Lines, spec: ChipSpec, matrix: str
    ) -> Stored:
        """As that matrix's protection does."""
        return self.protects(matrix).store(codes, lines, spec, matrix)

    def recover(
        self, arrays: list[Disturbed], extra: Any, spec: ChipSpec, matrix: str
    ) -> UInt8[Array, "G R C"]:
        """As that matrix's protection does."""
        return self.protects(matrix).recover(arrays, extra, spec, matrix)

    def ledger(
        self, row: np.ndarray, column: np.ndarray, gated: bool, spec: ChipSpec, matrix: str
    ) -> Ledger:
        """As that matrix's protection does."""
        return self.protects(matrix).ledger(row, column, gated, spec, matrix)


def left_bare(scheme: Protection, gated: Mapping[str, bool]) -> tuple[str, ...]:
    """Matrices that a protection means to protect and cannot, having no gates and so no room.

    Copies that may go to low bits as well (`lsb`, `pruned+lsb`) do without freed cells.

    Args:
        scheme: the protection.
        gated: whether each matrix on crossbars has gates.

    Raises:
        ValueError: not one of those that it means to protect has gates, so it would do nothing.
    """
    return names.left_bare(
        scheme.name if isinstance(scheme, Allocation) else scheme_name(scheme), gated
    )


class Codes(NamedTuple):
    """What the planner knows of one matrix.

    Attributes:
        codes: [L, R, C] its codes (L = 1 outside the encoder).
        row, column: [L, R], [L, C] whether each line is open.
        gated: whether it has gates at all.
        sensitivity: [L, C] damage done by a squared error of 1 in one code of a column.
    """

    codes: np.ndarray
    row: np.ndarray
    column: np.ndarray
    gated: bool
    sensitivity: np.ndarray


def allocate(
    matrices: Mapping[str, Codes], chances: Odds, spec: ChipSpec, erasures: bool = False
) -> Allocation:
    """The allocation of least expected damage at no extra cell.

    Every matrix may be left alone or have its top bits copied 3, 5 or 7 deep, no bit deeper
    than the one above it, into freed cells, low bits or both; what all its layers hold counts.
    Equal damage goes to fewer copies.

    Args:
        matrices: what is on crossbars.
        chances: odds of a cell at the design rate.
        spec: geometry.
        erasures: whether cells known to be stuck do not vote.
    """
    chosen = {}
    for matrix, known in matrices.items():
        table = weight_table(known)
        options: list[tuple[float, int, str]] = []
        for scheme in _candidates(known, spec, erasures):
            copies = scheme.wish.copies if isinstance(scheme, MsbEmbed) else 0
            harm = _damage(scheme, known, table, chances, spec)
            options.append((harm, copies, scheme_name(scheme)))
        chosen[matrix] = min(options)[2]
    return Allocation.of(chosen)


def damage(scheme: Protection, known: Codes, chances: Odds, spec: ChipSpec) -> float:
    """Expected damage of one matrix, the rounding that makes room for copies included.

    Args:
        scheme: `Unprotected`, `Duplicate` or `MsbEmbed`.
        known: the matrix.
        chances: odds of a cell.
        spec: geometry.

    Raises:
        TypeError: another kind of protection, whose arithmetic is not known.
    """
    return _damage(scheme, known, weight_table(known), chances, spec)


def weight_table(known: Codes) -> Float[np.ndarray, "L C 256"]:
    """Kept weights of each code in each column, times the column's sensitivity."""
    layers, _, columns = known.codes.shape
    table = np.zeros((layers, columns, 256))
    for layer in range(layers):
        open_columns = np.flatnonzero(known.column[layer])
        kept = known.codes[layer][known.row[layer]][:, open_columns].astype(np.int64) + 128
        place = kept + 256 * np.arange(len(open_columns))
        counts = np.bincount(place.ravel(), minlength=256 * len(open_columns))
        table[layer, open_columns] = counts.reshape(-1, 256)
    return table * known.sensitivity[:, :, None]


def _candidates(known: Codes, spec: ChipSpec, erasures: bool) -> list[Protection]:
    """Everything that fits the matrix in all of its layers."""
    found: list[Protection] = [Unprotected()]
    lines = list(zip(known.row, known.column, strict=True))
    untried: list[MsbEmbed] = [
        MsbEmbed(1, (depth,), into, erasures)
        for into in (PURSES if known.gated else ("lsb",))
        for depth in DEPTHS
    ]
    while untried:
        scheme = untried.pop()
        if all(fits(r, c, scheme.wish, spec) for r, c in lines):
            found.append(scheme)  # a scheme of more bits needs more, so only this one may grow
            depths = scheme.depths
            if len(depths) < spec.group_bits:
                untried += [
                    replace(scheme, msbs=len(depths) + 1, copies=(*depths, depth))
                    for depth in DEPTHS
                    if depth <= depths[-1]
                ]
    return found


def _damage(
    scheme: Protection, known: Codes, table: np.ndarray, chances: Odds, spec: ChipSpec
) -> float:
    if isinstance(scheme, Duplicate):
        votes = Votes((scheme.copies,) * spec.group_bits, True, scheme.erasures)
        return float(table.sum((0, 1)) @ _error(votes, chances, spec))
    if isinstance(scheme, Unprotected) or (not known.gated and _freed_only(scheme)):
        return float(table.sum((0, 1)) @ _error(plain(spec), chances, spec))
    if not isinstance(scheme, MsbEmbed):
        raise TypeError(f"the damage of {scheme} is not known: give a protection of rerax")
    wish, total = scheme.wish, 0.0
    for row, column, counts in zip(known.row, known.column, table, strict=True):
        served = served_columns(wish, spec, row, column)
        low = low_bits(wish, int(column.sum()), served)
        kept = np.flatnonzero(column)
        purses = ((kept[:served], True), (kept[served:], False))
        for columns, freed in purses:
            votes = Votes(_depths(wish, freed, spec), freed, scheme.erasures, low)
            if len(columns):
                total += float(counts[columns].sum(0) @ _error(votes, chances, spec))
    return total


def _freed_only(scheme: Protection) -> bool:
    return isinstance(scheme, MsbEmbed) and scheme.into == "pruned"


def _depths(wish: Wish, freed: bool, spec: ChipSpec) -> tuple[int, ...]:
    """Images of each bit of a group, from the least significant up."""
    if freed:
        masks = voted_bits(wish, spec)
        return tuple(1 + sum(mask >> bit & 1 for mask in masks) for bit in range(spec.group_bits))
    below = (1,) * (spec.group_bits - len(wish.depths))
    return below + wish.depths[::-1]


@lru_cache(maxsize=4096)
def _error(votes: Votes, chances: Odds, spec: ChipSpec) -> np.ndarray:
    top = (1 << (spec.bits - 1)) - 1
    codes = np.clip(CODES, -top, top).astype(np.int8)[:, None]
    stored = rounded_codes(codes, votes.low, spec)[:, 0]
    return squared_error(stored, votes, chances, spec)


def read_allocation(path: str) -> Allocation:
    """Read an allocation from a file that `rerax plan --json` wrote, or one like it.

    Raises:
        ValueError: no such file, not JSON, or no allocation in it.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(
            f"{path} is no saved plan ({error}): write one with rerax plan --json FILE"
        ) from None
    chosen = content.get("allocation") if isinstance(content, dict) else None
    if not isinstance(chosen, dict) or not all(isinstance(v, str) for v in chosen.values()):
        raise ValueError(f"{path} holds no allocation: write one with rerax plan --json FILE")
    return Allocation.of(chosen)


def _allocation(parts: list[str]) -> Protection:
    return Allocation.of(names.read_allocation(parts))


def _plan(parts: list[str]) -> Protection:
    raise ValueError(
        f"protection plan{':' * bool(parts)}{':'.join(parts)} depends on the model: resolve it "
        "first (rerax sweep does)"
    )


register("allocation", _allocation)
register("plan", _plan)
