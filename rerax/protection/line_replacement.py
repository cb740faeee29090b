"""Wordlines replaced by spare ones, inside jit."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Int32, UInt8

from rerax._types import AnyArray
from rerax.crossbar.spec import ChipSpec
from rerax.protection.nearest_word import as_read, nearest_word, squared_errors


class Replaced(NamedTuple):
    """What stands on spare wordlines.

    Attributes:
        row: [S, C] the row of each word on them; the number of rows where it stands for none.
        words: [G, S, C] what they are to hold.
    """

    row: Int32[Array, "S C"]
    words: UInt8[Array, "G S C"]


def write_around(
    words: UInt8[Array, "G R C"],
    stuck: UInt8[Array, "G R C"],
    held: UInt8[Array, "G R C"],
    lines: tuple[Bool[AnyArray, " R"], Bool[AnyArray, " C"]],
    spec: ChipSpec,
    count: int,
    closest: bool,
) -> tuple[UInt8[Array, "G R C"], Replaced]:
    """Find what to write, and the worst rows of every tile.

    Args:
        words: wanted.
        stuck, held: bits that stuck cells hold, and what they read.
        lines: open rows and columns; errors elsewhere count nothing.
        spec: encoding and widths.
        count: spare wordlines a tile.
        closest: whether nearest values are written.
    """
    _, rows, columns = words.shape
    across = np.array(spec.column_blocks(columns))
    down, height = -(-rows // spec.tile[0]), spec.tile[0]
    written = nearest_word(words, stuck, held, spec) if closest else words
    read = as_read(written, stuck, held)
    square = squared_errors(read, words, lines, spec)
    error = jnp.zeros((rows, int(across.max()) + 1), jnp.int32).at[:, across].add(square)
    padded = jnp.pad(error, ((0, down * height - rows), (0, 0)))
    by_tile = padded.reshape(down, height, -1).transpose(0, 2, 1)
    worst, at = lax.top_k(by_tile, count)  # [B, K, count], of equal ones the first
    row = jnp.where(worst > 0, at + height * jnp.arange(down)[:, None, None], rows)
    row = row.transpose(0, 2, 1).reshape(down * count, -1)[:, across].astype(jnp.int32)
    index = jnp.minimum(row, rows - 1)[None]
    return written, Replaced(row, jnp.take_along_axis(words, index, axis=1))


def with_spare(
    words: UInt8[Array, "G R C"], spare: UInt8[Array, "G S C"], replaced: Replaced
) -> UInt8[Array, "G R C"]:
    """Put what spare wordlines read in the place of the rows that they stand for.

    Args:
        words: as the base array reads them.
        spare: as spare wordlines read them.
        replaced: what stands on them.
    """
    columns = jnp.arange(words.shape[2])[None, :]
    return words.at[:, replaced.row, columns].set(spare, mode="drop")
