"""Many chips through one compiled program: lanes of a `vmap`, and groups of them in a loop."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Int32, Key, UInt32

from rerax.crossbar import keys
from rerax.crossbar.keys import Chip
from rerax.faults.mask import Faults
from rerax.faults.read_out import Counts

OneChip = Callable[[Chip, str | None, Any], Any]
"""(chip, name of the axis of lanes, that lane's part of what all were given) -> arrays."""


class ChipRange(NamedTuple):
    """Chips first, first + 1, ... of one seed.

    Attributes:
        root: the campaign's root key.
        first: number of the first chip.
        groups: how many lane groups of them.
    """

    root: Key[Array, ""]
    first: UInt32[Array, ""]
    groups: Int32[Array, ""]


def chip_range(seed: int, first: int, groups: int) -> ChipRange:
    """Make a range of chips."""
    return ChipRange(keys.root_key(seed), jnp.uint32(first), jnp.int32(groups))


def along(faults: Faults, axis: str | None) -> Faults:
    """Make the same faults for the inside of a `vmap` over chips whose axis has this name."""
    return faults._replace(rates=faults.rates.along(axis))


def in_lanes(
    lanes: int, one: OneChip, root: Key[Array, ""], first: UInt32[Array, ""], given: Any = None
) -> Any:
    """Compute `one` for the chips of a lane group.

    Args:
        lanes: how many; with 1 there is no axis of lanes.
        one: what is computed.
        root: the campaign's root key.
        first: number of the first chip.
        given: arrays with an axis of lanes, where there is one.
    """
    if lanes == 1:  # a vmap of width 1 would turn every product into a batched one
        return one(keys.chip_of(root, first), None, given)
    numbers = first + jnp.arange(lanes, dtype=jnp.uint32)
    return jax.vmap(
        lambda number, own: one(keys.chip_of(root, number), "lanes", own), axis_name="lanes"
    )(numbers, given)


def in_groups(lanes: int, room: int, one: OneChip, chips: ChipRange, given: Any = None) -> Any:
    """Compute `one` for a range of chips, a lane group after the other.

    What lies beyond the range is not computed and holds zeros.

    Args:
        lanes: width of a group.
        room: chips that the buffers hold, a multiple of `lanes`.
        one: what is computed.
        chips: which chips.
        given: as for `in_lanes`, the same for every group.

    Returns:
        What `one` gives, each array with a leading axis of `room` chips.
    """

    def group(first: Array) -> Any:
        found = in_lanes(lanes, one, chips.root, first, given)
        return found if lanes > 1 else jax.tree.map(lambda a: a[None], found)

    shapes = jax.eval_shape(group, chips.first)
    empty = jax.tree.map(lambda s: jnp.zeros((room, *s.shape[1:]), s.dtype), shapes)

    def step(i: int | Array, results: Any) -> Any:
        new = group(chips.first + jnp.asarray(i).astype(jnp.uint32) * lanes)
        return jax.tree.map(
            lambda all_, rows: lax.dynamic_update_slice_in_dim(all_, rows, i * lanes, 0),
            results,
            new,
        )

    return lax.fori_loop(0, chips.groups, step, empty)


def totals(counts: Iterable[Counts], chips: int) -> Counts:
    """Sum counts of each chip over arrays and layers, in int64: a model may pass 2^31 cells.

    Args:
        counts: of each array, [room, *L].
        chips: how many of the room are meant.
    """
    found = [np.zeros(chips, np.int64) for _ in Counts._fields]
    for array in counts:
        for total, count in zip(found, array, strict=True):
            total += np.asarray(count, np.int64).reshape(len(count), -1)[:chips].sum(axis=1)
    return Counts(*found)
