"""Rows of a block stored rotated around stuck cells, inside jit."""

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Int, Int32, UInt8

from rerax._types import AnyArray
from rerax.crossbar.spec import ChipSpec
from rerax.protection.nearest_word import as_read, nearest_word, squared_errors

Chosen = Int32[Array, "B K"]
"""Of each block of rows and columns, which rotation it is stored with."""


def write_around(
    words: UInt8[Array, "G R C"],
    stuck: UInt8[Array, "G R C"],
    held: UInt8[Array, "G R C"],
    lines: tuple[Bool[AnyArray, " R"], Bool[AnyArray, " C"]],
    spec: ChipSpec,
    tries: int,
    closest: bool,
) -> tuple[UInt8[Array, "G R C"], Chosen]:
    """Find what to write, so that what is read differs least from the wanted words.

    Args:
        words: wanted.
        stuck, held: bits that stuck cells hold, and what they read.
        lines: open rows and columns; errors elsewhere count nothing.
        spec: encoding and widths.
        tries: how many rotations there are.
        closest: whether nearest values are written.

    Returns:
        Words to write, where they lie, and the rotation of each block.
    """
    _, rows, columns = words.shape
    source, _ = _rotations(rows, spec, tries)
    open_rows = jnp.asarray(lines[0])
    down, across = _blocks(rows, columns, spec)
    shape = (int(down[-1]) + 1, int(across.max()) + 1)
    block = jnp.asarray(down[:, None] * shape[1] + across[None, :]).ravel()

    def errors(rows_from: Int[Array, " R"]) -> Int32[Array, "B K"]:
        target = words[:, rows_from]
        read = nearest_word(target, stuck, held, spec) if closest else as_read(target, stuck, held)
        square = squared_errors(read, target, (open_rows[rows_from], lines[1]), spec)
        total = jnp.zeros(shape[0] * shape[1], jnp.int32).at[block].add(square.ravel())
        return total.reshape(shape)

    def better(
        best: tuple[Int32[Array, "B K"], Int32[Array, "B K"]], tried: Int32[Array, ""]
    ) -> tuple[tuple[Int32[Array, "B K"], Int32[Array, "B K"]], None]:
        least, choice = best
        error = errors(jnp.asarray(source)[tried])
        return (jnp.minimum(error, least), jnp.where(error < least, tried, choice)), None

    most = jnp.full(shape, jnp.iinfo(jnp.int32).max)
    (_, chosen), _ = lax.scan(
        better, (most, jnp.zeros_like(most)), jnp.arange(tries, dtype=jnp.int32)
    )
    target = _moved(words, source, chosen, spec)
    return nearest_word(target, stuck, held, spec) if closest else target, chosen


def unrotated(
    words: UInt8[Array, "G R C"], chosen: Chosen, spec: ChipSpec, tries: int
) -> UInt8[Array, "G R C"]:
    """Put the rows of words as read back."""
    _, target = _rotations(words.shape[1], spec, tries)
    return _moved(words, target, chosen, spec)


def _rotations(
    rows: int, spec: ChipSpec, tries: int
) -> tuple[Int[np.ndarray, "tries R"], Int[np.ndarray, "tries R"]]:
    """List which wanted row each row holds under each rotation, and where each wanted row is."""
    source = np.zeros((tries, rows), np.int32)
    for start in range(0, rows, spec.tile[0]):
        n = min(spec.tile[0], rows - start)
        for k in range(tries):
            source[k, start : start + n] = start + (np.arange(n) - k * n // tries) % n
    return source, np.argsort(source, axis=1).astype(np.int32)


def _blocks(
    rows: int, columns: int, spec: ChipSpec
) -> tuple[Int[np.ndarray, " R"], Int[np.ndarray, " C"]]:
    """Number the block of every row and of every column."""
    return np.arange(rows) // spec.tile[0], np.array(spec.column_blocks(columns))


def _moved(
    words: UInt8[Array, "G R C"],
    rows_from: Int[np.ndarray, "tries R"],
    chosen: Chosen,
    spec: ChipSpec,
) -> UInt8[Array, "G R C"]:
    """Take every word from the row that its block's rotation says."""
    _, rows, columns = words.shape
    down, across = _blocks(rows, columns, spec)
    here = chosen[down[:, None], across[None, :]]
    index = jnp.asarray(rows_from)[here, np.arange(rows)[:, None]]
    return jnp.take_along_axis(words, index[None], axis=1)
