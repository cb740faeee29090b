"""Inverted bits of one array."""

import jax.numpy as jnp
from jaxtyping import Array, Key, UInt8

from rerax.crossbar.spec import ChipSpec
from rerax.faults.read_out import STUCK, ReadOut, counts_of, ones
from rerax.faults.sampling.addresses import Cells
from rerax.faults.sampling.poisson_process import sample
from rerax.faults.sampling.rates import RateTable


def flip_bits(
    words: UInt8[Array, "G R C"], key: Key[Array, ""], rates: RateTable, spec: ChipSpec
) -> ReadOut:
    """Invert every stored bit that the process hits, a unit being a bit in place of a cell."""
    _, rows, columns = words.shape
    states = sample(key, rates, Cells(spec, rows, columns, spec.bits_per_cell))
    planes = states.reshape(spec.groups, -1, rows, columns)[:, : spec.group_bits] & STUCK
    shifts = jnp.arange(spec.group_bits, dtype=jnp.uint8)[None, :, None, None]
    flips = jnp.sum(planes << shifts, axis=1, dtype=jnp.uint8)
    return ReadOut(words ^ flips, jnp.zeros_like(words), counts_of(flipped=ones(flips)))
