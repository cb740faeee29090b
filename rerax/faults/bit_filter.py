"""Faults of chosen bits: the chip's own, those of all other bits unheard."""

import jax.numpy as jnp
from jaxtyping import Array, Key, UInt8

from rerax.crossbar.spec import ChipSpec
from rerax.faults.base import FaultModel, Site
from rerax.faults.read_out import Counts, ReadOut, counts_of, ones
from rerax.faults.sampling.rates import RateTable


def disturb_bits(
    fault: FaultModel,
    bits: UInt8[Array, ""],
    words: UInt8[Array, "G R C"],
    key: Key[Array, ""],
    rates: RateTable,
    spec: ChipSpec,
    site: Site | None = None,
) -> ReadOut:
    """Read an array whose faults act in the chosen bits of its words alone.

    Args:
        fault: the fault model.
        bits: a word with the chosen bits set.
        words, key, rates, spec, site: as `FaultModel.disturb` takes them.

    Returns:
        Words with every other bit as written. A stuck cell counts if it holds a chosen bit, with
        its own polarity; other changed bits count as flipped, unless the model counts by itself
        (`FaultModel.counts_in`).
    """
    whole = fault.disturb(words, key, rates, spec, site)
    read = (words & ~bits) | (whole.words & bits)
    counts = fault.counts_in(bits, words, key, rates, spec)
    if counts is None:
        counts = _counts(words, whole, bits, spec)
    return ReadOut(read, whole.known & bits, counts)


def _counts(
    words: UInt8[Array, "G R C"], whole: ReadOut, bits: UInt8[Array, ""], spec: ChipSpec
) -> Counts:
    """Count stuck cells with a chosen bit by what they read, and other changed bits as flips."""
    at_0 = at_1 = other = jnp.int32(0)
    for cell in range(spec.cells_per_group):
        shift, top = cell * spec.bits_per_cell, (1 << spec.bits_of_cell(cell)) - 1
        acts = (bits >> shift) & top != 0
        stuck = ((whole.known >> shift) & top != 0) & acts
        level = (whole.words >> shift) & top
        low, high = stuck & (level == 0), stuck & (level == top)
        at_0 += jnp.sum(low, dtype=jnp.int32)
        at_1 += jnp.sum(high, dtype=jnp.int32)
        other += jnp.sum(stuck & ~low & ~high, dtype=jnp.int32)
    flipped = ones((words ^ whole.words) & ~whole.known & bits)
    return counts_of(stuck_at_0=at_0, stuck_at_1=at_1, stuck_other=other, flipped=flipped)
