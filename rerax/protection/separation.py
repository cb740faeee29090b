"""How well the images of each voted bit are kept apart: addresses realised, misses counted."""

import itertools
from dataclasses import dataclass, fields

import numpy as np
from jaxtyping import Int64

from rerax.crossbar.spec import ChipSpec
from rerax.protection.placement import Layout, Wish, copied_cells, copy_cells
from rerax.protection.repair import join, split


@dataclass(frozen=True)
class Misses:
    """Voted bits whose images are not kept apart in some way.

    Attributes:
        bits: voted bits in all.
        wordline, bitline: two images of the bit on one wordline, on one bitline.
        adjacent: two on neighbouring bitlines.
        tile: fewer tiles than images, though the matrix has more.
    """

    bits: int = 0
    wordline: int = 0
    bitline: int = 0
    adjacent: int = 0
    tile: int = 0

    def __add__(self, other: "Misses") -> "Misses":
        return Misses(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))


def count_misses(
    layout: Layout, row: np.ndarray, column: np.ndarray, wish: Wish, spec: ChipSpec
) -> Misses:
    """Misses of one layer's matrix.

    Args:
        layout: where its copies are.
        row, column: [R], [C] whether each line is open.
        wish: what is copied.
        spec: geometry.
    """
    total = Misses()
    if layout.freed is not None:
        images = _freed_images(layout, row, wish, spec)
        cells = np.array(copied_cells(wish, 0, spec)) % spec.cells_per_group
        bits = np.array([_voted_bits_of(int(cell), wish, spec) for cell in cells])
        weights = np.broadcast_to(bits[:, None, None], images.shape[1:]).ravel()
        flat = images.reshape(len(images), -1)
        total += _misses(flat, weights, row.size, column.size, spec)
    if layout.low is not None:
        images = _low_images(layout, row, wish, spec)
        ones = np.ones(images.shape[1], np.int64)
        total += _misses(images, ones, row.size, column.size, spec)
    return total


def _voted_bits_of(cell: int, wish: Wish, spec: ChipSpec) -> int:
    """Bits of a copied cell that vote: all of them, or where low bits pay too, those asked for."""
    first, bits = cell * spec.bits_per_cell, spec.bits_of_cell(cell)
    if not wish.low:
        return bits
    return max(0, min(bits, first + bits - (spec.group_bits - len(wish.depths))))


def _freed_images(
    layout: Layout, row: np.ndarray, wish: Wish, spec: ChipSpec
) -> Int64[np.ndarray, "I X r c"]:
    assert layout.freed is not None
    freed = layout.freed
    kept = np.asarray(freed.kept)
    kept = kept[kept < len(freed.place)]
    own = join(
        np.flatnonzero(row)[None, :, None],
        np.array(copied_cells(wish, 0, spec))[:, None, None],
        kept[None, None, :],
        spec,
        len(freed.place),
    )
    copies = copy_cells(layout, row, wish, spec)[..., : len(kept)]
    return np.concatenate([own[None], copies]).astype(np.int64)


def _low_images(
    layout: Layout, row: np.ndarray, wish: Wish, spec: ChipSpec
) -> Int64[np.ndarray, "I n"]:
    """Cells of all images of every bit that low bits pay for; -1 where a round has none."""
    low = layout.low
    assert low is not None
    rows, columns = np.flatnonzero(row), np.flatnonzero(low.served)
    total, c = len(low.served), spec.bits_per_cell
    found = []
    for group, p in itertools.product(range(spec.groups), range(len(wish.depths))):
        first = group * spec.cells_per_group
        own = first + (spec.group_bits - 1 - p) // c
        images = [join(rows[:, None], own, columns[None, :], spec, total)]
        for q in range(wish.rounds):
            if p >= wish.bits_in(q):
                images.append(np.full((len(rows), len(columns)), -1))
                continue
            n = sum(wish.bits_in(i) for i in range(q)) + p
            slice_ = first + low.bit[n][columns] // c
            at = join(layout.rows[q][rows][:, None], slice_, low.column[n][columns], spec, total)
            images.append(at)
        found.append(np.stack(images).reshape(len(images), -1))
    return np.concatenate(found, axis=1).astype(np.int64)


def _misses(
    images: Int64[np.ndarray, "I n"], weight: np.ndarray, rows: int, columns: int, spec: ChipSpec
) -> Misses:
    row, slice_, column = split(images, spec, columns)
    bitline = spec.bitline(column, slice_, columns)
    same_row, same_bitline, beside = np.zeros((3, images.shape[1]), bool)
    for a, b in itertools.combinations(range(len(images)), 2):
        both = (images[a] >= 0) & (images[b] >= 0)
        apart = np.abs(bitline[a] - bitline[b])
        same_row |= both & (row[a] == row[b])
        same_bitline |= both & (apart == 0)
        beside |= both & (apart == 1)
    tile_row, tile_column = spec.tile_of(row, bitline)
    across = -(-spec.bitlines(columns) // spec.tile[1])
    down = -(-rows // spec.tile[0])
    tile = np.where(images >= 0, tile_row * across + tile_column, -1)
    ordered = np.sort(tile, axis=0)
    new = np.concatenate([np.ones((1, images.shape[1]), bool), ordered[1:] != ordered[:-1]])
    distinct = (new & (ordered >= 0)).sum(0)
    wanted = np.minimum((images >= 0).sum(0), across * down)
    return Misses(
        *(
            int(weight[chosen].sum())
            for chosen in (slice(None), same_row, same_bitline, beside, distinct < wanted)
        )
    )
