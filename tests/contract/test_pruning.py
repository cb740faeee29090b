"""Gates in the forward and backward pass, and budgets that are met line by line."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from rerax import pruning
from rerax.gates import freed_share, freed_weights, gated_shapes, open_gates

SHAPES = gated_shapes(tiny.random_params(), ("encoder", "pooler"))
SPARSITIES = (0.0, 0.1, 0.21, 0.35, 0.5, 0.8, 0.95)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def random_units(seed, tie, shapes=SHAPES):
    """Units with many equal values, so that budgets must be met inside a tie."""
    opened = pruning.units_of(open_gates(shapes), tie)
    rng = np.random.default_rng(seed)
    return {u: jnp.asarray(np.round(rng.normal(0.3, 0.5, a.shape), 1), jnp.float32)
            for u, a in opened.items()}  # fmt: skip


def test_the_mask_is_hard_and_its_gradient_is_that_of_softplus():
    """Against a reference written out by hand, in float64."""
    rng = np.random.default_rng(0)
    kernel, row, column, x, dy = (
        rng.normal(size=shape) for shape in ((5, 4), (5,), (4,), (3, 5), (3, 4))
    )
    opened = np.outer(row >= 0, column >= 0)
    dm = x.T @ dy  # derivative by the masked kernel
    expected = (
        dm * opened,
        ((dm * kernel) @ (column >= 0)) * sigmoid(row),
        ((row >= 0) @ (dm * kernel)) * sigmoid(column),
    )
    float32 = [jnp.asarray(a, jnp.float32) for a in (kernel, row, column)]

    def loss(kernel, row, column):
        return (jnp.asarray(dy, jnp.float32) * (jnp.asarray(x, jnp.float32)
                @ pruning.masked(kernel, row, column))).sum()  # fmt: skip

    np.testing.assert_allclose(loss(*float32), (dy * (x @ (kernel * opened))).sum(), rtol=1e-4)
    for got, wanted in zip(jax.grad(loss, argnums=(0, 1, 2))(*float32), expected, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-5)


def test_kept_weights_count_exactly_and_have_the_estimators_gradient():
    gates = {"pooler": {"row": jnp.array([-1.0, 0.0, 2.0]), "column": jnp.array([0.5, -0.5])}}
    assert float(pruning.kept_weights(gates)["pooler"]) == 2.0
    slopes = jax.grad(lambda g: pruning.kept_weights(g)["pooler"])(gates)["pooler"]
    np.testing.assert_allclose(slopes["row"], sigmoid(np.array([-1.0, 0.0, 2.0])), rtol=1e-6)
    np.testing.assert_allclose(slopes["column"], 2 * sigmoid(np.array([0.5, -0.5])), rtol=1e-6)


def test_open_gates_leave_a_kernel_as_it_is():
    kernel = jnp.asarray(np.random.default_rng(0).normal(size=(6, 7)), jnp.float32)
    kernel = kernel.at[0, 0].set(-0.0)
    masked = pruning.masked(kernel, jnp.ones(6), jnp.zeros(7))
    assert np.asarray(masked).tobytes() == np.asarray(kernel).tobytes()


@functools.partial(jax.jit, static_argnames=("scope", "tie"))
def met(units, to_free, scope, tie):
    return pruning.meet_budget(units, to_free, SHAPES, scope, tie)


@pytest.mark.parametrize("tie", pruning.TIES)
@pytest.mark.parametrize("scope", ["matrix", "global"])
def test_the_freed_share_is_what_was_asked_or_a_line_more(scope, tie):
    for seed, sparsity in enumerate(SPARSITIES):
        need = pruning.weights_to_free(SHAPES, sparsity, scope)
        units = met(random_units(seed, tie), {k: jnp.int32(v) for k, v in need.items()}, scope, tie)
        gates = jax.device_get(pruning.expand(units, tuple(SHAPES), tie))
        freed = freed_weights(gates)
        if scope == "global":
            line = max(pruning.weights_of_units(SHAPES, tie).values())
            total = sum(int(np.prod(shape)) for shape in SHAPES.values())
            most = sparsity + max(0.005, line / total)
            assert sparsity <= freed_share(gates) <= most
            continue
        for name, shape in SHAPES.items():
            share = freed[name] / (shape[-2] * shape[-1])
            line = max(shape[-2:]) / (shape[-2] * shape[-1])
            assert (share >= sparsity - 1e-9).all(), (name, sparsity)
            assert (share <= sparsity + max(0.005, line)).all(), (name, sparsity)


@pytest.mark.parametrize("scope", ["matrix", "global"])
def test_no_side_of_a_matrix_is_closed_beyond_the_floor(scope):
    """One matrix has by far the lowest units: a budget could be met by closing it whole."""
    units = random_units(0, "none")
    units = {u: a - 100 if u.startswith("key.") else a for u, a in units.items()}
    need = pruning.weights_to_free(SHAPES, 0.8, scope)
    gates = pruning.expand(met(units, need, scope, "none"), tuple(SHAPES), "none")
    for gate in gates.values():
        for side in gate.values():
            assert ((np.asarray(side) >= 0).mean(-1) >= pruning.FLOOR).all()


def test_the_lowest_lines_are_closed_and_all_others_open():
    shapes = {"pooler": (4, 4)}
    units = {"pooler.row": jnp.array([0.1, 0.9, 0.5, 0.8]),
             "pooler.column": jnp.array([0.7, 0.2, 0.6, 0.95])}  # fmt: skip
    need = pruning.weights_to_free(shapes, 0.5, "matrix")  # 8 of 16: one row, one column: 7
    moved = pruning.meet_budget(units, need, shapes, "matrix", "none")
    assert (np.asarray(moved["pooler.row"]) < 0).tolist() == [True, False, True, False]
    assert (np.asarray(moved["pooler.column"]) < 0).tolist() == [False, True, False, False]
    # One price for the whole budget: units keep their distances.
    every = np.concatenate([units["pooler.row"] - moved["pooler.row"],
                            units["pooler.column"] - moved["pooler.column"]])  # fmt: skip
    np.testing.assert_allclose(every, every[0], atol=1e-6)
    # Met already: nothing moves, to the bit.
    again = pruning.meet_budget(moved, need, shapes, "matrix", "none")
    jax.tree.map(np.testing.assert_array_equal, again, moved)


def test_tied_lines_share_one_number_and_untied_ones_do_not():
    assert set(pruning.members(tuple(SHAPES), "all")) == {
        "query.row", "key.row", "value.row", "attention_output.column", "ffn_in.row",
        "ffn_out.column", "pooler.row", "pooler.column", "ffn_hidden", "query_key", "value_output",
    }  # fmt: skip
    units = random_units(3, "all")
    gates = pruning.expand(units, tuple(SHAPES), "all")
    for unit, sides in pruning.members(tuple(SHAPES), "all").items():
        for matrix, side in sides:
            assert gates[matrix][side] is units[unit]
    jax.tree.map(np.testing.assert_array_equal, pruning.units_of(gates, "all"), units)
    assert len(pruning.members(tuple(SHAPES), "none")) == 2 * len(SHAPES)
    with pytest.raises(ValueError, match="tie 'some' is unknown"):
        pruning.members(tuple(SHAPES), "some")


def test_first_values_follow_importance_for_each_freed_weight():
    shapes = {"ffn_in": (1, 2, 3), "ffn_out": (1, 3, 2)}
    importance = {"ffn_in.row": [[3.0, 9.0]], "ffn_out.column": [[1.5, 6.0]],
                  "ffn_hidden": [[8.0, 2.0, 40.0]]}  # fmt: skip
    importance = {unit: jnp.array(value) for unit, value in importance.items()}
    ranks = pruning.rank_units(importance, shapes, "matrix", "ffn")
    # Lines free 3, 3 and 4 weights: 1, 3 / 0.5, 2 / 2, 0.5, 10 a weight.
    order = {unit: np.round(np.asarray(rank) * 7 - 0.5).tolist() for unit, rank in ranks.items()}
    assert order["ffn_in.row"] == [[2, 5]]
    assert sorted(order["ffn_out.column"][0] + order["ffn_hidden"][0]) == [0, 1, 3, 4, 6]
    assert order["ffn_hidden"][0][2] == 6


def test_units_can_be_vmapped():
    several = [random_units(seed, "all") for seed in range(3)]
    stacked = jax.tree.map(lambda *a: jnp.stack(a), *several)
    need = pruning.weights_to_free(SHAPES, 0.35, "matrix")
    found = jax.vmap(lambda units: met(units, need, "matrix", "all"))(stacked)
    for i, units in enumerate(several):
        alone = met(units, need, "matrix", "all")
        for unit in units:
            np.testing.assert_array_equal(found[unit][i], alone[unit])


def test_budgets_that_cannot_be_are_refused():
    for sparsity, scope, message in (
        (1.0, "matrix", r"sparsity 1 is outside \[0, 1\): give a share such as 0.35"),
        (-0.1, "matrix", "outside"),
        (float("nan"), "matrix", "outside"),
        (0.3, "layer", "sparsity-scope 'layer' is unknown: use matrix or global"),
        (0.995, "matrix", "is more than query .* can free .* give at most"),
    ):
        with pytest.raises(ValueError, match=message):
            pruning.weights_to_free(SHAPES, sparsity, scope)
    assert pruning.weights_to_free(SHAPES, 0.35, "matrix")["query"] == 315  # of 30 x 30


def test_a_share_not_met_would_be_caught(monkeypatch):
    """Plant it: a controller that is content with one line too few."""
    real = pruning._least
    monkeypatch.setattr(
        pruning,
        "_least",
        lambda enough, count, shape: jnp.maximum(real(enough, count, shape) - 1, 0),
    )
    need = pruning.weights_to_free(SHAPES, 0.35, "matrix")
    units = pruning.meet_budget(random_units(0, "none"), need, SHAPES, "matrix", "none")
    freed = freed_weights(jax.device_get(pruning.expand(units, tuple(SHAPES), "none")))
    assert any((freed[name] < need[name]).any() for name in SHAPES)
