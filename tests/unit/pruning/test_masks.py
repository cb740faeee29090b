"""Gates in the forward and backward pass."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from rerax.pruning.masks import masked


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def test_the_mask_is_hard_and_its_gradient_is_that_of_softplus():
    """Against a reference written out by hand, in float64."""
    rng = np.random.default_rng(0)
    kernel, row, column, x, dy = (
        rng.normal(size=shape) for shape in ((5, 4), (5,), (4,), (3, 5), (3, 4))
    )
    opened = np.outer(row >= 0, column >= 0)
    dm = x.T @ dy  # derivative by the masked kernel
    expected = (
        dm * opened,
        ((dm * kernel) @ (column >= 0)) * sigmoid(row),
        ((row >= 0) @ (dm * kernel)) * sigmoid(column),
    )
    float32 = [jnp.asarray(a, jnp.float32) for a in (kernel, row, column, x, dy)]

    @functools.partial(jax.value_and_grad, argnums=(0, 1, 2))
    def loss(kernel, row, column, x, dy):
        return (dy * (x @ masked(kernel, row, column))).sum()

    value, gradients = jax.jit(loss)(*float32)
    np.testing.assert_allclose(value, (dy * (x @ (kernel * opened))).sum(), rtol=1e-4)
    for got, wanted in zip(gradients, expected, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-5)


def test_open_gates_leave_a_kernel_as_it_is():
    kernel = np.random.default_rng(0).normal(size=(6, 7)).astype(np.float32)
    kernel[0, 0] = -0.0
    found = jax.jit(masked)(kernel, jnp.ones(6), jnp.zeros(7))
    assert np.asarray(found).tobytes() == kernel.tobytes()
