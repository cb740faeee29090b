"""Products without the closed rows and columns of a pruned matrix, at their full width again.

A closed wordline is not driven and a closed bitline is not sensed, whatever their cells hold, so
the int32 sums are those of the masked matrix, bit for bit. Scales, biases and all that is not on
a crossbar see full width and know nothing of it.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, BFloat16, Int8, Int32

from rerax._types import AnyArray

IntegerProduct = Callable[[Array, Array], Array]


class Lines(NamedTuple):
    """Open lines of a matrix W[R, C], or of one matrix in every layer.

    Layers of a stack share their shapes: r and c are the most open lines of any layer, and the
    lists of the others end in R and C, which stand for lines of zeros.

    Attributes:
        rows: [*L, r] open rows in order.
        columns: [*L, c] open columns in order.
        place: [*L, C] place of each column in `columns`; c where it is closed.
    """

    rows: AnyArray
    columns: AnyArray
    place: AnyArray


def open_lines(gate: Mapping[str, np.ndarray]) -> Lines | None:
    """Open lines behind the gates of a matrix (or stack); None where all are open.

    Args:
        gate: {"row": [*L, R], "column": [*L, C]}.
    """
    row, column = (np.asarray(gate[side]) >= 0 for side in ("row", "column"))
    if row.all() and column.all():
        return None
    rows, columns = _places(row), _places(column)
    place = np.where(column, np.cumsum(column, axis=-1) - 1, columns.shape[-1])
    return Lines(rows, columns, place.astype(np.int32))


def take_out(codes: Int8[Array, "R C"], lines: Lines) -> Int8[Array, "r c"]:
    """The codes of the open rows and columns alone."""
    rows = codes.take(lines.rows, axis=0, mode="fill", fill_value=0)
    return rows.take(lines.columns, axis=1, mode="fill", fill_value=0)


def open_product(
    inputs: Int8[Array, "*B R"],
    codes: Int8[Array, "r c"] | BFloat16[Array, "r c"],
    lines: Lines,
    product: IntegerProduct,
) -> Int32[Array, "*B C"]:
    """The product of the open lines alone, at full width with 0 in closed columns.

    Args:
        inputs: input codes of all rows.
        codes: what `take_out` left.
        lines: the open lines.
        product: exact product of input codes and weight codes.
    """

    def turn(_: Array, sums: Array) -> Array:
        # A list's filler takes the last row: the codes that it meets are zeros.
        driven = inputs.take(lines.rows, axis=-1, mode="clip")
        return product(driven, codes).take(lines.place, axis=-1, mode="fill", fill_value=0)

    # One turn of a loop whose bound XLA cannot know to be 1, so that it fuses nothing across: the
    # float code around is compiled as it is around a plain product, to the last bit.
    once = jnp.minimum(lines.rows[0] + 1, 1)
    full = jnp.zeros((*inputs.shape[:-1], *lines.place.shape), jnp.int32)
    return lax.fori_loop(0, once, turn, full)


def masked_codes(codes: Int8[Array, "R C"], lines: Lines) -> Int8[Array, "R C"]:
    """Codes at full width with zeros in closed rows and columns: the same matrix, not compacted."""
    row = jnp.zeros(len(codes), codes.dtype).at[lines.rows].set(1, mode="drop")
    column = (lines.place < lines.columns.shape[-1]).astype(codes.dtype)
    return codes * row[:, None] * column[None, :]


def _places(is_open: np.ndarray) -> np.ndarray:
    """Where the open lines are, [*L, most], filled up with the number of lines."""
    n = is_open.shape[-1]
    most = max(1, int(is_open.sum(axis=-1).max()))
    listed = np.sort(np.where(is_open, np.arange(n), n), axis=-1)
    return listed[..., :most].astype(np.int32)
