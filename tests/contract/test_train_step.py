"""One optimiser step: gates, held weights, both losses, the chip's codes, two devices."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from training import CONFIG, PARAMS, ROOT, SHAPES, TOKENS, batch, random_gates, recipe

from rerax.crossbar.quantise import quantise, rounded_weights
from rerax.crossbar.spec import ChipSpec
from rerax.models.bert.model import Bert
from rerax.models.bert.names import TIES
from rerax.pruning.budget import weights_to_free
from rerax.pruning.gates import freed_share, open_cells, open_gates
from rerax.pruning.masks import mask
from rerax.pruning.ties import expand, units_of
from rerax.train.score import Scorer
from rerax.train.step import (
    StepSetup,
    batch_loss,
    close_gates,
    decay_mask,
    initial_state,
    matrix_product,
    train_step,
)

TRAINER = StepSetup(CONFIG, recipe(weight_decay=0.1), SHAPES)
LEARNER = {"distil": 0.7, "temperature": 3.0}
LEARNERS = {
    d: StepSetup(CONFIG, recipe(dtype=d, **LEARNER), SHAPES) for d in ("float32", "bfloat16")
}
gradients_of = jax.jit(jax.value_and_grad(batch_loss), static_argnums=1)


@functools.partial(jax.jit, static_argnums=0)
def forward(model, variables, ids, types, mask):
    return model.apply(variables, ids, types, mask)


def test_open_gates_are_bit_identical_to_none():
    b, masked = batch(), mask(PARAMS, open_gates(dict(SHAPES)))
    plain = forward(Bert(CONFIG), {"params": PARAMS}, b.ids, b.types, b.mask)
    gated = forward(Bert(CONFIG), {"params": masked}, b.ids, b.types, b.mask)
    assert np.asarray(plain).tobytes() == np.asarray(gated).tobytes()


def test_closed_weights_are_bit_identical_after_100_steps_and_open_ones_move():
    units = units_of(random_gates(1), TIES["all"])
    state = initial_state(TRAINER, PARAMS, units)
    for step in range(100):
        state, _ = train_step(TRAINER, state, batch(seed=step % 7), ROOT)
    gates = jax.device_get(TRAINER.gates(state.units))
    jax.tree.map(np.testing.assert_array_equal, state.units, units)  # no sparsity: gates as given
    for name, _ in SHAPES:
        section = "encoder" if name in PARAMS["encoder"] else "head"
        before = np.asarray(PARAMS[section][name]["kernel"])
        after = np.asarray(state.params[section][name]["kernel"])
        kept = open_cells(gates[name]["row"], gates[name]["column"])
        assert 0.3 < (~kept).mean() < 0.7
        assert after[~kept].tobytes() == before[~kept].tobytes()
        assert (after[kept] != before[kept]).mean() > 0.99


def test_a_closed_gate_that_would_help_reopens():
    """Pooler columns 0..9 carry the answer; 0..2 begin closed, and useless ones are open."""
    params = jax.tree.map(lambda a: a, PARAMS)
    carries = jnp.where(jnp.arange(30) < 10, jnp.where(jnp.arange(30) % 2, 1.0, -1.0), 0.0)
    params["head"]["classifier"]["kernel"] = jnp.stack([carries, -carries], 1)
    b = batch(32)
    b = b._replace(teacher_logits=forward(Bert(CONFIG), {"params": params}, b.ids, b.types, b.mask))
    shapes = (("pooler", (30, 30)),)
    gates = open_gates(dict(shapes))
    gates["pooler"]["column"] = np.full(30, 0.05, np.float32)
    gates["pooler"]["column"][:3] = -0.05
    choices = {"lr": 1e-9, "sparsity": 0.1, "distil": 1.0, "gate_lr": 0.01}
    trainer = StepSetup(CONFIG, recipe(observe=0.0, settle=1.0, **choices), shapes)
    state = initial_state(trainer, params, units_of(gates, TIES["all"]))
    to_free = {"pooler": np.int32(90)}
    losses = []
    for _ in range(60):
        state, loss = train_step(trainer, state, b, ROOT)
        state = state._replace(units=close_gates(trainer, state.units, to_free))
        losses.append(float(loss))
    found = jax.device_get(trainer.gates(state.units))
    assert (found["pooler"]["column"][:3] >= 0).all()
    assert freed_share(found) == pytest.approx(0.1)
    assert losses[-1] < 0.2 * losses[0]


@pytest.mark.parametrize("dtype", LEARNERS)
def test_gradients_are_finite_at_every_sparsity(dtype):
    rng = np.random.default_rng(0)
    for i, sparsity in enumerate(np.linspace(0, 0.95, 20)):
        units = units_of(open_gates(dict(SHAPES)), TIES["all"])
        units = jax.tree.map(lambda a: a + rng.normal(size=a.shape).astype(np.float32), units)
        need = weights_to_free(dict(SHAPES), sparsity, "matrix")
        units = close_gates(TRAINER, units, {k: np.int32(v) for k, v in need.items()})
        trainable = {"params": PARAMS, "units": units}
        loss, slopes = gradients_of(trainable, LEARNERS[dtype], batch(seed=i), ROOT)
        for leaf in jax.tree.leaves((loss, slopes)):
            assert np.isfinite(leaf).all(), sparsity
        assert any(np.asarray(leaf).any() for leaf in slopes["units"].values())


def test_bfloat16_products_stay_near_float32_ones():
    units = units_of(open_gates(dict(SHAPES)), TIES["all"])
    found = []
    for dtype in LEARNERS:
        parts = [
            gradients_of(
                {"params": PARAMS, "units": units}, LEARNERS[dtype], batch(seed=seed), ROOT
            )
            for seed in range(4)
        ]
        loss = np.mean([float(loss) for loss, _ in parts])
        slopes = jax.tree.map(lambda *a: np.mean(a, axis=0), *(s["params"] for _, s in parts))
        found.append((loss, np.concatenate([np.ravel(a) for a in jax.tree.leaves(slopes)])))
    (loss, exact), (near, mixed) = found
    np.testing.assert_allclose(near, loss, rtol=0.03)
    cosine = (exact @ mixed) / np.linalg.norm(exact) / np.linalg.norm(mixed)
    assert 0.98 < cosine < 1.0


def test_decay_acts_on_kernels_and_tables_alone():
    flags = decay_mask(PARAMS)
    flat = jax.tree_util.tree_flatten_with_path(flags)[0]
    for path, on in flat:
        assert on == (path[-1].key in ("kernel", "table"))
    assert {path[-1].key for path, on in flat if not on} == {"bias", "scale"}


def softmax(x):
    return np.exp(x) / np.exp(x).sum(-1, keepdims=True)


@pytest.mark.parametrize("labels", [("a", "b"), ("score",)], ids=len)
def test_the_loss_is_that_of_its_formula(labels):
    """Cross-entropy or squared error, and the distance to the teacher, in float64.

    The last two rows are padding, which has no say.
    """
    config, trainer = CONFIG, LEARNERS["float32"]
    params, gates = PARAMS, random_gates(2, 0.1)
    if len(labels) == 1:
        config = dataclasses.replace(CONFIG, labels=labels)
        trainer = dataclasses.replace(trainer, config=config, shapes=())
        params, gates = jax.tree.map(jnp.asarray, tiny.random_params(config)), {}
    b = batch(config=config)
    b = b._replace(weight=b.weight.at[6:].set(0))
    variables, units = {"params": params}, {}
    if gates:
        units = units_of(gates, TIES["all"])
        gates = expand(units, tuple(gates), TIES["all"])
        variables["params"] = mask(params, gates)
    own = np.asarray(forward(Bert(config), variables, b.ids, b.types, b.mask), float)
    teacher, t, distil = (
        np.asarray(b.teacher_logits, float),
        LEARNER["temperature"],
        LEARNER["distil"],
    )
    if len(labels) == 1:
        b = b._replace(labels=b.labels.astype(jnp.float32))
        hard, soft = (own[:, 0] - np.asarray(b.labels)) ** 2, (own - teacher)[:, 0] ** 2
        loss = jax.jit(batch_loss, static_argnums=1)
    else:
        hard = -np.log(softmax(own)[np.arange(8), np.asarray(b.labels)])
        p, q = softmax(teacher / t), softmax(own / t)
        soft = t**2 * (p * np.log(p / q)).sum(-1)
        loss = lambda *given: gradients_of(*given)[0]  # noqa: E731
    found = loss({"params": params, "units": units}, trainer, b, ROOT)
    expected = ((1 - distil) * hard + distil * soft)[:6].mean()
    np.testing.assert_allclose(found, expected, rtol=1e-4)


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_codes_in_training_are_those_of_the_chip(bits):
    """One step of difference at most, on ties, in under 1e-4 of the codes."""
    weights = np.random.default_rng(0).normal(size=(3, 300, 400)).astype(np.float32)
    weights[:, :, 5] = 0
    codes, scale = quantise(weights, bits)
    scale = scale[:, None, :]
    found = np.asarray(jax.jit(rounded_weights, static_argnums=1)(weights, bits))
    np.testing.assert_allclose(found / scale, np.rint(found / scale), atol=1e-3)
    off = np.abs(np.rint(found / scale).astype(int) - codes)
    assert off.max() <= 1
    assert (off > 0).mean() < 1e-4


def test_the_quantised_forward_is_the_fault_free_chip():
    examples = tiny.random_examples(8, config=CONFIG, lengths=(TOKENS,))
    chip = Scorer(CONFIG, examples, ChipSpec()).logits(PARAMS, {})
    ids, types = jnp.stack(examples.ids), jnp.stack(examples.types)

    def logits(recipe):
        model = Bert(CONFIG, matrix_product(recipe))
        return forward(model, {"params": PARAMS}, ids, types, ids >= 0)

    off = np.abs(logits(recipe()) - chip).max()
    assert np.abs(logits(recipe(bits=8)) - chip).max() < 0.1 * off


def test_two_devices_agree_with_one():
    mesh = Mesh(np.array(jax.devices()), ("data",))
    assert mesh.size == 2
    states = []
    for spread in (False, True):
        state = initial_state(TRAINER, PARAMS, units_of(random_gates(1), TIES["all"]))
        if spread:
            state = jax.device_put(state, NamedSharding(mesh, PartitionSpec()))
        for i in range(2):
            b = batch(8, i)
            if spread:
                b = jax.device_put(b, NamedSharding(mesh, PartitionSpec("data")))
            state, loss = train_step(TRAINER, state, b, ROOT)
        states.append((jax.device_get(state), float(loss)))
    assert len(state.params["head"]["pooler"]["kernel"].sharding.device_set) == 2
    np.testing.assert_allclose(states[0][1], states[1][1], rtol=1e-5)
    first, second = (
        np.concatenate([np.ravel(a) for a in jax.tree.leaves(s.optimiser) if a.ndim])
        for s, _ in states
    )
    np.testing.assert_allclose(first, second, atol=1e-5 * np.abs(first).max())
    off = jax.tree.map(lambda a, b: np.abs(a - b).max(), states[0][0].params, states[1][0].params)
    assert max(jax.tree.leaves(off)) < 2.1e-3  # two Adam steps of 1e-3: a sign at most
