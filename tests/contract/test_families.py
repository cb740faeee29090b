"""Every family on chips: the cells of the same matrices, and the laws of sweeps."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
import unoptimised
from arrays import random_gates
from quick import Halves

import rerax
from rerax.crossbar.encoding import decode
from rerax.crossbar.keys import chip
from rerax.crossbar.spec import ChipSpec
from rerax.evaluate import engine
from rerax.faults.mask import Faults
from rerax.faults.sampling.rates import rate_table
from rerax.glue.packing import make_batches
from rerax.hardware import Hardware
from rerax.models.bert.crossbars import program_bert
from rerax.models.bert.families import FAMILIES
from rerax.models.bert.model import Bert
from rerax.models.bert.names import DEFAULT_GROUPS, GROUPS, SECTION
from rerax.models.reading import read_codes

OTHERS = [family for family in FAMILIES if family != "bert"]
EXAMPLES = tiny.random_examples(12, lengths=(8,))
PLAIN = dataclasses.replace(EXAMPLES, types=[np.zeros_like(row) for row in EXAMPLES.types])
LABELS = tiny.random_labels(12)
ASKED = {"matrices": "classifier", "rates": (0.0, 0.05), "protection": "duplicate:3"}
HARDWARE, FAULTS = Hardware(fault=Halves()), Faults(rate_table(0.05))
CELLS = ("stuck_at_0", "stuck_at_1", "chip", "rate")


@pytest.fixture(scope="module", autouse=True)
def _unoptimised():
    with pytest.MonkeyPatch.context() as patch:
        unoptimised.use(patch)
        yield


@functools.cache
def model_of(family):
    """A tiny model whose head and layers, or first one, are those of the tiny BERT."""
    config = tiny.config_of(family)
    own, berts = tiny.random_params(config, seed=1), tiny.random_params()
    encoder = jax.tree.map(lambda a: a[: config.layers], berts["encoder"])
    return config, {**own, "encoder": encoder, "head": berts["head"]}


def sweep(family, **changes):
    config, params = model_of(family)
    asked = {**ASKED, "chips": 3, "chunk": 2, **changes}
    return rerax.sweep(params, config, PLAIN, LABELS, **asked)


@pytest.fixture(scope="module")
def rows():
    return functools.cache(sweep)


@pytest.mark.parametrize("family", OTHERS)
def test_the_same_matrices_are_the_same_cells(family):
    stored = [program_bert(model_of(f)[1], Hardware(), DEFAULT_GROUPS) for f in ("bert", family)]
    berts, others = (s.crossbars for s in stored)
    assert berts.keys() == others.keys()
    for path, crossbar in berts.items():
        assert crossbar.array == others[path].array
        theirs = others[path].words
        layers = np.s_[: len(theirs)] if path.startswith("encoder") else np.s_[:]
        np.testing.assert_array_equal(crossbar.words[layers], theirs)


def test_the_layer_of_an_albert_is_read_once_for_all_passes():
    """It has the cells of one layer, and each of its faults is counted once."""
    config, params = model_of("albert")
    stored = program_bert(params, HARDWARE)
    assert config.passes == tiny.CONFIG.num_hidden_layers > 1
    evaluator = engine.Evaluator.make(engine.Network(config), stored, make_batches(PLAIN))
    (outcome,) = evaluator.outcomes(0, range(1), FAULTS)
    found = read_counts(stored).tolist()
    assert [int(c[0]) for c in outcome.counts] == found
    assert sum(found) > 0


def read_counts(stored):
    """Faulty cells of chip 0, matrix by matrix and layer by layer."""
    total, read = (
        np.zeros(5, int),
        jax.jit(lambda c: read_codes(c, chip(0, 0), FAULTS, HARDWARE)[1]),
    )
    for crossbar in stored.crossbars.values():
        layers = len(crossbar.words) if np.ndim(crossbar.layer) else 0
        parts = [jax.tree.map(lambda a, i=i: a[i], crossbar) for i in range(layers)] or [crossbar]
        for part in parts:
            total += [int(c) for c in read(part)]
    return total


@pytest.mark.parametrize("family", OTHERS)
def test_chips_have_the_same_faults_and_other_answers(family, rows):
    berts, others = rows("bert"), rows(family)
    for name in CELLS:
        assert others[name].equals(berts[name]), name
    assert others["point_hash"].equals(berts["point_hash"])  # points do not name what a model is
    assert others["model_hash"][0] != berts["model_hash"][0]


@pytest.mark.parametrize("family", OTHERS)
def test_chunks_and_resuming_change_no_row(family, rows, tmp_path):
    sweep(family, chips=1, out=tmp_path / "rows")
    assert sweep(family, chunk=3, out=tmp_path / "rows").equals(rows(family))


@pytest.mark.parametrize("family", OTHERS)
def test_the_evaluation_is_the_whole_model(family):
    """Tables too are read from crossbars, positions as the family counts them."""
    config, params = model_of(family)
    hardware = Hardware(ChipSpec("differential", 7, 2), Halves(), input_bits=None)
    batches = make_batches(PLAIN, config.pad_token_id, tokens=40)  # one row of padding
    stored = program_bert(params, hardware, tuple(GROUPS))
    evaluator = engine.Evaluator(
        engine.Network(config), stored, batches, engine.to_device(batches), chunk=1
    )
    (outcome,) = evaluator.outcomes(0, range(1), Faults(rate_table(0.0)))
    for path, crossbar in stored.crossbars.items():
        _, name, kind = path.split("/")
        section = SECTION[name]
        read = functools.partial(decode, spec=hardware.spec)
        codes = (jax.vmap(read) if section == "encoder" else read)(jnp.asarray(crossbar.words))
        values = np.asarray(codes, np.float32) * np.expand_dims(crossbar.scale, -2)
        leaves = {**params[section][name], kind: values}
        params = {**params, section: {**params[section], name: leaves}}
    ids = np.stack(PLAIN.ids)
    run = jax.jit(Bert(config).apply)
    expected = run({"params": params}, ids, np.stack(PLAIN.types), np.ones(ids.shape, bool))
    np.testing.assert_allclose(outcome.logits[0], expected, atol=2e-4)


@pytest.mark.parametrize("family", OTHERS)
def test_copies_lie_in_the_freed_cells_of_every_family(family):
    """They cost no cell, and copies and originals of the same matrix have the same faults."""
    pruned = {"matrices": "pooler", "protection": "msb:2x3:pruned", "chips": 2}
    gates = {"pooler": random_gates(np.random.default_rng(0), (), 30, 30)}
    none, voted = (
        sweep(family, gates=gates, **{**pruned, **change}).to_pandas()
        for change in ({"protection": "none"}, {})
    )
    berts = sweep("bert", gates=gates, **pruned).to_pandas()
    assert (voted.cells == none.cells).all()
    for name in ("stuck_at_0", "stuck_at_1"):
        assert voted[name].equals(none[name])
        assert voted[name].equals(berts[name])
    clean = voted.rate == 0
    assert voted[clean].correct.tolist() == none[clean].correct.tolist()
    assert voted.sparsity.iloc[0] > 0.4
