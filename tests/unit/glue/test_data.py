"""Tasks, splits and batches."""

import dataclasses
import json
import logging
import sys
import types

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tiny

from rerax.glue import data
from rerax.glue.checks import check_tokens, read_examples
from rerax.glue.tasks import TASKS, find_task


def write(folder, task, split, n=5, **columns):
    task = find_task(task)
    table = {
        **{field: [f"w{5 + i} {field}" for i in range(n)] for field in task.fields},
        "label": np.linspace(0, 5, n) if task.is_regression else np.arange(n) % task.num_labels,
        "idx": np.arange(n),
        **columns,
    }
    (folder / task.name).mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(table), folder / task.name / f"{split}.parquet")
    return folder


def test_nine_tasks():
    assert set(TASKS) == {"cola", "sst2", "mrpc", "stsb", "qqp", "mnli", "qnli", "rte", "wnli"}


@pytest.mark.parametrize("name", TASKS)
def test_every_task_from_a_folder(tmp_path, name):
    task = find_task(name)
    for part in task.parts("validation"):
        write(tmp_path, name, part)
    split = data.read_split(task, tmp_path)
    assert [part for part, _ in split.parts] == list(task.parts("validation"))
    assert len(split.texts) == len(task.fields)
    assert len(split.labels) == sum(n for _, n in split.parts)
    assert split.texts[0][0] == f"w5 {task.fields[0]}"


@pytest.mark.parametrize(
    ("name", "split", "rows"),
    [
        ("cola", "validation", 1043),
        ("sst2", "validation", 872),
        ("mrpc", "validation", 408),
        ("stsb", "validation", 1500),
        ("rte", "validation", 277),
        ("mnli", "validation", 9815),  # the mismatched set is not there
        ("qqp", "train", 23496),
        ("cola", "train", 8551),
    ],
)
def test_real_data(shared, name, split, rows):
    got = data.read_split(find_task(name), shared / "data" / "glue", split)
    assert len(got.labels) == rows
    assert len(got.parts) == 1


def test_mnli_without_its_mismatched_set(tmp_path):
    write(tmp_path, "mnli", "validation_matched")
    assert data.read_split(find_task("mnli"), tmp_path).parts == (("validation_matched", 5),)


def test_a_set_asked_for_by_name_must_be_there(tmp_path):
    write(tmp_path, "mnli", "validation_matched")
    with pytest.raises(ValueError, match="no such split, the folder has validation_matched"):
        data.read_split(find_task("mnli"), tmp_path, "validation_mismatched")


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"label": [-1] * 5}, "has no labels"),
        ({"label": [None] * 5}, "has no labels"),
        ({"label": [0, 1, 2, 0, 1]}, r"label 2 is not one of .* 0 \(negative\), 1 \(positive\)"),
        ({"label": [0, 1, -1, 0, 1]}, "label -1 is not one of"),
        ({"label": ["good"] * 5}, "labels are string: they must be numbers"),
        ({"sentence": [1] * 5}, "column sentence is int64: it must be text"),
        ({"sentence": ["a", None, "b", "c", "d"]}, "has empty entries"),
    ],
)
def test_bad_columns(tmp_path, columns, message):
    write(tmp_path, "sst2", "validation", **columns)
    with pytest.raises(ValueError, match=message):
        data.read_split(find_task("sst2"), tmp_path)


def test_missing_columns_and_rows_and_garbled_files(tmp_path):
    file = tmp_path / "rte" / "validation.parquet"
    write(tmp_path, "rte", "validation", n=0)
    with pytest.raises(ValueError, match="has no examples"):
        data.read_split(find_task("rte"), tmp_path)
    pq.write_table(pa.table({"sentence1": ["a"], "idx": [0]}), file)
    with pytest.raises(ValueError, match="no column sentence2, label among sentence1, idx"):
        data.read_split(find_task("rte"), tmp_path)
    file.write_bytes(b"PAR1 and nothing more")
    with pytest.raises(ValueError, match="no readable Parquet"):
        data.read_split(find_task("rte"), tmp_path)


def test_shards_and_max_examples(tmp_path):
    write(tmp_path, "sst2", "train-00000-of-00002")
    write(tmp_path, "sst2", "train-00001-of-00002")
    assert len(data.read_split(find_task("sst2"), tmp_path, "train").labels) == 10
    assert len(data.read_split(find_task("sst2"), tmp_path, "train", 7).labels) == 7


def test_hub_path_through_datasets(tmp_path, monkeypatch):
    """`datasets` itself reads a local folder of the hub's form."""
    import datasets

    write(tmp_path / "hub", "sst2", "validation")
    real = datasets.load_dataset

    def local(name, config, split):
        assert (name, config, split) == ("nyu-mll/glue", "sst2", "validation")
        file = str(tmp_path / "hub" / config / f"{split}.parquet")
        return real(
            "parquet", data_files={split: file}, split=split, cache_dir=str(tmp_path / "cache")
        )

    monkeypatch.setattr(datasets, "load_dataset", local)
    monkeypatch.chdir(tmp_path)
    got = data.read_split(find_task("sst2"))
    here = data.read_split(find_task("sst2"), tmp_path / "hub")
    assert (got.texts, got.parts) == (here.texts, here.parts)
    assert got.digest(128) == here.digest(128)


def test_no_network_says_what_was_wanted(monkeypatch, caplog):
    retries = logging.getLogger("huggingface_hub.utils")

    def unreachable(*_, **__):
        retries.warning("retrying")
        raise ConnectionError("no route")

    fake = types.SimpleNamespace(load_dataset=unreachable)
    monkeypatch.setitem(sys.modules, "datasets", fake)
    with pytest.raises(ValueError, match=r"rte/validation could not be had.*--data DIR with rte/"):
        data.read_split(find_task("rte"))
    assert not caplog.records  # one line, not one for each retry
    assert retries.isEnabledFor(logging.WARNING)


def test_tokenise_pairs(tmp_path):
    tiny.write_tokenizer(tmp_path)
    split = data.Split((("w5 w6", "w7 " * 30), ("w8", "w9 w9")), np.zeros(2, np.int32), ())
    got = data.tokenise(
        split, data.load_tokenizer(tmp_path), max_length=12, positions=40, vocab_size=50
    )
    assert got.ids[0].tolist() == [2, 5, 6, 3, 8, 3]
    assert got.types[0].tolist() == [0, 0, 0, 0, 1, 1]
    assert len(got.ids[1]) == 12
    assert got.ids[1].tolist()[-3:] == [9, 9, 3]  # the longer sentence is cut


PAIR = data.Split((("w5 w6",), ("w8",)), np.zeros(1, np.int32), ())


def test_segments_are_those_that_the_tokenizer_passes(tmp_path):
    """Its model_input_names decide, as in transformers."""
    tiny.write_tokenizer(tmp_path, inputs=("input_ids",))
    tokenizer = data.load_tokenizer(tmp_path)
    got = data.tokenise(PAIR, tokenizer, max_length=12, positions=40, vocab_size=50)
    assert got.ids[0].tolist() == tokenizer("w5 w6", "w8")["input_ids"]
    assert "token_type_ids" not in tokenizer("w5 w6", "w8")
    assert not got.types[0].any()


def test_segments_lost_by_the_default_of_a_class_are_told(tmp_path):
    tiny.write_tokenizer(tmp_path, inputs=None)
    tokenizer = data.load_tokenizer(tmp_path)
    with pytest.warns(UserWarning, match='passes no segment ids.*"token_type_ids"'):
        got = data.tokenise(PAIR, tokenizer, max_length=12, positions=40, vocab_size=50)
    assert not got.types[0].any()
    single = data.Split((("w5 w6",),), np.zeros(1, np.int32), ())
    data.tokenise(single, tokenizer, max_length=12, positions=40, vocab_size=50)  # says nothing


CASED = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[unused1A]", "the", "Paris", "caf\u00e9")
UNCASED = tuple(word.replace("P", "p") for word in CASED[6:])


def write_vocabulary(folder, words, **fields):
    (folder / "vocab.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
    (folder / "config.json").write_text('{"model_type": "bert"}')
    if fields:
        (folder / "tokenizer_config.json").write_text(json.dumps(fields))


def test_a_cased_vocabulary_that_is_lower_cased_is_told(tmp_path):
    write_vocabulary(tmp_path, CASED)
    with pytest.warns(UserWarning, match='"do_lower_case": false into its') as told:
        tokens = data.load_tokenizer(tmp_path).tokenize("the Paris")
    assert tokens == ["the", "[UNK]"]
    assert len(told) == 1
    assert "1 of 4 words of the vocabulary have capitals, such as 'Paris'" in str(told[0].message)


@pytest.mark.parametrize(
    ("words", "fields"),
    [(CASED, {"do_lower_case": False}), (CASED[:6] + UNCASED, {})],
    ids=["cased", "uncased"],
)
def test_a_vocabulary_that_fits_is_not_told(tmp_path, words, fields):
    write_vocabulary(tmp_path, words, **fields)
    data.load_tokenizer(tmp_path)


def test_a_normaliser_that_is_not_taken_is_told(tmp_path):
    write_vocabulary(tmp_path, CASED[:6] + UNCASED, strip_accents=False)
    data.load_tokenizer(tmp_path).save_pretrained(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer"}')
    with pytest.warns(UserWarning, match="put do_lower_case, strip_accents and"):
        data.load_tokenizer(tmp_path)


@pytest.mark.parametrize("text", ["garbage", '{"version": "1.0"}'])
def test_garbled_tokenizer(tmp_path, text):
    with pytest.raises(ValueError, match="has no tokenizer"):
        data.load_tokenizer(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    (tmp_path / "tokenizer.json").write_text(text)
    with pytest.raises(ValueError, match=r"cannot be read .*: fetch its tokenizer.json"):
        data.load_tokenizer(tmp_path)


@pytest.mark.parametrize("wrong", [-1, 50])
def test_ids_beyond_the_vocabulary(wrong):
    with pytest.raises(ValueError, match=f"example 1 has token id {wrong}, beyond"):
        data.check_ids([np.array([3, 49], np.int32), np.array([0, wrong], np.int32)], 50)


def test_digest_notices_every_change(tmp_path):
    write(tmp_path, "sst2", "validation")
    task = find_task("sst2")
    whole = data.read_split(task, tmp_path)
    digests = {whole.digest(128), whole.digest(64)}
    digests.add(data.read_split(task, tmp_path, max_examples=4).digest(128))
    write(tmp_path, "sst2", "validation", label=np.array([1, 1, 0, 1, 0]))
    digests.add(data.read_split(task, tmp_path).digest(128))
    assert len(digests) == 4


def test_a_task_may_be_named(tmp_path):
    split = data.read_split("rte", write(tmp_path, "rte", "validation"))
    assert split.texts == data.read_split(find_task("rte"), tmp_path).texts
    with pytest.raises(ValueError, match="unknown task 'rt': use one of cola"):
        data.read_split("rt", tmp_path)


@pytest.mark.parametrize(
    ("types", "said"),
    [
        ([[1], [0, 0]], r"example 0 has 4 tokens and segment ids of shape \(1,\): give one for"),
        ([[0] * 4, [0] * 3], r"example 1 has 2 tokens and segment ids of shape \(3,\): give one"),
        ([[0] * 4], "2 examples have 1 rows of segment ids: give one for each"),
    ],
)
def test_segment_ids_are_as_many_as_tokens(types, said):
    """Or one would be broadcast over a sentence."""
    given = data.Examples([np.arange(1, 5), np.arange(2)], list(map(np.array, types)))
    with pytest.raises(ValueError, match=said):
        read_examples(given, 100)


def test_tokens_that_a_model_has_no_embeddings_for_are_refused():
    ids, types = [np.arange(5, 9)], [np.array([0, 0, 1, 1])]
    fits = data.Examples(ids, types)
    check_tokens(fits, tiny.CONFIG)
    for changes, said in (
        ({"max_position_embeddings": 3}, "has 4 tokens, the model has positions for 3"),
        ({"vocab_size": 8}, "token id 8, beyond the vocabulary of 8"),
        ({"type_vocab_size": 1}, "segment id 1 is beyond the model's 1 segment types"),
    ):
        with pytest.raises(ValueError, match=said):
            check_tokens(fits, dataclasses.replace(tiny.CONFIG, **changes))
