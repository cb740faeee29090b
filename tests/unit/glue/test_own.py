"""Examples of one's own: files of every kind, labels by name, and every way in which they fail."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest

from rerax.glue.data import own_labels, read_split
from rerax.glue.selection import HUB, Selection
from rerax.glue.tasks import OWN_METRICS, find_task

TEXTS = ("good, really", 'a "quoted" text\nin two lines', "bad")
LABELS = ("Praise", "mixed", "complaint")
NAMES = ("complaint", "mixed", "praise")
TASK = find_task("remarks:accuracy").with_labels(NAMES)


def table(**columns):
    return pa.table({"text": TEXTS, "label": LABELS} | columns)


def write(folder, found, kind="csv", split="validation"):
    file = folder / f"{split}.{kind}"
    if kind == "parquet":
        pa.parquet.write_table(found, file)
    elif kind == "jsonl":
        lines = map(json.dumps, found.to_pylist())
        file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    else:
        how = pa.csv.WriteOptions(delimiter="," if kind == "csv" else "\t")
        pa.csv.write_csv(found, file, how)
    return file


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "parquet"])
def test_every_kind_of_file_gives_the_same(tmp_path, kind):
    file = write(tmp_path, table(more=["1", "2", "3"]), kind)
    for data in (tmp_path, file):
        split = read_split(TASK, data)
        assert split.texts == (TEXTS,)
        assert split.labels.tolist() == [2, 1, 0]
        assert split.parts == (("validation", 3),)
    assert own_labels(TASK, tmp_path, "validation") == ("Praise", "complaint", "mixed")
    assert read_split(TASK, file, max_examples=2).labels.tolist() == [2, 1]


def test_columns_and_split_are_what_they_are_called(tmp_path):
    found = pa.table({"said": TEXTS, "asked": TEXTS[::-1], "kind": LABELS})
    write(tmp_path, found, split="dev")
    task = Selection("x", text="said", text_pair="asked", label="kind").task("a:accuracy")
    split = read_split(task.with_labels(NAMES), tmp_path, "dev")
    assert split.texts == (TEXTS, TEXTS[::-1])


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_numbers(tmp_path, kind):
    write(tmp_path, table(label=[1.5, -3.0, 1e6]), kind)
    split = read_split(find_task("a:pearson_spearman"), tmp_path)
    assert split.labels.dtype == np.float32
    assert split.labels.tolist() == [1.5, -3.0, 1e6]


def test_ids_are_named_by_the_file_or_count_the_outputs_that_have_no_names(tmp_path):
    ids = table(label=pa.array([2, 0, 1]))
    write(tmp_path, ids, "parquet")
    unnamed = TASK.with_labels(("LABEL_0", "LABEL_1", "LABEL_2"))
    assert read_split(unnamed, tmp_path).labels.tolist() == [2, 0, 1]
    features = {"info": {"features": {"label": {"names": ["praise", "mixed", "complaint"]}}}}
    named = ids.replace_schema_metadata({"huggingface": json.dumps(features)})
    write(tmp_path, named, "parquet")
    for task in (TASK, unnamed):  # by name, and by place where outputs have no names
        expected = [0, 2, 1] if task is TASK else [2, 0, 1]
        assert read_split(task, tmp_path).labels.tolist() == expected
    # training takes the file's own order, so that F1 is that of its second label
    assert own_labels(TASK, tmp_path, "validation") == ("praise", "mixed", "complaint")
    for wrong, said in ((-1, "row 2 has no label"), (3, "label 3 is none of the 3 that the file")):
        odd = table(label=pa.array([2, wrong, 1])).replace_schema_metadata(
            {"huggingface": json.dumps(features)}
        )
        write(tmp_path, odd, "parquet")
        for read in (read_split, own_labels):
            with pytest.raises(ValueError, match=said):
                read(TASK, tmp_path, "validation")


def test_labels_of_training_are_in_one_order(tmp_path):
    labels = ["10", "9", "01", "1", "b", "A-b", "a b", "B", "9"]
    found = pa.table({"text": ["x"] * len(labels), "label": labels})
    write(tmp_path, found)
    assert own_labels(TASK, tmp_path, "validation") == ("01", "1", "9", "10", "A-b", "B")
    write(tmp_path, pa.table({"text": ["x"] * 3, "label": [1.0, 0.0, 2.0]}), "parquet", "floats")
    assert own_labels(TASK, tmp_path, "floats") == ("0", "1", "2")  # as of pandas beside a gap
    write(tmp_path, pa.table({"text": ["x"] * 4, "label": [1.5, -1.0, 1.0, -10.0]}), "parquet", "n")
    assert own_labels(TASK, tmp_path, "n") == ("-10", "-1", "1", "1.5")


@pytest.mark.parametrize("name", ["labels named", "text"])
def test_columns_of_any_name(tmp_path, name):
    write(tmp_path, pa.table({"said": TEXTS, name: LABELS}))
    task = find_task("a:accuracy", ("said",), name).with_labels(NAMES)
    assert read_split(task, tmp_path).labels.tolist() == [2, 1, 0]


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"text": None}, "has no column text but label: name them with --text"),
        ({"label": None}, "has no column label but text"),
        ({"text": ["a", None, "b"]}, "row 2 has no text: fill or drop it"),
        ({"text": ["a", "b", "  "]}, "row 3 has no text: fill or drop it"),
        ({"label": ["mixed", "mixed", None]}, "row 3 has no label"),
        ({"text": [1, 2, 3]}, "column text is int64: it must be text"),
        ({"label": ["mixed", " ", "praise"]}, "row 2 has no label"),
        ({"label": [1.0, float("nan"), 2.0]}, "row 2 has no label"),
        ({"label": [["mixed"]] * 3}, "column label is list.*: labels must be text or numbers"),
        ({"label": ["mixed", "rant", "cheer"]}, "label 'cheer', 'rant' is none of complaint, mix"),
        ({"text": pa.array([], pa.string()), "label": pa.array([], pa.string())}, "no examples"),
    ],
)
def test_bad_tables(tmp_path, columns, said):
    found = table(**{name: value for name, value in columns.items() if value is not None})
    write(tmp_path, found.drop_columns([n for n, v in columns.items() if v is None]), "parquet")
    with pytest.raises(ValueError, match=said):
        read_split(TASK, tmp_path)


@pytest.mark.parametrize("number", ["much", "nan", "inf", "1_000", "\u0663"])
def test_what_is_no_number(tmp_path, number):
    write(tmp_path, table(label=["1", number, "2"]))
    with pytest.raises(ValueError, match=f"row 2 has label '{number}': give a finite number"):
        read_split(find_task("a:pearson_spearman"), tmp_path)


@pytest.mark.parametrize(
    ("numbers", "said"),
    [
        (["1", "1e39", "2"], "row 2 has label '1e39': give a finite number"),
        (["1700000001", "1700000002", "3"], "differ by less than 32-bit numbers can tell"),
        (["4", "4.0", "4e0"], "all labels are 4: nothing can be correlated"),
    ],
)
def test_numbers_that_no_score_can_be_made_of(tmp_path, numbers, said):
    write(tmp_path, table(label=numbers))
    with pytest.raises(ValueError, match=said):
        read_split(find_task("a:pearson_spearman"), tmp_path)


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_text_of_another_encoding(tmp_path, kind):
    line = (
        "text,label\ncaf\u00e9,mixed\n" if kind == "csv" else '{"text": "\u00e9", "label": "a"}\n'
    )
    (tmp_path / f"validation.{kind}").write_bytes(line.encode("latin-1"))
    with pytest.raises(ValueError, match=f"validation.{kind} is no readable {kind}"):
        read_split(TASK, tmp_path)


def test_what_a_folder_remembers_of_the_hub_says_columns_and_labels():
    """Or rows of one column would be taken for those of another."""
    asked = [
        Selection("x/y", text="a").task("t:accuracy"),
        Selection("x/y", label="a").task("t:accuracy"),
        Selection("x/y", text_pair="a").task("t:accuracy"),
    ]
    tasks = [task.with_labels(names) for task in asked for names in (NAMES, NAMES[::-1])]
    assert len({Selection("x/y").request(task) for task in tasks}) == len(tasks)
    glue = Selection("x/y").request(find_task("sst2"))
    assert glue == "x/y sst2 validation max-examples=None max-length=None"


def test_which_file(tmp_path):
    with pytest.raises(ValueError, match=r"no validation\.csv, \.tsv, .*, but none"):
        read_split(TASK, tmp_path)
    write(tmp_path, table(), split="dev")
    with pytest.raises(ValueError, match=r"but dev\.csv: give --split as they are called"):
        read_split(TASK, tmp_path)
    write(tmp_path, table(), "jsonl", split="dev")
    with pytest.raises(ValueError, match=r"has dev\.csv, dev\.jsonl of split dev: leave one"):
        read_split(TASK, tmp_path, "dev")
    odd = tmp_path / "dev.xlsx"
    odd.write_bytes(b"PK")
    with pytest.raises(ValueError, match=r"is of another kind: give one of \.parquet, \.csv"):
        read_split(TASK, odd)
    broken = tmp_path / "broken.csv"
    broken.write_text("text,label\na,b,c\n", encoding="utf-8")
    with pytest.raises(ValueError, match="is no readable csv"):
        read_split(TASK, broken)


def test_parts_of_a_split_are_read_in_order(tmp_path):
    write(tmp_path, table(), split="train-1")
    write(tmp_path, table(label=LABELS[::-1]), split="train-2")
    assert read_split(TASK, tmp_path, "train").labels.tolist() == [2, 1, 0, 0, 1, 2]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("tickets", "unknown task 'tickets': use one of cola.* or NAME with a metric"),
        ("tickets:bleu", "unknown metric 'bleu': use one of accuracy, f1, macro_f1, matthews, pea"),
        ("sst2:f1", "sst2 is GLUE's and has its own score"),
        ("a b:f1", "unknown task 'a b:f1'"),
        (":f1", "unknown task ':f1'"),
    ],
)
def test_names_of_tasks(name, said):
    with pytest.raises(ValueError, match=said):
        find_task(name)


@pytest.mark.parametrize(
    ("metric", "labels", "said"),
    [
        ("f1", NAMES, "f1 is that of the second of two labels, and there are 3: use macro_f1"),
        ("accuracy", ("one",), "for two labels or more, and there is 1: use pearson_spearman"),
        ("pearson_spearman", NAMES, "is for numbers, and there are 3 labels"),
        ("accuracy", ("a b", "A_B"), "labels a b, A_B are not told apart"),
    ],
)
def test_a_metric_that_does_not_fit_the_labels(metric, labels, said):
    with pytest.raises(ValueError, match=said):
        find_task(f"a:{metric}").with_labels(labels)


def test_what_goes_with_a_task_of_glue():
    for name in ("text", "text_pair", "label"):
        with pytest.raises(ValueError, match="with sst2, which has its own columns"):
            Selection("x", **{name: "column"}).task("sst2")
    with pytest.raises(ValueError, match="a:f1 has no data: give --data FILE, FOLDER or hub id"):
        Selection(HUB).task("a:f1")
    assert find_task("sst2").with_labels(NAMES) is find_task("sst2")


@pytest.mark.parametrize("metric", OWN_METRICS)
def test_lowest_scores(metric):
    negative = metric in ("matthews", "pearson_spearman")
    assert find_task(f"a:{metric}").lowest_score == (-1 if negative else 0)


def test_a_quote_that_swallows_rows_is_refused(tmp_path):
    (tmp_path / "validation.tsv").write_text(
        'text\tlabel\n"great film\tpraise\nfine\tmixed\na "\tpraise\n', encoding="utf-8"
    )
    with pytest.raises(ValueError, match="row 1 has a tab within text, perhaps behind a quote"):
        read_split(TASK, tmp_path)


@pytest.mark.parametrize(
    ("kind", "rows", "line"),
    [
        ("csv", 'label,text\npraise,fine\nmixed,"the plot is witty .\npraise,good\n', 3),
        ("csv", 'label,text\nmixed,"long\n\ntext"\nmixed,"the plot" is witty\n', 5),
        ("csv", 'text,label\n"Hello,praise\nb,mixed\nc "x",praise\n', 2),
        ("tsv", 'text\tlabel\nfine\tmixed\n"great film\tpraise\n', 3),
    ],
)
def test_a_quote_that_is_never_closed_is_refused(tmp_path, kind, rows, line):
    (tmp_path / f"validation.{kind}").write_text("\ufeff" + rows, encoding="utf-8")
    with pytest.raises(ValueError, match=f"the row from line {line} on has a quote that is never"):
        read_split(TASK, tmp_path)


def test_long_texts_and_quotes_inside_are_read(tmp_path):
    text = 'the "plot" ' * 30_000
    (tmp_path / "validation.csv").write_text(f"text,label\n{text},praise\n", encoding="utf-8")
    assert read_split(TASK, tmp_path).texts == ((text,),)


def test_a_column_that_nobody_asked_for_may_stand_twice(tmp_path):
    rows = "text\tlabel\tnote\tnote\nfine\tmixed\ta\tb\n"
    (tmp_path / "validation.tsv").write_text(rows, encoding="utf-8")
    assert read_split(TASK, tmp_path).texts == (("fine",),)


@pytest.mark.parametrize("columns", [{"text": "label"}, {"text_pair": "text"}])
def test_one_column_is_one_thing(columns):
    with pytest.raises(ValueError, match="are not all different"):
        Selection("x", **columns).task("a:accuracy")


def test_texts_that_look_like_dates_are_texts(tmp_path):
    days = ["2020-01-01", "2020-01-02", "2020-01-03"]
    file = write(tmp_path, pa.table({"text": days, "label": days}), "jsonl")
    assert own_labels(TASK, file, "validation") == tuple(days)
    assert read_split(TASK.with_labels(days), file).texts == (tuple(days),)


def test_a_number_with_an_endless_exponent_is_a_text(tmp_path):
    labels = ["1e99999999999999999999", "2", "10"]
    write(tmp_path, table(label=labels))
    assert own_labels(TASK, tmp_path, "validation") == ("2", "10", labels[0])
