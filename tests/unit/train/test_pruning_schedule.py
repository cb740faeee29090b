"""What is freed at each step: nothing at first, never less than before, in the end all of it."""

import itertools

import numpy as np
import pytest
import tiny

from rerax.models.bert.folder import Model
from rerax.models.bert.names import gated_shapes
from rerax.pruning.gates import open_gates
from rerax.train.pruning_schedule import PruningSchedule, find_gated_shapes, first_units
from rerax.train.recipe import Recipe
from rerax.train.step import StepSetup

PARAMS = tiny.random_params()
SHAPES = gated_shapes(PARAMS, ("encoder",))
RECIPE = Recipe("sst2", 100, sparsity=0.35)


def pruned():
    """A model of which two rows of ten are closed in every encoder matrix, in one layer more."""
    gates = open_gates(SHAPES)
    for gate in gates.values():
        gate["row"][:, :6] = -1
        gate["row"][0, :9] = -1
    return Model(tiny.CONFIG, PARAMS, gates)


@pytest.mark.parametrize("scope", ["matrix", "global"])
@pytest.mark.parametrize("model", [Model(tiny.CONFIG, PARAMS, None), pruned()])
def test_what_is_to_be_freed_rises_from_the_models_own_to_the_whole(scope, model):
    recipe = Recipe("sst2", 100, sparsity=0.35, scope=scope)
    schedule = PruningSchedule.make(recipe, model)
    assert schedule.ranks == (model.gates is None)
    names = {"global"} if scope == "global" else set(SHAPES)
    way = [schedule.to_free(step) for step in range(101)]
    for name in names:
        numbers = [int(at[name]) for at in way]
        assert numbers[0] == schedule.freed_at_start[name]
        assert (numbers[0] > 0) == (model.gates is not None)
        assert all(a <= b for a, b in itertools.pairwise(numbers))
        assert set(numbers[50:]) == {schedule.freed_at_end[name]}
    if scope == "matrix" and model.gates is not None:  # the layer with the fewest counts
        rows, columns = SHAPES["query"][-2:]
        assert schedule.freed_at_start["query"] == 6 * columns
        assert schedule.freed_at_end["query"] == int(np.ceil(0.35 * rows * columns))


def test_a_dense_run_has_no_gates_and_one_from_a_pruned_model_those_of_that():
    dense = Recipe("sst2", 100)
    plain = Model(tiny.CONFIG, PARAMS, None)
    assert find_gated_shapes(dense, plain) == {}
    assert first_units(dense, plain) == {}
    assert PruningSchedule.make(dense, plain).to_free(100) == {}
    assert find_gated_shapes(dense, pruned()) == dict(SHAPES)
    units = first_units(dense, pruned())
    assert min(float(unit.min()) for unit in units.values()) < 0
    assert all((unit == 1).all() for unit in first_units(RECIPE, plain).values())


def test_gates_that_stay_as_they_are_are_not_tied():
    """Whatever tie a model was pruned with, fine-tuning it leaves its lines open and closed."""
    drawn = np.random.default_rng(0)
    gates = {
        name: {side: drawn.choice([-1.0, 1.0], at.shape) for side, at in gate.items()}
        for name, gate in open_gates(SHAPES).items()
    }
    recipe, model = Recipe("sst2", 100), Model(tiny.CONFIG, PARAMS, gates)
    setup = StepSetup(tiny.CONFIG, recipe, tuple(find_gated_shapes(recipe, model).items()))
    kept = setup.gates(first_units(recipe, model))
    for name, gate in gates.items():
        for side, values in gate.items():
            np.testing.assert_array_equal(kept[name][side], values)
