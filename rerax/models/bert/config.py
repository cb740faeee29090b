"""Shape of a BERT or its kin, read from and written to Hugging Face's config.json. No JAX here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rerax.models.bert.families import FAMILIES, Family
from rerax.values import is_integer, is_real, read_whole

ACTIVATIONS = ("gelu", "gelu_new", "relu")
_SAME_ACTIVATION = {
    "gelu_python": "gelu",
    **dict.fromkeys(
        ("gelu_accurate", "gelu_fast", "gelu_python_tanh", "gelu_pytorch_tanh"), "gelu_new"
    ),
}
"""Other names of the same functions."""
_SIZES = (
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "max_position_embeddings",
    "type_vocab_size",  # last: a family may have no segments
)
_FRACTIONS = ("layer_norm_eps", "hidden_dropout_prob", "attention_probs_dropout_prob")
_UNSUPPORTED: dict[str, tuple[tuple[Any, ...], str]] = {
    "add_cross_attention": ((False,), "give a model without attention to another sequence"),
    "inner_group_num": ((1,), "give an ALBERT whose group is one layer"),
    "num_hidden_groups": ((1,), "give an ALBERT with one group of layers"),
    "is_decoder": ((False,), "give an encoder, where each token attends to all others"),
    "is_encoder_decoder": ((False,), "give an encoder alone"),
    "per_layer_config": (({},), "give a model whose layers are alike"),
    "position_embedding_type": (("absolute",), "use 'absolute'"),
    "pruned_heads": (({},), "give a model with all its heads"),
    "quantization_config": (({},), "give float weights"),
}
"""Fields that change a model's answers: the values that are right beside null, and the fix."""
HARMLESS = (
    # of pre-training, generation and decoders
    *("bos_token_id", "eos_token_id", "tie_word_embeddings", "use_cache"),
    # of training: new classifiers have a law of their own, and the dropout of hidden layers
    *(
        "classifier_dropout",
        "classifier_dropout_prob",
        "initializer_range",
        "seq_classif_dropout",
        "qa_dropout",
    ),
    # how tables began that the file holds
    "sinusoidal_pos_embds",
    # of another head than a sequence classifier's
    *("summary_type", "summary_use_proj", "summary_activation", "summary_last_dropout"),
    # how to compute the same numbers, and what to return beside them
    *("chunk_size_feed_forward", "output_attentions", "output_hidden_states", "return_dict"),
    # how weights are stored: they are read as the file has them and widened to float32
    *("dtype", "torch_dtype"),
    # where the file comes from and what wrote it
    *("_name_or_path", "transformers_version"),
)
"""Fields that change no answer of a classifier."""
MOST_LABELS = 1000
"""Outputs that a classifier may have; GLUE's have three at most."""


@dataclass(frozen=True)
class BertConfig:
    """Sizes and choices of one model, hashable so that it can be a static argument of `jit`.

    Names are Hugging Face's. `labels` holds the outputs' names in order; regression has one.
    Dropout is kept for training and for writing back. `model_type` is the family (`families`);
    `embedding_size` is the width of an ELECTRA's or ALBERT's tables, None where it is
    `hidden_size`; of an ALBERT `num_hidden_layers` counts the passes through its one layer.
    """

    vocab_size: int = 30522
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    hidden_act: str = "gelu"
    layer_norm_eps: float | int = 1e-12
    labels: tuple[str, ...] = ("LABEL_0", "LABEL_1")
    pad_token_id: int = 0
    hidden_dropout_prob: float | int = 0.1
    attention_probs_dropout_prob: float | int = 0.1
    model_type: str = "bert"
    embedding_size: int | None = None

    def __post_init__(self) -> None:
        _check_values(vars(self))

    @property
    def family(self) -> Family:
        """What is particular to models of this kind."""
        return FAMILIES[self.model_type]

    @property
    def positions(self) -> int:
        """Most tokens of an example."""
        taken = 0 if self.family.counts_padding else self.pad_token_id + 1
        return self.max_position_embeddings - taken

    @property
    def identity(self) -> dict[str, Any]:
        """What tells this shape from others: of a BERT, the fields that it always had."""
        told = (("model_type", "bert"), ("embedding_size", None))
        return {k: v for k, v in vars(self).items() if (k, v) not in told}

    @property
    def table_width(self) -> int:
        """Columns of the embedding tables."""
        return self.embedding_size or self.hidden_size

    @property
    def projects(self) -> bool:
        """Whether a projection widens the embeddings to the encoder's width."""
        return self.table_width != self.hidden_size or self.family.always_projects

    @property
    def layers(self) -> int:
        """Layers with weights of their own; `passes` of each make `num_hidden_layers`."""
        return 1 if self.family.shares_layers else self.num_hidden_layers

    @property
    def passes(self) -> int:
        """How often the stream goes through a layer before the next: 1 but for an ALBERT."""
        return self.num_hidden_layers // self.layers

    @property
    def num_labels(self) -> int:
        """Outputs of the classifier."""
        return len(self.labels)

    @property
    def matrix_shapes(self) -> dict[str, tuple[int, int, int]]:
        """Layers (1 outside the encoder), rows and columns of every matrix and table."""
        layers, d, f = self.layers, self.hidden_size, self.intermediate_size
        e = self.table_width
        square = dict.fromkeys(("query", "key", "value", "attention_output"), (layers, d, d))
        shapes = {
            **square,
            "ffn_in": (layers, d, f),
            "ffn_out": (layers, f, d),
            "pooler": (1, d, d),
            "classifier": (1, d, self.num_labels),
            "word_embeddings": (1, self.vocab_size, e),
            "position_embeddings": (1, self.max_position_embeddings, e),
            "token_type_embeddings": (1, self.type_vocab_size, e),
        }
        if not self.family.segments:
            del shapes["token_type_embeddings"]
        return shapes

    @classmethod
    def from_json(cls, fields: Any) -> "BertConfig":
        """Read the content of a config.json.

        Raises:
            ValueError: a model or an option that is not supported, or a size that is missing.
        """
        if not isinstance(fields, Mapping):
            raise ValueError(
                f"config.json holds {_a_kind(fields)} in place of named fields: fetch it again"
            )
        kind = fields.get("model_type")
        family = _family(kind)
        _check_supported(fields, family)
        fields = family.read_fields(fields)
        sizes = (*_SIZES, "embedding_size") if family.projects else _SIZES
        missing = [family.fields.get(name, name) for name in sizes if name not in fields]
        if missing:
            raise ValueError(f"config.json lacks {', '.join(missing)}: add the sizes of the model")
        held = {k: fields[k] for k in cls.__dataclass_fields__ if fields.get(k) is not None}
        known = {**family.defaults, **held}
        if not family.projects:
            known.pop("embedding_size", None)  # which transformers does not look at either
        act = known.get("hidden_act", cls.hidden_act)
        act = _SAME_ACTIVATION.get(act, act) if isinstance(act, str) else act
        labels = _output_names(fields)
        _check_problem(fields.get("problem_type"), len(labels))
        known |= {"hidden_act": act, "labels": labels}
        _check_values({name: known.get(name, vars(cls)[name]) for name in cls.__dataclass_fields__})
        return cls(**known)

    def to_json(self) -> dict[str, Any]:
        """Write the content of a config.json that transformers loads."""
        left_out = ("labels", "embedding_size")
        fields = {k: getattr(self, k) for k in self.__dataclass_fields__ if k not in left_out}
        if self.family.projects:
            fields["embedding_size"] = self.table_width
        return {
            "architectures": [self.family.architecture],
            "position_embedding_type": "absolute",
            **self.family.write_fields(fields),
            "id2label": {str(i): name for i, name in enumerate(self.labels)},
            "label2id": {name: i for i, name in enumerate(self.labels)},
        }


def _check_values(values: Mapping[str, Any]) -> None:
    """Refuse values that no model has, of whatever kind a file holds them.

    Raises:
        ValueError: the name, the value, the rule.
    """
    family = _family(values["model_type"])
    segments = values["type_vocab_size"]
    if not family.segments and segments != 0:
        raise ValueError(f"type_vocab_size {segments!r}: {family.title} has no segments, give 0")
    for name in _SIZES if family.segments else _SIZES[:-1]:
        if not is_integer(values[name]) or values[name] < 1:
            raise ValueError(f"{name} {values[name]!r} is no size: give a whole number >= 1")
    width = values["embedding_size"]
    if width is not None and not (family.projects and is_integer(width) and width > 0):
        rule = "give a whole number >= 1" if family.projects else f"{family.title} has none"
        raise ValueError(f"embedding_size {width!r} is no size: {rule}")
    hidden, heads = values["hidden_size"], values["num_attention_heads"]
    if hidden % heads:
        raise ValueError(
            f"hidden_size {hidden} is not a multiple of num_attention_heads {heads}: mend "
            "config.json"
        )
    act = values["hidden_act"]
    if not isinstance(act, str) or act not in ACTIVATIONS:
        raise ValueError(
            f"hidden_act {act!r} is not supported: use one of {', '.join(ACTIVATIONS)}"
        )
    pad, vocabulary = values["pad_token_id"], values["vocab_size"]
    if not is_integer(pad) or not 0 <= pad < vocabulary:
        raise ValueError(
            f"pad_token_id {pad!r} is no token: give a whole number from 0 to {vocabulary - 1} "
            "(vocab_size - 1)"
        )
    if not family.counts_padding:
        most = values["max_position_embeddings"]
        if most <= pad + 1:
            raise ValueError(
                f"max_position_embeddings {most} leaves no position: positions are counted from "
                f"pad_token_id + 1 ({pad + 1}) on, give more"
            )
    for name in _FRACTIONS:
        if not is_real(values[name]) or not 0 <= values[name] < 1:  # NaN neither
            raise ValueError(
                f"{name} {values[name]!r} is out of range: give a number from 0 to below 1"
            )


def _family(kind: Any) -> Family:
    """Find the family of a kind of model, or refuse the kind."""
    if not isinstance(kind, str) or kind not in FAMILIES:
        raise ValueError(
            f"model_type {kind!r} is not supported: give a model of type {' or '.join(FAMILIES)}"
        )
    return FAMILIES[kind]


def _a_kind(value: Any) -> str:
    """Name what JSON calls a value that is no object."""
    kinds = {list: "a list", str: "a text", bool: "a truth value", type(None): "nothing (null)"}
    return kinds.get(type(value), "a number")


def are_placeholders(names: Sequence[str]) -> bool:
    """Whether outputs are called LABEL_0, LABEL_1, .. in order, which says nothing of them."""
    return [name.upper() for name in names] == [f"LABEL_{i}" for i in range(len(names))]


def _check_supported(fields: Mapping[str, Any], family: Family) -> None:
    for name, (allowed, fix) in _UNSUPPORTED.items():
        value = fields.get(name)
        if value is not None and value not in allowed:
            raise ValueError(f"{name} {value!r} in config.json is not supported: {fix}")
    kinds = fields.get("architectures") or []
    if not isinstance(kinds, list) or not all(isinstance(kind, str) for kind in kinds):
        raise ValueError(
            f"architectures {kinds!r} in config.json is no list of names: mend it, or drop the "
            "field"
        )
    for kind in kinds:
        if kind in family.other_heads:
            raise ValueError(
                f"architectures {kind!r} in config.json is not supported: give a "
                f"{family.architecture}, whose classifier reads the first token"
            )


def _check_problem(kind: Any, outputs: int) -> None:
    """Refuse outputs that are not one class each, or one score."""
    right = "regression" if outputs == 1 else "single_label_classification"
    if kind not in (None, right):
        raise ValueError(
            f"problem_type {kind!r} with {outputs} outputs in config.json is not supported: give a "
            f"model trained for {right!r}, or drop the field if it is wrong"
        )


def _output_names(fields: Mapping[str, Any]) -> tuple[str, ...]:
    """Read the names of the outputs in their order, by id2label as in transformers.

    label2id is asked where id2label is absent or says nothing. A name with more in it than the
    file's is one that the file is at odds about; it equals no label of a task.
    """
    first = _named_ids(fields, "id2label")
    second = _named_ids(fields, "label2id")
    if not first and not second:
        outputs = fields.get("num_labels") or 2
        if not is_integer(outputs) or not 0 < outputs <= MOST_LABELS:
            raise ValueError(
                f"num_labels {outputs!r} in config.json is no number of outputs: give a whole "
                f"number from 1 to {MOST_LABELS}, or drop the field"
            )
        return tuple(f"LABEL_{i}" for i in range(outputs))
    silent = are_placeholders([name for _, name in first]) and len(first) == len(second)
    named = second if second and (silent or not first) else first
    if [i for i, _ in named] != list(range(len(named))):
        return tuple(f"{name} (id {i})" for i, name in named)
    others = {} if named is second else {name.casefold(): i for i, name in second}
    unlike = {name: others.get(name.casefold(), i) for i, name in named}
    return tuple(
        name if unlike[name] == i else f"{name} (id {unlike[name]} in label2id)"
        for i, name in named
    )


def _id(value: Any) -> int:
    """Read a whole number, or one as a text, as keys of JSON are."""
    return value if is_integer(value) else read_whole(str(value))


def _named_ids(fields: Mapping[str, Any], key: str) -> list[tuple[int, str]]:
    """Read the ids and names that a field pairs, by id."""
    pairs = fields.get(key) or {}
    try:
        turned = [(v, k) if key == "label2id" else (k, v) for k, v in pairs.items()]
        return sorted((_id(i), str(name)) for i, name in turned)
    except (AttributeError, ValueError):
        raise ValueError(
            f"{key} {pairs!r} in config.json pairs no ids with names: mend it, or drop the field"
        ) from None
