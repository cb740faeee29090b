"""The sentences of each step: a pure function of seed and step."""

import numpy as np
import tiny

from rerax.crossbar import keys
from rerax.train.batches import TrainingBatches

EXAMPLES = tiny.random_examples(43, lengths=range(3, 30))
LABELS = np.arange(43, dtype=np.int32)


def batches_of(seed=0):
    root = keys.root_key(seed)
    return TrainingBatches(
        EXAMPLES,
        LABELS,
        lambda chosen: np.stack([chosen, chosen], 1).astype(np.float32),
        8,
        root,
        0,
    )


def test_an_epoch_sees_every_sentence_once_and_the_next_another_order():
    it = batches_of()
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
                assert (b.teacher_logits[row] == b.labels[row]).all()
            assert not b.teacher_logits[b.weight == 0].any()
    assert epochs[0] != epochs[1]


def test_a_batch_depends_on_seed_and_step_alone():
    late = batches_of().batch(9)
    walked = batches_of()
    for step in range(10):
        found = walked.batch(step)
    for a, b in zip(late, found, strict=True):
        np.testing.assert_array_equal(a, b)
    assert batches_of(1).batch(9).labels.tolist() != late.labels.tolist()
