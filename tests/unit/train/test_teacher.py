"""The teacher's logits, by an evaluator whose logits are sums of ids: no network."""

import dataclasses

import numpy as np
import tiny

from rerax.crossbar import keys
from rerax.models.bert.folder import Model
from rerax.train.batches import epoch_order
from rerax.train.teacher import BATCHES_AT_ONCE, Teacher, teacher_logits

CONFIG = dataclasses.replace(tiny.CONFIG, num_hidden_layers=1)
PARAMS = tiny.random_params(CONFIG)
EXAMPLES = tiny.random_examples(500, config=CONFIG, lengths=(8, 12))
ROWS = 16
SEEN = np.concatenate(epoch_order(EXAMPLES, ROWS, keys.root_key(3), 0))
SUMS = np.array([[ids.sum(), -ids[-1]] for ids in EXAMPLES.ids], np.float32)


def teacher(outputs=(0, 1)):
    return Teacher.make(Model(CONFIG, PARAMS, None), EXAMPLES, SEEN, outputs)


def test_a_teacher_is_asked_for_little_at_once_and_for_each_sentence_once(dispatched):
    told, one = [], teacher()
    found = one.logits(SEEN[:ROWS], lambda: told.append(len(dispatched)))
    np.testing.assert_array_equal(found, SUMS[SEEN[:ROWS]])
    assert 0 < one.is_computed.sum() <= BATCHES_AT_ONCE * (1024 // 8)
    for _ in range(2):  # two epochs
        for i in range(0, len(SEEN), ROWS):
            chosen = SEEN[i : i + ROWS]
            np.testing.assert_array_equal(one.logits(chosen, lambda: None), SUMS[chosen])
    sizes = [sum(size) for _, size in dispatched]
    assert sum(sizes) == len(EXAMPLES)
    assert max(sizes) < len(EXAMPLES) / 2
    assert told == list(range(told[-1] + 1))  # told before each


def test_a_teachers_outputs_are_put_into_the_students_order(dispatched):
    given = (Model(CONFIG, PARAMS, None), (1, 0))
    answers = teacher_logits(given, EXAMPLES, SEEN, (0, 1), lambda: None)
    np.testing.assert_array_equal(answers(SEEN[:3]), SUMS[SEEN[:3], ::-1])
    nobody = teacher_logits(None, EXAMPLES, SEEN, (0, 1), lambda: None)
    assert nobody(SEEN[:3]).tolist() == [[0, 0]] * 3
