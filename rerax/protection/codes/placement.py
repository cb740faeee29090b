"""Where check bits lie: apart from their code word, and from each other. NumPy, once per model.

Code words of a matrix that keeps r rows and c columns are laid out in parts: member i of code word
b is row number i * B + b of the open ones, B code words a column. Check bits lie in strata, one for
each check bit of a code word: a stratum is a run of free bits, in the order of code words, turned
so that the check bits of a code word are spread evenly over bitlines. The few that this leaves on a
line with their code word or with each other trade places (`msb.swap`).

A bit has a number here: row * (P * C) + plane * C + column, of P planes (bits of all groups of a
weight) and C columns.
"""

import functools
from typing import Any, NamedTuple

import numpy as np

from rerax.crossbar.spec import ChipSpec
from rerax.protection.codes.block_code import CheckSpec
from rerax.protection.codes.room import code_words_of_rows, spare_rows
from rerax.protection.cost import Misses
from rerax.protection.msb.freed_cells import NOWHERE
from rerax.protection.msb.swap import Meets, Near, swap

LOW_TURNS = 16
"""Turns of low bits that are tried."""


class CheckPlacement(NamedTuple):
    """Code words of one matrix, or of one matrix in every layer, and their check bits.

    Attributes:
        rows: [*L, w, B] row of each member of a code word; NOWHERE where a zero stands for it.
        place: [*L, R] where each open row is among them, member * B + code word.
        at: [*L, r, G, B, C] where each check bit is, 8 * (number of the word) + bit, in the
            matrix's own array or in the spare one; -1 where there is none.
    """

    rows: Any
    place: Any
    at: Any


def lay_out_checks(
    row: np.ndarray, column: np.ndarray, asked: CheckSpec, spec: ChipSpec
) -> CheckPlacement:
    """Place the check bits of one layer's matrix; they must fit.

    Args:
        row, column: [R], [C] whether each line is open.
        asked: what is protected.
        spec: geometry.

    Raises:
        ValueError: a matrix with more bits than 32-bit numbers can name.
    """
    words = spec.groups * row.size * column.size
    if 8 * words >= 1 << 31:
        raise ValueError(
            f"a matrix of {row.size} x {column.size} weights is too large for codes: protect it "
            "by msb"
        )
    rows = members(row, asked)
    place = np.zeros(row.size, np.int32)
    open_rows = np.flatnonzero(row)
    place[open_rows] = np.arange(len(open_rows))
    numbers = check_numbers(row, column, asked, spec)
    at = np.full((*numbers.shape[:3], column.size), -1, np.int32)
    height = spare_rows(row.size, asked, spec) if asked.into == "spare" else row.size
    at[..., np.flatnonzero(column)] = _flat(numbers, height, column.size, spec)
    return CheckPlacement(rows.astype(np.int32), place, at)


def members(row: np.ndarray, asked: CheckSpec) -> np.ndarray:
    """List the rows [w, B] of each code word; NOWHERE behind the last open one."""
    open_rows = np.flatnonzero(row)
    code_words = code_words_of_rows(len(open_rows), asked.weights)
    found = np.full(asked.weights * code_words, NOWHERE)
    found[: len(open_rows)] = open_rows
    return found.reshape(asked.weights, code_words)


def share_bitlines(row: np.ndarray, asked: CheckSpec, spec: ChipSpec) -> bool:
    """Tell whether a broken bitline takes from code words all that they could correct, or more.

    The weights of a code word lie in one column, and those in one row of tiles on the same
    bitlines. A quarter of the code words may be so.

    Args:
        row: [R] whether each row is open.
        asked: what is protected.
        spec: geometry.
    """
    rows = members(row, asked)
    most = np.zeros(rows.shape[1], int)
    for tile in range(-(-row.size // spec.tile[0])):
        most = np.maximum(most, (rows // spec.tile[0] == tile).sum(0))
    return bool((most >= 2).mean() > 0.25)


def check_numbers(
    row: np.ndarray, column: np.ndarray, asked: CheckSpec, spec: ChipSpec
) -> np.ndarray:
    """Choose the bit that holds each check bit of open columns c: bit numbers [r, G, B, c]."""
    rows = members(row, asked)
    shape = (asked.code.check, spec.groups, rows.shape[1], int(column.sum()))
    if not np.prod(shape):
        return np.zeros(shape, np.int64)
    if asked.into == "lsb":
        planned, unused = _in_low(row, column, shape, spec), np.zeros(0, np.int64)
    else:
        if asked.into == "spare":
            height = spare_rows(row.size, asked, spec)
            parts = [_bit_numbers(np.arange(height), np.arange(column.size), column.size, spec)]
        else:
            parts = [
                _bit_numbers(np.flatnonzero(~row), np.arange(column.size), column.size, spec),
                _bit_numbers(np.flatnonzero(row), np.flatnonzero(~column), column.size, spec),
            ]
        planned, unused = _strata(parts, shape)
        if spec.bits_per_cell > 1:
            unused = unused[:0]  # another bit of a cell would be another cell
    own = _own_bitlines(column, asked, spec)
    meets = _meets_nothing if asked.into == "spare" else _meets(rows, own)
    lines = functools.partial(lines_of_bits, spec=spec, columns=column.size)
    down, across = spec.tiles(row.size, column.size)
    tile = spec.tile if down * across > 1 and asked.into == "pruned" else None
    return swap(planned, meets, lines, unused, every=0, tile=tile)


def lines_of_bits(
    number: np.ndarray, spec: ChipSpec, columns: int
) -> tuple[np.ndarray, np.ndarray]:
    """Find wordline and bitline of bit numbers."""
    line, column = np.divmod(number, columns)
    row, plane = np.divmod(line, spec.groups * spec.group_bits)
    group, bit = np.divmod(plane, spec.group_bits)
    slice_ = group * spec.cells_per_group + bit // spec.bits_per_cell
    return row, spec.bitline(column, slice_, columns)


def count_misses(row: np.ndarray, column: np.ndarray, asked: CheckSpec, spec: ChipSpec) -> Misses:
    """Count protected bits whose code word has check bits on its lines or on each other's.

    Args:
        row, column: [R], [C] whether each line is open.
        asked: what is protected.
        spec: geometry.
    """
    rows = members(row, asked)
    numbers = check_numbers(row, column, asked, spec)
    if not numbers.size:
        return Misses()
    wordline, bitline = lines_of_bits(numbers, spec, column.size)
    own_bitline = _own_bitlines(column, asked, spec)
    same_row, same_bitline, beside = np.zeros((3, *numbers.shape[1:]), bool)
    alone = asked.into == "spare"
    for j in range(len(numbers)):
        if not alone:
            same_row |= (rows[:, None, :, None] == wordline[j]).any(0)
            apart = np.abs(own_bitline[:, :, None, :] - bitline[j][:, None])
            same_bitline |= (apart == 0).any(1)
            beside |= (apart == 1).any(1)
        for k in range(j):
            apart = np.abs(bitline[k] - bitline[j])
            same_row |= wordline[k] == wordline[j]
            same_bitline |= apart == 0
            beside |= apart == 1
    down, across = spec.tiles(row.size, column.size)
    held = _tiles(wordline, bitline, column.size, spec)
    own = np.full((1, *held.shape[1:]), -1)
    if not alone:
        lines = np.minimum(rows, row.size)[:, None, :, None]
        mine = _tiles(
            lines, own_bitline[:, :1, :].transpose(1, 0, 2)[:, :, None], column.size, spec
        )
        own = np.where((rows < NOWHERE)[:, None, :, None], mine, -1)
    wanted = np.minimum(_distinct(own) + len(held), down * across)
    few = _distinct(np.concatenate([own, held])) < wanted
    weight = np.broadcast_to(asked.bits * (rows < NOWHERE).sum(0)[None, :, None], numbers.shape[1:])
    return Misses(
        int(weight.sum()), *(int(weight[m].sum()) for m in (same_row, same_bitline, beside, few))
    )


def _tiles(wordline: np.ndarray, bitline: np.ndarray, columns: int, spec: ChipSpec) -> np.ndarray:
    """Number the tile at an address."""
    row, column = spec.tile_of(wordline, bitline)
    return np.asarray(row * -(-spec.bitlines(columns) // spec.tile[1]) + column)


def _distinct(tiles: np.ndarray) -> np.ndarray:
    """Count different tiles along the first axis; -1 is none."""
    ordered = np.sort(tiles, axis=0)
    new = np.concatenate([np.ones_like(ordered[:1], bool), ordered[1:] != ordered[:-1]])
    return np.asarray((new & (ordered >= 0)).sum(0))


def stack_checks(layouts: list[CheckPlacement]) -> CheckPlacement:
    """Stack the placements of a matrix's layers, filled up to the most code words, at least one."""
    code_words = max(1, *(layout.rows.shape[1] for layout in layouts))
    found = []
    for rows, place, at in layouts:
        own, room = rows.shape[1], code_words - rows.shape[1]
        part, code_word = np.divmod(place, max(own, 1))
        found.append(
            CheckPlacement(
                np.pad(rows, ((0, 0), (0, room)), constant_values=NOWHERE),
                part * code_words + code_word,
                np.pad(at, ((0, 0), (0, 0), (0, room), (0, 0)), constant_values=-1),
            )
        )
    return CheckPlacement(*(np.stack(same).astype(np.int32) for same in zip(*found, strict=True)))


def _bit_numbers(rows: np.ndarray, columns: np.ndarray, width: int, spec: ChipSpec) -> np.ndarray:
    """Number all bits of some weights, weight by weight: [rows, bits of a line]."""
    planes = spec.groups * spec.group_bits
    line = np.arange(planes)[None, None, :] * width + columns[None, :, None]
    bits = rows[:, None, None] * (planes * width) + line
    return bits.reshape(len(rows), columns.size * planes)


def _strata(parts: list[np.ndarray], shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Lay check bits in runs over the free bits of `parts`; return these and the bits left."""
    checks, code_words = shape[0], int(np.prod(shape[1:]))
    free = np.concatenate([part.ravel() for part in parts])
    number = np.arange(code_words)
    found = []
    for j in range(checks):
        start = j * code_words
        here = parts[0].size > start
        width = parts[0].shape[1] if here else parts[1].shape[1]
        origin = start if here else start - parts[0].size
        turn = (round(j * width / checks) - origin) % width
        found.append(free[start + (number + turn) % code_words])
    return np.stack(found).reshape(shape), free[checks * code_words :]


def _in_low(
    row: np.ndarray,
    column: np.ndarray,
    shape: tuple[int, ...],
    spec: ChipSpec,
) -> np.ndarray:
    """Lay check bits in low bits: check by check through the open rows, plane by plane."""
    checks, groups, code_words, c = shape
    open_rows, open_columns = np.flatnonzero(row), np.flatnonzero(column)
    n, step = len(open_rows), max(1, c // (checks + 1))
    x = np.arange(checks)[:, None] * code_words + np.arange(code_words)[None, :]
    plane, rank = np.divmod(x, n)
    turns = np.unique(np.linspace(0, code_words, LOW_TURNS, endpoint=False).astype(int))
    met = [((rank + turn) % n % code_words == np.arange(code_words)).sum() for turn in turns]
    host = open_rows[(rank + turns[int(np.argmin(met))]) % n]
    planes = plane[:, None, :] + np.arange(groups)[None, :, None] * spec.group_bits
    shift = (np.arange(checks)[:, None] + 1) * step
    at_column = open_columns[(np.arange(c)[None, :] + shift) % c]
    line = host[:, None, :] * (groups * spec.group_bits) + planes
    return line[..., None] * column.size + at_column[:, None, None, :]


def _flat(numbers: np.ndarray, rows: int, columns: int, spec: ChipSpec) -> np.ndarray:
    """Convert bit numbers of a rows x columns array to 8 * (number of the word) + bit."""
    line, column = np.divmod(numbers, columns)
    row, plane = np.divmod(line, spec.groups * spec.group_bits)
    group, bit = np.divmod(plane, spec.group_bits)
    return ((group * rows + row) * columns + column) * 8 + bit


def _own_bitlines(column: np.ndarray, asked: CheckSpec, spec: ChipSpec) -> np.ndarray:
    """List the bitlines [G, s, c] of the protected bits of each open column."""
    bits = np.arange(spec.group_bits - asked.bits, spec.group_bits)
    cells = np.unique(bits // spec.bits_per_cell)
    slices = np.arange(spec.groups)[:, None] * spec.cells_per_group + cells
    columns = np.flatnonzero(column)
    return np.asarray(spec.bitline(columns[None, None, :], slices[:, :, None], column.size))


def _meets(rows: np.ndarray, own_bitline: np.ndarray) -> Meets:
    """Say how check bits meet the rows [w, B] and protected bits [G, s, c] of their code words."""

    def meets(
        where: tuple[np.ndarray, ...], row: np.ndarray, bitline: np.ndarray, near: Near
    ) -> np.ndarray:
        group, code_word, column = where
        found = np.zeros(len(row), np.int64)
        for member in rows:
            at = member[code_word], own_bitline[group, 0, column]
            found += near.meet(*at, row, bitline)
        for own in own_bitline.transpose(1, 0, 2)[1:]:
            found += np.abs(own[group, column] - bitline) <= near.apart
        return found

    return meets


def _meets_nothing(
    where: tuple[np.ndarray, ...], row: np.ndarray, bitline: np.ndarray, near: Near
) -> np.ndarray:
    return np.zeros(len(row), np.int64)
