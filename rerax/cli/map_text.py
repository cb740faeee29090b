"""What `rerax map` prints: a table of chips, and in words what is in the map."""

import math
from typing import TYPE_CHECKING

from rerax.values import rate_text

if TYPE_CHECKING:
    import numpy as np

    from rerax.crossbar.spec import ChipSpec
    from rerax.faults.chip_map import Shapes
    from rerax.faults.clusters import Clusters
    from rerax.faults.map_conversion import Converted, Thresholds
    from rerax.faults.map_summary import Extents, MapSummary
    from rerax.report import Column

SHOWN = 8
"""Chips that have a line each; of more the table shows minimum, median and maximum."""
POLARITIES = ("SA0", "SA1", "between")


def print_map(
    made: "Converted",
    found: "MapSummary",
    thresholds: "Thresholds | None",
    extents: "Extents",
    on: "Shapes | None",
    spec: "ChipSpec",
    wide: bool,
) -> None:
    """Print what is in a map.

    Args:
        made: the map.
        found: its summary.
        thresholds: that it was made by.
        extents: of the matrices that it is summarised for.
        on: the model's matrices on crossbars, None where they are unknown.
        spec: how weights become cells.
        wide: all columns, however narrow the terminal.
    """
    from rerax.faults.map_summary import cells_of_arrays

    faulty = len(cells_of_arrays(made.chips, extents))
    notes = [
        f"{_number(len(found.chips), 'chip')}, {_number(faulty, 'array')} with faults, "
        f"{_number(int(found.stuck.sum()), 'stuck cell')}",
        *_left_out(made, thresholds, found, extents),
        *_coverage(made, found, extents, on, spec),
    ]
    notes += [*_lines(found), _clusters(found.clusters)]
    _print(found, notes, wide)


def _left_out(
    made: "Converted", thresholds: "Thresholds | None", found: "MapSummary", extents: "Extents"
) -> list[str]:
    """Say what of the table is not in the map, and what of its arrays is not in the table."""
    from rerax.faults.map_summary import cells_of_arrays

    notes = []
    if made.measured is not None and thresholds is not None:
        mine = [counts for name, counts in made.measured.items() if name in extents]
        at_0, at_1, free = (sum(counts[k] for counts in mine) for k in range(3))
        notes.append(
            f"of {at_0 + at_1 + free:,} cells {at_0:,} are SA0 (at or below {thresholds.low:g}), "
            f"{at_1:,} SA1 (at or above {thresholds.high:g}) and {free:,} not stuck"
        )
    if made.measured is not None:
        chips = len(made.chips.chips) + len(made.healthy)
        there = cells_of_arrays(made.table, extents)
        sizes = {array: math.prod(extents[array[0]]) for array in there}
        lacking = sum(sizes[array] - n / chips for array, n in there.items())
        if lacking >= 1:
            notes.append(
                f"about {lacking:,.0f} of the {found.cells:,} cells a chip that rates, lines and "
                "clusters are of are not in the table: taken as fault-free"
            )
    if made.unused:
        notes.append(
            f"{made.unused:,} cells of arrays lie beyond the edge of their matrix: left out"
        )
    if made.healthy:
        which = ", ".join(str(chip) for chip in made.healthy[:SHOWN])
        more = ", .." if len(made.healthy) > SHOWN else ""
        notes.append(f"without a stuck cell, and so not in the map: chip {which}{more}")
    return notes


def _coverage(
    made: "Converted",
    found: "MapSummary",
    extents: "Extents",
    on: "Shapes | None",
    spec: "ChipSpec",
) -> list[str]:
    """Say which arrays the map has cells of, and which of the model's it lacks."""
    from rerax.faults.chip_map import absent_arrays

    if on is None:
        layers = {name: sum(name == array for array, _ in found.arrays) for name in extents}
        spans = [
            f"{name} {rows}x{bitlines}" + (f" in {layers[name]} layers" if layers[name] > 1 else "")
            for name, (rows, bitlines) in extents.items()
        ]
        others = [name for name in made.table.names if name not in extents]
        left_out = [f"cells of {', '.join(others)} are left out, by --matrices"] if others else []
        return [
            *left_out,
            f"rates are of the {_number(found.cells, 'cell')} a chip that the file spans "
            f"({', '.join(spans)}); --model gives the arrays their true sizes",
        ]
    cells = sum(layers * spec.cells(rows, columns) for layers, rows, columns in on.values())
    arrays = sum(layers for layers, _, _ in on.values())
    notes = [
        f"covers {len(found.arrays)} of {arrays} arrays on crossbars, "
        f"{100 * found.cells / cells:.4g} % of their cells; rates are of these {found.cells:,} "
        "cells a chip"
    ]
    absent = absent_arrays(made.table, on)
    if absent:
        notes.append(f"no cells of {', '.join(absent)}: taken as fault-free")
    others = [name for name in made.table.names if name not in on]
    if others:
        notes.append(f"cells of {', '.join(others)}, not on crossbars, are left out")
    return notes


def _lines(found: "MapSummary") -> list[str]:
    """Say how many lines and tiles are wholly stuck."""
    parts = []
    for what, counts in (("wordline", found.wordlines), ("bitline", found.bitlines)):
        total = counts.sum(axis=0).tolist()
        kinds = [
            f"{n:,} {kind}" for n, kind in zip(total, (*POLARITIES[:2], "mixed"), strict=True) if n
        ]
        parts.append(_number(sum(total), what) + (f" ({', '.join(kinds)})" if kinds else ""))
    tiles = _number(int(found.tiles.sum()), "tile")
    return [f"wholly stuck within a tile: {', '.join(parts)}; {tiles}"]


def _clusters(found: "Clusters | None") -> str:
    """Say how clustered the other cells are."""
    from rerax.faults.clusters import FEWEST
    from rerax.faults.sampling.gamma import LARGEST, SMALLEST

    if found is None:
        return f"clusters: cannot be told from one tile or fewer than {FEWEST} cells a chip"
    if found.by_chance:
        what = "no more than chance"
    elif found.shape < SMALLEST:
        what = f"more clustered than clustered:{SMALLEST:g}, the most that is simulated"
    elif found.shape > LARGEST:
        what = f"less clustered than clustered:{LARGEST:g}, so next to uniform"
    else:
        what = f"about as clustered as clustered:{found.shape:.2g}"
    return (
        f"clusters: {what} (variance-to-mean ratio {found.ratio:.3g} over {found.tiles:,} tiles of "
        f"{_number(found.chips, 'chip')}; by chance 1, give or take {found.deviation:.2g})"
    )


def _print(found: "MapSummary", notes: list[str], wide: bool) -> None:
    """Print the table of chips, or of their quantiles, and notes below it."""
    import numpy as np

    from rerax.report import Column, print_columns

    stuck, lines = found.stuck, (found.wordlines.sum(axis=1), found.bitlines.sum(axis=1))
    rates = stuck / found.cells if found.cells else 0.0 * stuck

    def shown(values: "np.ndarray") -> "np.ndarray":
        many = len(found.chips) > SHOWN
        return np.quantile(values, (0, 0.5, 1), method="nearest") if many else values

    def counts(name: str, values: "np.ndarray", rank: int = 0) -> "Column":
        return Column(name, [f"{int(n):,}" for n in shown(values)], rank=rank)

    def shares(name: str, values: "np.ndarray") -> "Column":
        return Column(name, [rate_text(float(f"{x:.3g}")) for x in shown(values)])

    heads = [str(chip) for chip in found.chips]
    if len(heads) > SHOWN:
        heads = ["minimum", "median", "maximum"]
        notes = [*notes, "minimum, median and maximum over chips, each column by itself"]
    print_columns(
        [
            Column("chip", heads),
            counts("stuck cells", stuck.sum(axis=1)),
            shares("rate", rates.sum(axis=1)),
            *(shares(name, rates[:, i]) for i, name in enumerate(POLARITIES[:2])),
            *([shares(POLARITIES[2], rates[:, 2])] if stuck[:, 2].any() else []),
            *(
                counts(name, n, 1)
                for name, n in zip(("whole wordlines", "whole bitlines"), lines, strict=True)
            ),
        ],
        notes,
        wide=wide,
    )


def _number(n: int, what: str) -> str:
    """Say how many things there are."""
    return f"{n:,} {what}" + ("s" if n != 1 else "")
