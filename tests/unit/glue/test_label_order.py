"""Which label an output means: by name, in the file's own words, and by the model's answers."""

import json
import math
from itertools import permutations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rerax.glue import data
from rerax.glue.label_order import _at_most, check_answers, label_order
from rerax.glue.tasks import TASKS, find_task

SST2, MNLI = find_task("sst2"), find_task("mnli")


@pytest.mark.parametrize(
    ("task", "names", "override", "expected"),
    [
        ("sst2", ("negative", "positive"), None, (0, 1)),
        ("sst2", ("POSITIVE", "Negative"), None, (1, 0)),
        ("rte", ("Not Entailment", "entailment"), None, (1, 0)),
        ("qqp", ("duplicate", "not-duplicate"), None, (1, 0)),
        ("mnli", ("CONTRADICTION", "ENTAILMENT", "NEUTRAL"), None, (2, 0, 1)),
        ("sst2", ("LABEL_0", "LABEL_1"), ("positive", "negative"), (1, 0)),
        ("sst2", ("POS", "NEG"), ("positive", "negative"), (1, 0)),
        ("stsb", ("LABEL_0",), None, (0,)),
        ("stsb", ("score",), None, (0,)),
    ],
)
def test_names_say_the_order(task, names, override, expected):
    assert label_order(find_task(task), names, override) == (expected, None)


@pytest.mark.parametrize("task", [task for task in TASKS.values() if task.labels])
def test_names_that_say_nothing_are_told_once(task):
    names = tuple(f"LABEL_{i}" for i in range(task.num_labels))
    order, warning = label_order(task, names)
    assert order == tuple(range(task.num_labels))
    assert "which says nothing" in warning
    assert ", ".join(task.labels) in warning


@pytest.mark.parametrize(
    "names",
    [
        ("POS", "NEG"),
        ("positive", "NEG"),
        ("LABEL_1", "LABEL_0"),
        ("LABEL_0", "LABEL_0"),
        ("LABEL_0", "positive"),
        ("positive", "positive"),
        ("0", "1"),
        ("negative (id 0)", "positive (id 2)"),
    ],
)
def test_other_names_are_refused_with_both_lists(names):
    with pytest.raises(ValueError, match=r"sst2's labels negative, positive: give --labels") as e:
        label_order(SST2, names)
    assert ", ".join(names) in str(e.value)
    assert "\n" not in str(e.value)


def test_label_counts_and_overrides_that_do_not_fit():
    with pytest.raises(ValueError, match="has 3 outputs, sst2 needs 2"):
        label_order(SST2, ("a", "b", "c"))
    with pytest.raises(ValueError, match="has 2 outputs, stsb needs 1"):
        label_order(find_task("stsb"), ("a", "b"))
    with pytest.raises(ValueError, match="stsb has none, leave them out"):
        label_order(find_task("stsb"), ("a",), ("b",))
    with pytest.raises(ValueError, match="labels negative,negative are not sst2's"):
        label_order(SST2, ("a", "b"), ("negative", "negative"))


def write_named(folder, names, task="sst2", file="validation"):
    """A split whose file names its label ids, as `datasets` does."""
    text = {field: [f"{i}" for i in range(4)] for field in find_task(task).fields}
    features = {"label": {"names": names, "_type": "ClassLabel"}}
    table = pa.table({**text, "label": [0, 1, 1, 0]})
    kept = json.dumps({"info": {"features": features}})
    (folder / task).mkdir(parents=True, exist_ok=True)
    pq.write_table(
        table.replace_schema_metadata({"huggingface": kept}), folder / task / f"{file}.parquet"
    )
    return folder


@pytest.mark.parametrize(
    "names",
    [["negative", "positive"], ["Negative", "POSITIVE"], ["0", "1"], ["LABEL_0", "LABEL_1"], None],
)
def test_a_file_that_agrees_or_says_nothing_is_read(tmp_path, names):
    named = data.read_split(SST2, write_named(tmp_path, names))
    pq.write_table(
        pq.read_table(tmp_path / "sst2" / "validation.parquet").replace_schema_metadata(None),
        tmp_path / "sst2" / "validation.parquet",
    )
    assert named.digest(128) == data.read_split(SST2, tmp_path).digest(128)


@pytest.mark.parametrize(
    ("task", "names", "fix"),
    [
        ("sst2", ["positive", "negative"], "bring them into GLUE's order"),
        ("sst2", ["neg", "pos"], "give a file of the task"),
        ("sst2", ["1", "0"], "give a file of the task"),
        ("rte", ["not_entailment", "entailment"], "bring them into GLUE's order"),
        ("stsb", ["low", "high"], "give a file of the task"),
    ],
)
def test_a_file_with_other_names_is_refused(tmp_path, task, names, fix):
    with pytest.raises(ValueError, match=fix) as refused:
        data.read_split(find_task(task), write_named(tmp_path, names, task))
    assert f"labels are named {', '.join(names)} in the file" in str(refused.value)


def test_every_shard_is_asked(tmp_path):
    write_named(tmp_path, ["negative", "positive"], file="validation-00000-of-00002")
    write_named(tmp_path, ["positive", "negative"], file="validation-00001-of-00002")
    with pytest.raises(ValueError, match=r"00001-of-00002\.parquet: labels are named positive"):
        data.read_split(SST2, tmp_path)


def answers_of(labels, right, classes, seed=0):
    """Answers of which a share is right and the others are any class."""
    rng = np.random.default_rng(seed)
    guessed = rng.integers(0, classes, len(labels))
    return np.where(rng.random(len(labels)) < right, labels, guessed)


def labels_of(classes, n, seed=1):
    return np.random.default_rng(seed).integers(0, classes, n)


@pytest.mark.parametrize("meant", list(permutations(range(3)))[1:])
def test_three_permuted_classes(meant):
    """Also two that are swapped, which leave the agreement near chance."""
    labels = labels_of(3, 900)
    read = np.array(meant)[answers_of(labels, 0.7, 3)]
    right = tuple(meant.index(label) for label in (2, 0, 1))
    names = ",".join(MNLI.labels[label] for label in right)
    with pytest.raises(ValueError, match=f"with --labels {names} ") as refused:
        check_answers(MNLI, (2, 0, 1), read, labels)
    assert f"(order={right} in Python)" in str(refused.value)
    assert "or --labels contradiction,entailment,neutral (order=(2, 0, 1))" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_two_swapped_classes():
    labels = labels_of(2, 300)
    read = 1 - answers_of(labels, 0.6, 2)
    now = np.sum(read == labels)
    with pytest.raises(ValueError, match=f"{now} of 300 .* {300 - now} with --labels positive,neg"):
        check_answers(SST2, (0, 1), read, labels)
    with pytest.raises(ValueError, match="with --labels negative,positive"):
        check_answers(SST2, (1, 0), read, labels)
    told = check_answers(find_task("wnli"), (0, 1), read, labels)
    assert told.startswith("labels are probably permuted")


@pytest.mark.parametrize(("task", "n"), [(SST2, 872), (MNLI, 2000)])
def test_no_alarm_at_chance_or_above(task, n):
    for seed in range(40):
        labels = labels_of(task.num_labels, n, seed)
        for right in (0.0, 0.1, 0.9, 1.0):
            read = answers_of(labels, right, task.num_labels, seed + 100)
            assert check_answers(task, tuple(range(task.num_labels)), read, labels) is None


@pytest.mark.parametrize("n", [2, 5, 12, 20])
def test_no_alarm_on_few_examples(n):
    labels = np.arange(n) % 2
    assert check_answers(SST2, (0, 1), 1 - labels, labels) is None


def test_no_alarm_where_rare_classes_alone_disagree():
    """All answers but one positive, all labels but one negative: nobody could say more of it."""
    labels = (np.arange(200) == 0).astype(int)
    assert check_answers(SST2, (0, 1), 1 - labels, labels) is None


def test_no_alarm_where_no_order_is_better():
    """Answers that are mostly positive, on labels that are: worse than by chance, yet right."""
    labels = (np.arange(1000) >= 300).astype(int)
    answers = (np.arange(1000) < 900).astype(int)
    assert check_answers(SST2, (0, 1), answers, labels) is None


def test_constant_answers_are_told():
    labels = labels_of(2, 50)
    told = check_answers(SST2, (0, 1), np.ones(50, int), labels)
    assert told.startswith("the model answers positive to all 50 examples")
    assert check_answers(SST2, (0, 1), np.ones(50, int), np.ones(50, int)) is None
    assert check_answers(SST2, (0, 1), np.full(50, -1), labels) is None  # no number at all
    assert check_answers(SST2, (0, 1), np.ones(49, int), labels[:49]) is None  # too few to tell
    assert check_answers(find_task("stsb"), (0,), np.ones(50), labels) is None


def test_chance_is_counted_exactly():
    total, drawn, marked = 30, 12, 17
    ways = [math.comb(marked, j) * math.comb(total - marked, drawn - j) for j in range(drawn + 1)]
    for hits in range(6):
        expected = sum(ways[: hits + 1]) / math.comb(total, drawn)
        assert _at_most(hits, drawn, marked, total) == pytest.approx(expected, rel=1e-9)
    assert _at_most(7, drawn, marked, total) == 1  # 6.8 are expected
    assert _at_most(0, 1, 1, 400_000) == pytest.approx(1 - 1 / 400_000)
    assert _at_most(5, 7, 8, 10) == pytest.approx(7 / 15)  # fewer than 5 cannot be
