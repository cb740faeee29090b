"""Shorted bitlines of one array, and what their cells read."""

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Key, UInt8

from rerax.crossbar.spec import ChipSpec
from rerax.faults.read_out import STUCK, Counts, ReadOut, counts_of
from rerax.faults.sampling.addresses import Plane
from rerax.faults.sampling.lines import to_bitlines, to_slices
from rerax.faults.sampling.poisson_process import sample
from rerax.faults.sampling.rates import RateTable


def short_lines(
    words: UInt8[Array, "G R C"], key: Key[Array, ""], rates: RateTable, spec: ChipSpec
) -> ReadOut:
    """Read an array whose shorted bitlines carry the highest level of their run."""
    _, rows, columns = words.shape
    joined = shorted_pairs(key, rates, spec, rows, columns)
    any_joined = jnp.any(joined)
    if rates.axis is not None:
        any_joined = lax.pmax(any_joined, rates.axis)
    read = lax.cond(any_joined, lambda: _read_shorted(words, joined, spec), lambda: words)
    shorted = _cells_on_lines(joined | _shift(joined, -1), rows, spec)
    return ReadOut(read, jnp.zeros_like(words), counts_of(shorted=shorted))


def shorted_cells_in(
    bits: UInt8[Array, ""],
    words: UInt8[Array, "G R C"],
    key: Key[Array, ""],
    rates: RateTable,
    spec: ChipSpec,
) -> Counts:
    """Count the cells of shorted lines that hold one of the chosen bits."""
    _, rows, columns = words.shape
    joined = shorted_pairs(key, rates, spec, rows, columns)
    _, slice_ = spec.locate(np.arange(spec.bitlines(columns)), columns)
    cells = range(spec.cells_per_group)
    held = [((1 << spec.bits_of_cell(c)) - 1) << c * spec.bits_per_cell for c in cells]
    acts = jnp.asarray(np.array(held, np.uint8)[slice_ % spec.cells_per_group]) & bits != 0
    shorted = _cells_on_lines((joined | _shift(joined, -1)) & acts[None], rows, spec)
    return counts_of(shorted=shorted)


def _cells_on_lines(lines: Bool[Array, "I bitlines"], rows: int, spec: ChipSpec) -> Array:
    """Count the cells of the chosen bitlines, each as long as its row of tiles."""
    heights = np.minimum(spec.tile[0], rows - spec.tile[0] * np.arange(len(lines)))
    return jnp.sum(
        jnp.sum(lines, axis=1, dtype=jnp.int32) * jnp.asarray(heights, jnp.int32), dtype=jnp.int32
    )


def shorted_pairs(
    key: Key[Array, ""],
    rates: RateTable,
    spec: ChipSpec,
    rows: int,
    columns: int,
) -> Bool[Array, "I bitlines"]:
    """Whether a bitline is shorted to the next one, in each of the I rows of tiles.

    Args:
        key: the array's key.
        rates: expected fraction of adjacent pairs within a tile.
        spec: geometry.
        rows, columns: shape of the matrix.
    """
    down, bitlines = -(-rows // spec.tile[0]), spec.bitlines(columns)
    within = np.arange(bitlines - 1) % spec.tile[1] != spec.tile[1] - 1
    left = np.flatnonzero(within)  # first line of every pair
    if left.size == 0:
        return jnp.zeros((down, bitlines), jnp.bool_)
    states = sample(key, rates, Plane(down, left.size))[0]
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
    """Take the entry `step` places to the right of each, 0 beyond the ends."""
    n = array.shape[1]
    at = lax.broadcasted_iota(jnp.int32, array.shape, 1) + step
    return jnp.where((at >= 0) & (at < n), jnp.roll(array, -step, axis=1), jnp.zeros_like(array))
