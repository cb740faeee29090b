"""Products of codes are exact, in every number format that multiplies them."""

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

from rerax.crossbar.products import EXACT_ROWS, integer_product

each_form = pytest.mark.parametrize("form", ["int8", "bfloat16"])


@each_form
@pytest.mark.parametrize("rows", [1, 12])
def test_product(rows, form):
    jitted = jax.jit(integer_product)
    for seed in range(8):
        rng = np.random.default_rng(seed)
        inputs = rng.integers(-127, 128, (rows, 9)).astype(np.int8)
        codes = rng.integers(-128, 128, (9, 6)).astype(np.int8)
        expected = oracle.product(inputs, codes)
        for f in (integer_product, jitted):
            found = f(jnp.asarray(inputs), jnp.asarray(codes).astype(form))
            np.testing.assert_array_equal(found, expected)


@each_form
@pytest.mark.parametrize("rows", [1, EXACT_ROWS - 1, EXACT_ROWS, EXACT_ROWS + 1, 3072, 4096])
def test_product_is_exact_at_its_worst(form, rows):
    inputs = np.full((3, rows), -127, np.int8)
    inputs[1, ::2] = 127  # sums that stay small pass through large ones
    inputs[2, :-1] = 127
    codes = np.full((rows, 2), -128, np.int8)
    codes[-1, 1] = 1  # an odd sum, which a rounded one would miss
    found = integer_product(jnp.asarray(inputs), jnp.asarray(codes).astype(form))
    np.testing.assert_array_equal(found, oracle.product(inputs, codes))


@each_form
def test_product_of_inputs_fresh_from_a_look_up(form):
    rng = np.random.default_rng(1)
    inputs = rng.integers(-127, 128, (4, 16, 30)).astype(np.int8)
    codes, order = rng.integers(-128, 128, (30, 21)).astype(np.int8), rng.permutation(30)
    look_up = jax.jit(lambda x, c: integer_product(x.take(order, axis=-1), c.astype(form)))
    expected = oracle.product(inputs[..., order].reshape(-1, 30), codes).reshape(4, 16, 21)
    np.testing.assert_array_equal(look_up(jnp.asarray(inputs), jnp.asarray(codes)), expected)
