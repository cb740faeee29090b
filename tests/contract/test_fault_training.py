"""Training through faults: the weights of a step are what a chip reads, another one at each."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from quick import WITHOUT_OPTIMISING
from training import CONFIG, PARAMS, ROOT, SHAPES, batch, random_gates, recipe

from rerax.crossbar import keys
from rerax.crossbar.spec import ChipSpec
from rerax.evaluate.network import reader
from rerax.faults.mask import Faults
from rerax.faults.sampling.rates import rate_table
from rerax.hardware import Hardware
from rerax.models.bert.crossbars import crossbars_by_section, path_of, program_bert, weights_of
from rerax.models.bert.names import DEFAULT_GROUPS, TIES
from rerax.models.reading import kept_codes
from rerax.paths import leaf_paths
from rerax.pruning.gates import with_zeros
from rerax.pruning.masks import mask
from rerax.pruning.ties import units_of
from rerax.train.faults import faulty_params
from rerax.train.step import StepSetup, batch_loss, initial_state, train_step

RATE = 0.05
FAULTY = {"faults": "uniform", "rate": RATE, "bits": 8}
CHIP = keys.chip_of(keys.root_key(3), jnp.uint32(7))
quickly = functools.partial(jax.jit, compiler_options=WITHOUT_OPTIMISING)
loss_of = quickly(batch_loss, static_argnums=1)


def leaves(params):
    paths, found, _ = leaf_paths(params)
    return dict(zip(paths, found, strict=True))


@functools.partial(quickly, static_argnums=2)
def read(params, gates, recipe):
    return faulty_params(mask(params, gates), gates, recipe, CHIP)


@pytest.mark.parametrize(
    ("encoding", "bits", "fault", "closed"),
    [
        ("offset", 8, "uniform", 0.3),
        ("twos_complement", 5, "flip", 0.0),
        ("sign_magnitude", 8, "wordline", 0.0),
        ("differential", 8, "clustered:2", 0.3),
    ],
)
def test_weights_are_those_that_the_chip_reads(encoding, bits, fault, closed):
    """Of the very chip of a campaign, but for codes that a tie rounds otherwise."""
    gates = random_gates(4, closed) if closed else {}
    given = recipe(**{**FAULTY, "bits": bits, "faults": fault}, encoding=encoding)
    found = leaves(read(PARAMS, gates, given))
    hardware = Hardware(ChipSpec(encoding, bits), fault)
    zeroed = with_zeros(jax.device_get(PARAMS), gates)
    stored = program_bert(zeroed, hardware, DEFAULT_GROUPS, gates)
    faults = Faults(rate_table(RATE, fault=hardware.fault))
    read_section = quickly(reader(hardware, CHIP, faults))
    off = total = changed = 0
    for section, crossbars in crossbars_by_section(stored).items():
        layers = range(CONFIG.num_hidden_layers) if section == "encoder" else [None]
        for layer in layers:
            own = jax.tree.map(lambda a, k=layer: a if k is None else jnp.asarray(a)[k], crossbars)
            codes, _ = read_section(own)
            for name, crossbar in own.items():
                kept = np.asarray(kept_codes(crossbar, codes[name]), np.float32)
                wanted = kept * np.asarray(crossbar.scale)[None, :]
                mine = np.asarray(found[path_of(name)])
                mine = mine if layer is None else mine[layer]
                off += (~np.isclose(mine, wanted, rtol=1e-6)).sum()
                clean = weights_of(zeroed, DEFAULT_GROUPS)[name]
                clean = clean if layer is None else clean[layer]
                changed += (np.abs(mine - clean) > np.asarray(crossbar.scale)).sum()
                total += mine.size
    assert off <= 2e-4 * total
    assert 0.01 < changed / total < 0.8
    outside = set(found) - {path_of(name) for name in weights_of(PARAMS, DEFAULT_GROUPS)}
    for path in outside:
        np.testing.assert_array_equal(found[path], leaves(PARAMS)[path])


def test_without_faults_the_loss_is_that_of_codes():
    trainable = {"params": PARAMS, "units": units_of(random_gates(2), TIES["all"])}
    quantised = StepSetup(CONFIG, recipe(bits=8), SHAPES)
    clean = StepSetup(CONFIG, recipe(**{**FAULTY, "rate": 0.0}), SHAPES)
    plain = loss_of(trainable, quantised, batch(), ROOT)
    np.testing.assert_allclose(loss_of(trainable, clean, batch(), ROOT, CHIP), plain, rtol=1e-5)
    faulty = StepSetup(CONFIG, recipe(**FAULTY), SHAPES)
    assert abs(loss_of(trainable, faulty, batch(), ROOT, CHIP) - plain) > 1e-3 * plain


def test_derivatives_pass_straight_through_and_not_through_closed_lines():
    gates = random_gates(2)
    setup = StepSetup(CONFIG, recipe(**{**FAULTY, "rate": 0.3}), SHAPES)
    trainable = {"params": PARAMS, "units": units_of(gates, TIES["all"])}
    slopes = quickly(jax.grad(batch_loss), static_argnums=1)(trainable, setup, batch(), ROOT, CHIP)
    gates = setup.gates(trainable["units"])
    for name, (row, column) in (
        (n, (gates[n]["row"] >= 0, gates[n]["column"] >= 0)) for n in gates
    ):
        slope = np.asarray(leaves(slopes["params"])[path_of(name)])
        opened = np.asarray(row[..., :, None] & column[..., None, :])
        assert (slope[opened] != 0).mean() > 0.9, name
        assert not slope[~opened].any(), name
    assert any(np.asarray(unit).any() for unit in slopes["units"].values())


def test_every_step_has_a_chip_of_its_own():
    setup = StepSetup(CONFIG, recipe(**FAULTY))
    fresh = initial_state(setup, PARAMS, {})

    def loss(step):
        state = jax.tree.map(jnp.copy, fresh)._replace(step=jnp.int32(step))
        return float(train_step(setup, state, batch(), ROOT)[1])

    found = [loss(step) for step in (0, 1, 2, 0)]
    assert len(set(found)) == 3
    assert found[0] == found[3]
    campaign = keys.chip_of(ROOT, jnp.uint32(0))
    trainable = {"params": PARAMS, "units": {}}
    assert float(loss_of(trainable, setup, batch(), ROOT, campaign)) not in found


def learnable(seed):
    """Sentences whose label is whether their second token is odd."""
    drawn = batch(32, seed=seed)
    return drawn._replace(labels=(drawn.ids[:, 1] % 2).astype(jnp.int32))


def trained(start, **changes):
    setup = StepSetup(CONFIG, recipe(lr=3e-3, **changes))
    state = initial_state(setup, start, {})
    for step in range(setup.recipe.steps):
        state, _ = train_step(setup, state, learnable(step % 8), ROOT)
    return state.params


def test_training_with_faults_makes_other_chips_better():
    """The loss of chips that training has not met, at its rate and at another."""
    start = trained(PARAMS, bits=8)
    learned = {"codes": trained(start, bits=8), "faults": trained(start, **FAULTY)}
    for rate in (RATE, 0.5 * RATE):
        setup = StepSetup(CONFIG, recipe(**{**FAULTY, "rate": rate}))
        codes, faults = (
            np.array(
                [
                    loss_of({"params": params, "units": {}}, setup, learnable(seed), ROOT, chip)
                    for chip in (keys.chip_of(ROOT, jnp.uint32(k)) for k in range(8))
                    for seed in range(2)
                ]
            )
            for params in learned.values()
        )
        assert faults.mean() < 0.6 * codes.mean(), rate


def test_clipped_weights_stay_within_and_the_others_are_free():
    setup = StepSetup(CONFIG, recipe(clip_weights=0.05))
    params = jax.tree.map(lambda a: 5 * a, PARAMS)
    state, _ = train_step(setup, initial_state(setup, params, {}), batch(), ROOT)
    on = {path_of(name) for name in weights_of(PARAMS, DEFAULT_GROUPS)}
    for path, leaf in leaves(state.params).items():
        if path.endswith(("kernel", "table")):
            assert (np.abs(leaf).max() <= np.float32(0.05)) == (path in on), path


def test_a_recipe_names_faults_whole():
    for given, said in (
        ({"faults": "uniform"}, "give both"),
        ({"rate": 0.1}, "give both"),
        ({"faults": "uniform", "rate": 0.5, "bits": 8}, r"a rate in \[0, 0.5\)"),
        ({"faults": "uniform", "rate": 0.1}, "without codes"),
        ({"faults": "nonsense", "rate": 0.1, "bits": 8}, "nonsense"),
        ({"faults": "map:cells.csv", "rate": 0.1, "bits": 8}, "another chip at every step"),
        ({"clip_weights": 0.0}, "a number above 0"),
    ):
        with pytest.raises(ValueError, match=said):
            recipe(**given)
    plain = dataclasses.asdict(recipe())
    assert plain["faults"] is plain["rate"] is plain["clip_weights"] is None


def test_the_command_takes_faults(tmp_path, capsys):
    from rerax.cli import main

    tiny.write_model(tmp_path / "model", CONFIG)
    tiny.write_sst2(tmp_path / "data", 8, words=(5,))
    tiny.write_sst2(tmp_path / "data", 16, seed=1, split="train", words=(5,))
    given = ["train", "--model", tmp_path / "model", "--task", "sst2", "--data", tmp_path / "data"]
    given += ["--steps", 2, "--batch", 8, "--faults", "uniform", "--quiet", "--max-length", 16]
    given += ["--out", tmp_path / "out", "--clip-weights", 0.3]
    assert main([str(word) for word in given]) == 2
    assert "faults 'uniform' and rate None: give both" in capsys.readouterr().err
    assert main([*map(str, given), "--rate", "0.02"]) == 0
    assert '"faults": "uniform"' in (tmp_path / "out/training/recipe.json").read_text()
