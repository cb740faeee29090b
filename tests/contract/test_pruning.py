"""Budgets of a whole model's gates, met line by line, with ties and in every layer."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from rerax.models.bert.names import TIES, gated_shapes
from rerax.pruning import budget as pruning
from rerax.pruning.gates import freed_share, freed_weights, open_gates
from rerax.pruning.ties import expand, units_of, weights_of_units

SHAPES = gated_shapes(tiny.random_params(), ("encoder", "pooler"))
SPARSITIES = (0.0, 0.1, 0.21, 0.35, 0.5, 0.8, 0.95)
BUDGETS = [("matrix", "all"), ("matrix", "none"), ("global", "ffn")]
"""Every scope and tie; two small matrices under each are in tests/unit/test_pruning.py."""


def random_units(seed, tie):
    """Units with many equal values, so that budgets must be met inside a tie."""
    opened = units_of(open_gates(SHAPES), TIES[tie])
    rng = np.random.default_rng(seed)
    return {u: jnp.asarray(np.round(rng.normal(0.3, 0.5, a.shape), 1), jnp.float32)
            for u, a in opened.items()}  # fmt: skip


@functools.partial(jax.jit, static_argnames=("scope", "tie"))
def _met(units, to_free, scope, tie):
    return pruning.meet_budget(units, to_free, SHAPES, scope, TIES[tie])


def met(units, sparsity, scope, tie):
    need = pruning.weights_to_free(SHAPES, sparsity, scope)
    moved = _met(units, {name: jnp.int32(weights) for name, weights in need.items()}, scope, tie)
    return jax.device_get(expand(moved, tuple(SHAPES), TIES[tie]))


@pytest.mark.parametrize(("scope", "tie"), BUDGETS)
def test_the_freed_share_is_what_was_asked_or_a_line_more(scope, tie):
    for seed, sparsity in enumerate(SPARSITIES):
        gates = met(random_units(seed, tie), sparsity, scope, tie)
        freed = freed_weights(gates)
        if scope == "global":
            line = max(weights_of_units(SHAPES, TIES[tie]).values())
            total = sum(int(np.prod(shape)) for shape in SHAPES.values())
            most = sparsity + max(0.005, line / total)
            assert sparsity <= freed_share(gates) <= most
            continue
        for name, shape in SHAPES.items():
            share = freed[name] / (shape[-2] * shape[-1])
            line = max(shape[-2:]) / (shape[-2] * shape[-1])
            assert (share >= sparsity - 1e-9).all(), (name, sparsity)
            assert (share <= sparsity + max(0.005, line)).all(), (name, sparsity)


@pytest.mark.parametrize(("scope", "tie"), BUDGETS)
def test_no_side_of_a_matrix_is_closed_beyond_the_floor(scope, tie):
    """One matrix has by far the lowest units: a budget could be met by closing it whole."""
    units = random_units(0, tie)
    units = {u: a - 100 if u.startswith(("key.", "query_key")) else a for u, a in units.items()}
    for gate in met(units, 0.8, scope, tie).values():
        for side in gate.values():
            assert ((np.asarray(side) >= 0).mean(-1) >= pruning.MIN_OPEN_SHARE).all()


def test_units_can_be_vmapped():
    shapes = {"pooler": (11, 5)}
    need = pruning.weights_to_free(shapes, 0.35, "matrix")
    opened = units_of(open_gates(shapes), {})
    rng = np.random.default_rng(0)
    stacked = {u: jnp.asarray(rng.normal(size=(3, *a.shape)), jnp.float32)
               for u, a in opened.items()}  # fmt: skip

    @jax.jit
    def meet(units):
        one = functools.partial(
            pruning.meet_budget, to_free=need, shapes=shapes, scope="matrix", ties={}
        )
        return jax.vmap(one)(units), [one({u: a[i] for u, a in units.items()}) for i in range(3)]

    found, alone = meet(stacked)
    for i, units in enumerate(alone):
        for unit, values in units.items():
            np.testing.assert_array_equal(found[unit][i], values)
