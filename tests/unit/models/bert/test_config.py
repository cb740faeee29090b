"""config.json: which fields are read, which are refused, and what the outputs are called."""

import dataclasses

import pytest

from rerax.models.bert import config
from rerax.models.bert.config import BertConfig

SIZES = dict.fromkeys(config._SIZES, 4)
READ = {
    *(f.name for f in dataclasses.fields(BertConfig)),
    *("model_type", "architectures", "problem_type", "id2label", "label2id", "num_labels"),
}


def read(**fields):
    return BertConfig.from_json({"model_type": "bert", **SIZES, **fields})


def test_every_field_of_the_installed_transformers_is_judged():
    """A field that is new there may change answers: add it to the list that it belongs to."""
    from transformers import BertConfig as Theirs

    theirs = {f.name for f in dataclasses.fields(Theirs)} | set(Theirs().to_dict())
    judged = READ | set(config._UNSUPPORTED) | set(config.HARMLESS)
    assert theirs - judged == set()
    assert not READ & (set(config._UNSUPPORTED) | set(config.HARMLESS))


def test_defaults_are_those_of_transformers():
    from transformers import BertConfig as Theirs

    theirs = Theirs()
    for field in dataclasses.fields(BertConfig):
        if field.name not in ("labels", "embedding_size"):
            assert field.default == getattr(theirs, field.name), field.name


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"is_decoder": True}, "is_decoder True in config.json is not supported: give an encoder"),
        ({"add_cross_attention": True}, "add_cross_attention True"),
        ({"is_encoder_decoder": True}, "is_encoder_decoder True"),
        ({"pruned_heads": {"0": [1]}}, "pruned_heads .* give a model with all its heads"),
        ({"quantization_config": {"bits": 4}}, "quantization_config .* give float weights"),
        ({"per_layer_config": {"0": {}}}, "per_layer_config"),
        ({"position_embedding_type": "relative_key"}, "position_embedding_type 'relative_key'"),
        ({"architectures": ["BertForMultipleChoice"]}, "architectures 'BertForMultipleChoice'"),
        ({"problem_type": "multi_label_classification"}, "problem_type 'multi_label"),
        ({"problem_type": "regression"}, "problem_type 'regression' with 2 outputs"),
        (
            {"problem_type": "single_label_classification", "num_labels": 1},
            "with 1 outputs .* trained for 'regression'",
        ),
        ({"hidden_act": "silu"}, "hidden_act 'silu' is not supported"),
        ({"hidden_act": "gelu_10"}, "hidden_act 'gelu_10' is not supported"),
        ({"id2label": ["a", "b"]}, r"id2label \['a', 'b'\] in config.json pairs no ids"),
        ({"id2label": {"a": "b"}}, "id2label .* pairs no ids with names"),
        ({"label2id": {"a": None}}, "label2id .* pairs no ids with names"),
    ],
)
def test_what_would_change_the_answers_is_refused(fields, said):
    with pytest.raises(ValueError, match=said) as refused:
        read(**fields)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "fields",
    [
        {"is_decoder": False, "add_cross_attention": None, "pruned_heads": {}},
        {"problem_type": "single_label_classification"},
        {"problem_type": "regression", "num_labels": 1},
        {"architectures": ["BertForMaskedLM"]},
        {"chunk_size_feed_forward": 8, "classifier_dropout": 0.3, "a_field_of_tomorrow": 1},
    ],
)
def test_what_changes_none_is_read(fields):
    assert read(**fields).num_labels == fields.get("num_labels", 2)


@pytest.mark.parametrize(
    ("given", "same"),
    [
        ("gelu_python", "gelu"),
        ("gelu_fast", "gelu_new"),
        ("gelu_pytorch_tanh", "gelu_new"),
        ("gelu_python_tanh", "gelu_new"),
        ("gelu_accurate", "gelu_new"),
    ],
)
def test_other_names_of_the_same_activation(given, same):
    assert read(hidden_act=given).hidden_act == same


GOOD = {"0": "negative", "1": "positive"}


@pytest.mark.parametrize(
    ("fields", "labels"),
    [
        ({}, ("LABEL_0", "LABEL_1")),
        ({"num_labels": 3}, ("LABEL_0", "LABEL_1", "LABEL_2")),
        ({"id2label": GOOD}, ("negative", "positive")),
        ({"id2label": {"1": "negative", "0": "positive"}}, ("positive", "negative")),
        ({"label2id": {"positive": 0, "negative": 1}}, ("positive", "negative")),
        # id2label decides, whatever else label2id names
        ({"id2label": GOOD, "label2id": {"LABEL_0": 0, "LABEL_1": 1}}, ("negative", "positive")),
        ({"id2label": GOOD, "label2id": {"LABEL_0": 1, "LABEL_1": 0}}, ("negative", "positive")),
        ({"id2label": GOOD, "label2id": {"b": 0, "a": 1, "c": 2}}, ("negative", "positive")),
        ({"id2label": GOOD, "label2id": {"NEGATIVE": 0, "POSITIVE": 1}}, ("negative", "positive")),
        # unless it says nothing
        (
            {
                "id2label": {"0": "LABEL_0", "1": "LABEL_1"},
                "label2id": {"positive": 0, "negative": 1},
            },
            ("positive", "negative"),
        ),
        (
            {"id2label": {"0": "LABEL_0", "1": "LABEL_1"}, "label2id": {"x": 0, "y": 1, "z": 2}},
            ("LABEL_0", "LABEL_1"),
        ),
        # names that both hold, each with another id
        (
            {"id2label": GOOD, "label2id": {"Negative": 1, "Positive": 0}},
            ("negative (id 1 in label2id)", "positive (id 0 in label2id)"),
        ),
        (
            {"id2label": GOOD, "label2id": {"negative": 0, "positive": 0}},
            ("negative", "positive (id 0 in label2id)"),
        ),
        # ids that are not 0, 1, ..
        ({"id2label": {"0": "negative", "2": "positive"}}, ("negative (id 0)", "positive (id 2)")),
        ({"label2id": {"negative": 1, "positive": 1}}, ("negative (id 1)", "positive (id 1)")),
    ],
)
def test_names_of_the_outputs(fields, labels):
    assert read(**fields).labels == labels
