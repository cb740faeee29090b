"""Codes behind closed gates are zeros, whatever is read."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from arrays import random_gates

from rerax.crossbar.masking import OpenLines, masked_codes, open_lines
from rerax.hardware import Hardware
from rerax.models.bert.crossbars import program_bert
from rerax.pruning.gates import open_cells, open_gates


@pytest.mark.parametrize("closed", [0.02, 0.5, 1.0])
def test_codes_in_closed_lines_are_zeros(closed):
    rng = np.random.default_rng(1)
    gate = random_gates(rng, (3,), 7, 5, closed)
    gate["row"][1, 0] = -1  # so that something is closed
    lines = open_lines(gate)
    codes = rng.integers(-128, 128, (3, 7, 5)).astype(np.int8)
    for layer in range(3):
        found = masked_codes(jnp.asarray(codes[layer]), OpenLines(*(side[layer] for side in lines)))
        kept = open_cells(gate["row"][layer], gate["column"][layer])
        np.testing.assert_array_equal(found, np.where(kept, codes[layer], 0))
        assert found.dtype == np.int8


def test_gates_that_are_all_open_have_no_lines():
    gate = {"row": np.zeros((2, 6), np.float32), "column": np.ones((2, 4), np.float32)}
    assert open_lines(gate) is None
    gate["column"][1, 3] = -0.1
    assert open_lines(gate).column.sum() == 7


def test_open_gates_change_nothing():
    weights = np.random.default_rng(0).normal(size=(3, 5, 7)).astype(np.float32)
    params = {"encoder": {"query": {"kernel": weights, "bias": np.ones((3, 7), np.float32)}}}
    opened = open_gates({"query": weights.shape})
    laid = program_bert(params, Hardware(), gates=opened)
    plain = program_bert(params, Hardware())
    assert jax.tree.structure(laid) == jax.tree.structure(plain)
    jax.tree.map(np.testing.assert_array_equal, laid, plain)
