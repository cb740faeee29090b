"""Ties: rows and columns that are one hidden dimension of the network share one trainable number.

The output dimension of `ffn_in` is the input dimension of `ffn_out`, for instance: a column of one
matrix and a row of the other are worth keeping only together. What training moves are therefore
*units*, one number for each line or for each tied set of lines, and gates are read from them.
"""

from collections.abc import Mapping

import jax.numpy as jnp
from jaxtyping import Array

from rerax.pruning.gates import Gates

Units = dict[str, Array]
"""{unit name: [*L, n]}: the trainable numbers behind the gates."""

Side = tuple[str, str]
"""(matrix, "row" or "column")."""

Ties = Mapping[str, tuple[Side, ...]]
"""Sides that are one dimension of the network, and so share the unit of that name."""


def sides_of_units(matrices: tuple[str, ...], ties: Ties) -> dict[str, tuple[Side, ...]]:
    """Say which sides of which matrices each unit stands for.

    Args:
        matrices: names of the gated matrices.
        ties: sides that share a unit; those of a matrix without gates are left out.
    """
    shared = {
        unit: sides
        for unit, sides in ties.items()
        if all(matrix in matrices for matrix, _ in sides)
    }
    taken = {side for sides in shared.values() for side in sides}
    own = {
        f"{matrix}.{side}": ((matrix, side),)
        for matrix in matrices
        for side in ("row", "column")
        if (matrix, side) not in taken
    }
    return {**own, **shared}


def units_of(gates: Gates, ties: Ties) -> Units:
    """Give the units behind gates; where tied gates differ, their mean.

    Args:
        gates: of every row and column (`expand`).
        ties: sides that share a unit.
    """
    return {
        unit: jnp.stack([jnp.asarray(gates[matrix][side]) for matrix, side in sides]).mean(0)
        for unit, sides in sides_of_units(tuple(gates), ties).items()
    }


def expand(units: Units, matrices: tuple[str, ...], ties: Ties) -> dict[str, dict[str, Array]]:
    """Give the gates of every row and column, from the units behind them."""
    gates: dict[str, dict[str, Array]] = {matrix: {} for matrix in matrices}
    for unit, sides in sides_of_units(matrices, ties).items():
        for matrix, side in sides:
            gates[matrix][side] = units[unit]
    return gates


def weights_of_units(shapes: Mapping[str, tuple[int, ...]], ties: Ties) -> dict[str, int]:
    """Count the weights that one line of each unit frees while all other lines are open."""
    along = {"row": -1, "column": -2}
    return {
        unit: sum(shapes[matrix][along[side]] for matrix, side in sides)
        for unit, sides in sides_of_units(tuple(shapes), ties).items()
    }


def tied_matrices(matrices: tuple[str, ...], ties: Ties) -> list[tuple[str, ...]]:
    """Group matrices that share a unit; every other one is a group by itself."""
    pairs = [tuple(m for m, _ in sides) for sides in ties.values()]
    pairs = [pair for pair in pairs if all(m in matrices for m in pair)]
    return pairs + [(m,) for m in matrices if not any(m in pair for pair in pairs)]


def units_of_matrix(matrix: str, ties: Ties, matrices: tuple[str, ...]) -> tuple[str, str]:
    """Name the units behind the rows and the columns of a matrix."""
    units = {side: u for u, sides in sides_of_units(matrices, ties).items() for side in sides}
    return units[matrix, "row"], units[matrix, "column"]
