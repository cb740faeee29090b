"""Sentences in rows: each is there once, whole, with its own places, and little room is lost."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerax.glue.data import Examples
from rerax.glue.packing import BATCH_TOKENS, SHORT, WIDTHS, make_batches


def examples_of(lengths):
    rng = np.random.default_rng(0)
    ids = [rng.integers(1, 50, n).astype(np.int32) for n in lengths]
    return Examples(ids, [np.arange(len(row), dtype=np.int32) % 2 for row in ids])


@given(
    st.lists(st.integers(1, 90), min_size=1, max_size=200),
    st.sampled_from([64, 256, 1024]),
    st.booleans(),
)
def test_every_example_stands_once_in_one_row(lengths, tokens, shuffled):
    examples = examples_of(lengths)
    order = np.random.default_rng(1).permutation(len(lengths)).tolist() if shuffled else None
    batches = make_batches(examples, pad_token_id=77, tokens=tokens, order=order)
    seen = []
    for bucket in batches.buckets:
        _, rows, width = bucket.ids.shape
        assert width in WIDTHS
        assert rows == max(1, tokens // width)
        belongs = np.zeros(bucket.ids.shape, bool)
        for b, at in zip(*np.nonzero(bucket.index >= 0), strict=True):
            i = bucket.index[b, at]
            seen.append(int(i))
            row, start = divmod(int(bucket.first[b, at]), width)
            here = (b, row, np.s_[start : start + lengths[i]])
            np.testing.assert_array_equal(bucket.ids[here], examples.ids[i])
            np.testing.assert_array_equal(bucket.types[here], examples.types[i])
            np.testing.assert_array_equal(bucket.positions[here], np.arange(lengths[i]))
            number = bucket.sentence[here][0]
            np.testing.assert_array_equal(
                np.flatnonzero(bucket.sentence[b, row] == number), np.arange(width)[here[2]]
            )
            assert number > 0
            belongs[here] = True
        assert (bucket.ids[~belongs] == 77).all()
        for array in (bucket.types, bucket.positions, bucket.sentence):
            assert not array[~belongs].any()
        assert not bucket.first[bucket.index < 0].any()
        assert (bucket.index >= 0).any(axis=1).all()  # no batch of padding alone
    assert sorted(seen) == list(range(len(lengths)))
    assert batches.real_tokens == sum(lengths)


@pytest.mark.parametrize(
    ("lengths", "widths"),
    [
        ([3, 7], [32]),
        ([3, 33], [64]),
        ([60, 64, 3], [64]),
        ([65, 3] + [60] * 99, [64, 128]),
        ([65, 3, 60], [128]),  # they find room in the rows that are there anyway
        ([600], [600]),
    ],
)
def test_widths_follow_the_longest_examples(lengths, widths):
    found = make_batches(examples_of(lengths)).buckets
    assert [bucket.ids.shape[-1] for bucket in found] == widths


@pytest.mark.parametrize("longest", [SHORT, 128])
def test_little_room_is_lost_on_real_lengths(longest):
    rng = np.random.default_rng(0)
    lengths = np.clip(rng.lognormal(3.1, 0.5, 900).astype(int), 4, longest)
    batches = make_batches(examples_of(lengths))
    assert batches.tokens < 1.02 * lengths.sum() + len(batches.buckets) * BATCH_TOKENS


def test_in_a_given_order_the_first_examples_stand_in_the_first_batches():
    lengths = np.random.default_rng(0).integers(4, 60, 500)
    order = np.random.default_rng(1).permutation(500)
    (bucket,) = make_batches(examples_of(lengths), order=order.tolist()).buckets
    place = np.zeros(500, int)
    batch, at = np.nonzero(bucket.index >= 0)
    place[bucket.index[batch, at]] = batch
    assert place[order[:16]].max() <= 1
    assert len(bucket.ids) * BATCH_TOKENS < 1.1 * lengths.sum()
