"""A model of each family from the command line: trained, swept, one chip written again."""

import dataclasses
import json

import numpy as np
import pytest
import tiny
import unoptimised
from safetensors.numpy import load_file

from rerax.campaign import store
from rerax.cli import main
from rerax.models.bert import convert
from rerax.models.bert.folder import load_model

FARTHEST = ("roberta", "albert")
"""Of the families those whose tokens, positions or layers are least like BERT's."""


@pytest.fixture(scope="module", autouse=True)
def _unoptimised():
    with pytest.MonkeyPatch.context() as patch:
        unoptimised.use(patch)
        yield


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("glue")
    tiny.write_sst2(folder, 12, words=(5,))
    return tiny.write_sst2(folder, 8, seed=1, split="train", words=(5,))


@pytest.mark.parametrize("family", FARTHEST)
def test_train_sweep_and_one_chip(family, data, tmp_path, capsys):
    config = dataclasses.replace(tiny.config_of(family), num_hidden_layers=1)
    model = tiny.write_model(tmp_path / "model", config)
    before = load_file(model / convert.WEIGHTS)
    given = ("--task", "sst2", "--data", str(data), "--max-length", "24", "--quiet")
    trained, rows, chip = (tmp_path / name for name in ("trained", "rows", "chip"))
    recipe = ("--epochs", "1", "--batch", "4", "--lr", "1e-3", "--sparsity", "0.4")
    assert main(["train", "--model", str(model), "--out", str(trained), *recipe, *given]) == 0
    after = load_file(trained / convert.WEIGHTS)
    assert after.keys() == before.keys()
    assert any((after[name] != before[name]).any() for name in before)
    assert load_model(trained).gates
    kind = json.loads((trained / convert.CONFIG).read_text())["model_type"]
    assert kind == family
    for name in (*convert.TOKENIZER_FILES, *convert.BYTE_PAIR_FILES):
        assert (trained / name).is_file() == (model / name).is_file()

    asked = ("--matrices", "classifier", "--rates", "0.1", "--chips", "2", "--sa1-share", "0.5")
    assert main(["sweep", "--model", str(trained), "--out", str(rows), *asked, *given]) == 0
    table = store.read_rows(rows)
    assert (np.array(table["stuck_at_0"]) > 0).all()
    point = table["point_hash"][0].as_py()
    one = ("--point", point, "--chip", "1", "--worst", "0", "--save", str(chip), "--quiet")
    assert main(["chip", str(rows), *one]) == 0
    config, params = convert.load(chip)
    assert config == convert.read_config(trained)
    kept = convert.load(trained)[1]
    for section, name, changed in (
        ("encoder", "query", False),
        ("head", "pooler", False),
        ("head", "classifier", True),
    ):
        leaves = (params[section][name]["kernel"], kept[section][name]["kernel"])
        assert (leaves[0] != leaves[1]).any() == changed
    capsys.readouterr()


@pytest.mark.parametrize("teachers", ["bert", "roberta"])
def test_a_teacher_with_other_tokens_is_refused(teachers, data, tmp_path, capsys):
    student = "roberta" if teachers == "bert" else "distilbert"
    models = [tiny.write_model(tmp_path / f, tiny.config_of(f)) for f in (student, teachers)]
    given = ("--task", "sst2", "--data", str(data), "--out", str(tmp_path / "out"), "--quiet")
    given += ("--max-length", "24", "--model", str(models[0]), "--distil-from", str(models[1]))
    assert main(["train", *given]) == 2
    said = capsys.readouterr().err
    assert len(said.strip().splitlines()) == 1
    assert "distil from a model that has the student's tokenizer" in said
    assert not (tmp_path / "out").exists()
