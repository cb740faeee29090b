"""Bitlines replaced by spare ones, inside jit."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Int32, UInt8

from rerax._types import AnyArray
from rerax.crossbar.spec import ChipSpec
from rerax.protection.nearest_word import as_read, nearest_word, squared_errors


class ReplacedBits(NamedTuple):
    """What stands on spare bitlines.

    Attributes:
        bitline: [D, S] the bitline that each of them stands for, in every tile downwards; the
            number of bitlines where it stands for none.
        words: [G, R, C] what they are to hold, side by side as if they were those of a matrix.
    """

    bitline: Int32[Array, "D S"]
    words: UInt8[Array, "G R C"]


def write_around(
    words: UInt8[Array, "G R C"],
    stuck: UInt8[Array, "G R C"],
    held: UInt8[Array, "G R C"],
    lines: tuple[Bool[AnyArray, " R"], Bool[AnyArray, " C"]],
    spec: ChipSpec,
    count: int,
    closest: bool,
) -> tuple[UInt8[Array, "G R C"], ReplacedBits]:
    """Find what to write, and the bitlines of every tile whose replacing helps most.

    Args:
        words: wanted.
        stuck, held: bits that stuck cells hold, and what they read.
        lines: open rows and columns; errors elsewhere count nothing.
        spec: encoding and widths.
        count: spare bitlines a tile.
        closest: whether nearest values are written.
    """
    _, rows, columns = words.shape
    bitlines, (down, across) = spec.bitlines(columns), spec.tiles(rows, columns)
    height, width = spec.tile

    def errors(stuck: UInt8[Array, "G R C"]) -> Int32[Array, "D C"]:
        """Sum squared errors over the rows of a tile."""
        read = nearest_word(words, stuck, held, spec) if closest else as_read(words, stuck, held)
        square = squared_errors(read, words, lines, spec)
        padded = jnp.pad(square, ((0, down * height - rows), (0, 0)))
        return padded.reshape(down, height, columns).sum(1, dtype=jnp.int32)

    def without(slice_: Int32[Array, ""]) -> Int32[Array, "D C"]:
        """Sum what errors are left where one slice of every weight has no stuck cells."""
        return errors(stuck & ~jnp.asarray(_slice_masks(spec))[slice_][:, None, None])

    left = lax.map(without, jnp.arange(spec.cells_per_weight, dtype=jnp.int32))
    column, slice_ = spec.locate(np.arange(bitlines), columns)
    gain = errors(stuck)[:, column] - left[slice_, :, column].T
    by_tile = jnp.pad(gain, ((0, 0), (0, across * width - bitlines)))
    most, at = lax.top_k(by_tile.reshape(down, across, width), count)
    at += width * jnp.arange(across)[None, :, None]
    bitline = jnp.where(most > 0, at, bitlines).reshape(down, across * count).astype(jnp.int32)

    of_rows = bitline[np.arange(rows) // height]
    here = np.arange(rows)[:, None]
    written = words
    if closest:  # bits on spare bitlines are free to be chosen with the others
        full = jnp.asarray(_cell_tops(spec))[slice_ % spec.cells_per_group]
        on_spare = jnp.zeros((rows, bitlines), jnp.uint8)
        on_spare = on_spare.at[here, of_rows].set(255, mode="drop") & full[None]
        free = words_of(on_spare, spec, columns)
        written = nearest_word(words, stuck & ~free, held, spec)
    index = jnp.minimum(of_rows, bitlines - 1)
    levels = jnp.take_along_axis(levels_of(written, spec), index, axis=1)
    room = -(-count * across // spec.cells_per_weight)
    levels = jnp.pad(levels, ((0, 0), (0, spec.bitlines(room) - levels.shape[1])))
    return written, ReplacedBits(bitline, words_of(levels, spec, room))


def with_spare(
    words: UInt8[Array, "G R C"],
    spare: UInt8[Array, "G R S"],
    replaced: ReplacedBits,
    spec: ChipSpec,
) -> UInt8[Array, "G R C"]:
    """Put what spare bitlines read in the place of those that they stand for.

    Args:
        words: as the base array reads them.
        spare: as spare bitlines read.
        replaced: what stands on them.
        spec: encoding and widths.
    """
    rows = np.arange(words.shape[1])
    of_rows = replaced.bitline[rows // spec.tile[0]]
    levels = levels_of(spare, spec)[:, : of_rows.shape[1]]
    found = levels_of(words, spec).at[rows[:, None], of_rows].set(levels, mode="drop")
    return words_of(found, spec, words.shape[2])


def levels_of(words: UInt8[Array, "G R C"], spec: ChipSpec) -> UInt8[Array, "R B"]:
    """List the level of every cell, bitline by bitline."""
    _, rows, _ = words.shape
    shifts, tops = (jnp.asarray(a(spec))[None, None, None] for a in (_shifts, _cell_tops))
    cells = (words[..., None] >> shifts) & tops  # [G, R, C, cells of a group]
    order = (1, 2, 0, 3) if spec.layout == "interleaved" else (1, 0, 3, 2)
    return cells.transpose(order).reshape(rows, -1)


def words_of(levels: UInt8[Array, "R B"], spec: ChipSpec, columns: int) -> UInt8[Array, "G R C"]:
    """Put words of `columns` columns together from the levels of their cells."""
    rows, groups, cells = len(levels), spec.groups, spec.cells_per_group
    if spec.layout == "interleaved":
        ordered = levels.reshape(rows, columns, groups, cells).transpose(2, 0, 1, 3)
    else:
        ordered = levels.reshape(rows, groups, cells, columns).transpose(1, 0, 3, 2)
    return (ordered << jnp.asarray(_shifts(spec))[None, None, None]).sum(-1, dtype=jnp.uint8)


def _shifts(spec: ChipSpec) -> np.ndarray:
    return np.arange(spec.cells_per_group, dtype=np.uint8) * np.uint8(spec.bits_per_cell)


def _cell_tops(spec: ChipSpec) -> np.ndarray:
    """Give the highest level of each cell of a group."""
    cells = range(spec.cells_per_group)
    return np.array([(1 << spec.bits_of_cell(cell)) - 1 for cell in cells], np.uint8)


def _slice_masks(spec: ChipSpec) -> np.ndarray:
    """Give the bits of both groups' words that each slice holds, [S, G]."""
    one = _cell_tops(spec) << _shifts(spec)
    return np.kron(np.eye(spec.groups, dtype=np.uint8), one[:, None]).reshape(-1, spec.groups)
