"""Folders that other tools wrote: what is read, and what is refused with the right advice."""

import json

import numpy as np
import pytest
import tiny
from safetensors.numpy import load_file, save_file

from rerax.models.bert import convert


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    convert.save(folder, tiny.CONFIG, tiny.random_params())
    return load_file(folder / "model.safetensors"), json.loads((folder / "config.json").read_text())


@pytest.fixture
def write(written, tmp_path):
    """Write the model with its tensors and its config changed."""
    tensors, config = written

    def make(tensors=tensors, config=config):
        save_file(tensors, tmp_path / "model.safetensors")
        text = config if isinstance(config, str) else json.dumps(config)
        (tmp_path / "config.json").write_text(text)
        return tmp_path

    return make


def assert_read(folder, written):
    tensors, _ = written
    params = convert.load(folder)[1]
    first = tensors["bert.encoder.layer.0.attention.self.query.weight"]
    np.testing.assert_array_equal(params["encoder"]["query"]["kernel"][0], first.T)
    norm = tensors["bert.embeddings.LayerNorm.weight"]
    np.testing.assert_array_equal(params["embeddings"]["norm"]["scale"], norm)
    bias = tensors["bert.encoder.layer.1.output.LayerNorm.bias"]
    np.testing.assert_array_equal(params["encoder"]["ffn_norm"]["bias"][1], bias)


@pytest.mark.parametrize(
    "wrapper", ["module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module."]
)
def test_names_of_wrappers_are_taken_off(write, written, wrapper):
    assert_read(write({wrapper + name: a for name, a in written[0].items()}), written)
    bare = {wrapper + name.removeprefix("bert."): a for name, a in written[0].items()}
    assert_read(write(bare), written)


def test_norms_of_older_files_are_read(write, written):
    old = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
            "LayerNorm.bias", "LayerNorm.beta"
        ): a
        for name, a in written[0].items()
    }
    assert "bert.embeddings.LayerNorm.gamma" in old
    assert_read(write(old), written)


@pytest.mark.parametrize(
    ("endings", "said"),
    [
        (("weight_orig", "weight_mask"), "torch.nn.utils.prune keeps apart from its mask"),
        (("weight", "mask_scores"), "score of movement pruning, whose mask is not applied"),
        (("parametrizations.weight.original",), "part of a weight that torch.nn.utils.parametrize"),
    ],
)
def test_pruning_that_is_not_applied_is_named(write, written, endings, said):
    """Advice to remove the masks would score the unpruned weights."""
    base = "bert.encoder.layer.0.output.dense"
    tensors = {name: a for name, a in written[0].items() if name != f"{base}.weight"}
    for ending in endings:
        tensors[f"{base}.{ending}"] = written[0][f"{base}.weight"]
    with pytest.raises(ValueError, match=said) as error:
        convert.load(write(tensors))
    assert "save the model again" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_tensor_given_twice_is_refused(write, written):
    name = "bert.pooler.dense.bias"
    twice = {**written[0], "pooler.dense.bias": written[0][name]}
    with pytest.raises(ValueError, match="are one and the same of the model: remove one"):
        convert.load(write(twice))


@pytest.mark.parametrize(
    ("index", "said"),
    [
        ({"weight_map": {"a": "../other/model.safetensors"}}, "lies outside the model's folder"),
        ({"weight_map": {"a": "/etc/passwd"}}, "lies outside the model's folder"),
        ({"weight_map": {}}, "names no file"),
        *(
            (wrong, "is no shard index: fetch it again")
            for wrong in (
                [],
                None,
                3,
                "x",
                {},
                {"weight_map": None},
                {"weight_map": ["a"]},
                {"weight_map": {"a": 1}},
                {"weight_map": {"a": ["b"]}},
                {"weight_map": {"a": None}},
            )
        ),
    ],
)
def test_a_shard_index_of_another_shape(write, index, said):
    folder = write()
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ValueError, match=said):
        convert.load(folder)


@pytest.mark.parametrize("text", ["[" * 100_000, "1" * 5000, "{", '{"a": NaN', "\ufeff{}"])
def test_a_config_that_is_not_json(write, text):
    with pytest.raises(ValueError, match=r"config.json is not JSON \(.*: fetch it again"):
        convert.read_config(write(config=text))


@pytest.mark.parametrize(
    ("whole", "said"),
    [([], "a list"), (None, "nothing"), ("bert", "a text"), (3, "a number"), (True, "a truth")],
)
def test_a_config_without_fields(write, whole, said):
    with pytest.raises(ValueError, match=f"config.json holds {said}.* in place of named fields"):
        convert.read_config(write(config=json.dumps(whole)))


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        *(("hidden_act", v, "hidden_act .* is not supported") for v in (["gelu"], {}, 1, True)),
        *(("num_labels", v, "is no number of outputs") for v in ("3", [2], -1, True, 2.5, 10**9)),
        *(("hidden_size", v, "is no size") for v in ("30", 30.0, True, [30], 0)),
        *(("layer_norm_eps", v, "is out of range") for v in ("1e-12", -1, float("nan"), [1], True)),
        *(("hidden_dropout_prob", v, "is out of range") for v in ("0.1", 1, float("inf"))),
        *(("pad_token_id", v, "is no token") for v in ("0", -1, 50, 0.0, [0], True)),
        *(("architectures", v, "is no list of names") for v in ("Bert", [1], {"a": 1}, 3)),
        ("id2label", ["a", "b"], "pairs no ids with names"),
        ("id2label", "ab", "pairs no ids with names"),
        ("label2id", {"a": [1]}, "pairs no ids with names"),
        ("problem_type", ["single"], "is not supported"),
        ("is_decoder", "no", "is not supported"),
    ],
)
def test_a_field_of_another_kind(write, written, field, value, said):
    config = {**written[1], field: value}
    if field == "num_labels":
        del config["id2label"], config["label2id"]
    with pytest.raises(ValueError, match=said) as error:
        convert.read_config(write(config=config))
    assert "\n" not in str(error.value)
