"""Stuck cells that a chip's test did not find, inside jit."""

import jax.numpy as jnp
from jaxtyping import Array, Key, UInt8

from rerax.crossbar.keys import missed_key
from rerax.crossbar.spec import ChipSpec
from rerax.faults.read_out import stuck_words
from rerax.faults.sampling.poisson_process import stuck_cells
from rerax.faults.sampling.rates import Axis, rate_table


def missed_bits(
    key: Key[Array, ""], share: float, spec: ChipSpec, shape: tuple[int, int], axis: Axis
) -> UInt8[Array, "G R C"]:
    """Choose the bits of cells that a test misses if they are stuck, whatever their fault.

    Args:
        key: the array's key.
        share: of stuck cells that the test finds.
        spec: geometry.
        shape: rows R and columns C of the matrix.
        axis: names of the `vmap` axes over chips and arrays, if any.
    """
    rates = rate_table(1 - share).along(axis)
    bits, _ = stuck_words(stuck_cells(missed_key(key), rates, spec, *shape), spec)
    return jnp.asarray(bits)
