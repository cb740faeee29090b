"""What a tester wrote, as a map: cells with levels or conductances, by matrix or by array of a die.

No JAX here.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from rerax.crossbar.spec import ChipSpec
from rerax.faults.cell_table import CellTable
from rerax.faults.chip_map import (
    COLUMNS,
    HIGHEST,
    ChipMap,
    Shapes,
    check_levels,
    check_map,
    make_map,
)
from rerax.faults.floor_plan import FloorPlan, check_plan, place_cells, unused_cells
from rerax.faults.map_summary import highest_levels

_SA0, _SA1, _FREE = 0, 1, 2


@dataclass(frozen=True)
class Thresholds:
    """Conductances at which a cell counts as stuck, in the unit of the table.

    Attributes:
        low: at or below it a cell is SA0.
        high: at or above it a cell is SA1.

    Raises:
        ValueError: one that is not finite, or low not below high.
    """

    low: float | int
    high: float | int

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise ValueError(
                f"low {self.low:g} is not below high {self.high:g}: give --low, at or below which "
                "a cell is SA0, and a larger --high, at or above which it is SA1"
            )


@dataclass(frozen=True, eq=False)
class Converted:
    """A map, and what was left out of it.

    Attributes:
        chips: the map.
        table: all cells of the table, those that are not stuck with a level of no meaning.
        measured: of each matrix, cells with a conductance that are SA0, SA1 and neither; None where
            the table has levels.
        unused: cells of arrays beyond the edge of their matrix.
        healthy: chips of the table without a stuck cell, which a map cannot name.
    """

    chips: ChipMap
    table: ChipMap
    measured: Mapping[str, tuple[int, int, int]] | None
    unused: int
    healthy: tuple[int, ...]


def to_map(
    table: CellTable,
    spec: ChipSpec,
    shapes: Shapes | None = None,
    plan: FloorPlan | None = None,
    thresholds: Thresholds | None = None,
) -> Converted:
    """Make a map of what a tester wrote.

    Args:
        table: cells with chip, address, and level or conductance.
        spec: how weights become cells: the level of SA1 is the cell's highest.
        shapes: of the model's matrices, to check addresses against; None where they are unknown.
        plan: where the arrays lie that the table names in place of matrices.
        thresholds: say which conductances are stuck; None for a table with levels.

    Raises:
        ValueError: a bad table, cells outside their arrays, or no stuck cell.
    """
    names, matrix, numbers = _addresses(table, plan, "level" if thresholds is None else _MEASURED)
    if thresholds is None:
        values = table.whole("level", HIGHEST["level"])
    else:
        measured = table.real(_MEASURED)
        with np.errstate(over="ignore"):  # beyond the type: then no cell reaches it
            low, high = (measured.dtype.type(one) for one in (thresholds.low, thresholds.high))
        values = np.where(measured <= low, _SA0, np.where(measured >= high, _SA1, _FREE))
    chips = make_map(table.path, table.digest, names, matrix, {**numbers, "level": values})
    everywhere, unused, counts = chips.chips, 0, None
    if plan is not None and shapes is not None:
        check_plan(plan, shapes, spec)
        outside = unused_cells(chips, shapes, spec)
        chips, unused = _some(chips, ~outside), int(outside.sum())
    whole = chips
    if thresholds is not None:
        if shapes is not None:
            check_map(replace(chips, level=np.zeros_like(chips.level)), shapes, spec)
        counts = {
            name: tuple(np.bincount(chips.level[chips.matrix == k], minlength=3).tolist())
            for k, name in enumerate(chips.names)
        }
        level = np.where(chips.level == _SA1, highest_levels(chips, shapes, spec), 0)
        chips = _some(replace(chips, level=level), chips.level != _FREE)
    if not len(chips.chip):
        raise ValueError(
            f"{table.path} has no stuck cell{_between(thresholds)}: a map needs at least one"
        )
    if shapes is None:
        check_levels(chips, np.arange(len(chips.level)), highest_levels(chips, None, spec))
    else:
        check_map(chips, shapes, spec)
    healthy = tuple(np.setdiff1d(everywhere, chips.chips).tolist())
    return Converted(chips, whole, counts, unused, healthy)


_MEASURED = "conductance"


def _between(thresholds: Thresholds | None) -> str:
    """Say where the conductances of a table without a stuck cell lie."""
    if thresholds is None:
        return " on the model's matrices"
    return f", all of it above {thresholds.low:g} and below {thresholds.high:g}"


def _addresses(
    table: CellTable, plan: FloorPlan | None, value: str
) -> tuple[tuple[str, ...], np.ndarray, dict[str, np.ndarray]]:
    """Read the address of every cell, in matrices."""
    there = table.columns.column_names
    fix = ""
    if value == "level" and value not in there and _MEASURED in there:
        fix = "; for conductances give --low and --high"
    if plan is not None:
        table.check(("chip", "array", "wordline", "bitline", value), fix)
        return place_cells(table, plan)
    if "matrix" not in there and "array" in there:
        fix = "; for arrays of a die give --floor-plan"
    table.check((*COLUMNS[:-1], value), fix)
    numbers = {name: table.whole(name, HIGHEST[name]) for name in HIGHEST if name != "level"}
    return *table.names("matrix"), numbers


def _some(chips: ChipMap, chosen: np.ndarray) -> ChipMap:
    """Keep some cells of a map, with the chips and matrices that they are of."""
    used, matrix = np.unique(chips.matrix[chosen], return_inverse=True)
    columns = {name: getattr(chips, name)[chosen] for name in HIGHEST}
    return replace(
        chips,
        chips=np.unique(columns["chip"]),
        names=tuple(chips.names[i] for i in used),
        **{**columns, "matrix": matrix},
    )


def map_table(chips: ChipMap) -> pa.Table:
    """Lay a map out as the table that `map:FILE` reads."""
    names = pa.array(chips.names, pa.string())
    columns = {name: getattr(chips, name) for name in COLUMNS}
    return pa.table({**columns, "matrix": names.take(pa.array(chips.matrix))})
