"""Listed stuck cells: those of all measured chips lie on the device in one list.

A table says where the cells of each chip, matrix and layer begin: the work follows the number of
faults, as with sampled ones.
"""

import functools
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, UInt8

from rerax.crossbar.spec import ChipSpec
from rerax.faults.base import Site
from rerax.faults.chip_map import ChipMap
from rerax.faults.read_out import ReadOut, counts_of, lowest_bits, ones, unharmed
from rerax.faults.sampling.addresses import Cells
from rerax.faults.sampling.rates import RateTable

CELLS_PER_CHUNK = 1024  # speed only


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class CellLists:
    """The cells of all chips.

    Attributes:
        used: bool, whether they are stuck: not at rate 0, which stands for fault-free chips.
        chips: [N] uint32, numbers of the chips.
        start: [N, M, L + 1] int32, where the cells of a chip's matrix and layer begin; those of a
            layer end where the next begin.
        wordline, bitline, level: [E] of each cell, with room behind the last.
        names: of the M matrices.
    """

    used: Any
    chips: Any
    start: Any
    wordline: Any
    bitline: Any
    level: Any
    names: tuple[str, ...] = field(metadata={"static": True})


def cell_lists(chips: ChipMap, rate: float) -> CellLists:
    """List the cells of a map; none of them is stuck at rate 0."""
    return replace(_lists(chips), used=np.bool_(rate > 0))


def hold_listed(
    words: UInt8[Array, "G R C"], rates: RateTable, spec: ChipSpec, site: Site | None
) -> ReadOut:
    """Read an array whose listed cells hold their level whatever was written.

    Args:
        words: stored words.
        rates: the rate, with the cells of a `Measured`.
        spec: geometry.
        site: which array of which chip; None: a spare one, of which nothing is known.

    Raises:
        ValueError: a table that was not made for such a model.
    """
    if not isinstance(rates.tables, CellLists):
        raise ValueError(
            "the rates have no measured cells: make them by rate_table(.., fault=fault)"
        )
    if site is None or site.array.name not in rates.tables.names:
        return unharmed(words)
    _, rows, columns = words.shape
    return _hold(words, _levels(rates, site, Cells(spec, rows, columns)), spec)


def _levels(rates: RateTable, site: Site, grid: Cells) -> UInt8[Array, "S R C"]:
    """Find one more than the level that each cell is stuck at; 0 where it is healthy."""
    tables = jax.tree.map(jnp.asarray, rates.tables)
    row = jnp.searchsorted(tables.chips, site.chip)
    last = len(tables.chips) - 1
    start = tables.start[:, tables.names.index(site.array.name)]
    layers = start.shape[1] - 1
    layer = jnp.asarray(site.layer, jnp.int32)
    of_layers = start[jnp.minimum(row, last)]
    there = tables.used & (layer < layers)
    there &= (row <= last) & (tables.chips[jnp.minimum(row, last)] == site.chip)
    first = of_layers[jnp.minimum(layer, layers - 1)]
    end = jnp.where(there, of_layers[jnp.minimum(layer, layers - 1) + 1], first)
    trips = -(-(end - first) // CELLS_PER_CHUNK)
    if rates.axis is not None:
        trips = lax.pmax(trips, rates.axis)

    def put(chunk: int | Array, levels: Array) -> Array:
        at = first + chunk * CELLS_PER_CHUNK + jnp.arange(CELLS_PER_CHUNK, dtype=jnp.int32)
        at = jnp.where(at < end, at, len(tables.level) - 1)
        index = grid.place(tables.wordline[at], tables.bitline[at])
        index = jnp.where(at < end, index, jnp.uint32(grid.rows * grid.width))
        return levels.at[index].set(tables.level[at] + jnp.uint8(1), mode="drop")

    levels = jnp.zeros(grid.rows * grid.width, jnp.uint8)
    return lax.fori_loop(0, trips, put, levels).reshape(grid.planes)


def _hold(words: UInt8[Array, "G R C"], levels: UInt8[Array, "S R C"], spec: ChipSpec) -> ReadOut:
    """Hold words' cells at their levels, one more than the level that each is stuck at."""
    known, value = [], []
    full = jnp.zeros(words.shape[1:], jnp.uint8)  # cells of each weight at their highest level
    for group in range(spec.groups):
        mask = read = jnp.zeros(words.shape[1:], jnp.uint8)
        for cell in range(spec.cells_per_group):
            level = levels[group * spec.cells_per_group + cell]
            top, shift = (1 << spec.bits_of_cell(cell)) - 1, cell * spec.bits_per_cell
            held = (level > 0).astype(jnp.uint8)
            mask |= held * jnp.uint8(top << shift)
            read |= (level - held) << shift
            full += (level == top + 1).astype(jnp.uint8)
        known.append(mask)
        value.append(read)
    mask, read = jnp.stack(known), jnp.stack(value)
    lowest = jnp.uint8(lowest_bits(spec))
    stuck, at_1 = ones(mask & lowest), jnp.sum(full, dtype=jnp.int32)
    above_0 = read
    for bit in range(1, spec.bits_per_cell):
        above_0 |= read >> bit  # bits of the next cell arrive above the lowest one
    at_0 = stuck - ones(above_0 & lowest)
    counts = counts_of(stuck_at_0=at_0, stuck_at_1=at_1, stuck_other=stuck - at_0 - at_1)
    return ReadOut((words & ~mask) | read, mask, counts)


@functools.lru_cache(maxsize=4)
def _lists(chips: ChipMap) -> CellLists:
    """Sort a map's cells by chip, array and layer, so that one layer's are a run of the lists."""
    n, layers, m = len(chips.chips), int(chips.layer.max()) + 1, len(chips.names)
    row = np.searchsorted(chips.chips, chips.chip)
    place = (row * m + chips.matrix) * layers + chips.layer  # ascending
    start = np.searchsorted(place, np.arange(n * m * layers + 1)).astype(np.int32)
    start = start[np.arange(n * m)[:, None] * layers + np.arange(layers + 1)]
    room = (0, 1)  # for reads past the end
    return CellLists(
        np.bool_(True),
        chips.chips.astype(np.uint32),
        start.reshape(n, m, layers + 1),
        np.pad(chips.wordline.astype(np.uint32), room),
        np.pad(chips.bitline.astype(np.uint32), room),
        np.pad(chips.level.astype(np.uint8), room),
        chips.names,
    )
