"""The planner: which protection to give each matrix, at no extra cell.

Copies and check bits lie in the matrix whose bits they protect, so matrices do not compete for
cells. Each is planned by itself: of all protections that fit into it, the one of least expected
damage is taken. The damage is the expected squared error of the codes as read
(`expected_error`), summed over the kept weights, each weighed by the sensitivity of its column.
"""

import itertools
import warnings
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from rerax.crossbar.spec import ChipSpec
from rerax.faults import Odds
from rerax.protection.allocation import Allocation, check_misread
from rerax.protection.base import Protection
from rerax.protection.codes.block_code import LONGEST
from rerax.protection.codes.embed import Code
from rerax.protection.codes.placement import share_bitlines
from rerax.protection.codes.room import bits_short
from rerax.protection.expected_error import CODES, Votes, squared_error
from rerax.protection.msb.embed import PURSES, MsbEmbed
from rerax.protection.msb.placement import images_meet
from rerax.protection.msb.room import fits
from rerax.protection.msb.write import rounded_codes
from rerax.protection.nearest_word import mean_square
from rerax.protection.unprotected import Unprotected

DEPTHS = (3, 5, 7)
"""Images of a bit that the planner tries."""


class MatrixProfile(NamedTuple):
    """What the planner has to know of one matrix.

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
    matrices: Mapping[str, MatrixProfile], chances: Odds, spec: ChipSpec, erasures: bool = False
) -> Allocation:
    """Choose the allocation of least expected damage at no extra cell.

    Tried for every matrix are: no protection; copies of its top bits, 3, 5 or 7 images of each and
    no bit with more than the one above it, in freed cells, low bits or both; an error-correcting
    code over its top bits, with check bits in freed cells or low bits. One choice serves all
    layers of a matrix and has to fit into each. Of equal damage, fewer copies or check bits win.
    With erasures only copies are tried: the error of error-correcting codes is not known then. Nor
    is it on broken bitlines that weights of a code word share, nor in two groups on broken
    wordlines: codes are left out there, and so are copies of several bits in freed cells on broken
    wordlines. A matrix of which no error is known (`damage`) stays unprotected, with a warning.
    Where tiles have rates of their own, the plan is that of tiles alike.

    Args:
        matrices: by name, what is on crossbars.
        chances: odds of a cell at the rate planned for.
        spec: geometry.
        erasures: whether cells known to be stuck do not vote.

    Raises:
        ValueError: cells that are sensed wrongly, which no expected damage counts.
    """
    check_misread(spec)
    chances = replace(chances, by_tile=False)
    chosen, unknown = {}, []
    for matrix, known in matrices.items():
        table = weight_table(known)
        options: list[tuple[float, float, str]] = []
        for scheme in _candidates(known, spec, erasures):
            try:
                harm = _damage(scheme, known, table, chances, spec)
            except TypeError:
                continue
            options.append((harm, _further_bits(scheme), scheme.text))
        chosen[matrix] = min(options)[2] if options else Unprotected().text
        unknown += [] if options else [matrix]
    if unknown:
        warnings.warn(
            f"no expected error is known of {', '.join(unknown)} with such faults and geometry: "
            "the plan leaves them unprotected",
            stacklevel=2,
        )
    return Allocation.make(chosen)


def damage(scheme: Protection, known: MatrixProfile, chances: Odds, spec: ChipSpec) -> float:
    """Compute the expected damage of one matrix, rounding that makes room for copies included.

    Args:
        scheme: the protection.
        known: the matrix.
        chances: odds of a cell.
        spec: geometry.

    Raises:
        TypeError: a protection whose error is not known, at this rate or at all.
        ValueError: cells that are sensed wrongly, which no expected damage counts.
    """
    check_misread(spec)
    return _damage(scheme, known, weight_table(known), chances, spec)


def weight_table(known: MatrixProfile) -> Float[np.ndarray, "L C 256"]:
    """Count the kept weights of each code in each column, times the column's sensitivity."""
    layers, _, columns = known.codes.shape
    table = np.zeros((layers, columns, 256))
    for layer in range(layers):
        open_columns = np.flatnonzero(known.column[layer])
        kept = known.codes[layer][known.row[layer]][:, open_columns].astype(np.int64) + 128
        place = kept + 256 * np.arange(len(open_columns))
        counts = np.bincount(place.ravel(), minlength=256 * len(open_columns))
        table[layer, open_columns] = counts.reshape(-1, 256)
    return table * known.sensitivity[:, :, None]


def _candidates(known: MatrixProfile, spec: ChipSpec, erasures: bool) -> list[Protection]:
    """List every protection that fits the matrix in all of its layers."""
    found: list[Protection] = [Unprotected()]
    lines = list(zip(known.row, known.column, strict=True))
    untried: list[MsbEmbed] = [
        MsbEmbed(1, (depth,), into, erasures)
        for into in (PURSES if known.gated else ("lsb",))
        for depth in DEPTHS
    ]
    while untried:
        scheme = untried.pop()
        asked = scheme.copy_spec
        if all(fits(r, c, asked, spec) and not images_meet(r, c, asked, spec) for r, c in lines):
            found.append(scheme)  # a scheme of more bits needs more, so only this one may grow
            depths = scheme.depths
            if len(depths) < spec.group_bits:
                untried += [
                    replace(scheme, msbs=len(depths) + 1, copies=(*depths, depth))
                    for depth in DEPTHS
                    if depth <= depths[-1]
                ]
    return found if erasures else found + _error_correcting(known, spec)


def _error_correcting(known: MatrixProfile, spec: ChipSpec) -> list[Protection]:
    """List error-correcting codes whose check bits fit the matrix in all of its layers."""
    lines = list(zip(known.row, known.column, strict=True))
    found: list[Protection] = []
    for name, into in itertools.product(LONGEST, ("pruned", "lsb") if known.gated else ("lsb",)):
        for bits in range(1, spec.group_bits + 1):
            try:
                scheme = Code(name, bits, into)
                scheme.check(spec)
            except ValueError:  # more bits than the code, or than there are beside low ones
                continue
            if all(bits_short(r, c, scheme.check_spec, spec) <= 0 for r, c in lines):
                found.append(scheme)
    return found


def _further_bits(scheme: Protection) -> float:
    """Count the copies or check bits for each group of a weight."""
    if isinstance(scheme, MsbEmbed):
        return float(scheme.copy_spec.copies)
    if isinstance(scheme, Code):
        return scheme.check_spec.code.check / scheme.check_spec.weights
    return 0.0


def _damage(
    scheme: Protection, known: MatrixProfile, table: np.ndarray, chances: Odds, spec: ChipSpec
) -> float:
    columns = known.codes.shape[-1]
    apart = spec.layout == "separate" and spec.cells_per_weight > 1
    if chances.by_wordline and apart and columns < spec.tile[1]:
        raise TypeError(
            f"the expected error of broken wordlines is not known where {columns} columns of one "
            "slice of weights share a tile with another's: give layout interleaved"
        )
    if (
        chances.by_bitline
        and isinstance(scheme, Code)
        and any(share_bitlines(row, scheme.check_spec, spec) for row in known.row)
    ):
        raise TypeError(
            f"the expected error of {scheme.text} on broken bitlines is not known where weights "
            "of a code word share one: give another protection or fault"
        )
    # A protection says its error for the whole matrix, or how each column is voted, not both.
    total = 0.0
    told = scheme.expected_error(_share(known), chances, spec)
    if told is not None and chances.by_tile:
        raise _fail_together(scheme)
    for row, column, counts in zip(known.row, known.column, table, strict=True):
        if told is not None:
            total += float(counts.sum(0) @ told)
            continue
        parts = scheme.votes(row, column, known.gated, spec)
        if parts is None:
            raise TypeError(f"the damage of {scheme} is not known: give it `votes`")
        for columns, votes in parts:
            if len(columns):
                _check_independent(scheme, votes, chances, spec)
                total += float(counts[columns].sum(0) @ _error(votes, chances, spec))
    return total


def _check_independent(scheme: Protection, votes: Votes, chances: Odds, spec: ChipSpec) -> None:
    """Refuse cells that fail together, whose votes the arithmetic takes as independent.

    Raises:
        TypeError: they do.
    """
    if scheme.spare_arrays:
        return
    copied = {bit // spec.bits_per_cell for bit, depth in enumerate(votes.depths) if depth > 1}
    apart = isinstance(scheme, MsbEmbed) and votes.whole_cells  # each copy by itself
    if chances.by_wordline and apart and len(copied) * spec.groups > 1:
        raise TypeError(
            f"the expected error of {scheme.text} is not known on broken wordlines, where some "
            "copies of a weight share one: give another protection or fault"
        )
    if chances.by_tile and (copied or votes.closest):
        raise _fail_together(scheme)


def _fail_together(scheme: Protection) -> TypeError:
    return TypeError(
        f"the expected error of {scheme.text} is not known where tiles have rates of their own, "
        "since wrong cells of a tile come together there: give another protection or fault"
    )


def _share(known: MatrixProfile) -> Float[np.ndarray, "256"]:
    """Compute the share of each code among the kept weights of a matrix."""
    kept = known.row[:, :, None] & known.column[:, None, :]
    counts = np.bincount(known.codes[kept].astype(np.int64) + 128, minlength=256)
    return np.asarray(counts / max(1, counts.sum()))


@lru_cache(maxsize=4096)
def _error(votes: Votes, chances: Odds, spec: ChipSpec) -> np.ndarray:
    """Compute the expected squared error of all 256 codes; matrices share votes, so it is kept."""
    top = (1 << (spec.bits - 1)) - 1
    codes = np.clip(CODES, -top, top).astype(np.int8)[:, None]
    stored = rounded_codes(codes, votes.low, spec)[:, 0]
    if votes.closest and chances.known:
        return mean_square(stored, votes, chances, spec)
    return squared_error(stored, votes, chances, spec)
