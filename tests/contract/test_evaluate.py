"""Layer-major evaluation: equal to the obvious way, and bit-equal however it is cut.

Most of it is asked of a fault model that compiles at once (`Halves`), cut in few ways that the
tests share.
"""

import dataclasses
import functools
import logging

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from quick import Halves

from rerax.crossbar import keys
from rerax.crossbar.encoding import decode
from rerax.crossbar.spec import ChipSpec
from rerax.evaluate import engine, lanes
from rerax.evaluate import network as network_of_chips
from rerax.evaluate.engine import Evaluator, Network
from rerax.faults import Uniform
from rerax.faults.mask import Faults
from rerax.faults.sampling.rates import rate_table
from rerax.glue.packing import make_batches
from rerax.hardware import Hardware
from rerax.models import reading
from rerax.models.bert.crossbars import crossbars_by_section, fault_mask, program_bert
from rerax.models.bert.model import Bert
from rerax.models.bert.names import DEFAULT_GROUPS, IDS
from rerax.models.bert.scope import Scope
from rerax.models.reading import read_codes

EXAMPLES = tiny.random_examples(lengths=(8, 16))
BATCHES = make_batches(EXAMPLES, tokens=64)
PARAMS = tiny.random_params()
SPEC = ChipSpec("differential", 7, 2)
HEAD = ("pooler", "classifier")
USUAL = {"chunk": 4}  # the last dispatch has room to spare
CUT = {"chunk": 1, "shards": 3}  # and here the last shard


NETWORK = Network(tiny.CONFIG)
INTEGER = Hardware(SPEC, Halves())
FLOAT = Hardware(SPEC, Halves(), input_bits=None)
SAMPLED = Hardware(SPEC, Uniform(), input_bits=None)


def logits(
    hardware,
    *,
    chunk,
    rate=0.02,
    chips=9,
    shards=1,
    groups=DEFAULT_GROUPS,
    first=0,
    batches=BATCHES,
    network=NETWORK,
):
    stored = jax.tree.map(jnp.asarray, program_bert(PARAMS, hardware, groups))
    evaluator = Evaluator(network, stored, batches, engine.to_device(batches, shards), chunk)
    faults = Faults(rate_table(rate))
    outcomes = list(evaluator.outcomes(3, range(first, first + chips), faults))
    counts = [np.concatenate(c) for c in zip(*(o.counts for o in outcomes), strict=True)]
    return np.concatenate([o.logits for o in outcomes]), np.stack(counts)


@functools.partial(jax.jit, static_argnames=("fault", "spec"))
def read_one(words, key, rates, fault, spec):
    found = fault.disturb(words, key, rates, spec)
    return decode(found.words, spec), jnp.stack(found.counts)


run = jax.jit(Bert(tiny.CONFIG).apply)


def whole_model(hardware, chip_number, rate, groups):
    """One chip the obvious way: read every matrix, put it back, run `Bert` on each sentence."""
    params = jax.tree.map(np.asarray, PARAMS)
    key = keys.chip_key(keys.root_key(3), jnp.uint32(chip_number))
    rates = jax.tree.map(jnp.asarray, rate_table(rate))
    total = 0
    for path, crossbar in program_bert(PARAMS, hardware, groups).crossbars.items():
        section, name, kind = path.split("/")
        stacked = section == "encoder"
        words, scale = (
            a if stacked else a[None] for a in (crossbar.words, np.asarray(crossbar.scale))
        )
        codes, counts = zip(
            *(
                read_one(w, keys.array_key(key, IDS[name], l), rates, hardware.fault, SPEC)
                for l, w in enumerate(words)
            ),
            strict=True,
        )
        total += np.sum(counts, axis=0)
        values = np.asarray(codes, np.float32) * scale[:, None, :]
        params[section][name] = {**params[section][name], kind: values if stacked else values[0]}
    out = []
    for ids, types in zip(EXAMPLES.ids, EXAMPLES.types, strict=True):
        room = np.zeros((2, 1, 40), np.int32)
        room[0, 0, : len(ids)], room[1, 0, : len(ids)] = ids, types
        out.append(run({"params": params}, room[0], room[1], np.arange(40)[None] < len(ids))[0])
    return np.array(out), total


@pytest.mark.parametrize(
    ("hardware", "groups"),
    [(FLOAT, DEFAULT_GROUPS), (FLOAT, ("encoder", "embeddings")), (SAMPLED, HEAD)],
    ids=("all but tables", "all but head", "head, by the sampler"),
)
def test_equals_the_whole_model_run_sentence_by_sentence(hardware, groups):
    got, counts = logits(hardware, chips=2, groups=groups, **USUAL)
    for c in range(2):
        expected, cells = whole_model(hardware, c, 0.02, groups)
        np.testing.assert_allclose(got[c], expected, atol=2e-4)
        np.testing.assert_array_equal(counts[:, c], cells)
    assert counts.sum(axis=0).all()


def test_integer_inputs_stay_near_float_inputs():
    """8-bit inputs add at most a quantisation error; a wrong scale would be far off."""
    integer, _ = logits(INTEGER, rate=0.0, chips=1, **USUAL)
    floating, _ = logits(FLOAT, rate=0.0, chips=1, **USUAL)
    assert 0 < np.abs(integer - floating).max() < 0.15 * np.abs(floating).max()


@pytest.mark.parametrize("hardware", [INTEGER, FLOAT], ids=["integer", "float"])
def test_bit_equal_for_every_chunk_shard_and_start(hardware):
    expected, counts = logits(hardware, **USUAL)
    got, got_counts = logits(hardware, **CUT)
    np.testing.assert_array_equal(got, expected)
    np.testing.assert_array_equal(got_counts, counts)
    np.testing.assert_array_equal(logits(hardware, first=5, chips=3, **USUAL)[0], expected[5:8])


def test_two_shards_at_most_are_in_flight(monkeypatch):
    """Whoever interrupts a run waits for these; the results are checked above."""
    flying, most = [], []
    real = engine.chunk_logits

    def dispatched(*given):
        flying.append(real(*given))
        most.append(len(flying))
        return flying[-1]

    def waited(results):
        for result in results:
            assert result is flying.pop(0)

    monkeypatch.setattr(engine, "chunk_logits", dispatched)
    monkeypatch.setattr(engine.jax, "block_until_ready", waited)
    logits(INTEGER, chips=1, **CUT)
    assert most == [1, 2, 2]


def test_a_key_that_depends_on_the_chunk_is_caught(monkeypatch):
    """Plant it: chips numbered within their dispatch."""
    expected, _ = logits(INTEGER, **USUAL)
    real = engine.chunk_logits

    def planted(network, chunk, stored, shard, chips, *rest):
        return real(network, chunk, stored, shard, chips._replace(first=chips.first % chunk), *rest)

    monkeypatch.setattr(engine, "chunk_logits", planted)
    assert (logits(INTEGER, **CUT)[0] != expected).any()


def test_lanes_keep_the_cells_and_a_width_taken_from_the_chunk_is_caught():
    """Width is part of the network, so the chunk cannot set it; cells never notice it.

    Planted here: a width equal to the chunk. It moves last bits, so that the comparison of
    chunks above, which is exact, would fail.
    """
    alone, counts = logits(FLOAT, **USUAL)
    four = dataclasses.replace(NETWORK, lanes=4)
    wide, wide_counts = logits(FLOAT, chunk=4, network=four)
    assert (wide != alone).any()
    np.testing.assert_array_equal(wide_counts, counts)
    np.testing.assert_allclose(wide, alone, atol=1e-4)
    assert np.mean(wide.argmax(-1) == alone.argmax(-1)) >= 0.995
    again, _ = logits(FLOAT, chunk=8, network=four)
    np.testing.assert_array_equal(again, wide)
    assert engine.fit_memory(four, BATCHES, 7)[0] == 8
    assert engine.platform_name(4) != engine.platform_name()
    for chunk in (1, 7, 64):  # the width is the backend's, whatever the chunk
        assert engine.lane_width(tiny.CONFIG, "cpu") == 1
        assert NETWORK.lanes == 1
        assert engine.fit_memory(NETWORK, BATCHES, chunk)[0] == chunk


def test_a_grid_of_rates_shares_and_chips_compiles_once(caplog):
    logits(SAMPLED, chips=2, groups=HEAD, **USUAL)
    size = engine.chunk_logits._cache_size()
    with jax.log_compiles(True), caplog.at_level(logging.WARNING):
        for rate in (0.0, 1e-4, 0.3, 0.9):
            logits(SAMPLED, rate=rate, chips=5, groups=HEAD, first=7, **USUAL)
    assert engine.chunk_logits._cache_size() == size
    assert not [r for r in caplog.records if "chunk_logits" in r.getMessage()]


def test_faulty_cells_are_counted_over_all_arrays():
    _, counts = logits(SAMPLED, rate=1.0, chips=2, groups=HEAD, **USUAL)
    cells = program_bert(PARAMS, SAMPLED, HEAD).cells
    assert counts.sum(axis=0).tolist() == [cells, cells]


def test_bfloat16_runs():
    half = dataclasses.replace(NETWORK, dtype="bfloat16")
    short = make_batches(tiny.random_examples(8, lengths=(8,)), tokens=64)
    got, _ = logits(INTEGER, chips=1, chunk=1, batches=short, network=half)
    assert got.dtype == np.float32
    assert np.isfinite(got).all()


def test_fit_memory_cuts_long_splits_but_not_below_the_floor():
    batches = dataclasses.replace(BATCHES)
    assert engine.fit_memory(NETWORK, batches)[1] == 1
    many = make_batches(tiny.random_examples(4000, lengths=range(3, 39)), tokens=1024)
    stream = many.tokens * tiny.CONFIG.hidden_size * 4
    assert engine.fit_memory(NETWORK, many, limit=stream // 2)[1] == 2
    assert engine.fit_memory(NETWORK, many, limit=1)[1] == many.tokens // engine.SHARD_TOKENS


class Alike(Halves):
    """Cells that fail without regard to where they are."""

    tells_arrays_apart = False


@pytest.mark.parametrize(
    "hardware",
    [
        Hardware(SPEC, Alike()),
        Hardware(fault=Uniform(), protection="duplicate:3"),
        Hardware(fault=Alike(), protection="msb:1x3:lsb"),
        Hardware(fault=Uniform(), protection="closest"),
    ],
    ids=lambda h: h.protection.text,
)
def test_matrices_of_one_shape_are_read_as_each_is_alone(hardware, monkeypatch):
    sections = crossbars_by_section(program_bert(PARAMS, hardware))
    section = {n: jax.tree.map(lambda a: a[1], c) for n, c in sections["encoder"].items()}
    chip, faults = keys.chip(3, 5), Faults(rate_table(0.05))
    assert sorted(map(len, reading._alike(section, hardware, faults))) == [1, 1, 4]
    alone = {
        name: jax.jit(lambda c: read_codes(c, chip, faults, hardware))(section[name])
        for name in section
    }

    def read(chip, axis, _):
        return network_of_chips.reader(hardware, chip, lanes.along(faults, axis))(section)

    for at_once, width in ((False, 1), (True, 2)):  # as on a CPU, and elsewhere
        monkeypatch.setattr(reading, "reads_at_once", lambda at_once=at_once: at_once)
        found = jax.jit(lambda w=width: lanes.in_lanes(w, read, keys.root_key(3), jnp.uint32(5)))()
        codes, counts = found if width == 1 else jax.tree.map(lambda a: a[0], found)
        for name, (expected, expected_counts) in alone.items():
            np.testing.assert_array_equal(codes[name], expected, name)
            assert list(map(int, counts[name])) == list(map(int, expected_counts))
        own = {name: list(map(int, found)) for name, found in counts.items()}
        assert own["query"] != own["key"]  # each has cells of its own


def test_what_looks_at_the_array_is_read_array_by_array():
    """Also where faults are restricted, since what is not faulty is not sampled."""
    sections = crossbars_by_section(program_bert(PARAMS, INTEGER))
    section = {n: jax.tree.map(lambda a: a[1], c) for n, c in sections["encoder"].items()}
    none = Faults(rate_table(0.05))
    assert INTEGER.fault.tells_arrays_apart
    assert len(reading._alike(section, INTEGER, none)) == len(section)
    everywhere = fault_mask(Scope.parse("layers=1"), DEFAULT_GROUPS, 3)
    alike = Hardware(SPEC, Alike())
    restricted = reading._alike(section, alike, none._replace(mask=everywhere))
    assert len(restricted) == len(section)
