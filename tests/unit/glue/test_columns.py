"""Parquet as other tools write it: which columns are read, in whatever form Arrow has them."""

import warnings

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rerax.glue.data import read_split
from rerax.glue.selection import Selection
from rerax.glue.tasks import find_task

SST2 = find_task("sst2")
TEXTS, LABELS = ["good", "bad", "fine"], [1, 0, 1]


def write(folder, *tables, name="validation"):
    (folder / "sst2").mkdir(parents=True, exist_ok=True)
    for i, table in enumerate(tables):
        part = f"-{i:05d}-of-{len(tables):05d}" * (len(tables) > 1)
        pq.write_table(table, folder / "sst2" / f"{name}{part}.parquet")
    return folder


def table(sentence=TEXTS, label=LABELS, **more):
    return pa.table({"sentence": sentence, "label": label, **more})


@pytest.mark.parametrize(
    "form",
    [
        pa.string(),
        pa.large_string(),
        pa.string_view(),
        pa.dictionary(pa.int8(), pa.string()),
        pa.dictionary(pa.int32(), pa.large_string()),
    ],
    ids=str,
)
def test_text_in_every_form(tmp_path, form):
    plain = read_split(SST2, write(tmp_path / "plain", table()))
    other = read_split(SST2, write(tmp_path / "other", table(pa.array(TEXTS).cast(form))))
    assert other.texts == plain.texts == (tuple(TEXTS),)
    assert other.digest(64) == plain.digest(64)


def test_categories_of_labels(tmp_path):
    labels = pa.array(LABELS).dictionary_encode()
    assert read_split(SST2, write(tmp_path, table(label=labels))).labels.tolist() == LABELS


def test_shards_may_differ_in_what_is_not_read(tmp_path):
    data = write(tmp_path, table(idx=[0, 1, 2]), table(idx=["a", "b", "c"], more=[1.0, 2.0, 3.0]))
    split = read_split(SST2, data)
    assert split.texts == (tuple(TEXTS * 2),)
    np.testing.assert_array_equal(split.labels, LABELS * 2)


def test_shards_whose_labels_differ_in_kind(tmp_path):
    data = write(tmp_path, table(), table(label=["1", "0", "1"]))
    with pytest.raises(
        ValueError, match=r"labels of different kinds \(int64, string\): write them"
    ):
        read_split(SST2, data)


@pytest.mark.parametrize("name", ["sentence", "label"])
def test_a_column_that_is_there_twice(tmp_path, name):
    whole = table()
    twice = pa.Table.from_arrays([*whole.columns, whole[name]], names=[*whole.column_names, name])
    with pytest.raises(ValueError, match=f"column {name} is there twice: leave one of them"):
        read_split(SST2, write(tmp_path, twice))


@pytest.mark.parametrize(
    "split", ["", ".", "..", "../sst2/validation", "/etc/passwd", "val*", "validation[:10]", "a b"]
)
def test_a_split_is_a_name(tmp_path, split):
    with pytest.raises(ValueError, match="is no name of a split: give one such as validation"):
        read_split(SST2, write(tmp_path, table()), split)


def test_more_examples_than_there_are(tmp_path):
    assert len(read_split(SST2, write(tmp_path, table()), max_examples=10**30).labels) == 3


@pytest.mark.parametrize(
    ("asked", "positions", "most", "said"),
    [
        (None, 512, 128, 0),
        (None, 128, 128, 0),
        (None, 64, 64, 1),
        (32, 64, 32, 0),
        (200, 512, 200, 0),
    ],
)
def test_the_length_is_the_lesser_of_128_and_the_positions(asked, positions, most, said):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert Selection(max_length=asked).length(positions) == most
    assert len(caught) == said
    assert all("max-length is 64, all positions of the model" in str(w.message) for w in caught)


def test_more_than_the_positions_is_refused():
    with pytest.raises(ValueError, match=r"max-length 65 is outside 4\.\.64"):
        Selection(max_length=65).length(64)


def test_folders_keep_what_was_asked_of_the_hub_by_this_text():
    asked = Selection(max_examples=8, max_length=64, labels=("a", "b")).request(SST2)
    assert asked == "nyu-mll/glue sst2 validation max-examples=8 max-length=64"
