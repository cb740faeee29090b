"""Measured chips: a file with one row for every stuck cell found on them. No JAX here.

It is CSV (`.csv`) or Parquet (`cell_table`); the same content gives the same cells.

Its columns are `chip` (a number), `matrix`, `layer` (0 outside the encoder), `wordline` and
`bitline` (physical addresses in the matrix's base array) and `level` (what the cell reads).
"""

import functools
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from rerax.crossbar.spec import ChipSpec
from rerax.io import at_home

PREFIX = "map:"
COLUMNS = ("chip", "matrix", "layer", "wordline", "bitline", "level")
HIGHEST = {
    "chip": 2**32 - 1,
    **dict.fromkeys(("layer", "wordline", "bitline"), 2**31 - 1),
    "level": 15,
}
"""What the columns of numbers hold at most."""

Numbers = Mapping[str, np.ndarray]
"""Those columns, by name."""

Shapes = Mapping[str, tuple[int, int, int]]
"""Layers, rows and columns of matrices by name."""


@dataclass(frozen=True, eq=False)
class ChipMap:
    """Stuck cells of some chips, in the order of chip, matrix, layer, wordline, bitline.

    Attributes:
        path: the file.
        digest: SHA-256 of its bytes.
        chips: [N] numbers of its chips, ascending.
        names: names of the matrices in it, sorted.
        chip, matrix, layer, wordline, bitline, level: [E] of every cell; matrix as its place in
            `names`.
    """

    path: str
    digest: str
    chips: np.ndarray
    names: tuple[str, ...]
    chip: np.ndarray
    matrix: np.ndarray
    layer: np.ndarray
    wordline: np.ndarray
    bitline: np.ndarray
    level: np.ndarray

    @property
    def name(self) -> str:
        """The file's name and the beginning of its hash: what tells one map from another."""
        return f"{Path(self.path).name}@{self.digest[:16]}"

    def where(self, i: int) -> str:
        """Describe the i-th cell's address in words."""
        name = self.names[self.matrix[i]]
        return (
            f"{self.path}: chip {self.chip[i]}, {name} layer {self.layer[i]}, "
            f"wordline {self.wordline[i]}, bitline {self.bitline[i]}"
        )


def read_map(path: str) -> ChipMap:
    """Read a file of measured chips; one that has not changed is read once.

    Raises:
        ValueError: no such file, a missing column, a bad value, an unknown matrix, a cell that
            is there twice: the value, the rule, the fix.
    """
    file = at_home(path)
    if not file.is_file():
        raise ValueError(
            f"{path or 'map:'} is no file: give map:FILE, a CSV or Parquet file of cells"
        )
    stat = file.stat()
    return _read_map(path, stat.st_mtime_ns, stat.st_size)


@functools.lru_cache(maxsize=4)
def _read_map(path: str, _modified: int, _size: int) -> ChipMap:
    """Read a map; time and size are there for the cache, so that a changed file is read anew."""
    from rerax.faults.cell_table import read_table

    table = read_table(path)
    table.check(COLUMNS)
    numbers = {name: table.whole(name, HIGHEST[name]) for name in HIGHEST}
    return make_map(path, table.digest, *table.names("matrix"), numbers)


def make_map(
    path: str, digest: str, names: tuple[str, ...], matrix: np.ndarray, numbers: Numbers
) -> ChipMap:
    """Put the cells of some chips in order.

    Args:
        path: the file that they are from.
        digest: SHA-256 of its bytes.
        names: names of matrices, sorted.
        matrix: [E] the place in `names` of each cell's matrix.
        numbers: [E] chip, layer, wordline, bitline and level of each cell.

    Raises:
        ValueError: a cell that is there twice.
    """
    keys = ("bitline", "wordline", "layer", "matrix", "chip")  # the last one sorts first
    order = np.lexsort([matrix if key == "matrix" else numbers[key] for key in keys])
    columns = {name: values[order] for name, values in {**numbers, "matrix": matrix}.items()}
    found = ChipMap(path, digest, np.unique(numbers["chip"]), names, **columns)
    same = np.all([columns[key][1:] == columns[key][:-1] for key in keys], axis=0)
    if same.any():
        raise ValueError(f"{found.where(int(same.argmax()))} is there twice: give each cell once")
    return found


def highest_level(bitline: Any, columns: int, spec: ChipSpec) -> Any:
    """Find the highest level of cells, that of SA1: the top cell of a group may hold fewer bits.

    Args:
        bitline: of each cell.
        columns: of its matrix.
        spec: how weights become cells.
    """
    _, slice_ = spec.locate(bitline, columns)
    tops = [(1 << spec.bits_of_cell(cell)) - 1 for cell in range(spec.cells_per_group)]
    return np.array(tops)[slice_ % spec.cells_per_group]


def check_map(chips: ChipMap, shapes: Shapes, spec: ChipSpec, others: Collection[str] = ()) -> None:
    """Refuse cells that a model does not have.

    Args:
        chips: the map.
        shapes: the matrices of the model.
        spec: how they are laid out.
        others: names of further ones, of whose shapes nothing is known.

    Raises:
        ValueError: an unknown matrix, an address outside its array, or a level above the highest.
    """
    for i, name in enumerate(chips.names):
        mine = np.flatnonzero(chips.matrix == i)
        if name in others:
            continue
        if name not in shapes:
            known = ", ".join(shapes)
            raise ValueError(f"{chips.path}: unknown matrix {name!r}: use some of {known}")
        layers, rows, columns = shapes[name]
        limits = {"layer": layers, "wordline": rows, "bitline": spec.bitlines(columns)}
        for what, n in limits.items():
            outside = mine[getattr(chips, what)[mine] >= n]
            if outside.size:
                raise ValueError(
                    f"{chips.where(int(outside[0]))}: {what} is outside 0..{n - 1}: "
                    "give addresses of the base array of this model, bits and cells"
                )
        check_levels(chips, mine, highest_level(chips.bitline[mine], columns, spec))


def check_levels(
    chips: ChipMap, cells: Int[np.ndarray, " N"], highest: Int[np.ndarray, " N"]
) -> None:
    """Refuse levels that cells do not have.

    Args:
        chips: the map.
        cells: places of some of its cells.
        highest: level of each of them.

    Raises:
        ValueError: a level above it.
    """
    high = np.flatnonzero(chips.level[cells] > highest)
    if high.size:
        raise ValueError(
            f"{chips.where(int(cells[high[0]]))}: level {chips.level[cells[high[0]]]} is above "
            f"{highest[high[0]]}, the cell's highest: give the level that it reads"
        )


def realised_rate(chips: ChipMap, shapes: Shapes, spec: ChipSpec) -> float:
    """Compute the stuck fraction of the cells of all chips of a map.

    Args:
        chips: the map.
        shapes: the matrices that lie on crossbars.
        spec: how they are laid out.
    """
    cells = sum(layers * spec.cells(rows, columns) for layers, rows, columns in shapes.values())
    on_crossbars = np.isin(chips.matrix, [i for i, n in enumerate(chips.names) if n in shapes])
    return int(on_crossbars.sum()) / (cells * len(chips.chips)) if cells else 0.0


def absent_arrays(chips: ChipMap, shapes: Shapes) -> list[str]:
    """Name the arrays on crossbars of which the map has no cell."""
    found = []
    for name, (layers, _, _) in shapes.items():
        of_name = np.array([known == name for known in chips.names])[chips.matrix]
        there = set(chips.layer[of_name].tolist())
        missing = [layer for layer in range(layers) if layer not in there]
        if len(missing) == layers:
            found.append(name)
        elif missing:
            found.append(f"{name} layer {', '.join(map(str, missing))}")
    return found
