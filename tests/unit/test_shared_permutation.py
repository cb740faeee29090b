"""Hidden units of a feed-forward block in another order: the same model, and the error reckoned."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from paths import ROOT
from quoting import quoted
from scipy.optimize import linear_sum_assignment

import rerax
from rerax.models.bert.model import Bert

shared = quoted.shared_permutation
DEMO = str(ROOT / "rerax" / "demo" / "model")


def units_in(params):
    return len(params["encoder"]["ffn_in"]["bias"][0])


def test_ordered_units_answer_alike():
    config, params = rerax.load(DEMO)
    place = np.random.default_rng(0).permutation(units_in(params))
    for layer in range(config.layers):
        ordered = shared.order_units(params, layer, place)
        ids = jnp.arange(5, 17)[None]
        model = Bert(config)
        given = (ids, jnp.zeros_like(ids), jnp.ones_like(ids, bool))
        one, other = (
            model.apply({"params": jax.tree_util.tree_map(jnp.asarray, p)}, *given)
            for p in (params, ordered)
        )
        kernels = [p["encoder"]["ffn_in"]["kernel"][layer] for p in (params, ordered)]
        assert not np.array_equal(*kernels)
        np.testing.assert_array_equal(kernels[1][:, place], kernels[0])
        np.testing.assert_allclose(one, other, atol=1e-5)


@pytest.mark.parametrize("closest", [False, True])
def test_an_order_costs_what_is_reckoned(closest):
    _, params = rerax.load(DEMO)
    chip = rerax.chip(0, 3)

    def table(params):
        weights = {name: np.asarray(params["encoder"][name]["kernel"][0]) for name in shared.PAIR}
        stored = rerax.program(weights, rerax.Hardware(), lambda *_: True)
        return shared.costs([stored.crossbars[n] for n in shared.PAIR], chip, 0.03, closest)

    before = table(params)
    unit, place = linear_sum_assignment(before)
    after = table(shared.order_units(params, 0, place))
    assert before[unit, place].sum() == pytest.approx(after.trace(), rel=1e-9)
    assert after.trace() < 0.7 * before.trace()
