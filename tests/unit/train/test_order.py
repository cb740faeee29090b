"""The order of sentences, and the recipe: pure functions of seed and step."""

import dataclasses
import itertools

import numpy as np
import pytest
import tiny

from rerax.crossbar import keys
from rerax.glue.tasks import TASKS
from rerax.train.order import Order
from rerax.train.recipe import DEFAULTS, Recipe, difference, make_recipe

EXAMPLES = tiny.random_examples(43, lengths=range(3, 30))
LABELS = np.arange(43, dtype=np.int32)


def order(seed=0):
    root = keys.root_key(seed)
    return Order(
        EXAMPLES,
        LABELS,
        lambda chosen: np.stack([chosen, chosen], 1).astype(np.float32),
        8,
        root,
        0,
    )


def test_an_epoch_sees_every_sentence_once_and_the_next_another_order():
    it = order()
    assert it.per_epoch == 6
    epochs = []
    for epoch in range(2):
        batches = [it.batch(6 * epoch + i) for i in range(6)]
        seen = np.concatenate([b.labels[b.weight > 0] for b in batches])
        assert sorted(seen) == list(range(43))
        epochs.append(seen.tolist())
        for b in batches:
            for row in np.flatnonzero(b.weight):
                n = int(b.mask[row].sum())
                np.testing.assert_array_equal(b.ids[row, :n], EXAMPLES.ids[b.labels[row]])
                np.testing.assert_array_equal(b.types[row, :n], EXAMPLES.types[b.labels[row]])
                assert not b.ids[row, n:].any()
                assert (b.teacher[row] == b.labels[row]).all()
            assert not b.teacher[b.weight == 0].any()
    assert epochs[0] != epochs[1]


def test_a_batch_depends_on_seed_and_step_alone():
    late = order().batch(9)
    walked = order()
    for step in range(10):
        found = walked.batch(step)
    for a, b in zip(late, found, strict=True):
        np.testing.assert_array_equal(a, b)
    assert order(1).batch(9).labels.tolist() != late.labels.tolist()


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
        ("observe", 0.9, "observe 0.9, ramp 0.5, settle 0.75 are out of order"),
    ],
)
def test_a_bad_choice_is_named_with_its_rule(field, value, rule):
    with pytest.raises(ValueError, match=rule):
        dataclasses.replace(Recipe("sst2", 100), **{field: value})


def test_the_target_rises_from_the_observed_steps_to_the_whole():
    recipe = Recipe("sst2", 100, sparsity=0.35)
    way = [recipe.sparsity_at(step) for step in range(101)]
    assert way[:11] == [0.0] * 11
    assert way[50:] == [1.0] * 51
    assert all(a <= b for a, b in itertools.pairwise(way))
    half = way[30]  # of the 40 steps from 10 to 50: steep at first, as the cube of what is left
    assert half == pytest.approx(1 - 0.5**3)
    assert [recipe.moves_gates(s) for s in (10, 11, 75, 76)] == [False, True, True, False]
    assert not Recipe("sst2", 100).moves_gates(50)
    one = Recipe("sst2", 1, sparsity=0.35)
    assert one.moves_gates(1)
    assert one.sparsity_at(1) == 1


def test_the_first_different_field_is_named():
    before, now = Recipe("sst2", 100).to_json(), Recipe("sst2", 100, lr=1e-4).to_json()
    assert difference(before, before) is None
    assert difference(before, now) == "lr was 5e-05 and is 0.0001"
