"""Under `jax.disable_jit`, where one looks for an error, the same cells are stuck."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from arrays import read_matrix

from rerax.crossbar import keys
from rerax.crossbar.spec import ChipSpec
from rerax.faults.sampling.rates import rate_table
from rerax.hardware import Hardware

SPEC = ChipSpec(tile=(4, 16))


@pytest.mark.parametrize(
    ("fault", "shield", "rate"),
    [("uniform", "none", 0.7), ("bitline", "duplicate:3", 0.2), ("flip", "none", 0.1)],
)
def test_a_layer_is_read_alike(fault, shield, rate):
    words = jnp.asarray(np.random.default_rng(0).integers(0, 256, (1, 8, 6), np.uint8))
    hardware = Hardware(SPEC, fault, shield)

    def codes():
        key = keys.chip_key(keys.root_key(0), jnp.uint32(0))
        return read_matrix(words, key, rate_table(rate, fault=hardware.fault), hardware)

    compiled = jax.jit(codes)()
    with jax.disable_jit():
        plain = codes()
    same = jax.tree.map(lambda a, b: bool((np.asarray(a) == np.asarray(b)).all()), compiled, plain)
    assert all(jax.tree.leaves(same))
