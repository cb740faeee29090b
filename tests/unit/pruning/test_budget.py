"""Small budgets, met as plain loops meet them."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from quick import WITHOUT_OPTIMISING

from rerax.models.bert.names import TIES
from rerax.pruning import budget
from rerax.pruning.gates import check_values, freed_weights, open_gates
from rerax.pruning.ties import expand, units_of, units_of_matrix

SHAPES = {
    "query": (2, 6, 6),
    "key": (2, 6, 6),
    "value": (2, 6, 6),
    "attention_output": (2, 6, 6),
    "ffn_in": (2, 6, 8),
    "ffn_out": (2, 8, 6),
    "pooler": (6, 6),
}
SMALL = {"ffn_in": (2, 12, 7), "pooler": (11, 5)}
FLAT = {"query": (6, 4), "pooler": (11, 5)}


def random_units(seed, shapes=SMALL, tie="none"):
    """Units with many equal values, so that budgets must be met inside a tie."""
    rng = np.random.default_rng(seed)
    opened = units_of(open_gates(shapes), TIES[tie])
    return {u: jnp.asarray(np.round(rng.normal(0.3, 0.5, a.shape), 1), jnp.float32)
            for u, a in opened.items()}  # fmt: skip


@functools.partial(jax.jit, static_argnames=("scope", "tie"), compiler_options=WITHOUT_OPTIMISING)
def met(units, to_free, scope, tie="none"):
    return budget.meet_budget(units, to_free, SMALL, scope, TIES[tie])


@jax.jit
def met_by_all(units, to_free):
    return budget.meet_budget(units, to_free, FLAT, "global", {})


def needed(sparsity, scope, shapes=SMALL):
    need = budget.weights_to_free(shapes, sparsity, scope)
    return {name: jnp.int32(weights) for name, weights in need.items()}


def closed_by_loops(units, shapes, need):
    """Lines (unit, place) that one budget closes: the lowest first, until enough is freed."""
    lines = [(float(v), u, i) for u, values in units.items() for i, v in enumerate(values)]
    order = sorted(range(len(lines)), key=lambda n: (lines[n][0], n))
    held = set()  # the highest lines of every side stay open
    for unit, values in units.items():
        highest = [n for n in reversed(order) if lines[n][1] == unit]
        held |= set(highest[: max(1, -(-len(values) // 10))])
    closed = set()

    def freed():
        total = 0
        for matrix, shape in shapes.items():
            kept = [
                shape[axis] - sum(unit == f"{matrix}.{side}" for unit, _ in closed)
                for axis, side in ((-2, "row"), (-1, "column"))
            ]
            total += shape[-2] * shape[-1] - kept[0] * kept[1]
        return total

    for n in order:
        if freed() >= need:
            break
        if n not in held:
            closed.add(lines[n][1:])
    return closed


def shut(units):
    return {(u, i) for u, values in units.items() for i in np.flatnonzero(np.asarray(values) < 0)}


@pytest.mark.parametrize(
    ("sparsity", "lowest"), [(0.0, ""), (0.1, ""), (0.35, ""), (0.8, ""), (0.85, "row")]
)
def test_each_matrix_of_each_layer_closes_the_lines_of_plain_loops(sparsity, lowest):
    """Also where all rows are below all columns, of which a tenth stays open all the same."""
    units = random_units(1)
    units = {u: v - 9.0 if lowest and u.endswith(lowest) else v for u, v in units.items()}
    moved = met(units, needed(sparsity, "matrix"), "matrix")
    for matrix, shape in SMALL.items():
        need = budget.weights_to_free(SMALL, sparsity, "matrix")[matrix]
        own = {u: np.asarray(v) for u, v in units.items() if u.startswith(matrix)}
        after = {u: np.asarray(moved[u]) for u in own}
        for layer in range(shape[0] if len(shape) == 3 else 1):
            one = {u: v[layer] if len(shape) == 3 else v for u, v in own.items()}
            found = {u: v[layer] if len(shape) == 3 else v for u, v in after.items()}
            assert shut(found) == closed_by_loops(one, {matrix: shape[-2:]}, need)


@pytest.mark.parametrize("sparsity", [0.1, 0.6, 0.85])
def test_one_budget_for_all_closes_the_lines_of_plain_loops(sparsity):
    units, need = random_units(2, FLAT), needed(sparsity, "global", FLAT)
    moved = met_by_all(units, need)
    plain = {u: np.asarray(v) for u, v in units.items()}
    assert shut(moved) == closed_by_loops(plain, FLAT, int(need["global"]))


def test_the_lowest_lines_are_closed_and_all_others_open():
    shapes = {"pooler": (4, 4)}
    units = {"pooler.row": jnp.array([0.1, 0.9, 0.5, 0.8]),
             "pooler.column": jnp.array([0.7, 0.2, 0.6, 0.95])}  # fmt: skip
    need = budget.weights_to_free(shapes, 0.5, "matrix")  # 8 of 16: one row, one column: 7
    meet = jax.jit(lambda u: budget.meet_budget(u, need, shapes, "matrix", {}))
    moved = meet(units)
    assert (np.asarray(moved["pooler.row"]) < 0).tolist() == [True, False, True, False]
    assert (np.asarray(moved["pooler.column"]) < 0).tolist() == [False, True, False, False]
    # One price for the whole budget: units keep their distances.
    every = np.concatenate([units["pooler.row"] - moved["pooler.row"],
                            units["pooler.column"] - moved["pooler.column"]])  # fmt: skip
    np.testing.assert_allclose(every, every[0], atol=1e-6)
    # Met already: nothing moves, to the bit.
    jax.tree.map(np.testing.assert_array_equal, meet(moved), moved)


def test_a_tied_line_stops_when_the_first_of_its_matrices_has_enough():
    """And the other goes on with its own lines alone."""
    shapes = {"ffn_in": (1, 4, 5), "ffn_out": (1, 5, 4)}
    units = {
        "ffn_hidden": jnp.array([[0.1, 0.2, 0.3, 0.4, 0.5]]),  # 4 weights of each matrix
        "ffn_in.row": jnp.array([[0.15, 0.9, 0.91, 0.92]]),  # 5 of ffn_in
        "ffn_out.column": jnp.array([[0.6, 0.7, 0.93, 0.94]]),
    }
    need = budget.weights_to_free(shapes, 0.5, "matrix")  # 10 of 20
    meet = jax.jit(lambda u: budget.meet_budget(u, need, shapes, "matrix", TIES["ffn"]))
    moved = {u: np.flatnonzero(np.asarray(v)[0] < 0).tolist() for u, v in meet(units).items()}
    # ffn_in: hidden 0, row 0, hidden 1: 20 - 3 x 3 = 11. ffn_out: 8 by those, and a column: 11.
    assert moved == {"ffn_hidden": [0, 1], "ffn_in.row": [0], "ffn_out.column": [0]}


def test_first_values_follow_importance_for_each_freed_weight():
    shapes = {"ffn_in": (1, 2, 3), "ffn_out": (1, 3, 2)}
    importance = {"ffn_in.row": [[3.0, 9.0]], "ffn_out.column": [[1.5, 6.0]],
                  "ffn_hidden": [[8.0, 2.0, 40.0]]}  # fmt: skip
    importance = {unit: jnp.array(value) for unit, value in importance.items()}
    rank = jax.jit(lambda i: budget.rank_units(i, shapes, "matrix", TIES["ffn"]))
    # Lines free 3, 3 and 4 weights: 1, 3 / 0.5, 2 / 2, 0.5, 10 a weight.
    order = {
        unit: np.round(np.asarray(ranks) * 7 - 0.5).tolist()
        for unit, ranks in rank(importance).items()
    }
    assert order["ffn_in.row"] == [[2, 5]]
    assert sorted(order["ffn_out.column"][0] + order["ffn_hidden"][0]) == [0, 1, 3, 4, 6]
    assert order["ffn_hidden"][0][2] == 6


def test_budgets_that_cannot_be_are_refused():
    for sparsity, scope, message in (
        (1.0, "matrix", r"sparsity 1 is outside \[0, 1\): give a share such as 0.35"),
        (-0.1, "matrix", "outside"),
        (float("nan"), "matrix", "outside"),
        (0.3, "layer", "sparsity-scope 'layer' is unknown: use matrix or global"),
        (0.995, "matrix", "is more than query .* can free .* give at most"),
    ):
        with pytest.raises(ValueError, match=message):
            budget.weights_to_free(SHAPES, sparsity, scope)
    assert budget.weights_to_free(SHAPES, 0.35, "matrix")["query"] == 13  # of 6 x 6
    assert budget.weights_to_free(SMALL, 0.5, "global") == {"global": 112}  # 2 x 84 + 55


def test_a_share_not_met_would_be_caught(monkeypatch):
    """Plant it: a controller that is content with one line too few."""
    real = budget._bisect
    monkeypatch.setattr(
        budget,
        "_bisect",
        lambda enough, count, shape: jnp.maximum(real(enough, count, shape) - 1, 0),
    )
    need = needed(0.35, "matrix")
    meet = jax.jit(lambda units: budget.meet_budget(units, need, SMALL, "matrix", {}))
    freed = freed_weights(jax.device_get(expand(meet(random_units(0)), tuple(SMALL), {})))
    assert any((freed[name] < int(need[name])).any() for name in SMALL)


def test_open_gates_of_a_single_line_are_no_mask():
    """A line that nothing but `MIN_OPEN_SHARE` keeps open stands above zero."""
    shapes = {"classifier": (32, 1)}
    row, column = units_of_matrix("classifier", {}, ("classifier",))
    units = {row: jnp.linspace(1, 2, 32), column: jnp.zeros(1)}
    found = budget.meet_budget(units, {"classifier": 8}, shapes, "matrix", {})
    assert (found[row] < 0).sum() == 8
    for side, values in expand(found, ("classifier",), {})["classifier"].items():
        check_values(side, values)
