"""What compiles quickly: with little optimisation, and without the sampler of stuck cells."""

import dataclasses

import jax
import jax.numpy as jnp

from rerax import faults
from rerax.faults.read_out import ReadOut, counts_of

WITHOUT_OPTIMISING = {"xla_backend_optimization_level": 0}
"""Compiler options for functions of whole numbers, which come out the same (floats may not)."""


@dataclasses.dataclass(frozen=True)
class Halves(faults.FaultModel):
    """The bit below the top one is inverted in a tenth of the words, by array and chip.

    At rate 0 it is in none. For tests whose workload is not the sampler.
    """

    has_polarity = False

    def disturb(self, words, key, rates, spec, site=None):
        start, step = jax.random.key_data(key)
        place = jnp.arange(words.size, dtype=jnp.uint32).reshape(words.shape)
        mixed = (place * (step | 1) + start) * jnp.uint32(0x9E3779B1)
        hit = ((mixed >> 24) < 26) & (jnp.asarray(rates.intervals) > 0)
        flips = hit.astype(jnp.uint8) << (spec.group_bits - 2)
        counts = counts_of(flipped=jnp.sum(hit, dtype=jnp.int32))
        return ReadOut(words ^ flips, jnp.zeros_like(words), counts)
