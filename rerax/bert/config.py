"""Shape of a BERT, read from and written to Hugging Face's config.json. No JAX here."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

ACTIVATIONS = ("gelu", "gelu_new", "relu")
_SIZES = (
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "max_position_embeddings",
    "type_vocab_size",
)


@dataclass(frozen=True)
class BertConfig:
    """Sizes and choices of one BERT, hashable so that it can be a static argument of `jit`.

    Names are Hugging Face's. `labels` holds the outputs' names in order; regression has one.
    Dropout is kept for training and for writing back.
    """

    vocab_size: int = 30522
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    hidden_act: str = "gelu"
    layer_norm_eps: float = 1e-12
    labels: tuple[str, ...] = ("LABEL_0", "LABEL_1")
    pad_token_id: int = 0
    hidden_dropout_prob: float = 0.1
    attention_probs_dropout_prob: float = 0.1

    def __post_init__(self) -> None:
        for name in _SIZES:
            size = getattr(self, name)
            if not isinstance(size, int) or size < 1:
                raise ValueError(f"{name} {size!r} is no size: give a whole number >= 1")
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(
                f"hidden_size {self.hidden_size} is not a multiple of num_attention_heads "
                f"{self.num_attention_heads}: mend config.json"
            )
        if self.hidden_act not in ACTIVATIONS:
            raise ValueError(
                f"hidden_act {self.hidden_act!r} is not supported: use one of "
                f"{', '.join(ACTIVATIONS)}"
            )

    @property
    def num_labels(self) -> int:
        """Outputs of the classifier."""
        return len(self.labels)

    @property
    def matrix_shapes(self) -> dict[str, tuple[int, int, int]]:
        """Layers (1 outside the encoder), rows and columns of every matrix and table."""
        layers, d, f = self.num_hidden_layers, self.hidden_size, self.intermediate_size
        square = dict.fromkeys(("query", "key", "value", "attention_output"), (layers, d, d))
        return {
            **square,
            "ffn_in": (layers, d, f),
            "ffn_out": (layers, f, d),
            "pooler": (1, d, d),
            "classifier": (1, d, self.num_labels),
            "word_embeddings": (1, self.vocab_size, d),
            "position_embeddings": (1, self.max_position_embeddings, d),
            "token_type_embeddings": (1, self.type_vocab_size, d),
        }

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> "BertConfig":
        """Read the content of a config.json.

        Raises:
            ValueError: a model or an option that is not supported, or a size that is missing.
        """
        kind = fields.get("model_type")
        if kind != "bert":
            raise ValueError(f"model_type {kind!r} is not supported: give a 'bert' model")
        positions = fields.get("position_embedding_type") or "absolute"
        if positions != "absolute":
            raise ValueError(
                f"position_embedding_type {positions!r} is not supported: use 'absolute'"
            )
        missing = [name for name in _SIZES if name not in fields]
        if missing:
            raise ValueError(f"config.json lacks {', '.join(missing)}: add the sizes of the model")
        known = {k: fields[k] for k in cls.__dataclass_fields__ if fields.get(k) is not None}
        return cls(**{**known, "labels": _labels(fields)})

    def to_json(self) -> dict[str, Any]:
        """Content of a config.json that transformers loads."""
        fields = {k: getattr(self, k) for k in self.__dataclass_fields__ if k != "labels"}
        return {
            "architectures": ["BertForSequenceClassification"],
            "model_type": "bert",
            "position_embedding_type": "absolute",
            **fields,
            "id2label": {str(i): name for i, name in enumerate(self.labels)},
            "label2id": {name: i for i, name in enumerate(self.labels)},
        }


def _labels(fields: Mapping[str, Any]) -> tuple[str, ...]:
    """Label names in the order of the outputs."""
    if fields.get("label2id"):
        return tuple(sorted(fields["label2id"], key=lambda name: fields["label2id"][name]))
    if fields.get("id2label"):
        return tuple(fields["id2label"][i] for i in sorted(fields["id2label"], key=int))
    return tuple(f"LABEL_{i}" for i in range(fields.get("num_labels", 2)))
