"""What is left of a matrix and its product when closed lines are left out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from arrays import random_gates

from rerax import chip, compaction, products
from rerax.gates import open_cells, open_gates
from rerax.spec import ChipSpec


@pytest.mark.parametrize(
    ("shape", "closed"),
    [((24, 40), 0.02), ((24, 40), 0.9), ((7, 5), 0.3), ((7, 5), 1.0), ((1, 9), 0.3), ((1, 9), 0.9)],
    ids=str,
)
def test_sums_are_those_of_the_masked_codes(shape, closed):
    rng = np.random.default_rng(1)
    gate = random_gates(rng, (3,), *shape, closed)
    gate["row"][1, 0] = -1  # so that something is closed
    lines = compaction.open_lines(gate)
    codes = rng.integers(-128, 128, (3, *shape)).astype(np.int8)
    inputs = jnp.asarray(rng.integers(-127, 128, (4, 2, shape[0])).astype(np.int8))

    @jax.jit
    def sums(codes, lines):
        small = compaction.take_out(codes, lines)
        found = compaction.open_product(inputs, small, lines, products.integer_product)
        return found, compaction.masked_codes(codes, lines)

    for layer in range(3):
        found, masked = sums(codes[layer], compaction.Lines(*(part[layer] for part in lines)))
        kept = open_cells(gate["row"][layer], gate["column"][layer])
        expected = np.where(kept, codes[layer], 0)
        np.testing.assert_array_equal(masked, expected)
        product = np.asarray(inputs, np.int64) @ expected.astype(np.int64)
        np.testing.assert_array_equal(found, product)


def test_shapes_are_those_of_the_layer_with_most_open_lines():
    gate = {"row": np.ones((2, 6), np.float32), "column": np.ones((2, 4), np.float32)}
    assert compaction.open_lines(gate) is None
    gate["row"][0, :4] = -1
    gate["row"][1, 2] = -0.1
    gate["column"][:, 3] = -1
    lines = compaction.open_lines(gate)
    np.testing.assert_array_equal(lines.rows, [[4, 5, 6, 6, 6], [0, 1, 3, 4, 5]])
    np.testing.assert_array_equal(lines.columns, [[0, 1, 2]] * 2)
    np.testing.assert_array_equal(lines.place, [[0, 1, 2, 3]] * 2)


def test_open_gates_change_nothing():
    weights = np.random.default_rng(0).normal(size=(3, 5, 7)).astype(np.float32)
    params = {"encoder": {"query": {"kernel": weights, "bias": np.ones((3, 7), np.float32)}}}
    opened = open_gates({"query": weights.shape})
    laid = chip.program(params, ChipSpec(), gates=opened)
    plain = chip.program(params, ChipSpec())
    assert jax.tree.structure(laid) == jax.tree.structure(plain)
    jax.tree.map(np.testing.assert_array_equal, laid, plain)
