"""Measured chips: a Parquet file with one row for every stuck cell found on them. No JAX here.

Its columns are `chip` (a number), `matrix`, `layer` (0 outside the encoder), `wordline` and
`bitline` (physical addresses in the matrix's base array) and `level` (what the cell reads).
"""

import functools
import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rerax.crossbar.spec import ChipSpec

PREFIX = "map:"
_NUMBERS = ("chip", "layer", "wordline", "bitline", "level")

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
    file = Path(path)
    if not file.is_file():
        raise ValueError(f"{path or 'map:'} is no file: give map:FILE, a Parquet file of cells")
    stat = file.stat()
    return _read(path, stat.st_mtime_ns, stat.st_size)


@functools.lru_cache(maxsize=4)
def _read(path: str, _modified: int, _size: int) -> ChipMap:
    import pyarrow as pa
    import pyarrow.parquet as pq

    content = Path(path).read_bytes()
    try:
        table = pq.read_table(pa.BufferReader(content))
    except pa.ArrowException:
        raise ValueError(f"{path} is not a Parquet file: write the map with pyarrow") from None
    for name in ("matrix", *_NUMBERS):
        if name not in table.column_names:
            raise ValueError(
                f"{path} has no column {name}: give chip, matrix, layer, wordline, bitline, level"
            )
        if table[name].null_count:
            raise ValueError(f"{path} has an empty {name}: give every cell its whole address")
    if not len(table):
        raise ValueError(f"{path} has no rows, and so no chips: give a row for each stuck cell")
    numbers = {}
    for name in _NUMBERS:
        if not pa.types.is_integer(table[name].type):
            raise ValueError(f"{path}: {name} is {table[name].type}: give whole numbers")
        highest = 15 if name == "level" else 2**32 - 1 if name == "chip" else 2**31 - 1
        values = table[name].to_numpy()
        bad = values[(values < 0) | (values > highest)]
        if bad.size:
            raise ValueError(
                f"{path}: {name} {bad[0]} is outside 0..{highest}: give one in the range"
            )
        numbers[name] = values.astype(np.int64)
    names, matrix = np.unique(table["matrix"].to_pylist(), return_inverse=True)
    keys = ("bitline", "wordline", "layer", "matrix", "chip")  # the last one sorts first
    order = np.lexsort([matrix if key == "matrix" else numbers[key] for key in keys])
    columns = {name: values[order] for name, values in {**numbers, "matrix": matrix}.items()}
    found = ChipMap(
        path,
        hashlib.sha256(content).hexdigest(),
        np.unique(numbers["chip"]),
        tuple(map(str, names)),
        **columns,
    )
    same = np.all([columns[key][1:] == columns[key][:-1] for key in keys], axis=0)
    if same.any():
        raise ValueError(f"{found.where(int(same.argmax()))} is there twice: give each cell once")
    return found


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
        _, slice_ = spec.locate(chips.bitline[mine], columns)
        tops = [(1 << spec.bits_of_cell(cell)) - 1 for cell in range(spec.cells_per_group)]
        top = np.array(tops)[slice_ % spec.cells_per_group]
        high = np.flatnonzero(chips.level[mine] > top)
        if high.size:
            raise ValueError(
                f"{chips.where(int(mine[high[0]]))}: level {chips.level[mine[high[0]]]} is above "
                f"{top[high[0]]}, the cell's highest: give the level that it reads"
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
