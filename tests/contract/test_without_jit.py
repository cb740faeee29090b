"""Under `jax.disable_jit`, where one looks for an error, the same cells are stuck."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rerax.chip import read
from rerax.crossbar import keys
from rerax.crossbar.spec import ChipSpec
from rerax.faults import dose, fault_model
from rerax.protection import protection

SPEC = ChipSpec(tile=(4, 16))


@pytest.mark.parametrize(
    ("fault", "shield", "rate"),
    [("uniform", "none", 0.7), ("bitline", "duplicate:3", 0.2), ("flip", "none", 0.1)],
)
def test_a_layer_is_read_alike(fault, shield, rate):
    words = jnp.asarray(np.random.default_rng(0).integers(0, 256, (1, 8, 6), np.uint8))
    model = fault_model(fault)

    def codes():
        key = keys.chip_key(keys.root_key(0), jnp.uint32(0))
        at = dose(rate, fault=model)
        return read({"query": words}, key, 0, at, model, SPEC, protection(shield))

    compiled = jax.jit(codes)()
    with jax.disable_jit():
        plain = codes()
    same = jax.tree.map(lambda a, b: bool((np.asarray(a) == np.asarray(b)).all()), compiled, plain)
    assert all(jax.tree.leaves(same))
