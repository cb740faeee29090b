"""Faults of chosen bit planes: the chip's own, those of all other bits unheard."""

from typing import Protocol, runtime_checkable

import jax.numpy as jnp
from jaxtyping import Array, Key, UInt8

from rerax.crossbar.spec import ChipSpec
from rerax.faults.models import Counts, Disturbed, FaultModel, Site, counts_of, ones
from rerax.faults.sampling.process import Dose


@runtime_checkable
class Planar(Protocol):
    """A fault model whose faulty cells cannot be told from what they read, as those of shorts."""

    def counts_in(
        self,
        planes: UInt8[Array, ""],
        words: UInt8[Array, "G R C"],
        key: Key[Array, ""],
        dose: Dose,
        spec: ChipSpec,
        lanes: str | None = None,
    ) -> Counts:
        """Faulty cells that hold one of the chosen bits."""
        ...


def disturb_planes(
    fault: FaultModel,
    planes: UInt8[Array, ""],
    words: UInt8[Array, "G R C"],
    key: Key[Array, ""],
    dose: Dose,
    spec: ChipSpec,
    lanes: str | None = None,
    site: Site | None = None,
) -> Disturbed:
    """What an array reads when its faults act in the chosen bits of its words alone.

    Args:
        fault: the fault model.
        planes: a word with the chosen bits set.
        words, key, dose, spec, lanes, site: as `FaultModel.disturb` takes them.

    Returns:
        Words with every other bit as written. A stuck cell counts if it holds a chosen bit, with
        its own polarity; other changed bits count as flipped, unless the model is `Planar`.
    """
    whole = fault.disturb(words, key, dose, spec, lanes, site)
    read = (words & ~planes) | (whole.words & planes)
    if isinstance(fault, Planar):
        counts = fault.counts_in(planes, words, key, dose, spec, lanes)
    else:
        counts = _counts(words, whole, planes, spec)
    return Disturbed(read, whole.known & planes, counts)


def _counts(
    words: UInt8[Array, "G R C"], whole: Disturbed, planes: UInt8[Array, ""], spec: ChipSpec
) -> Counts:
    at_0 = at_1 = other = jnp.int32(0)
    for cell in range(spec.cells_per_group):
        shift, top = cell * spec.bits_per_cell, (1 << spec.bits_of_cell(cell)) - 1
        acts = (planes >> shift) & top != 0
        stuck = ((whole.known >> shift) & top != 0) & acts
        level = (whole.words >> shift) & top
        low, high = stuck & (level == 0), stuck & (level == top)
        at_0 += jnp.sum(low, dtype=jnp.int32)
        at_1 += jnp.sum(high, dtype=jnp.int32)
        other += jnp.sum(stuck & ~low & ~high, dtype=jnp.int32)
    flipped = ones((words ^ whole.words) & ~whole.known & planes)
    return counts_of(stuck_at_0=at_0, stuck_at_1=at_1, stuck_other=other, flipped=flipped)
