"""Codes of weights and of inputs are those of plain loops."""

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rerax.crossbar.encoding import encode
from rerax.crossbar.quantise import quantise, quantise_inputs
from rerax.crossbar.spec import ChipSpec
from rerax.pruning.gates import open_cells

jitted = jax.jit(quantise_inputs)


@given(seed=st.integers(0, 10**6), bits=st.integers(2, 8))
def test_gate_and_quantise(seed, bits):
    rng = np.random.default_rng(seed)
    weights = rng.normal(size=(5, 7)).astype(np.float32)
    weights[:, 2] = 0  # an empty column
    weights[1, 3] = np.float32(-0.0)
    row, column = (rng.normal(size=n).astype(np.float32) for n in weights.shape)
    codes, scales = quantise(weights, bits, open_cells(row, column))
    expected_codes, expected_scales = oracle.quantise(oracle.gate(weights, row, column), bits)
    np.testing.assert_array_equal(codes, expected_codes)
    np.testing.assert_array_equal(scales, expected_scales)


@pytest.mark.parametrize("bits", [1, 9, 16])
def test_bits_outside_the_range_are_refused(bits):
    with pytest.raises(ValueError, match=r"outside 2\.\.8: give a whole number from 2 to 8"):
        quantise(np.ones((2, 2), np.float32), bits)


def test_codes_wider_than_the_cells_are_refused():
    codes = np.array([[7, -7]], np.int8)
    assert encode(codes, ChipSpec(bits=4)).max() == 15
    for wrong in (codes + 1, codes - 2):
        with pytest.raises(ValueError, match=r"codes are outside -8\.\.7: quantise to the 4 bits"):
            encode(wrong.astype(np.int8), ChipSpec(bits=4))
    with pytest.raises(ValueError, match=r"codes are outside -7\.\.7: quantise to the 4 bits"):
        encode((codes - 1).astype(np.int8), ChipSpec("sign_magnitude", 4))


def test_quantise_rounds_half_to_even_and_is_layerwise():
    weights = np.array([[[127.0, 7.0], [0.5, -3.5]], [[2.0, 0.0], [1.0, 0.0]]], np.float32)
    codes, scales = quantise(weights, 8)
    assert codes[0, :, 0].tolist() == [127, 0]
    assert scales.shape == (2, 2)
    assert scales[1, 1] == 1
    per_layer = [quantise(w, 8) for w in weights]
    np.testing.assert_array_equal(codes, np.stack([c for c, _ in per_layer]))


@given(seed=st.integers(0, 10**6))
@settings(max_examples=15)
def test_input_quantisation_to_one_step_at_ties(seed):
    x = np.random.default_rng(seed).normal(size=(6, 11)).astype(np.float32)
    x[3] = 0
    codes, scales = jitted(jnp.asarray(x))
    for row, code, scale in zip(x, np.asarray(codes), np.asarray(scales), strict=True):
        expected, expected_scale = oracle.quantise_inputs(row)
        assert scale[0] == expected_scale
        exact = row / np.float64(expected_scale)
        tie = np.abs(np.abs(exact - np.trunc(exact)) - 0.5) < 1e-4
        assert (np.abs(code - expected) <= tie).all()
