"""Answers of models in training, by an evaluator whose logits are sums of ids: no network."""

import dataclasses

import numpy as np
import pytest
import tiny

from rerax.crossbar import keys
from rerax.crossbar.spec import ChipSpec
from rerax.evaluate import engine
from rerax.faults.read_out import Counts
from rerax.glue.data import Split
from rerax.glue.tasks import find_task
from rerax.train.order import epoch_batches
from rerax.train.score import Scorer
from rerax.train.teacher import AT_ONCE, Teacher, answers_of

CONFIG = dataclasses.replace(tiny.CONFIG, num_hidden_layers=1)
PARAMS = tiny.random_params(CONFIG)
EXAMPLES = tiny.random_examples(500, config=CONFIG, lengths=(8, 12))
ROWS = 16
SEEN = np.concatenate(epoch_batches(EXAMPLES, ROWS, keys.root_key(3), 0))
SUMS = np.array([[ids.sum(), -ids[-1]] for ids in EXAMPLES.ids], np.float32)


@pytest.fixture
def dispatched(monkeypatch):
    """The network, and the sentences of each dispatch."""
    found = []

    def outcomes(self, seed, chips, faults, entries=None):
        batches = self.batches
        found.append((self, [int((bucket.index >= 0).sum()) for bucket in batches.buckets]))
        logits = np.full((1, batches.examples, 2), np.nan, np.float32)
        for bucket in batches.buckets:
            for batch, row in zip(*np.nonzero(bucket.index >= 0), strict=True):
                ids = bucket.ids[batch, row, : bucket.lengths[batch, row]]
                logits[0, bucket.index[batch, row]] = ids.sum(), -ids[-1]
        return [engine.Outcome(logits, Counts(*[np.zeros(1, np.int64)] * 5))]

    monkeypatch.setattr(engine.Evaluator, "outcomes", outcomes)
    return found


def teacher(outputs=(0, 1)):
    return Teacher.of(CONFIG, PARAMS, {}, EXAMPLES, SEEN, outputs)


def test_a_teacher_is_asked_for_little_at_once_and_for_each_sentence_once(dispatched):
    told, one = [], teacher()
    found = one.answers(SEEN[:ROWS], lambda: told.append(len(dispatched)))
    np.testing.assert_array_equal(found, SUMS[SEEN[:ROWS]])
    assert 0 < one.answered.sum() <= AT_ONCE * (1024 // 8)
    for _ in range(2):  # two epochs
        for i in range(0, len(SEEN), ROWS):
            chosen = SEEN[i : i + ROWS]
            np.testing.assert_array_equal(one.answers(chosen, lambda: None), SUMS[chosen])
    sizes = [sum(size) for _, size in dispatched]
    assert sum(sizes) == len(EXAMPLES)
    assert max(sizes) < len(EXAMPLES) / 2
    assert told == list(range(told[-1] + 1))  # told before each


def test_a_teachers_outputs_are_put_into_the_students_order(dispatched):
    given = (CONFIG, PARAMS, None, (1, 0))
    answers = answers_of(given, EXAMPLES, SEEN, (0, 1), lambda: None)
    np.testing.assert_array_equal(answers(SEEN[:3]), SUMS[SEEN[:3], ::-1])
    nobody = answers_of(None, EXAMPLES, SEEN, (0, 1), lambda: None)
    assert nobody(SEEN[:3]).tolist() == [[0, 0]] * 3


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
