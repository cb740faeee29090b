"""Broken lines: whole wordlines or bitlines stuck, and adjacent bitlines shorted.

A line ends at the edge of its tile, so the units of these models are line segments, or adjacent
pairs of them, and few beside the cells: sampling costs next to nothing.
"""

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Key, UInt8

from rerax.crossbar.spec import ChipSpec
from rerax.faults.models import Counts, Disturbed, Site, counts_of, stick
from rerax.faults.sampling.grids import Plane
from rerax.faults.sampling.process import STUCK, Dose, sample


@dataclass(frozen=True)
class Wordline:
    """Broken wordlines: all cells of a line within one tile are stuck alike."""

    has_polarity: bool = True

    def tables(self, rate: float) -> tuple[()]:
        """None."""
        return ()

    def disturb(
        self,
        words: UInt8[Array, "G R C"],
        key: Key[Array, ""],
        dose: Dose,
        spec: ChipSpec,
        lanes: str | None = None,
        site: Site | None = None,
    ) -> Disturbed:
        """Stuck cells hold their level whatever was written."""
        _, rows, columns = words.shape
        lines = stuck_wordlines(key, dose, spec, rows, columns, lanes)
        cells = jnp.repeat(lines, spec.tile[1], axis=1)[:, : spec.bitlines(columns)]
        return stick(words, to_slices(cells, spec), spec)


@dataclass(frozen=True)
class Bitline:
    """Broken bitlines: all cells of a line within one tile are stuck alike."""

    has_polarity: bool = True

    def tables(self, rate: float) -> tuple[()]:
        """None."""
        return ()

    def disturb(
        self,
        words: UInt8[Array, "G R C"],
        key: Key[Array, ""],
        dose: Dose,
        spec: ChipSpec,
        lanes: str | None = None,
        site: Site | None = None,
    ) -> Disturbed:
        """Stuck cells hold their level whatever was written."""
        _, rows, columns = words.shape
        lines = stuck_bitlines(key, dose, spec, rows, columns, lanes)
        cells = jnp.repeat(lines, spec.tile[0], axis=0)[:rows]
        return stick(words, to_slices(cells, spec), spec)


@dataclass(frozen=True)
class Short:
    """Shorts between adjacent bitlines of a tile.

    Every maximal run of shorted lines carries the sum of its currents, so that on each wordline
    all of its cells read the highest level stored there; a cell of fewer bits than the others
    reads at most its own highest level.
    """

    has_polarity: bool = False

    def tables(self, rate: float) -> tuple[()]:
        """None."""
        return ()

    def disturb(
        self,
        words: UInt8[Array, "G R C"],
        key: Key[Array, ""],
        dose: Dose,
        spec: ChipSpec,
        lanes: str | None = None,
        site: Site | None = None,
    ) -> Disturbed:
        """Cells of shorted lines read the highest level of their run."""
        _, rows, columns = words.shape
        joined = shorted_pairs(key, dose, spec, rows, columns, lanes)
        any_joined = jnp.any(joined)
        if lanes is not None:
            any_joined = lax.pmax(any_joined, lanes)
        read = lax.cond(any_joined, lambda: _read_shorted(words, joined, spec), lambda: words)
        shorted = _cells_on_lines(joined | _shift(joined, -1), rows, spec)
        return Disturbed(read, jnp.zeros_like(words), counts_of(shorted=shorted))

    def counts_in(
        self,
        planes: UInt8[Array, ""],
        words: UInt8[Array, "G R C"],
        key: Key[Array, ""],
        dose: Dose,
        spec: ChipSpec,
        lanes: str | None = None,
    ) -> Counts:
        """Cells of shorted lines that hold one of the chosen bits."""
        _, rows, columns = words.shape
        joined = shorted_pairs(key, dose, spec, rows, columns, lanes)
        _, slice_ = spec.locate(np.arange(spec.bitlines(columns)), columns)
        cells = range(spec.cells_per_group)
        held = [((1 << spec.bits_of_cell(c)) - 1) << c * spec.bits_per_cell for c in cells]
        acts = jnp.asarray(np.array(held, np.uint8)[slice_ % spec.cells_per_group]) & planes != 0
        shorted = _cells_on_lines((joined | _shift(joined, -1)) & acts[None], rows, spec)
        return counts_of(shorted=shorted)


def _cells_on_lines(lines: Bool[Array, "I bitlines"], rows: int, spec: ChipSpec) -> Array:
    """Cells of the chosen bitlines, whose length is that of their row of tiles."""
    heights = np.minimum(spec.tile[0], rows - spec.tile[0] * np.arange(len(lines)))
    return jnp.sum(
        jnp.sum(lines, axis=1, dtype=jnp.int32) * jnp.asarray(heights, jnp.int32), dtype=jnp.int32
    )


def stuck_wordlines(
    key: Key[Array, ""],
    dose: Dose,
    spec: ChipSpec,
    rows: int,
    columns: int,
    lanes: str | None = None,
) -> UInt8[Array, "R J"]:
    """Stuck wordlines of one array, in each of its J columns of tiles.

    Args:
        key: the array's key.
        dose: expected fraction of lines, and the share of SA1 among the stuck ones.
        spec: geometry.
        rows, columns: shape of the matrix.
        lanes: name of the enclosing `vmap` axis over chips, if any; changes no outcome.

    Returns:
        States, 0 healthy, 1 stuck at 0, 3 stuck at 1.
    """
    across = -(-spec.bitlines(columns) // spec.tile[1])
    return sample(key, dose, Plane(rows, across), lanes)[0]


def stuck_bitlines(
    key: Key[Array, ""],
    dose: Dose,
    spec: ChipSpec,
    rows: int,
    columns: int,
    lanes: str | None = None,
) -> UInt8[Array, "I bitlines"]:
    """Stuck bitlines of one array, in each of its I rows of tiles; see `stuck_wordlines`."""
    down = -(-rows // spec.tile[0])
    return sample(key, dose, Plane(down, spec.bitlines(columns)), lanes)[0]


def shorted_pairs(
    key: Key[Array, ""],
    dose: Dose,
    spec: ChipSpec,
    rows: int,
    columns: int,
    lanes: str | None = None,
) -> Bool[Array, "I bitlines"]:
    """Whether a bitline is shorted to the next one, in each of the I rows of tiles.

    Args:
        key: the array's key.
        dose: expected fraction of adjacent pairs within a tile.
        spec: geometry.
        rows, columns: shape of the matrix.
        lanes: name of the enclosing `vmap` axis over chips, if any; changes no outcome.
    """
    down, bitlines = -(-rows // spec.tile[0]), spec.bitlines(columns)
    within = np.arange(bitlines - 1) % spec.tile[1] != spec.tile[1] - 1
    left = np.flatnonzero(within)  # first line of every pair
    if left.size == 0:
        return jnp.zeros((down, bitlines), jnp.bool_)
    states = sample(key, dose, Plane(down, left.size), lanes)[0]
    nth = np.cumsum(np.append(within, False)) - np.append(within, True)  # any where not `within`
    pairs = jnp.take(states & STUCK, jnp.asarray(np.clip(nth, 0, left.size - 1)), axis=1)
    return (pairs > 0) & jnp.asarray(np.append(within, False))[None]


def _read_shorted(
    words: UInt8[Array, "G R C"], joined: Bool[Array, "I bitlines"], spec: ChipSpec
) -> UInt8[Array, "G R C"]:
    """Spread each run's highest level over the run, by steps of 1, 2, 4, ... lines."""
    _, rows, columns = words.shape
    cells = [divmod(s, spec.cells_per_group) for s in range(spec.cells_per_weight)]
    tops = [(1 << spec.bits_of_cell(cell)) - 1 for _, cell in cells]
    shifts = [cell * spec.bits_per_cell for _, cell in cells]
    levels = jnp.stack(
        [(words[g] >> n) & top for (g, _), n, top in zip(cells, shifts, tops, strict=True)]
    )

    def spread(state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        levels, reach, step = state  # reach: lines b .. b + step are one run
        right = jnp.repeat(reach, spec.tile[0], axis=0)[:rows]
        left = _shift(right, -step)
        neighbours = jnp.maximum(
            jnp.where(right, _shift(levels, step), 0), jnp.where(left, _shift(levels, -step), 0)
        )
        return jnp.maximum(levels, neighbours), reach & _shift(reach, step), 2 * step

    physical, _, _ = lax.while_loop(
        lambda state: jnp.any(state[1]),
        spread,
        (to_bitlines(levels, spec), joined, jnp.int32(1)),
    )
    read = to_slices(physical, spec)
    groups = []
    for group in range(spec.groups):
        word = jnp.zeros((rows, columns), jnp.uint8)
        for s, (g, _) in enumerate(cells):
            if g == group:
                word |= jnp.minimum(read[s], jnp.uint8(tops[s])) << shifts[s]
        groups.append(word)
    return jnp.stack(groups)


def _shift(array: Array, step: int | Array) -> Array:
    """The entry `step` places to the right of each, 0 beyond the ends."""
    n = array.shape[1]
    at = lax.broadcasted_iota(jnp.int32, array.shape, 1) + step
    return jnp.where((at >= 0) & (at < n), jnp.roll(array, -step, axis=1), jnp.zeros_like(array))


def to_slices(cells: UInt8[Array, "R bitlines"], spec: ChipSpec) -> UInt8[Array, "S R C"]:
    """From physical order to one plane for each slice of the weights."""
    rows, slices = len(cells), spec.cells_per_weight
    if spec.layout == "interleaved":
        return cells.reshape(rows, -1, slices).transpose(2, 0, 1)
    return cells.reshape(rows, slices, -1).transpose(1, 0, 2)


def to_bitlines(planes: UInt8[Array, "S R C"], spec: ChipSpec) -> UInt8[Array, "R bitlines"]:
    """From one plane for each slice of the weights to physical order."""
    order = (1, 2, 0) if spec.layout == "interleaved" else (1, 0, 2)
    return planes.transpose(order).reshape(planes.shape[1], -1)
