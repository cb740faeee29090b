"""Measured faults: the stuck cells of real chips, read from a file (`rerax.measured`).

The cells of all chips lie on the device in one list, and a table says where those of each chip,
matrix and layer begin: the work follows the number of faults, as with sampled ones.
"""

import functools
from dataclasses import dataclass
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Int32, Key, UInt8, UInt32

from rerax.crossbar.spec import ChipSpec
from rerax.faults.models import Disturbed, Site, counts_of, lowest_bits, ones
from rerax.faults.sampling.grids import Cells
from rerax.faults.sampling.process import Dose
from rerax.measured import ChipMap, read_map

CELLS_PER_CHUNK = 1024  # speed only


class MapTables(NamedTuple):
    """The cells of all chips.

    Attributes:
        used: whether they are stuck: not at rate 0, which stands for fault-free chips.
        chips: [N] numbers of the chips.
        start: [N, M, L + 1] where the cells of a chip's matrix and layer begin; those of a
            layer end where the next begin.
        wordline, bitline, level: [E] of each cell, with room behind the last.
    """

    used: np.bool_ | Bool[Array, ""]
    chips: UInt32[np.ndarray, "N"] | UInt32[Array, "N"]
    start: Int32[np.ndarray, "N *M Lp1"] | Int32[Array, "N *M Lp1"]
    wordline: UInt32[np.ndarray, "E"] | UInt32[Array, "E"]
    bitline: UInt32[np.ndarray, "E"] | UInt32[Array, "E"]
    level: UInt8[np.ndarray, "E"] | UInt8[Array, "E"]


@dataclass(frozen=True)
class Measured:
    """Chips as measured: each cell in the file holds its level, whatever was written.

    Chips, matrices and layers that are not in the file are fault-free. That its addresses exist
    in the model at hand is for the caller to see to (`rerax.measured.check_map`).

    Attributes:
        path: the file.
        digest: its hash, so that another content is another model.
    """

    path: str
    digest: str
    has_polarity: bool = False

    @classmethod
    def read(cls, path: str) -> "Measured":
        """The chips in a file.

        Raises:
            ValueError: a bad file (`rerax.measured.read_map`).
        """
        return cls(path, read_map(path).digest)

    def tables(self, rate: float) -> MapTables:
        """The cells of the file; none is stuck at rate 0, and the rate means nothing else."""
        chips = read_map(self.path)
        if chips.digest != self.digest:
            raise ValueError(f"{self.path} has changed since it was read: leave it alone in a run")
        return _tables(chips)._replace(used=np.bool_(rate > 0))

    def disturb(
        self,
        words: UInt8[Array, "G R C"],
        key: Key[Array, ""],
        dose: Dose,
        spec: ChipSpec,
        lanes: str | None = None,
        site: Site | None = None,
    ) -> Disturbed:
        """Stuck cells hold their level whatever was written; without a site none is stuck.

        Raises:
            ValueError: a dose that was not made for this model.
        """
        if not isinstance(dose.tables, MapTables):
            raise ValueError("the dose has no measured cells: make it by dose(rate, share, fault)")
        names = read_map(self.path).names
        if site is None or site.matrix not in names:
            return Disturbed(words, jnp.zeros_like(words), counts_of())
        _, rows, columns = words.shape
        tables = MapTables(*map(jnp.asarray, dose.tables))
        tables = tables._replace(start=tables.start[:, names.index(site.matrix)])
        levels = _levels(tables, site, Cells(spec, rows, columns), lanes)
        return _hold(words, levels, spec)


def _levels(tables: MapTables, site: Site, grid: Cells, lanes: str | None) -> UInt8[Array, "S R C"]:
    """One more than the level that each cell is stuck at; 0 where it is healthy.

    Args:
        tables: with the starts [N, L + 1] of one matrix.
        site: which array.
        grid: its cells.
        lanes: name of the enclosing `vmap` axis over chips, if any.
    """
    row = jnp.searchsorted(tables.chips, site.chip)
    last = len(tables.chips) - 1
    layers = tables.start.shape[1] - 1
    layer = jnp.asarray(site.layer, jnp.int32)
    of_layers = tables.start[jnp.minimum(row, last)]
    there = tables.used & (layer < layers)
    there &= (row <= last) & (tables.chips[jnp.minimum(row, last)] == site.chip)
    first = of_layers[jnp.minimum(layer, layers - 1)]
    end = jnp.where(there, of_layers[jnp.minimum(layer, layers - 1) + 1], first)
    trips = -(-(end - first) // CELLS_PER_CHUNK)
    if lanes is not None:
        trips = lax.pmax(trips, lanes)

    def put(chunk: int | Array, levels: Array) -> Array:
        at = first + chunk * CELLS_PER_CHUNK + jnp.arange(CELLS_PER_CHUNK, dtype=jnp.int32)
        at = jnp.where(at < end, at, len(tables.level) - 1)
        index = grid.place(tables.wordline[at], tables.bitline[at])
        index = jnp.where(at < end, index, jnp.uint32(grid.rows * grid.width))
        return levels.at[index].set(tables.level[at] + jnp.uint8(1), mode="drop")

    levels = jnp.zeros(grid.rows * grid.width, jnp.uint8)
    return lax.fori_loop(0, trips, put, levels).reshape(grid.planes)


def _hold(words: UInt8[Array, "G R C"], levels: UInt8[Array, "S R C"], spec: ChipSpec) -> Disturbed:
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
    return Disturbed((words & ~mask) | read, mask, counts)


@functools.lru_cache(maxsize=4)
def _tables(chips: ChipMap) -> MapTables:
    n, layers, m = len(chips.chips), int(chips.layer.max()) + 1, len(chips.names)
    row = np.searchsorted(chips.chips, chips.chip)
    place = (row * m + chips.matrix) * layers + chips.layer  # ascending
    start = np.searchsorted(place, np.arange(n * m * layers + 1)).astype(np.int32)
    start = start[np.arange(n * m)[:, None] * layers + np.arange(layers + 1)]
    room = (0, 1)  # for reads past the end
    return MapTables(
        np.bool_(True),
        chips.chips.astype(np.uint32),
        start.reshape(n, m, layers + 1),
        np.pad(chips.wordline.astype(np.uint32), room),
        np.pad(chips.bitline.astype(np.uint32), room),
        np.pad(chips.level.astype(np.uint8), room),
    )
