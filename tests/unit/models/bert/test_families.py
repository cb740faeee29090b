"""Every family against committed numbers of transformers' PyTorch models, and its folders."""

import dataclasses
import itertools
import json

import jax
import numpy as np
import pytest
import tiny
from paths import GOLDEN
from safetensors.numpy import load_file, save_file

from rerax.models.bert import config, convert
from rerax.models.bert.config import BertConfig
from rerax.models.bert.families import FAMILIES
from rerax.models.bert.model import Bert, Embeddings

CASES = sorted(path.stem for path in (GOLDEN / "families").glob("*.npz"))


@pytest.mark.parametrize("case", CASES)
def test_equals_pytorch(case):
    config, params = convert.load(GOLDEN / "families" / case)
    golden = np.load(GOLDEN / "families" / f"{case}.npz")
    ids, mask = golden["ids"], golden["mask"].astype(bool)
    model = Bert(config)
    got = np.asarray(jax.jit(model.apply)({"params": params}, ids, np.zeros_like(ids), mask))
    np.testing.assert_allclose(got, golden["logits"], atol=1e-4)
    np.testing.assert_array_equal(got.argmax(-1), golden["logits"].argmax(-1))
    assert np.abs(golden["logits"]).max() > 0.05  # not a comparison of zeros


@pytest.mark.parametrize("family", FAMILIES)
def test_a_folder_holds_the_names_of_its_family(tmp_path, family):
    """Those that PyTorch's model of the golden folders wrote."""
    config = tiny.config_of(family)
    params = tiny.random_params(config)
    convert.save(tmp_path, config, params)
    again, read = convert.load(tmp_path)
    assert again == config
    flat, written = (dict(leaves(tree)) for tree in (params, read))
    assert flat.keys() == written.keys()
    for name, leaf in flat.items():
        np.testing.assert_array_equal(leaf, written[name], err_msg=name)
    (golden,) = [
        path.parent
        for path in sorted(GOLDEN.glob(f"*/*/{convert.CONFIG}"))
        if json.loads(path.read_text())["model_type"] == family
    ][:1]
    theirs, ours = (load_file(f / convert.WEIGHTS) for f in (golden, tmp_path))
    first = {name for name in ours if ".2." not in name}  # golden models have two layers
    assert first == set(theirs)


def leaves(tree, path=""):
    for name, part in tree.items():
        if isinstance(part, dict):
            yield from leaves(part, f"{path}/{name}")
        else:
            yield f"{path}/{name}", part


@pytest.mark.parametrize("family", FAMILIES)
def test_a_pretrained_model_is_read_without_its_own_head(tmp_path, family):
    config = tiny.config_of(family)
    what = config.family
    convert.save(tmp_path, config, tiny.random_params(config))
    tensors = load_file(tmp_path / convert.WEIGHTS)
    plain = {n: a for n, a in tensors.items() if not n.startswith(tuple(what.head))}
    other = {what.prefix + start + "x": np.zeros(3, np.float32) for start in what.ignored}
    save_file(plain | other, tmp_path / convert.WEIGHTS)
    assert convert.load(tmp_path)[1]["head"] == {}


@pytest.mark.parametrize("kind", ["bart", "xlm-roberta", None, 3, ["bert"]])
def test_another_architecture_is_refused_with_those_that_are_not(kind):
    fields = {"model_type": kind, "hidden_size": 4}
    known = " or ".join(FAMILIES)
    with pytest.raises(ValueError, match=f"is not supported: give a model of type {known}$"):
        BertConfig.from_json(fields)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("head", ["MultipleChoice", "TokenClassification"])
def test_other_heads_are_refused(family, head):
    config = tiny.config_of(family)
    stem = config.family.architecture.removesuffix("ForSequenceClassification")
    fields = config.to_json() | {"architectures": [f"{stem}For{head}"]}
    with pytest.raises(ValueError, match=f"For{head}.* give a {config.family.architecture}"):
        BertConfig.from_json(fields)


def test_positions_of_a_roberta_begin_behind_its_padding():
    config = tiny.config_of("roberta")
    assert config.positions == config.max_position_embeddings - 2
    assert tiny.CONFIG.positions == tiny.CONFIG.max_position_embeddings
    with pytest.raises(ValueError, match="max_position_embeddings 2 leaves no position"):
        dataclasses.replace(config, max_position_embeddings=2)


@pytest.mark.parametrize("family", ["bert", "roberta"])
def test_sentences_of_a_row_count_their_own_positions(family):
    """Also where a sentence has a padding token within, which RoBERTa does not count."""
    config = tiny.config_of(family)
    pad = config.pad_token_id
    sentences = [[5, 9, 7], [6, pad, 8, 4], [3]]
    row = np.array([[*itertools.chain(*sentences), pad, pad]], np.int32)
    places = np.array([[0, 1, 2, 0, 1, 2, 3, 0, 0, 0]], np.int32)
    params = {"params": tiny.random_params(config)["embeddings"]}
    embed = jax.jit(Embeddings(config).apply)
    alone = [embed(params, np.array([ids], np.int32), np.zeros((1, len(ids)), np.int32))[0]
             for ids in sentences]  # fmt: skip
    found = embed(params, row, 0 * row, places)
    np.testing.assert_allclose(found[0, :8], np.concatenate(alone), atol=1e-6)


def test_the_identity_of_a_bert_does_not_name_its_family():
    """Campaigns of models in memory keep the hash that they had."""
    later = ("model_type", "embedding_size")
    before = {k: v for k, v in dataclasses.asdict(tiny.CONFIG).items() if k not in later}
    assert tiny.CONFIG.identity == before
    assert tiny.config_of("roberta").identity["model_type"] == "roberta"


@pytest.mark.parametrize("family", FAMILIES)
def test_every_field_of_the_installed_transformers_is_judged(family):
    """A field that is new there may change answers: add it to the list that it belongs to."""
    import transformers

    stem = FAMILIES[family].architecture.removesuffix("ForSequenceClassification")
    theirs = getattr(transformers, f"{stem}Config")().to_dict()
    told = ("model_type", "architectures", "problem_type", "id2label", "label2id", "num_labels")
    judged = {*told, *config._UNSUPPORTED, *config.HARMLESS}
    judged |= {*tiny.config_of(family).to_json()}
    assert set(theirs) - judged == set()


@pytest.mark.parametrize("family", FAMILIES)
def test_a_size_that_is_missing_is_named_as_its_file_would(family):
    name = FAMILIES[family].fields.get("hidden_size", "hidden_size")
    fields = tiny.config_of(family).to_json()
    del fields[name]
    with pytest.raises(ValueError, match=rf"config.json lacks {name}: add the sizes"):
        BertConfig.from_json(fields)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model_type": "distilbert"}, "type_vocab_size 2: DistilBERT has no segments, give 0"),
        ({"embedding_size": 4}, "embedding_size 4 is no size: BERT has none"),
        ({"model_type": "electra", "embedding_size": 0}, "embedding_size 0 .* whole number >= 1"),
    ],
)
def test_sizes_that_a_family_does_not_have(changes, said):
    with pytest.raises(ValueError, match=said):
        dataclasses.replace(tiny.CONFIG, **changes)


def test_an_electra_whose_tables_are_as_wide_as_its_layers_has_no_projection(tmp_path):
    wide = dataclasses.replace(tiny.config_of("electra"), embedding_size=30)
    params = tiny.random_params(wide)
    assert "projection" not in params["embeddings"]
    convert.save(tmp_path, wide, params)
    assert convert.load(tmp_path)[0] == wide
