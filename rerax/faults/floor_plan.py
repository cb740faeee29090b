"""Floor plans: which array of a die holds which part of which matrix. No JAX here."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from rerax.crossbar.spec import ChipSpec
from rerax.faults.cell_table import CellTable, read_table
from rerax.faults.chip_map import HIGHEST, ChipMap, Shapes

COLUMNS = ("array", "matrix", "layer", "wordline", "bitline")
_ADDRESS = ("layer", "wordline", "bitline")


@dataclass(frozen=True, eq=False)
class FloorPlan:
    """Arrays of a die, all of one size, with the address of each one's corner.

    Attributes:
        path: the file.
        size: wordlines and bitlines of an array.
        arrays: place of each array among the following, by its name.
        matrices: names of the matrices, sorted.
        matrix: [A] the place in `matrices` of each array's matrix.
        layer, wordline, bitline: [A] address of each array's first cell in its matrix.
    """

    path: str
    size: tuple[int, int]
    arrays: Mapping[str, int]
    matrices: tuple[str, ...]
    matrix: np.ndarray
    layer: np.ndarray
    wordline: np.ndarray
    bitline: np.ndarray


def read_floor_plan(path: str, size: tuple[int, int]) -> FloorPlan:
    """Read a floor plan from CSV or Parquet, with columns array, matrix, layer, wordline, bitline.

    Args:
        path: the file; wordline and bitline are those of an array's corner in its matrix.
        size: wordlines and bitlines of each array of the die.

    Raises:
        ValueError: a bad file, an array that is there twice, two arrays that overlap.
    """
    table = read_table(path)
    table.check(COLUMNS)
    names, place = table.names("array")
    counts = np.bincount(place)
    if counts.max() > 1:
        raise ValueError(f"{path}: array {names[counts.argmax()]} is there twice: give it once")
    matrices, matrix = table.names("matrix")
    address = {name: table.whole(name, HIGHEST[name]) for name in _ADDRESS}
    order = np.argsort(place)
    plan = FloorPlan(
        path,
        size,
        {name: i for i, name in enumerate(names)},
        matrices,
        matrix[order],
        **{name: values[order] for name, values in address.items()},
    )
    _check_apart(plan)
    return plan


def _check_apart(plan: FloorPlan) -> None:
    """Refuse arrays that overlap: of two in one field of a grid of their size, or in neighbours."""
    rows, columns = plan.size
    names = list(plan.arrays)
    fields: dict[tuple[int, ...], int] = {}
    corners = np.stack([plan.matrix, plan.layer, plan.wordline, plan.bitline], axis=1).tolist()
    for i, (matrix, layer, wordline, bitline) in enumerate(corners):
        down, across = wordline // rows, bitline // columns
        for near in ((down + k // 3 - 1, across + k % 3 - 1) for k in range(9)):
            j = fields.get((matrix, layer, *near))
            if j is None:
                continue
            other = corners[j]
            if abs(other[2] - wordline) < rows and abs(other[3] - bitline) < columns:
                raise ValueError(
                    f"{plan.path}: arrays {names[j]} and {names[i]} of {rows}x{columns} cells "
                    f"overlap in {plan.matrices[matrix]} layer {layer}, at wordlines {other[2]} "
                    f"and {wordline}, bitlines {other[3]} and {bitline}: move one of them, or give "
                    "the arrays' size by --tile"
                )
        fields[matrix, layer, down, across] = i


def place_cells(
    table: CellTable, plan: FloorPlan
) -> tuple[tuple[str, ...], np.ndarray, dict[str, np.ndarray]]:
    """Give cells that a tester named by array, wordline and bitline their addresses in matrices.

    Args:
        table: with columns chip, array, wordline, bitline.
        plan: where the arrays lie.

    Returns:
        Names of the matrices that occur, sorted; [E] the place among them of each cell's matrix;
        [E] chip, layer, wordline and bitline of each cell.

    Raises:
        ValueError: a bad table, an array that the plan lacks, a cell outside its array.
    """
    names, place = table.names("array")
    absent = [name for name in names if name not in plan.arrays]
    if absent:
        raise ValueError(
            f"{table.path}: array {absent[0]} is not in {plan.path}"
            f"{f', nor are {len(absent) - 1} others' if len(absent) > 1 else ''}: add a row for "
            f"each with {', '.join(COLUMNS[1:])} of its first cell"
        )
    at = np.array([plan.arrays[name] for name in names])[place]
    numbers = {"chip": table.whole("chip", HIGHEST["chip"]), "layer": plan.layer[at]}
    for name, size in zip(("wordline", "bitline"), plan.size, strict=True):
        inside = table.whole(name, HIGHEST[name])
        outside = np.flatnonzero(inside >= size)
        if outside.size:
            first = outside[0]
            raise ValueError(
                f"{table.path}: {name} {inside[first]} of array {names[place[first]]} in row "
                f"{first + 1} is outside 0..{size - 1}: give addresses inside the array, or the "
                "arrays' size by --tile"
            )
        numbers[name] = getattr(plan, name)[at] + inside
    used, matrix = np.unique(plan.matrix[at], return_inverse=True)
    return tuple(plan.matrices[i] for i in used), matrix, numbers


def check_plan(plan: FloorPlan, shapes: Shapes, spec: ChipSpec) -> None:
    """Refuse arrays that begin outside the matrices of a model.

    Raises:
        ValueError: an unknown matrix or an address outside it.
    """
    names = list(plan.arrays)
    for i, name in enumerate(plan.matrices):
        mine = np.flatnonzero(plan.matrix == i)
        if name not in shapes:
            raise ValueError(
                f"{plan.path}: array {names[mine[0]]} holds unknown matrix {name!r}: use some of "
                f"{', '.join(shapes)}"
            )
        layers, rows, columns = shapes[name]
        for what, n in zip(_ADDRESS, (layers, rows, spec.bitlines(columns)), strict=True):
            outside = mine[getattr(plan, what)[mine] >= n]
            if outside.size:
                raise ValueError(
                    f"{plan.path}: array {names[outside[0]]} begins at {what} "
                    f"{getattr(plan, what)[outside[0]]} of {name}, outside 0..{n - 1}: give "
                    "addresses of this model, bits and cells"
                )


def unused_cells(chips: ChipMap, shapes: Shapes, spec: ChipSpec) -> np.ndarray:
    """Find the cells beyond the edge of their matrix: those of an array that it does not fill."""
    outside = np.zeros(len(chips.chip), bool)
    for i, name in enumerate(chips.names):
        _, rows, columns = shapes[name]
        beyond = (chips.wordline >= rows) | (chips.bitline >= spec.bitlines(columns))
        outside |= (chips.matrix == i) & beyond
    return outside
