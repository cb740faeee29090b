"""Hugging Face directories: every form that is read, and the round trip."""

import json

import ml_dtypes
import numpy as np
import pytest
import tiny
from safetensors.numpy import load_file, save_file

from rerax.models.bert import convert


@pytest.fixture
def folder(tmp_path):
    convert.save(tmp_path / "m", tiny.CONFIG, tiny.random_params())
    return tmp_path / "m"


def leaves_of(tree, path=""):
    if isinstance(tree, dict):
        return {k: v for n, t in tree.items() for k, v in leaves_of(t, f"{path}/{n}").items()}
    return {path: tree}


def assert_same(a, b, rtol=0.0, atol=0.0):
    a, b = leaves_of(a), leaves_of(b)
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_allclose(a[name], b[name], rtol=rtol, atol=atol, err_msg=name)


def rewrite(folder, change):
    tensors = change(load_file(folder / "model.safetensors"))
    save_file(tensors, folder / "model.safetensors")


def test_round_trip_is_bit_equal(folder):
    config, params = convert.load(folder)
    assert config == tiny.CONFIG
    assert_same(params, tiny.random_params())


def test_a_model_is_saved_where_it_was_loaded_from(folder):
    tiny.write_tokenizer(folder, tiny.CONFIG.vocab_size)
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    convert.save(folder, *convert.load(folder), source=folder)
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before


def test_no_tokenizer_of_another_model_stays(folder, tmp_path):
    tiny.write_tokenizer(tmp_path / "source", tiny.CONFIG.vocab_size)
    for name in ("merges.txt", "tokenizer.json"):
        (folder / name).write_text("stale")
    convert.save(folder, *convert.load(folder), source=tmp_path / "source")
    copied = {file.name for file in (tmp_path / "source").iterdir()}
    assert {file.name for file in folder.iterdir()} == copied | {"config.json", "model.safetensors"}


@pytest.mark.parametrize(
    ("section", "kind", "leaf", "value", "said"),
    [
        (
            "embeddings",
            "norm",
            "scale",
            np.ones(3),
            r"norm/scale has shape \(3,\), the config ",
        ),
        ("encoder", "query", "bias", np.full((3, 30), np.nan), "query/bias has NaN or infinite"),
        ("encoder", "query", "kernel", np.ones((4, 30, 30)), r"shape \(4, 30, 30\), the config as"),
        ("embeddings", "norm", None, None, "params/embeddings/norm is missing: give parameters"),
        ("encoder", "query", "bias", None, "params/encoder/query has kernel: give bias and kernel"),
        (None, None, None, None, "params/embeddings/.* is missing: give parameters as rerax.load"),
    ],
)
def test_what_cannot_be_loaded_again_is_not_saved(tmp_path, section, kind, leaf, value, said):
    params = tiny.random_params()
    if section is None:
        params = {"params": params}
    elif leaf is None:
        del params[section][kind]
    elif value is None:
        del params[section][kind][leaf]
    else:
        params[section][kind][leaf] = value
    with pytest.raises(ValueError, match=said):
        convert.save(tmp_path / "m", tiny.CONFIG, params)
    assert not (tmp_path / "m").exists()


def test_places_that_are_none_are_refused_in_a_line(folder):
    with pytest.raises(ValueError, match="is in the home of nobody here: give the whole path"):
        convert.locate("~nobody-of-that-name/model")
    with pytest.raises(ValueError, match=r"config.json has no config.json: give a Hugging Face fo"):
        convert.load(folder / "config.json")
    with pytest.raises(ValueError, match="source nosuch/model is no folder: give the one whose"):
        convert.save(folder / "new", tiny.CONFIG, tiny.random_params(), source="nosuch/model")
    assert not (folder / "new").exists()
    with pytest.raises(OSError, match=r"config\.json"):
        convert.save(folder / "config.json", tiny.CONFIG, tiny.random_params())


def test_without_prefix(folder):
    rewrite(folder, lambda t: {n.removeprefix("bert."): a for n, a in t.items()})
    assert_same(convert.load(folder)[1], tiny.random_params())


def test_without_pooler_or_head(folder):
    rewrite(folder, lambda t: {n: a for n, a in t.items() if "classifier" not in n})
    assert set(convert.load(folder)[1]["head"]) == {"pooler"}
    rewrite(folder, lambda t: {n: a for n, a in t.items() if "pooler" not in n})
    assert convert.load(folder)[1]["head"] == {}


@pytest.mark.parametrize(
    ("dtype", "rtol"), [(np.float16, 1e-3), (ml_dtypes.bfloat16, 1e-2)], ids=["f16", "bf16"]
)
def test_half_widths(folder, dtype, rtol):
    rewrite(folder, lambda t: {n: a.astype(dtype) for n, a in t.items()})
    params = convert.load(folder)[1]
    expected = {
        n: a.astype(dtype).astype(np.float32) for n, a in leaves_of(tiny.random_params()).items()
    }
    for name, leaf in leaves_of(params).items():
        assert leaf.dtype == np.float32
        np.testing.assert_array_equal(leaf, expected[name])
    assert_same(params, tiny.random_params(), rtol, 1e-7)  # half floats end at 6e-8


def test_shards(folder):
    tensors = load_file(folder / "model.safetensors")
    names = sorted(tensors)
    index = {}
    for i, part in enumerate((names[::2], names[1::2])):
        file = f"model-{i}.safetensors"
        save_file({n: tensors[n] for n in part}, folder / file)
        index |= dict.fromkeys(part, file)
    (folder / "model.safetensors").unlink()
    (folder / convert.INDEX).write_text(json.dumps({"weight_map": index}))
    assert_same(convert.load(folder)[1], tiny.random_params())
    (folder / "model-1.safetensors").unlink()
    with pytest.raises(ValueError, match="in the shard index but not there"):
        convert.load(folder)


def test_pretraining_heads_are_left_out(folder):
    extra = {"cls.predictions.bias": np.zeros(50), "bert.embeddings.position_ids": np.arange(40)}
    rewrite(folder, lambda t: t | extra)
    assert_same(convert.load(folder)[1], tiny.random_params())


def test_labels_come_in_the_order_of_the_outputs(folder):
    fields = json.loads((folder / "config.json").read_text())
    fields["id2label"] = {"1": "b", "0": "a", "2": "c"}
    (folder / "config.json").write_text(json.dumps(fields))
    assert convert.read_config(folder).labels == ("a", "b", "c")
    with pytest.raises(ValueError, match=r"'classifier.weight' has shape \(2, 30\)"):
        convert.load(folder)


@pytest.mark.parametrize("name", ["adapter_config.json", "adapter_model.safetensors"])
def test_an_adapter_is_not_left_out_in_silence(tmp_path, name):
    (tmp_path / name).write_text("{}")
    with pytest.raises(ValueError, match=rf"{name} would be left out: merge the adapter"):
        convert.read_config(tmp_path)


def test_locate(tmp_path, monkeypatch):
    assert convert.locate(tmp_path) == tmp_path
    for name in ("./absent", "/absent/model", "a/b/c"):
        with pytest.raises(ValueError, match="is not a directory"):
            convert.locate(name)
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda name, **_: str(tmp_path))
    assert convert.locate("owner/model") == tmp_path
