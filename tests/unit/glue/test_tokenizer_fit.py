"""Tokenizers of every family: the tokens of transformers, and those of others refused."""

import shutil

import numpy as np
import pytest
import tiny

from rerax.glue import data
from rerax.glue.tokenizer_fit import check_fit
from rerax.models.bert import convert
from rerax.models.bert.families import FAMILIES

SENTENCES = ("w17 w8 w41", "w5", " w22  w10w01 w<pad>", "w49 ' w7")


@pytest.fixture
def roberta(tmp_path):
    return tiny.write_model(tmp_path / "roberta", tiny.config_of("roberta"))


@pytest.fixture
def bert(tmp_path):
    return tiny.write_model(tmp_path / "bert")


def tokens_of(folder, fields=1):
    split = data.Split((SENTENCES,) * fields, np.zeros(4, np.int32), ())
    config = convert.read_config(folder)
    return data.tokenise(
        split,
        data.load_tokenizer(folder),
        max_length=30,
        positions=config.positions,
        vocab_size=config.vocab_size,
    )


@pytest.mark.parametrize("fields", [1, 2])
@pytest.mark.parametrize("whole", [False, True], ids=["two files", "tokenizer.json"])
def test_byte_pairs_are_those_of_transformers(roberta, tmp_path, fields, whole):
    from transformers import AutoTokenizer

    theirs = AutoTokenizer.from_pretrained(roberta)
    if whole:
        for name in convert.BYTE_PAIR_FILES:
            (roberta / name).unlink()
        theirs.save_pretrained(roberta)
    got = tokens_of(roberta, fields)
    for row, types, sentence in zip(got.ids, got.types, SENTENCES, strict=True):
        assert row.tolist() == theirs(*[sentence] * fields)["input_ids"]
        assert not types.any()
    assert got.ids[1].tolist()[:3] == [0, 5, 11]  # <s> w 5, without a space before it
    assert len(set(got.ids[2].tolist())) > 5


def test_positions_bound_the_length(roberta):
    with pytest.raises(ValueError, match=r"max-length 39 is outside 4..38, the model's positions"):
        data.check_length(39, convert.read_config(roberta).positions)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_familys_own_tokenizer_fits(tmp_path, family):
    config = tiny.config_of(family)
    folder = tiny.write_model(tmp_path / family, config)
    check_fit(folder, data.load_tokenizer(folder), config)


def give_tokenizer(source, target):
    for name in (*convert.TOKENIZER_FILES, *convert.BYTE_PAIR_FILES):
        (target / name).unlink(missing_ok=True)
        if (source / name).is_file():
            shutil.copyfile(source / name, target / name)


@pytest.mark.parametrize("with_class", [True, False])
@pytest.mark.parametrize("family", ["bert", "roberta"])
def test_a_tokenizer_of_another_family_is_refused(roberta, bert, family, with_class):
    from transformers import AutoTokenizer

    AutoTokenizer.from_pretrained(roberta).save_pretrained(roberta)
    source, target = (roberta, bert) if family == "bert" else (bert, roberta)
    give_tokenizer(source, target)
    if not with_class:
        (target / "tokenizer_config.json").unlink(missing_ok=True)
    with pytest.raises(ValueError, match="put the model's own tokenizer there") as error:
        check_fit(target, data.load_tokenizer(target), convert.read_config(target))
    assert "\n" not in str(error.value)


def test_a_vocabulary_that_the_class_is_not_read_from_is_refused(roberta, bert):
    """transformers would make a tokenizer of a handful of tokens of it."""
    for name in convert.TOKENIZER_FILES:
        (bert / name).unlink(missing_ok=True)
    for name in convert.BYTE_PAIR_FILES:
        shutil.copyfile(roberta / name, bert / name)
    with pytest.raises(ValueError, match=r"has no vocab.txt, which a BertTokenizer is read from"):
        data.load_tokenizer(bert)
    (roberta / "merges.txt").unlink()
    with pytest.raises(ValueError, match="a tokenizer that cannot be read"):
        data.load_tokenizer(roberta)


def test_a_tokenizer_that_runs_in_python_is_refused(bert, monkeypatch):
    import transformers

    class Slow:
        pass

    monkeypatch.setattr(transformers.AutoTokenizer, "from_pretrained", lambda _: Slow())
    with pytest.raises(ValueError, match=r"\(Slow\): only those of a tokenizer.json are supported"):
        data.load_tokenizer(bert)
