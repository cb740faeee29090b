"""The teacher's answers: those of the whole split, asked for when they are needed, and once."""

import dataclasses

import numpy as np
import pytest
import tiny

from rerax.crossbar import keys
from rerax.evaluate.engine import Evaluator
from rerax.models.bert.folder import Model
from rerax.train.batches import epoch_order
from rerax.train.score import Scorer
from rerax.train.teacher import BATCHES_AT_ONCE, Teacher

CONFIG = dataclasses.replace(tiny.CONFIG, num_hidden_layers=1)
PARAMS = tiny.random_params(CONFIG)
EXAMPLES = tiny.random_examples(700, config=CONFIG, lengths=(8, 12))
ROOT = keys.root_key(3)
ROWS = 16
SEEN = np.concatenate(epoch_order(EXAMPLES, ROWS, ROOT, 0))


@pytest.fixture(scope="module")
def whole():
    return Scorer(CONFIG, EXAMPLES).logits(PARAMS, {})


@pytest.fixture
def dispatched(monkeypatch):
    """Sentences of each dispatch."""
    found = []
    real = Evaluator.outcomes

    def watched(self, *rest, **named):
        found.append([int((bucket.index >= 0).sum()) for bucket in self.batches.buckets])
        return real(self, *rest, **named)

    monkeypatch.setattr(Evaluator, "outcomes", watched)
    return found


def teacher():
    return Teacher.make(Model(CONFIG, PARAMS, None), EXAMPLES, SEEN, (0, 1))


def test_a_short_run_asks_for_little_and_an_epoch_for_each_sentence_once(whole, dispatched):
    told = []
    one = teacher()
    found = one.logits(SEEN[:ROWS], lambda: told.append(len(dispatched)))
    np.testing.assert_array_equal(found, whole[SEEN[:ROWS]])
    assert 0 < one.is_computed.sum() <= BATCHES_AT_ONCE * (1024 // 8)
    for _ in range(2):  # two epochs
        for i in range(0, len(SEEN), ROWS):
            chosen = SEEN[i : i + ROWS]
            np.testing.assert_array_equal(one.logits(chosen, lambda: None), whole[chosen])
    assert sum(map(sum, dispatched)) == len(EXAMPLES)  # no sentence twice
    assert max(map(max, dispatched)) <= BATCHES_AT_ONCE * (
        1024 // 8
    )  # no dispatch of the whole split
    assert told == list(range(told[-1] + 1))  # told before each


def test_an_answer_does_not_depend_on_when_it_is_asked():
    late, early = teacher(), teacher()
    for i in range(0, len(SEEN), ROWS):
        early.logits(SEEN[i : i + ROWS], lambda: None)
    shuffled = np.random.default_rng(0).permutation(len(EXAMPLES))
    for i in range(0, 5 * ROWS, ROWS):
        late.logits(shuffled[i : i + ROWS], lambda: None)
    asked = late.is_computed
    assert asked.sum() > 0
    assert late.computed[asked].tobytes() == early.computed[asked].tobytes()
