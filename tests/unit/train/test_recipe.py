"""The recipe: a task's defaults, what is refused, and when sparsity rises."""

import dataclasses
import itertools
import subprocess
import sys

import pytest

from rerax.glue.tasks import TASKS
from rerax.train.recipe import DEFAULTS, Recipe, first_difference, make_recipe


def test_every_task_has_defaults():
    assert set(DEFAULTS) == set(TASKS)
    recipe = make_recipe("rte", 2490)
    assert (recipe.steps, recipe.lr, recipe.batch) == (5 * 78, 5e-5, 32)
    assert make_recipe("sst2", 100, epochs=0.5).steps == 2
    assert make_recipe("sst2", 100, steps=7, teacher=True).distil > 0
    with pytest.raises(ValueError, match="epochs 2 and steps 3 are both given: give one of them"):
        make_recipe("sst2", 100, epochs=2.0, steps=3)


@pytest.mark.parametrize(
    ("field", "value", "rule"),
    [
        ("steps", 0, "steps 0: give at least 1"),
        ("lr", 0.0, "lr 0.0: give a number above 0"),
        ("lr", float("nan"), "lr nan: give a number above 0"),
        ("sparsity", 1.0, r"sparsity 1.0: give a share in \[0, 1\)"),
        ("sparsity", -0.1, r"sparsity -0.1: give a share in \[0, 1\)"),
        ("distil", 1.5, "distil 1.5: give a share from 0 to 1"),
        ("bits", 9, "bits 9: give 2 to 8"),
        ("dtype", "float16", "dtype 'float16': give one of float32, bfloat16"),
        ("scope", "layer", "scope 'layer': give one of matrix, global"),
        ("tie", "some", "tie 'some': give one of none, ffn, all"),
        ("encoding", "gray", "encoding 'gray': give one of offset"),
        ("seed", 2**32, "seed 4294967296: give a whole number from 0 to 4294967295"),
        ("seed", -1, "seed -1: give a whole number from 0 to 4294967295"),
        ("observe", 0.9, "observe 0.9, ramp 0.5, settle 0.75 are out of order"),
    ],
)
def test_a_bad_choice_is_named_with_its_rule(field, value, rule):
    with pytest.raises(ValueError, match=rule):
        dataclasses.replace(Recipe("sst2", 100), **{field: value})


def test_the_target_rises_from_the_observed_steps_to_the_whole():
    recipe = Recipe("sst2", 100, sparsity=0.35)
    way = [recipe.ramp_at(step) for step in range(101)]
    assert way[:11] == [0.0] * 11
    assert way[50:] == [1.0] * 51
    assert all(a <= b for a, b in itertools.pairwise(way))
    half = way[30]  # of the 40 steps from 10 to 50: steep at first, as the cube of what is left
    assert half == pytest.approx(1 - 0.5**3)
    assert [recipe.closes_gates(s) for s in (10, 11, 75, 76)] == [False, True, True, False]
    assert not Recipe("sst2", 100).closes_gates(50)
    one = Recipe("sst2", 1, sparsity=0.35)
    assert one.closes_gates(1)
    assert one.ramp_at(1) == 1


def test_the_first_different_field_is_named():
    before, now = Recipe("sst2", 100).to_json(), Recipe("sst2", 100, lr=1e-4).to_json()
    assert first_difference(before, before) is None
    assert first_difference(before, now) == "lr was 5e-05 and is 0.0001"


def test_numbers_of_numpy_and_lists_are_made_plain():
    """As callers may give them, whose types nothing checks."""
    script = """
import json, numpy as np
from fractions import Fraction
from rerax.train.recipe import make_recipe
given = dict(lr=np.float32(0.5), batch=np.int64(8), steps=np.int32(20), sparsity=Fraction(1, 4))
plain = make_recipe("sst2", 64, lr=0.5, batch=8, steps=20, sparsity=0.25)
for gates in (["encoder"], np.array(["encoder"])):
    recipe = make_recipe("sst2", 64, gates=gates, clip=np.longdouble(1), **given)
    assert json.loads(json.dumps(recipe.to_json())) == recipe.to_json()
    assert hash(recipe) == hash(plain)
"""
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.parametrize(
    "shares", [(0.5, 0.5, 0.5), (0.3, 0.3, 0.3), (0.5, 0.5, 0.52), (0.0, 0.0, 0.0)]
)
def test_gates_are_closed_however_short_the_ramp_is(shares):
    recipe = make_recipe(
        "sst2",
        64,
        steps=20,
        sparsity=0.3,
        **dict(zip(("observe", "ramp", "settle"), shares, strict=True)),
    )
    closing = [step for step in range(1, 21) if recipe.closes_gates(step)]
    assert closing
    assert recipe.ramp_at(closing[-1]) == 1


def test_a_recipe_that_only_observes_is_refused():
    with pytest.raises(ValueError, match="observe 1 leaves none of 20 steps to close gates in"):
        make_recipe("sst2", 64, steps=20, sparsity=0.3, observe=1.0, ramp=1.0, settle=1.0)
