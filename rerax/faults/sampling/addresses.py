"""Where the units of an array lie: addresses, and their places in an array of planes."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

from rerax.crossbar.spec import ChipSpec


@runtime_checkable
class Grid(Protocol):
    """Addresses at which units lie, and where each is in the array that `sample` returns.

    That array is made of planes [P, Y, X]; an address is a row (below `rows`) and a place on it
    (below `width`), and each of the rows x width addresses has one entry.
    """

    @property
    def rows(self) -> int: ...

    @property
    def width(self) -> int: ...

    @property
    def planes(self) -> tuple[int, int, int]: ...

    def place(self, row: Array, unit: Array) -> Array:
        """Find the flat index, into the planes, of the unit at an address."""
        ...

    def addresses(self, plane: Array) -> tuple[Array, Array]:
        """List row and unit of every entry of one plane, each [Y, X]."""
        ...


@dataclass(frozen=True)
class Cells:
    """The cells of one matrix in planes [S, R, C], so that packing them is contiguous.

    A unit is a cell (`per_cell` = 1) or, for flips, one of a cell's bits; plane p holds slice
    p // per_cell of every weight.
    """

    spec: ChipSpec
    wordlines: int
    columns: int
    per_cell: int = 1

    @property
    def rows(self) -> int:
        return self.wordlines

    @property
    def width(self) -> int:
        return self.spec.bitlines(self.columns) * self.per_cell

    @property
    def planes(self) -> tuple[int, int, int]:
        return self.spec.cells_per_weight * self.per_cell, self.wordlines, self.columns

    def place(self, row: Array, unit: Array) -> Array:
        bitline, part = unit // self.per_cell, unit % self.per_cell
        column, slice_ = self.spec.locate(bitline, self.columns)
        return ((slice_ * self.per_cell + part) * self.wordlines + row) * self.columns + column

    def addresses(self, plane: Array) -> tuple[Array, Array]:
        shape = (self.wordlines, self.columns)
        column = lax.broadcasted_iota(jnp.uint32, shape, 1)
        bitline = self.spec.bitline(column, plane // self.per_cell, self.columns)
        unit = bitline * self.per_cell + plane % self.per_cell
        return lax.broadcasted_iota(jnp.uint32, shape, 0), unit


@dataclass(frozen=True)
class Plane:
    """Units in one plane [rows, width], each where its address says: lines, pairs of lines."""

    rows: int
    width: int

    @property
    def planes(self) -> tuple[int, int, int]:
        return 1, self.rows, self.width

    def place(self, row: Array, unit: Array) -> Array:
        return row * self.width + unit

    def addresses(self, plane: Array) -> tuple[Array, Array]:
        shape = (self.rows, self.width)
        return lax.broadcasted_iota(jnp.uint32, shape, 0), lax.broadcasted_iota(
            jnp.uint32, shape, 1
        )
