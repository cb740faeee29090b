"""What is in a map of measured chips: rates by polarity, whole lines, clusters. No JAX here."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int

from rerax.crossbar.spec import ChipSpec
from rerax.faults.chip_map import ChipMap, Shapes, highest_level
from rerax.faults.clusters import Clusters, find_clusters, tile_moments

SHORTEST = 8
"""Cells that a line needs in a tile: where tiles are cut shorter, chance makes whole lines."""
MOST_TILES = 2**24

Extents = Mapping[str, tuple[int, int]]
"""Wordlines and bitlines of matrices by name."""


@dataclass(frozen=True, eq=False)
class MapSummary:
    """What is in a map, chip by chip. Polarities are SA0, SA1 and others, in this order.

    Attributes:
        arrays: matrix and layer of the arrays of which the table has a cell.
        cells: cells of a chip in these arrays.
        chips: [N] numbers of the chips.
        stuck: [N, 3] stuck cells by polarity.
        wordlines, bitlines: [N, 3] segments of lines, of a tile each, all of whose cells are
            stuck; others are of mixed polarity. Those of wholly stuck tiles are left out.
        tiles: [N] wholly stuck tiles.
        clusters: how clustered the other cells are; None where that cannot be told.
    """

    arrays: tuple[tuple[str, int], ...]
    cells: int
    chips: np.ndarray
    stuck: np.ndarray
    wordlines: np.ndarray
    bitlines: np.ndarray
    tiles: np.ndarray
    clusters: Clusters | None


def spanned(chips: ChipMap) -> dict[str, tuple[int, int]]:
    """Find the wordlines and bitlines that the cells of a map span in each matrix."""
    found = {}
    for i, name in enumerate(chips.names):
        mine = chips.matrix == i
        found[name] = int(chips.wordline[mine].max()) + 1, int(chips.bitline[mine].max()) + 1
    return found


def cells_of_arrays(chips: ChipMap, extents: Extents) -> dict[tuple[str, int], int]:
    """Count the cells of each array, by matrix and layer, over all chips."""
    layers = int(chips.layer.max()) + 1
    keys, counts = np.unique(chips.matrix * layers + chips.layer, return_counts=True)
    found = {
        (chips.names[k // layers], int(k % layers)): int(n)
        for k, n in zip(keys, counts, strict=True)
    }
    return {array: n for array, n in found.items() if array[0] in extents}


def extents_of(shapes: Shapes, spec: ChipSpec) -> dict[str, tuple[int, int]]:
    """Compute the wordlines and bitlines of a model's matrices."""
    return {name: (rows, spec.bitlines(columns)) for name, (_, rows, columns) in shapes.items()}


def highest_levels(chips: ChipMap, shapes: Shapes | None, spec: ChipSpec) -> np.ndarray:
    """Find the highest level of every cell of a map.

    Args:
        chips: the map.
        shapes: of the model's matrices, None where they are unknown.
        spec: how weights become cells.

    Raises:
        ValueError: it depends on shapes that are unknown.
    """
    if shapes is None:
        uneven = spec.group_bits % spec.bits_per_cell and spec.cells_per_group > 1
        if uneven and spec.layout == "separate":
            raise ValueError(
                f"{chips.path}: in layout separate the columns of a matrix say which cells hold "
                f"{spec.group_bits % spec.bits_per_cell} of {spec.bits_per_cell} bits: give --model"
            )
        return highest_level(chips.bitline, 1, spec)
    tops = np.zeros(len(chips.bitline), np.int64)
    for i, name in enumerate(chips.names):
        mine = chips.matrix == i
        tops[mine] = highest_level(chips.bitline[mine], shapes[name][2], spec)
    return tops


def summarise_map(
    chips: ChipMap,
    highest: Int[np.ndarray, " E"],
    extents: Extents,
    tile: tuple[int, int],
    table: ChipMap | None = None,
) -> MapSummary:
    """Count what is in a map.

    Args:
        chips: the map, its cells inside their arrays.
        highest: the highest level of each of its cells.
        extents: of the matrices to look at; cells of others are left out.
        tile: wordlines and bitlines of a tile.
        table: all cells that were measured, of whose arrays rates are; by default the map's own.

    Raises:
        ValueError: more tiles than anybody has.
    """
    state = np.where(chips.level == 0, 0, np.where(chips.level == highest, 1, 2))
    here = np.array([name in extents for name in chips.names])[chips.matrix]
    all_cells = chips if table is None else table
    known, layers = tuple(cells_of_arrays(all_cells, extents)), int(all_cells.layer.max()) + 1
    number = {name: i for i, name in enumerate(all_cells.names)}
    keys = np.array([number[name] * layers + layer for name, layer in known], np.int64)
    matrix = np.array([number[name] for name in chips.names], np.int64)[chips.matrix]
    array = np.searchsorted(keys, (matrix * layers + chips.layer)[here])  # keys ascend
    tiles = _Tiles.of([extents[name] for name, _ in known], tile, chips.path)
    places = tiles.places(array, chips.wordline[here], chips.bitline[here])
    ends = np.searchsorted(chips.chip[here], chips.chips, side="right")
    starts = np.searchsorted(chips.chip[here], chips.chips, side="left")
    looks = [
        _look(places[:, a:b], state[here][a:b], tiles) for a, b in zip(starts, ends, strict=True)
    ]
    stuck, wordlines, bitlines, whole, moments = zip(*looks, strict=True)
    return MapSummary(
        arrays=known,
        cells=int(tiles.cells.sum()),
        chips=chips.chips,
        stuck=np.array(stuck),
        wordlines=np.array(wordlines),
        bitlines=np.array(bitlines),
        tiles=np.array(whole),
        clusters=find_clusters([one for one in moments if one is not None]),
    )


@dataclass(frozen=True, eq=False)
class _Tiles:
    """Tiles of some arrays, one behind the other: [A] first tile and tiles across, [T] sizes."""

    size: tuple[int, int]
    first: np.ndarray
    across: np.ndarray
    height: np.ndarray
    width: np.ndarray

    @classmethod
    def of(cls, extents: list[tuple[int, int]], size: tuple[int, int], path: str) -> "_Tiles":
        """Lay tiles over arrays, given as wordlines and bitlines; refuse more than fit memory."""
        counts = [tuple(-(-n // s) for n, s in zip(one, size, strict=True)) for one in extents]
        if sum(down * across for down, across in counts) > MOST_TILES:
            raise ValueError(
                f"{path}: its arrays have more than {MOST_TILES:,} tiles of {size[0]}x{size[1]}: "
                "give --tile as it is, and addresses of the model's arrays"
            )
        heights, widths = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        for (rows, bitlines), (down, across) in zip(extents, counts, strict=True):
            height = np.minimum(size[0], rows - size[0] * np.arange(down))
            width = np.minimum(size[1], bitlines - size[1] * np.arange(across))
            heights.append(np.repeat(height, across))
            widths.append(np.tile(width, down))
        sizes = np.array([down * across for down, across in counts], np.int64)
        wide = np.array([across for _, across in counts], np.int64)
        first = np.cumsum(sizes) - sizes
        return cls(size, first, wide, np.concatenate(heights), np.concatenate(widths))

    @property
    def cells(self) -> np.ndarray:
        """Cells of every tile, [T]."""
        return self.height * self.width

    def places(self, array: np.ndarray, wordline: np.ndarray, bitline: np.ndarray) -> np.ndarray:
        """Tile, wordline segment and bitline segment of each cell, as numbers, [3, E]."""
        rows, columns = self.size
        tile = self.first[array] + wordline // rows * self.across[array] + bitline // columns
        return np.stack([tile, tile * rows + wordline % rows, tile * columns + bitline % columns])


def _look(places: Int[np.ndarray, "3 E"], state: Int[np.ndarray, " E"], tiles: _Tiles) -> tuple:
    """Count on one chip the stuck cells and lines by polarity, whole tiles, and the moments."""
    tile, cells = places[0], tiles.cells
    in_tile = np.bincount(tile, minlength=len(cells))
    large = (tiles.height >= SHORTEST) & (tiles.width >= SHORTEST)
    whole = (in_tile == cells) & large
    on_line = whole[tile]
    found = []
    for line, length in ((places[1], tiles.width), (places[2], tiles.height)):
        mine, counts = _whole_lines(line, length[tile], state, ~whole[tile])
        on_line = on_line | mine
        found.append(counts)
    left = np.bincount(tile[~on_line], minlength=len(cells))
    rest = cells - np.bincount(tile[on_line], minlength=len(cells))
    by_polarity = np.bincount(state, minlength=3)
    return by_polarity, *found, int(whole.sum()), tile_moments(left, rest)


def _whole_lines(
    line: Int[np.ndarray, " E"],
    length: Int[np.ndarray, " E"],
    state: Int[np.ndarray, " E"],
    looked_at: Bool[np.ndarray, " E"],
) -> tuple[np.ndarray, np.ndarray]:
    """Find the cells on wholly stuck segments, and count such segments by polarity."""
    _, first, of_cell, counts = np.unique(
        line, return_index=True, return_inverse=True, return_counts=True
    )
    whole = (counts == length[first]) & (counts >= SHORTEST) & looked_at[first]
    mean = [np.bincount(of_cell, state == one, minlength=len(counts)) == counts for one in (0, 1)]
    polarity = np.where(mean[0], 0, np.where(mean[1], 1, 2))
    return whole[of_cell], np.bincount(polarity[whole], minlength=3)
