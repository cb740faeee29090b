"""Kernels for GPUs, run as plain operations: equal to the plain path that is their twin."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import tiny
from quick import Halves

from rerax.crossbar import fused
from rerax.crossbar.products import integer_product
from rerax.crossbar.quantise import quantise_inputs
from rerax.crossbar.spec import ChipSpec
from rerax.evaluate import engine
from rerax.evaluate.engine import Evaluator, Network
from rerax.faults.mask import Faults
from rerax.faults.sampling.rates import rate_table
from rerax.glue.packing import make_batches
from rerax.hardware import Hardware
from rerax.models.bert.crossbars import program_bert
from rerax.models.bert.fused_layer import can_fuse
from rerax.models.bert.model import Norm
from rerax.models.bert.names import DEFAULT_GROUPS

CONFIG = dataclasses.replace(
    tiny.CONFIG, hidden_size=128, intermediate_size=256, num_attention_heads=2, num_hidden_layers=2
)
TOKENS, ROWS, COLUMNS = 256, 384, 256
EPSILON = np.float32(2**-23)


def drawn(*shape, seed=0, scale=1.0):
    return (scale * np.random.default_rng(seed).standard_normal(shape)).astype(np.float32)


def codes(*shape, seed=0):
    return np.random.default_rng(seed).integers(-127, 128, shape, dtype=np.int8)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_vectors_are_quantised_alike_but_at_ties(dtype):
    x = jnp.asarray(drawn(TOKENS, ROWS)).at[3].set(0).at[4, 5].set(-900).astype(dtype)
    found, scale = fused.quantise_vectors(x, interpret=True)
    wanted, wanted_scale = quantise_inputs(x)
    steps = np.abs(np.asarray(x, np.float64)) / np.asarray(wanted_scale, np.float64)
    tie = np.abs(steps % 1 - 0.5) < 1e-4
    assert np.array_equal(np.asarray(found)[~tie], np.asarray(wanted)[~tie])
    assert (np.abs(np.asarray(found, np.int32) - np.asarray(wanted)) <= 1).all()
    assert tie.mean() < 0.05
    assert np.array_equal(scale, wanted_scale[:, 0])
    assert found[4, 5] == -127
    assert scale[3] == 1


@pytest.mark.parametrize("gelu", [False, True])
@pytest.mark.parametrize("added", [False, True])
def test_a_fused_product_is_scaled_sums_and_what_follows(gelu, added):
    x, weights = codes(TOKENS, ROWS), codes(ROWS, COLUMNS, seed=1)
    token, scale = np.abs(drawn(TOKENS, scale=1e-2)), np.abs(drawn(COLUMNS, seed=2, scale=2e-4))
    bias, residual = drawn(COLUMNS, seed=3), drawn(TOKENS, COLUMNS, seed=4)
    more = (jnp.asarray(residual),) if added else (None,)
    given = map(jnp.asarray, (x, token, weights.T, scale, bias))
    found = fused.fused_product(*given, *more, gelu=gelu, interpret=True)
    sums = x.astype(np.int32) @ weights.astype(np.int32)
    assert np.array_equal(integer_product(jnp.asarray(x), jnp.asarray(weights)), sums)
    ones = (jnp.ones(TOKENS), jnp.asarray(weights.T), jnp.ones(COLUMNS), jnp.zeros(COLUMNS))
    assert np.array_equal(fused.fused_product(jnp.asarray(x), *ones, interpret=True), sums)
    wanted = sums.astype(np.float32) * (token[:, None] * scale[None]) + bias[None]
    if gelu:
        wanted = wanted * 0.5 * scipy.special.erfc(-wanted.astype(np.float64) * 0.5**0.5)
    wanted = wanted + residual if added else wanted
    terms = np.abs(sums * (token[:, None] * scale[None])) + np.abs(bias[None])
    terms = terms + np.abs(residual) if added else terms
    assert (np.abs(np.asarray(found) - wanted) <= 2 * EPSILON * terms + gelu * 5e-7).all()


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_kernels_lower_for_a_gpu_in_lanes(dtype):
    lanes, real = 2, jnp.float32
    stream = jax.ShapeDtypeStruct((lanes, TOKENS, ROWS), dtype)
    line = jax.ShapeDtypeStruct((ROWS,), real)

    def layer(x, weights, scale, bias):
        y, inputs, token = fused.normed_vectors(x, scale, bias, 1e-12)
        z = fused.fused_product(inputs, token, weights, scale, bias, y, gelu=True, dtype=dtype)
        return fused.quantise_vectors(z)

    square = jax.ShapeDtypeStruct((lanes, ROWS, ROWS), jnp.int8)
    run = jax.jit(jax.vmap(layer, in_axes=(0, 0, None, None)))
    text = run.trace(stream, square, line, line).lower(lowering_platforms=("cuda",)).as_text()
    assert text.count("triton") >= 3


def test_gelu_is_finer_than_the_plain_one():
    x = np.linspace(-9, 6, 200_001).astype(np.float32)
    exact = 0.5 * x.astype(np.float64) * scipy.special.erfc(-np.float64(x) * 0.5**0.5)
    found = np.asarray(jax.jit(fused._gelu)(jnp.asarray(x)))
    assert np.abs(found - exact).max() < 5e-7
    assert (np.abs(found - exact)[exact != 0] / np.abs(exact)[exact != 0]).max() < 1e-5


def test_norms_are_those_of_the_model_and_their_codes_exact():
    x, scale, bias = drawn(TOKENS, ROWS), drawn(ROWS, seed=1), drawn(ROWS, seed=2)
    found, coded, token = fused.normed_vectors(
        *map(jnp.asarray, (x, scale, bias)), 1e-12, interpret=True
    )
    wanted = Norm(1e-12, jnp.float32).apply(
        {"params": {"scale": scale, "bias": bias}}, jnp.asarray(x)
    )
    assert np.abs(np.asarray(found) - wanted).max() < 3e-6
    again, token_again = quantise_inputs(found)
    assert np.array_equal(coded, again)
    assert np.array_equal(token, token_again[:, 0])


@functools.cache
def outcome(kernels, dtype="float32", lanes=1):
    hardware = Hardware(ChipSpec("differential", 7, 2), Halves())
    stored = jax.tree.map(
        jnp.asarray, program_bert(tiny.random_params(CONFIG), hardware, DEFAULT_GROUPS)
    )
    batches = make_batches(tiny.random_examples(8, config=CONFIG, lengths=(5, 9)), tokens=64)
    network = Network(CONFIG, dtype, lanes, kernels)
    evaluator = Evaluator(network, stored, batches, engine.to_device(batches), 2)
    return next(iter(evaluator.outcomes(0, range(2), Faults(rate_table(0.02)))))


@pytest.mark.parametrize(("dtype", "most"), [("float32", 2e-3), ("bfloat16", 0.1)])
def test_chips_answer_alike_through_kernels(dtype, most):
    plain, found = outcome("plain", dtype), outcome("interpret", dtype)
    spread = float(plain.logits.std())
    assert np.abs(found.logits - plain.logits).max() < most * max(spread, 1.0)
    same = found.logits.argmax(-1) == plain.logits.argmax(-1)
    assert same.mean() >= (1 if dtype == "float32" else 0.8)
    assert all(np.array_equal(a, b) for a, b in zip(found.counts, plain.counts, strict=True))
    assert not np.array_equal(plain.logits[0], plain.logits[1])


def test_kernels_of_another_name_are_refused():
    with pytest.raises(ValueError, match="kernels 'tritn': give one of plain, triton, interpret"):
        Network(CONFIG, kernels="tritn")


def test_lanes_run_through_the_same_kernels():
    one, two = outcome("interpret"), outcome("interpret", lanes=2)
    assert np.abs(one.logits - two.logits).max() < 1e-4


@pytest.mark.parametrize(
    "changed",
    [{"hidden_size": 96}, {"intermediate_size": 200}, {"hidden_act": "relu"}],
)
def test_layers_that_kernels_cannot_tile_keep_to_the_twin(changed):
    matrices = dict.fromkeys(("query", "key", "value", "attention_output", "ffn_in", "ffn_out"))
    assert can_fuse(CONFIG, matrices, 8)
    assert not can_fuse(dataclasses.replace(CONFIG, **changed), matrices, 8)
    assert not can_fuse(CONFIG, {"query": None}, 8)
    assert not can_fuse(CONFIG, matrices, None)
