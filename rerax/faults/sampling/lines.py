"""Stuck lines of one array, and the two orders of its cells."""

import jax.numpy as jnp
from jaxtyping import Array, Key, UInt8

from rerax.crossbar.spec import ChipSpec
from rerax.faults.sampling.addresses import Plane
from rerax.faults.sampling.poisson_process import sample
from rerax.faults.sampling.rates import RateTable


def cells_of_wordlines(
    key: Key[Array, ""], rates: RateTable, spec: ChipSpec, shape: tuple[int, int]
) -> UInt8[Array, "S R C"]:
    """Draw the states of all cells of one array whose wordlines break."""
    rows, columns = shape
    lines = stuck_wordlines(key, rates, spec, rows, columns)
    cells = jnp.repeat(lines, spec.tile[1], axis=1)[:, : spec.bitlines(columns)]
    return to_slices(cells, spec)


def cells_of_bitlines(
    key: Key[Array, ""], rates: RateTable, spec: ChipSpec, shape: tuple[int, int]
) -> UInt8[Array, "S R C"]:
    """Draw the states of all cells of one array whose bitlines break."""
    rows, columns = shape
    lines = stuck_bitlines(key, rates, spec, rows, columns)
    return to_slices(jnp.repeat(lines, spec.tile[0], axis=0)[:rows], spec)


def stuck_wordlines(
    key: Key[Array, ""],
    rates: RateTable,
    spec: ChipSpec,
    rows: int,
    columns: int,
) -> UInt8[Array, "R J"]:
    """Draw an array's stuck wordlines, in each of its J columns of tiles.

    Args:
        key: the array's key.
        rates: expected fraction of lines, and the share of SA1 among the stuck ones.
        spec: geometry.
        rows, columns: shape of the matrix.

    Returns:
        States, 0 healthy, 1 stuck at 0, 3 stuck at 1.
    """
    across = -(-spec.bitlines(columns) // spec.tile[1])
    return sample(key, rates, Plane(rows, across))[0]


def stuck_bitlines(
    key: Key[Array, ""],
    rates: RateTable,
    spec: ChipSpec,
    rows: int,
    columns: int,
) -> UInt8[Array, "I bitlines"]:
    """Draw an array's stuck bitlines, in each of its I rows of tiles; see `stuck_wordlines`."""
    down = -(-rows // spec.tile[0])
    return sample(key, rates, Plane(down, spec.bitlines(columns)))[0]


def to_slices(cells: UInt8[Array, "R bitlines"], spec: ChipSpec) -> UInt8[Array, "S R C"]:
    """Reorder from physical order to one plane for each slice of the weights."""
    rows, slices = len(cells), spec.cells_per_weight
    if spec.layout == "interleaved":
        return cells.reshape(rows, -1, slices).transpose(2, 0, 1)
    return cells.reshape(rows, slices, -1).transpose(1, 0, 2)


def to_bitlines(planes: UInt8[Array, "S R C"], spec: ChipSpec) -> UInt8[Array, "R bitlines"]:
    """Reorder from one plane for each slice of the weights to physical order."""
    order = (1, 2, 0) if spec.layout == "interleaved" else (1, 0, 2)
    return planes.transpose(order).reshape(planes.shape[1], -1)
