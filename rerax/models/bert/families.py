"""What tells one family of encoders from another: one declaration each. No JAX here.

All of them are BERT's encoder. A family says how Hugging Face's files name its tensors and
fields, how positions are counted, and which head stands on the encoder. In our parameters the
head's first matrix is `pooler` and its second `classifier`, whatever a family calls them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_LAYER = {
    "attention.self.query": "query",
    "attention.self.key": "key",
    "attention.self.value": "value",
    "attention.output.dense": "attention_output",
    "attention.output.LayerNorm": "attention_norm",
    "intermediate.dense": "ffn_in",
    "output.dense": "ffn_out",
    "output.LayerNorm": "ffn_norm",
}
_EMBEDDINGS = {
    "embeddings.word_embeddings": "word_embeddings",
    "embeddings.position_embeddings": "position_embeddings",
    "embeddings.token_type_embeddings": "token_type_embeddings",
    "embeddings.LayerNorm": "norm",
}


@dataclass(frozen=True)
class Family:
    """One family of encoders with a sequence classifier.

    Attributes:
        title: what people call it.
        architecture: transformers' class of its sequence classifier.
        prefix: what stands before the encoder's tensors in a file of a whole classifier.
        head: whole names of the head's tensors, and ours: first `pooler`, then `classifier`.
        ignored: beginnings of names (without prefix) that no classifier reads.
        embeddings: names of the embeddings' tensors behind the prefix, and ours.
        layers: what stands before the number of a layer.
        layer: names of a layer's tensors behind its number, and ours.
        defaults: values of fields that its config.json may lack, where they are not BERT's.
        fields: names of fields in its config.json that are not BERT's, by ours.
        fixed: values of fields that its config.json does not have.
        counts_padding: tokens that are padding stand in the count of positions; if not, positions
            are counted over the others, from `pad_token_id` + 1 on.
        head_activation: between the head's two matrices.
        shares_layers: one layer's weights serve all passes (arXiv 1909.11942, section 3.1).
        always_projects: the projection is there, whatever the widths.
        drops_features: in training, the head's input has dropout too.
        tokens: kind of tokenizer that its checkpoints come with.
    """

    title: str
    architecture: str
    prefix: str
    head: Mapping[str, str]
    ignored: tuple[str, ...]
    embeddings: Mapping[str, str] = field(default_factory=lambda: _EMBEDDINGS)
    layers: str = "encoder.layer"
    layer: Mapping[str, str] = field(default_factory=lambda: _LAYER)
    defaults: Mapping[str, Any] = field(default_factory=dict)
    fields: Mapping[str, str] = field(default_factory=dict)
    fixed: Mapping[str, Any] = field(default_factory=dict)
    counts_padding: bool = True
    head_activation: str = "tanh"
    shares_layers: bool = False
    always_projects: bool = False
    drops_features: bool = False
    tokens: str = "WordPiece"

    @property
    def segments(self) -> bool:
        """Whether the model tells sentences of a pair apart by segment ids."""
        return "token_type_embeddings" in self.embeddings.values()

    @property
    def projects(self) -> bool:
        """Whether tables may have a width of their own, which a projection widens."""
        return "projection" in self.embeddings.values()

    def read_fields(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Call the fields of a config.json by our names."""
        ours = {theirs: name for name, theirs in self.fields.items()}
        passed_over = {*self.fields, *self.fixed}
        named = {ours.get(k, k): v for k, v in fields.items() if k not in passed_over}
        return {**named, **self.fixed}

    def write_fields(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Call our fields by the names of the family's config.json."""
        return {self.fields.get(k, k): v for k, v in fields.items() if k not in self.fixed}

    @property
    def other_heads(self) -> tuple[str, ...]:
        """Name the classes that hold a classifier which is not one of sequences."""
        stem = self.architecture.removesuffix("ForSequenceClassification")
        return (f"{stem}ForMultipleChoice", f"{stem}ForTokenClassification")


FAMILIES: dict[str, Family] = {
    "bert": Family(
        "BERT",
        "BertForSequenceClassification",
        prefix="bert.",
        head={"bert.pooler.dense": "pooler", "classifier": "classifier"},
        ignored=("cls.", "embeddings.position_ids"),
    ),
    "roberta": Family(
        "RoBERTa",
        "RobertaForSequenceClassification",
        prefix="roberta.",
        head={"classifier.dense": "pooler", "classifier.out_proj": "classifier"},
        ignored=("lm_head.", "pooler.", "embeddings.position_ids"),
        defaults={"pad_token_id": 1},
        counts_padding=False,
        drops_features=True,
        tokens="BPE",
    ),
    "distilbert": Family(
        "DistilBERT",
        "DistilBertForSequenceClassification",
        prefix="distilbert.",
        head={"pre_classifier": "pooler", "classifier": "classifier"},
        ignored=("vocab_transform.", "vocab_layer_norm.", "vocab_projector."),
        embeddings={k: v for k, v in _EMBEDDINGS.items() if v != "token_type_embeddings"},
        layers="transformer.layer",
        layer={
            "attention.q_lin": "query",
            "attention.k_lin": "key",
            "attention.v_lin": "value",
            "attention.out_lin": "attention_output",
            "sa_layer_norm": "attention_norm",
            "ffn.lin1": "ffn_in",
            "ffn.lin2": "ffn_out",
            "output_layer_norm": "ffn_norm",
        },
        fields={
            "hidden_size": "dim",
            "num_hidden_layers": "n_layers",
            "num_attention_heads": "n_heads",
            "intermediate_size": "hidden_dim",
            "hidden_act": "activation",
            "hidden_dropout_prob": "dropout",
            "attention_probs_dropout_prob": "attention_dropout",
        },
        fixed={"layer_norm_eps": 1e-12, "type_vocab_size": 0},
        head_activation="relu",
    ),
    "electra": Family(
        "ELECTRA",
        "ElectraForSequenceClassification",
        prefix="electra.",
        head={"classifier.dense": "pooler", "classifier.out_proj": "classifier"},
        ignored=(
            *("generator_predictions.", "generator_lm_head.", "discriminator_predictions."),
            "embeddings.position_ids",
        ),
        embeddings={**_EMBEDDINGS, "embeddings_project": "projection"},
        head_activation="gelu",
        drops_features=True,
    ),
    "albert": Family(
        "ALBERT",
        "AlbertForSequenceClassification",
        prefix="albert.",
        head={"albert.pooler": "pooler", "classifier": "classifier"},
        ignored=("predictions.", "sop_classifier.", "embeddings.position_ids"),
        embeddings={**_EMBEDDINGS, "encoder.embedding_hidden_mapping_in": "projection"},
        layers="encoder.albert_layer_groups",
        layer={
            "albert_layers.0.attention.query": "query",
            "albert_layers.0.attention.key": "key",
            "albert_layers.0.attention.value": "value",
            "albert_layers.0.attention.dense": "attention_output",
            "albert_layers.0.attention.LayerNorm": "attention_norm",
            "albert_layers.0.ffn": "ffn_in",
            "albert_layers.0.ffn_output": "ffn_out",
            "albert_layers.0.full_layer_layer_norm": "ffn_norm",
        },
        defaults={
            "hidden_act": "gelu_new",
            "hidden_dropout_prob": 0,
            "attention_probs_dropout_prob": 0,
        },
        shares_layers=True,
        always_projects=True,
        tokens="Unigram",
    ),
}
"""Supported families by the `model_type` of their config.json."""
