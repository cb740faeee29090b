"""Gates: one trainable number behind every row and every column of a matrix.

A gate below zero closes its line. Gates mask weights only, never a bias, and come before the
quantiser's scale. All gates are open unless a model brings its own.
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Float32

Gates = Mapping[str, Mapping[str, np.ndarray]]
"""{matrix name: {"row": [*L, R], "column": [*L, C]}}, float32."""


def open_gates(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, dict[str, np.ndarray]]:
    """Gates of matrices with the given shapes, all open (+1).

    Args:
        shapes: shape [*L, R, C] of every gated matrix.
    """
    return {
        name: {
            "row": np.ones((*shape[:-2], shape[-2]), np.float32),
            "column": np.ones((*shape[:-2], shape[-1]), np.float32),
        }
        for name, shape in shapes.items()
    }


def open_cells(
    row: Float32[np.ndarray, "*L R"], column: Float32[np.ndarray, "*L C"]
) -> Bool[np.ndarray, "*L R C"]:
    """True where the gates of both the row and the column are open (>= 0)."""
    return (row >= 0)[..., :, None] & (column >= 0)[..., None, :]
