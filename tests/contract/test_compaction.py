"""Products without closed lines are those of the masked matrix, bit for bit."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from rerax import chip, compaction, evaluate, faults, products
from rerax.gates import gated_shapes, open_cells, open_gates
from rerax.glue.data import make_batches
from rerax.spec import ChipSpec

BATCHES = make_batches(tiny.random_examples(lengths=(8, 16)), tokens=64)
PARAMS = tiny.random_params()


def random_gates(rng, layers, rows, columns, closed=0.3):
    def side(n):
        return np.where(rng.random((*layers, n)) < closed, -1.0, 1.0).astype(np.float32)

    return {"row": side(rows), "column": side(columns)}


@pytest.mark.parametrize("closed", [0.02, 0.3, 0.9, 1.0])
@pytest.mark.parametrize("shape", [(7, 5), (1, 9), (24, 40)], ids=str)
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


def pruned(rng, closed=0.3):
    shapes = gated_shapes(PARAMS, ("encoder", "pooler"))
    return {n: random_gates(rng, s[:-2], *s[-2:], closed) for n, s in shapes.items()}


def logits(net, gates, rate):
    (outcome,) = evaluate.evaluate_chips(
        net,
        jax.tree.map(jnp.asarray, chip.program(PARAMS, net.spec, gates=gates)),
        BATCHES,
        evaluate.to_device(BATCHES),
        seed=3,
        dose=faults.dose(rate),
        first=0,
        chips=3,
        chunk=3,
    )
    return outcome.logits


@pytest.mark.parametrize("rate", [0.0, 0.05])
def test_logits_are_those_of_the_masked_model(rate, monkeypatch):
    gates = pruned(np.random.default_rng(2))
    net = evaluate.Network(tiny.CONFIG, ChipSpec(), faults.Uniform())
    masked = logits(net, gates, rate)
    compact = logits(replace(net, compact=True), gates, rate)
    np.testing.assert_array_equal(compact, masked)
    # Had the closed lines been left in, faults there would have been heard.
    monkeypatch.setattr(products, "masked_codes", lambda codes, _: codes)
    evaluate.chunk_logits.clear_cache()
    assert (masked != logits(net, gates, rate)).any() == (rate > 0)
    evaluate.chunk_logits.clear_cache()


def test_float_inputs_leave_closed_lines_out_too():
    """With float inputs logits differ by the rounding of inputs, and by no more."""
    gates = pruned(np.random.default_rng(2))
    net = evaluate.Network(tiny.CONFIG, ChipSpec(), faults.Uniform(), input_bits=None)
    near = evaluate.Network(tiny.CONFIG, ChipSpec(), faults.Uniform())
    floating, integer = logits(net, gates, 0.02), logits(near, gates, 0.02)
    spread = np.abs(floating).max()
    assert 0 < np.abs(floating - integer).max() < 0.2 * spread


def test_open_gates_change_nothing():
    opened = open_gates(gated_shapes(PARAMS, ("encoder",)))
    laid = chip.program(PARAMS, ChipSpec(), gates=opened)
    plain = chip.program(PARAMS, ChipSpec())
    assert jax.tree.structure(laid) == jax.tree.structure(plain)
    jax.tree.map(np.testing.assert_array_equal, laid, plain)
