"""Layer-major evaluation: equal to the obvious way, and bit-equal however it is cut."""

import dataclasses
import logging

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from rerax import chip, evaluate, faults, keys
from rerax.bert.model import Bert
from rerax.glue.data import make_batches
from rerax.spec import ChipSpec

EXAMPLES = tiny.random_examples(lengths=(8, 16))
BATCHES = make_batches(EXAMPLES, tokens=64)
PARAMS = tiny.random_params()
SPEC = ChipSpec("differential", 7, 2)


def network(**changes):
    base = evaluate.Network(tiny.CONFIG, SPEC, faults.Uniform())
    return dataclasses.replace(base, **changes)


def logits(net, *, rate=0.02, chips=9, chunk=4, blocks=1, groups=chip.DEFAULT_GROUPS, first=0):
    outcomes = list(
        evaluate.evaluate_chips(
            net,
            jax.tree.map(jnp.asarray, chip.program(PARAMS, net.spec, groups)),
            BATCHES,
            evaluate.to_device(BATCHES, blocks),
            seed=3,
            dose=faults.dose(rate),
            first=first,
            chips=chips,
            chunk=chunk,
        )
    )
    counts = [np.concatenate(c) for c in zip(*(o.counts for o in outcomes), strict=True)]
    return np.concatenate([o.logits for o in outcomes]), np.stack(counts)


read_one = jax.jit(chip.read, static_argnames=("fault", "spec"))


def whole_model(net, chip_number, rate, groups=chip.DEFAULT_GROUPS):
    """One chip the obvious way: read every matrix, put it back, run `Bert` on each sentence."""
    params = jax.tree.map(np.asarray, PARAMS)
    laid = chip.program(PARAMS, net.spec, groups)
    key = keys.chip_key(keys.root_key(3), jnp.uint32(chip_number))
    dose = jax.tree.map(jnp.asarray, faults.dose(rate))
    for section, words in laid.words.items():
        for name, stored in words.items():
            layers = stored if section == "encoder" else stored[None]
            codes = [
                read_one({name: jnp.asarray(w)}, key, jnp.uint32(l), dose, net.fault, net.spec)[0][
                    name
                ]
                for l, w in enumerate(layers)
            ]
            scale = laid.scales[section][name]
            scales = scale if section == "encoder" else scale[None]
            values = np.asarray(codes, np.float32) * scales[:, None, :]
            kind = "table" if section == "embeddings" else "kernel"
            leaf = values if section == "encoder" else values[0]
            params[section][name] = {**params[section][name], kind: leaf}
    run = jax.jit(Bert(net.config).apply)
    out = []
    for ids, types in zip(EXAMPLES.ids, EXAMPLES.types, strict=True):
        room = np.zeros((2, 1, 40), np.int32)
        room[0, 0, : len(ids)], room[1, 0, : len(ids)] = ids, types
        out.append(run({"params": params}, room[0], room[1], np.arange(40)[None] < len(ids))[0])
    return np.array(out)


@pytest.mark.parametrize("groups", [chip.DEFAULT_GROUPS, ("encoder", "embeddings"), ()], ids=str)
def test_equals_the_whole_model_run_sentence_by_sentence(groups):
    net = network(input_bits=None)
    got, _ = logits(net, chips=2, groups=groups)
    for c in range(2):
        np.testing.assert_allclose(got[c], whole_model(net, c, 0.02, groups), atol=2e-4)


def test_integer_inputs_stay_near_float_inputs():
    """8-bit inputs add at most a quantisation error; a wrong scale would be far off."""
    integer, _ = logits(network(spec=ChipSpec()), rate=0.0, chips=1)
    floating, _ = logits(network(spec=ChipSpec(), input_bits=None), rate=0.0, chips=1)
    assert 0 < np.abs(integer - floating).max() < 0.15 * np.abs(floating).max()


@pytest.mark.parametrize(
    ("input_bits", "cuts"),
    [
        (8, ({"chunk": 1}, {"chunk": 7}, {"chunk": 64}, {"blocks": 2}, {"blocks": 3})),
        (None, ({"chunk": 7}, {"blocks": 3})),
    ],
)
def test_bit_equal_for_every_chunk_block_and_start(input_bits, cuts):
    net = network(input_bits=input_bits)
    expected, counts = logits(net)
    for cut in cuts:
        got, got_counts = logits(net, **cut)
        np.testing.assert_array_equal(got, expected)
        np.testing.assert_array_equal(got_counts, counts)
    np.testing.assert_array_equal(logits(net, first=5, chips=3)[0], expected[5:8])


def test_two_blocks_at_most_are_in_flight(monkeypatch):
    """Whoever interrupts a run waits for these; the results are checked above."""
    flying, most = [], []
    real = evaluate.chunk_logits

    def dispatched(*given):
        flying.append(real(*given))
        most.append(len(flying))
        return flying[-1]

    def waited(results):
        for result in results:
            assert result is flying.pop(0)

    monkeypatch.setattr(evaluate, "chunk_logits", dispatched)
    monkeypatch.setattr(evaluate.jax, "block_until_ready", waited)
    logits(network(), chips=1, blocks=3)
    assert most == [1, 2, 2]


def test_a_key_that_depends_on_the_chunk_is_caught(monkeypatch):
    """Plant it: chips numbered within their dispatch."""
    expected, _ = logits(network(), chunk=4)
    real = evaluate.chunk_logits

    def planted(net, chunk, programmed, block, root, dose, first, *rest):
        return real(net, chunk, programmed, block, root, dose, first % chunk, *rest)

    monkeypatch.setattr(evaluate, "chunk_logits", planted)
    assert (logits(network(), chunk=7)[0] != expected).any()


def test_lanes_keep_the_cells_and_a_width_taken_from_the_chunk_is_caught():
    """Width is part of the network, so the chunk cannot set it; cells never notice it.

    Planted here: a width equal to the chunk. It moves last bits, so that the comparison of
    chunks above, which is exact, would fail.
    """
    alone, counts = logits(network(input_bits=None))
    wide, wide_counts = logits(network(input_bits=None, lanes=4), chunk=4)
    assert (wide != alone).any()
    np.testing.assert_array_equal(wide_counts, counts)
    np.testing.assert_allclose(wide, alone, atol=1e-4)
    assert np.mean(wide.argmax(-1) == alone.argmax(-1)) >= 0.995
    again, _ = logits(network(input_bits=None, lanes=4), chunk=8)
    np.testing.assert_array_equal(again, wide)
    assert evaluate.fit_memory(network(lanes=4), BATCHES, 7)[0] == 8
    assert evaluate.platform_name(4) != evaluate.platform_name()
    for chunk in (1, 7, 64):  # the width is the backend's, whatever the chunk
        assert evaluate.lane_width(tiny.CONFIG, "cpu") == 1
        assert network().lanes == 1
        assert evaluate.fit_memory(network(), BATCHES, chunk)[0] == chunk


def test_a_grid_of_rates_shares_and_chips_compiles_once(caplog):
    net = network(spec=ChipSpec("sign_magnitude", 6))
    logits(net, chips=3, chunk=2)
    size = evaluate.chunk_logits._cache_size()
    with jax.log_compiles(True), caplog.at_level(logging.WARNING):
        for rate in (0.0, 1e-4, 0.3, 0.9):
            logits(net, rate=rate, chips=5, chunk=2, first=7)
    assert evaluate.chunk_logits._cache_size() == size
    assert not [r for r in caplog.records if "chunk_logits" in r.getMessage()]


def test_faulty_cells_are_counted_over_all_arrays():
    _, counts = logits(network(), rate=1.0, chips=2)
    cells = chip.cells(chip.program(PARAMS, SPEC), SPEC)
    assert counts.sum(axis=0).tolist() == [cells, cells]


def test_bfloat16_runs():
    got, _ = logits(network(dtype="bfloat16"), chips=1)
    assert got.dtype == np.float32
    assert np.isfinite(got).all()


def test_fit_memory_cuts_long_splits_but_not_below_the_floor():
    batches = dataclasses.replace(BATCHES)
    assert evaluate.fit_memory(network(), batches)[1] == 1
    many = make_batches(tiny.random_examples(4000, lengths=range(3, 39)), tokens=1024)
    stream = many.tokens * tiny.CONFIG.hidden_size * 4
    assert evaluate.fit_memory(network(), many, limit=stream // 2)[1] == 2
    assert evaluate.fit_memory(network(), many, limit=1)[1] == many.tokens // evaluate.BLOCK_TOKENS
