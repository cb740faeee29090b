"""Codes of a pruned matrix with zeros in its closed rows and columns.

A closed wordline is not driven and a closed bitline is not sensed, so whatever is stuck there must
count nothing. Leaving closed lines out of the product instead gives the same sums and was slower
(experiments/results/gates_cost.json).
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Int8

from rerax._types import AnyArray


class OpenLines(NamedTuple):
    """Which lines of a matrix W[R, C] are open, or of one matrix in every layer.

    Attributes:
        row: [*L, R] True where open.
        column: [*L, C] the same.
    """

    row: AnyArray
    column: AnyArray


def open_lines(gate: Mapping[str, np.ndarray]) -> OpenLines | None:
    """Find the open lines behind the gates of a matrix (or stack); None where all are open.

    Args:
        gate: {"row": [*L, R], "column": [*L, C]}.
    """
    lines = OpenLines(*(np.asarray(gate[side]) >= 0 for side in ("row", "column")))
    return None if lines.row.all() and lines.column.all() else lines


def masked_codes(codes: Int8[Array, "R C"], lines: OpenLines) -> Int8[Array, "R C"]:
    """Set the codes in closed rows and columns to zero."""
    row, column = (side.astype(codes.dtype) for side in lines)
    return codes * row[:, None] * column[None, :]
