"""Misses: voted bits whose images do not fail independently, since they share lines or a tile.

Votes help only where the images of a bit fail for reasons of their own. So the addresses of all
images are worked out from the placement, and what two of them share is counted.
"""

import itertools

import numpy as np
from jaxtyping import Int64

from rerax.crossbar.spec import ChipSpec
from rerax.protection.cost import Misses
from rerax.protection.msb.copy_spec import CopySpec, copied_cells
from rerax.protection.msb.placement import CopyPlacement, copy_cells
from rerax.protection.msb.swap import cell_address, cell_number


def count_misses(
    layout: CopyPlacement, row: np.ndarray, column: np.ndarray, asked: CopySpec, spec: ChipSpec
) -> Misses:
    """Count voted bits whose images share a line or a tile, of one layer's matrix.

    Args:
        layout: where its copies are.
        row, column: [R], [C] whether each line is open.
        asked: what is copied.
        spec: geometry.

    Returns:
        Bits, each once, with two images on a wordline, on a bitline, on adjacent bitlines, and in
        fewer tiles than they could have.
    """
    total = Misses()
    if layout.freed is not None:
        images = _freed_images(layout, row, asked, spec)
        cells = np.array(copied_cells(asked, 0, spec)) % spec.cells_per_group
        bits = np.array([_voted_bits_of(int(cell), asked, spec) for cell in cells])
        weights = np.broadcast_to(bits[:, None, None], images.shape[1:]).ravel()
        flat = images.reshape(len(images), -1)
        total += _misses(flat, weights, row.size, column.size, spec)
    if layout.low is not None:
        images = _low_images(layout, row, asked, spec)
        ones = np.ones(images.shape[1], np.int64)
        total += _misses(images, ones, row.size, column.size, spec)
    return total


def _voted_bits_of(cell: int, asked: CopySpec, spec: ChipSpec) -> int:
    """Count the bits of a copied cell that vote: all, or, where low bits pay too, the top ones."""
    first, bits = cell * spec.bits_per_cell, spec.bits_of_cell(cell)
    if not asked.low:
        return bits
    return max(0, min(bits, first + bits - (spec.group_bits - len(asked.depths))))


def _freed_images(
    layout: CopyPlacement, row: np.ndarray, asked: CopySpec, spec: ChipSpec
) -> Int64[np.ndarray, "I X r c"]:
    """List the cells of all images, the original first, of cells with copies in freed cells."""
    assert layout.freed is not None
    freed = layout.freed
    kept = np.asarray(freed.kept)
    kept = kept[kept < len(freed.place)]
    own = cell_number(
        np.flatnonzero(row)[None, :, None],
        np.array(copied_cells(asked, 0, spec))[:, None, None],
        kept[None, None, :],
        spec,
        len(freed.place),
    )
    copies = copy_cells(layout, row, asked, spec)[..., : len(kept)]
    return np.concatenate([own[None], copies]).astype(np.int64)


def _low_images(
    layout: CopyPlacement, row: np.ndarray, asked: CopySpec, spec: ChipSpec
) -> Int64[np.ndarray, "I n"]:
    """List the cells of all images of bits that low bits pay for; -1 where a round has none."""
    low = layout.low
    assert low is not None
    rows, columns = np.flatnonzero(row), np.flatnonzero(low.served)
    total, c = len(low.served), spec.bits_per_cell
    found = []
    for group, p in itertools.product(range(spec.groups), range(len(asked.depths))):
        first = group * spec.cells_per_group
        own = first + (spec.group_bits - 1 - p) // c
        images = [cell_number(rows[:, None], own, columns[None, :], spec, total)]
        for q in range(asked.rounds):
            if p >= asked.bits_in(q):
                images.append(np.full((len(rows), len(columns)), -1))
                continue
            n = sum(asked.bits_in(i) for i in range(q)) + p
            slice_ = first + low.bit[n][columns] // c
            at = cell_number(
                layout.rows[q][rows][:, None], slice_, low.column[n][columns], spec, total
            )
            images.append(at)
        found.append(np.stack(images).reshape(len(images), -1))
    return np.concatenate(found, axis=1).astype(np.int64)


def _misses(
    images: Int64[np.ndarray, "I n"], weight: np.ndarray, rows: int, columns: int, spec: ChipSpec
) -> Misses:
    """Count what images share, each bit weighed; `images` are cell numbers, -1 for none."""
    row, slice_, column = cell_address(images, spec, columns)
    bitline = spec.bitline(column, slice_, columns)
    same_row, same_bitline, beside = np.zeros((3, images.shape[1]), bool)
    for a, b in itertools.combinations(range(len(images)), 2):
        both = (images[a] >= 0) & (images[b] >= 0)
        apart = np.abs(bitline[a] - bitline[b])
        same_row |= both & (row[a] == row[b])
        same_bitline |= both & (apart == 0)
        beside |= both & (apart == 1)
    tile_row, tile_column = spec.tile_of(row, bitline)
    down, across = spec.tiles(rows, columns)
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
