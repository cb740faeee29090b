"""A CSV with three labels from the command line: trained, swept, one chip looked at."""

import csv
import dataclasses
import json

import pytest
import tiny
import unoptimised

from rerax.campaign import store
from rerax.cli import main
from rerax.models.bert import convert

KINDS = ("bug", "praise", "question")
TASK = ("--task", "tickets", "--metric", "macro_f1", "--max-length", "24", "--quiet")
COLUMNS = ("--text", "said", "--text-pair", "about", "--label", "kind")


@pytest.fixture(scope="module", autouse=True)
def _unoptimised():
    with pytest.MonkeyPatch.context() as patch:
        unoptimised.use(patch)
        yield


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tickets")
    for split, n in (("train", 12), ("validation", 9)):
        with (folder / f"{split}.csv").open("w", newline="", encoding="utf-8") as file:
            rows = csv.writer(file)
            rows.writerow(("kind", "said", "about"))
            rows.writerows((KINDS[i % 3], f"w{i + 5} w{i + 6}", f"w{5 + i % 3}") for i in range(n))
    return folder


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """A model of two outputs, so that a head for three is drawn."""
    config = dataclasses.replace(tiny.CONFIG, num_hidden_layers=1)
    return tiny.write_model(tmp_path_factory.mktemp("start"), config)


@pytest.fixture(scope="module")
def model(data, start, tmp_path_factory):
    out = tmp_path_factory.mktemp("trained") / "model"
    recipe = ("--epochs", "1", "--batch", "4", "--lr", "1e-3", "--out", str(out))
    given = ("--model", str(start), "--data", str(data), *COLUMNS, *TASK)
    assert main(["train", *given, *recipe]) == 0
    return out


def test_train_sweep_and_one_chip(data, model, tmp_path, capsys):
    assert convert.read_config(model).labels == KINDS
    out = tmp_path / "rows"
    asked = ("--rates", "0.3", "--chips", "2", "--matrices", "classifier", "--out", str(out))
    given = ("--model", str(model), "--data", str(data), *COLUMNS, *TASK)
    assert main(["sweep", *given, *asked]) == 0
    rows = store.read_rows(out).to_pylist()
    assert {row["task"] for row in rows} == {"tickets:macro_f1"}
    assert all(row["score"] == row["macro_f1"] is not None for row in rows)
    assert all(row["f1"] is None for row in rows)
    point = rows[0]["point_hash"]
    capsys.readouterr()
    assert main(["chip", str(out), "--point", point, "--chip", "1", "--worst", "0", "--quiet"]) == 0
    assert "tickets:macro_f1" in capsys.readouterr().out
    assert main(["report", str(out)]) == 0


def test_labels_of_the_model_go_by_name_and_an_order_may_be_given(data, model, tmp_path):
    """Outputs in another order answer the same; unknown names are the data's own numbers."""
    config = json.loads((model / convert.CONFIG).read_text())
    assert config["id2label"] == dict(zip("012", KINDS, strict=True))
    out = tmp_path / "rows"
    given = ("--model", str(model), "--data", str(data), *COLUMNS, *TASK, "--out", str(out))
    asked = ("--rates", "0", "--chips", "1", "--labels", "praise,bug,question")
    assert main(["sweep", *given, *asked]) == 0
    (other,) = store.read_rows(out).to_pylist()
    assert other["accuracy"] in (0, 1 / 3, 2 / 3, 1)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("--text", "body"), "has no column body but kind, said, about: name them with --text"),
        (("--metric", "f1"), "metric f1 is that of the second of two labels, and there are 3"),
        (("--metric", "bleu"), "unknown metric 'bleu'"),
        (("--metric", "pearson_spearman"), "is for numbers, and there are 3 labels"),
        (("--labels", "a,b,c"), "label 'bug', 'praise', 'question' is none of a, b, c"),
        (("--split", "dev"), "has no dev.csv, .tsv, .jsonl or .parquet, but train.csv, valid"),
        (("--task", "sst2"), "sst2 is GLUE's and has its own score"),
    ],
)
def test_bad_input(given, said, data, model, tmp_path, capsys):
    out = tmp_path / "rows"
    usual = ("--model", str(model), "--data", str(data), *COLUMNS, *TASK, "--out", str(out))
    assert main(["sweep", *usual, *given]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: ")
    assert said in error
    assert not out.exists()


def test_a_file_that_has_changed_is_read_again(data, model, tmp_path, capsys):
    file, out = tmp_path / "some.csv", tmp_path / "rows"
    file.write_text((data / "validation.csv").read_text())
    given = ("--model", str(model), "--data", str(file), *COLUMNS, *TASK, "--out", str(out))
    asked = ("--rates", "0", "--chips", "1")
    assert main(["sweep", *given, *asked]) == 0
    assert main(["sweep", *given, *asked]) == 0
    file.write_text(file.read_text().replace("bug", "praise"))
    assert main(["sweep", *given, *asked]) == 2
    assert "holds another campaign (data_hash of tickets:macro_f1" in capsys.readouterr().err


@pytest.mark.filterwarnings("default")
def test_f1_is_of_the_models_second_label_in_training_as_in_a_sweep(tmp_path, capsys):
    """A model whose outputs are in another order than the alphabet's keeps them, and says so."""
    config = dataclasses.replace(tiny.CONFIG, num_hidden_layers=1, labels=("yes", "no"))
    start = tiny.write_model(tmp_path / "start", config)
    for split in ("train", "validation"):
        lines = [f"w{5 + i % 3} w{i + 5},{('no', 'yes')[i % 2]}" for i in range(8)]
        (tmp_path / f"{split}.csv").write_text("\n".join(["text,label", *lines]) + "\n")
    given = ("--task", "t", "--metric", "f1", "--data", str(tmp_path), "--max-length", "24")
    trained, rows = tmp_path / "trained", tmp_path / "rows"
    recipe = ("--steps", "1", "--batch", "4", "--out", str(trained))
    assert main(["train", "--model", str(start), *recipe, *given]) == 0
    told = float(capsys.readouterr().out.split("now ")[1].split(" %")[0])
    assert convert.read_config(trained).labels == ("yes", "no")
    asked = ("--rates", "0", "--chips", "1", "--out", str(rows))
    assert main(["sweep", "--model", str(trained), *asked, *given]) == 0
    assert "warning: t:f1 of trained is the F1 of label 'no'" in capsys.readouterr().err
    (row,) = store.read_rows(rows).to_pylist()
    assert row["float_score"] == pytest.approx(told / 100, abs=1e-4)


def test_training_needs_two_files(data, start, tmp_path, capsys):
    out = tmp_path / "model"
    given = ("--model", str(start), "--data", str(data / "train.csv"), "--out", str(out))
    assert main(["train", *given, *COLUMNS, *TASK]) == 2
    assert "train.csv is one file: give a folder with train.csv" in capsys.readouterr().err
    assert not out.exists()
