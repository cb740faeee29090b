"""Scores of a model in training, by an evaluator whose logits are sums of ids: no network."""

import dataclasses

import numpy as np
import pytest
import tiny

from rerax.crossbar.spec import ChipSpec
from rerax.glue.data import Split
from rerax.glue.tasks import find_task
from rerax.models.bert.names import gated_shapes
from rerax.pruning.gates import open_gates
from rerax.train.score import Scorer

CONFIG = dataclasses.replace(tiny.CONFIG, num_hidden_layers=1)
PARAMS = tiny.random_params(CONFIG)
EXAMPLES = tiny.random_examples(500, config=CONFIG, lengths=(8, 12))
SUMS = np.array([[ids.sum(), -ids[-1]] for ids in EXAMPLES.ids], np.float32)


@pytest.mark.parametrize("spec", [None, ChipSpec("differential", 6)])
def test_a_score_is_that_of_the_answers(dispatched, spec):
    one = Scorer(CONFIG, EXAMPLES, spec)
    np.testing.assert_array_equal(one.logits(PARAMS, {}), SUMS)
    labels = (np.arange(500) % 2).astype(np.int32)
    split = Split((("",) * 500,), labels, (("validation", 500),))
    found = one.score(PARAMS, {}, find_task("mrpc"), split, (1, 0))
    right = SUMS.argmax(1) == 1 - labels
    assert found["accuracy"] == pytest.approx(right.mean())
    assert found.keys() == {"score", "accuracy", "f1"}
    assert len(dispatched) == 2
    first, second = (evaluator for evaluator, _ in dispatched)
    assert first.network is second.network  # what is static is made once
    assert first.stored.hardware.spec == (spec or ChipSpec())


def test_gates_that_stand_at_zero_are_open(dispatched):
    """As tied ones do whose lines were closed and open by halves."""
    gates = open_gates(gated_shapes(PARAMS, ("encoder",)))
    for sides in gates.values():
        sides["row"][:, ::2] = 0.0
    Scorer(CONFIG, EXAMPLES, ChipSpec()).logits(PARAMS, gates)
    ((evaluator, _),) = dispatched
    assert all(crossbar.lines is None for crossbar in evaluator.stored.crossbars.values())
