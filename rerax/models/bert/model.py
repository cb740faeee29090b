"""BERT and its kin as Flax modules whose matrix products and table look-ups are arguments.

The model never multiplies by a matrix itself: it hands the matrix's name, the input and the
kernel (if its parameters hold one) to a `Product`. That is all an evaluator needs to put
products on crossbars.

    params = {"embeddings": {"word_embeddings": {"table"}, "position_embeddings": {"table"},
                             "token_type_embeddings": {"table"}, "norm": {"scale", "bias"}},
              "encoder":    {"query": {"kernel", "bias"}, "key", "value", "attention_output",
                             "attention_norm", "ffn_in", "ffn_out", "ffn_norm"},
              "head":       {"pooler": {"kernel", "bias"}, "classifier": {"kernel", "bias"}}}

Kernels are [in, out]; the encoder's leaves carry a leading axis of layers. What is particular to
a family stands in `families`.
"""

import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int32, Key

from rerax._types import AnyArray
from rerax.models.bert.config import BertConfig

Product = Callable[[tuple[str, ...], Array, tuple[Array | None, ...]], tuple[Array, ...]]
"""(names of the matrices that read x, x [..., R], their kernels [R, C]) -> x @ kernel of each."""

Lookup = Callable[[str, Array, Array | None], Array]
"""(name of the table, ids, table [V, D]) -> rows [..., D]."""


def _gelu(x: Array) -> Array:
    """Compute GELU by the error function: half the cost of Flax's, which is finer in the tail."""
    half = jnp.asarray(0.5, x.dtype)
    return half * x * (1 + lax.erf(x * jnp.sqrt(half)))


_ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "gelu": _gelu,
    "gelu_new": lambda x: nn.gelu(x, approximate=True),
    "relu": nn.relu,
}
_HEAD_ACTIVATIONS: dict[str, Callable[[Array], Array]] = {**_ACTIVATIONS, "tanh": jnp.tanh}


def float_product(
    names: tuple[str, ...], x: Array, kernels: tuple[Array | None, ...]
) -> tuple[Array, ...]:
    """Multiply as a model without hardware does, in full float precision of x's dtype.

    Raises:
        ValueError: the parameters hold no kernel for one of the matrices.
    """
    outputs = []
    for name, kernel in zip(names, kernels, strict=True):
        if kernel is None:
            raise ValueError(f"no kernel for {name}: give it in the parameters")
        outputs.append(jnp.dot(x, kernel.astype(x.dtype), precision=lax.Precision.HIGHEST))
    return tuple(outputs)


def float_lookup(name: str, ids: Array, table: AnyArray | None) -> Array:
    """Look up rows of a table held in the parameters.

    Raises:
        ValueError: the parameters hold no such table.
    """
    if table is None:
        raise ValueError(f"no table {name}: give it in the parameters")
    return jnp.asarray(table)[ids]


class Matrix(nn.Module):
    """Kernel and bias of one matrix; `kernel` is None where the parameters hold none."""

    rows: int
    columns: int

    def setup(self) -> None:
        held = self.is_initializing() or self.has_variable("params", "kernel")
        shape = (self.rows, self.columns)
        self.kernel = self.param("kernel", nn.initializers.normal(0.02), shape) if held else None
        self.bias = self.param("bias", nn.initializers.zeros, (self.columns,))


class Table(nn.Module):
    """An embedding table; `table` is None where the parameters hold none."""

    rows: int
    columns: int

    def setup(self) -> None:
        held = self.is_initializing() or self.has_variable("params", "table")
        shape = (self.rows, self.columns)
        self.table = self.param("table", nn.initializers.normal(0.02), shape) if held else None


class Norm(nn.Module):
    """Layer norm, its statistics in float32."""

    eps: float
    dtype: Any

    @nn.compact
    def __call__(self, x: Float[Array, "*B D"]) -> Float[Array, "*B D"]:
        scale = self.param("scale", nn.initializers.ones, (x.shape[-1],))
        bias = self.param("bias", nn.initializers.zeros, (x.shape[-1],))
        x = x.astype(jnp.float32)
        centred = x - x.mean(axis=-1, keepdims=True)
        variance = (centred * centred).mean(axis=-1, keepdims=True)
        y = centred * lax.rsqrt(variance + self.eps)
        wide = (1,) * (x.ndim - 1) + (-1,)
        return (y * scale.reshape(wide) + bias.reshape(wide)).astype(self.dtype)


def _apply(
    product: Product, x: Array, matrices: dict[str, Matrix], dtype: Any
) -> tuple[Array, ...]:
    """Compute product + bias of all matrices that read the same input."""
    outputs = product(tuple(matrices), x, tuple(m.kernel for m in matrices.values()))
    return tuple(
        y.astype(dtype) + m.bias.astype(dtype).reshape((1,) * (y.ndim - 1) + (-1,))
        for y, m in zip(outputs, matrices.values(), strict=True)
    )


class Embeddings(nn.Module):
    """Word + position + segment embeddings, normed, and widened where a projection is there."""

    config: BertConfig
    lookup: Lookup = float_lookup
    dtype: Any = jnp.float32

    def setup(self) -> None:
        c = self.config
        self.word_embeddings = Table(c.vocab_size, c.table_width)
        self.position_embeddings = Table(c.max_position_embeddings, c.table_width)
        if c.family.segments:
            self.token_type_embeddings = Table(c.type_vocab_size, c.table_width)
        if c.projects:
            self.projection = Matrix(c.table_width, c.hidden_size)
        self.norm = Norm(c.layer_norm_eps, self.dtype)
        self.dropout = nn.Dropout(c.hidden_dropout_prob)

    def __call__(
        self,
        ids: Int32[Array, "B T"],
        types: Int32[Array, "B T"],
        positions: Int32[Array, "B T"] | None = None,
        train: bool = False,
    ) -> Float[Array, "B T D"]:
        """Embed token ids and segment ids.

        Args:
            ids: token ids.
            types: segment ids.
            positions: place of each token in its own sentence; None: each row is a sentence.
            train: turn dropout on.
        """
        x = self.lookup("word_embeddings", ids, self.word_embeddings.table)
        if self.config.family.segments:
            x = x + self.lookup("token_type_embeddings", types, self.token_type_embeddings.table)
        numbers = self._position_ids(ids, positions)
        place = self.lookup("position_embeddings", numbers, self.position_embeddings.table)
        x = self.dropout(self.norm(x + place), deterministic=not train)
        if self.config.projects:  # never on crossbars, like biases and norms
            (x,) = _apply(float_product, x, {"projection": self.projection}, self.dtype)
        return x

    def _position_ids(
        self, ids: Int32[Array, "B T"], positions: Int32[Array, "B T"] | None
    ) -> Int32[Array, "#B T"]:
        places = jnp.arange(ids.shape[1], dtype=jnp.int32)[None]
        if self.config.family.counts_padding:
            return places if positions is None else positions
        real = (ids != self.config.pad_token_id).astype(jnp.int32)
        count = jnp.cumsum(real, axis=1)
        if positions is not None:  # count from the beginning of each sentence
            count = count - jnp.take_along_axis(count - real, places - positions, axis=1)
        return count * real + self.config.pad_token_id


class EncoderLayer(nn.Module):
    """One post-norm Transformer layer."""

    config: BertConfig
    product: Product = float_product
    dtype: Any = jnp.float32

    def setup(self) -> None:
        c = self.config
        d, f = c.hidden_size, c.intermediate_size
        self.query, self.key, self.value = Matrix(d, d), Matrix(d, d), Matrix(d, d)
        self.attention_output = Matrix(d, d)
        self.ffn_in, self.ffn_out = Matrix(d, f), Matrix(f, d)
        self.attention_norm = Norm(c.layer_norm_eps, self.dtype)
        self.ffn_norm = Norm(c.layer_norm_eps, self.dtype)
        self.dropout = nn.Dropout(c.hidden_dropout_prob)
        self.attention_dropout = nn.Dropout(c.attention_probs_dropout_prob)

    def __call__(
        self,
        x: Float[Array, "B T D"],
        sentence: Int32[Array, "B T"] | Bool[Array, "B T"],
        train: bool = False,
    ) -> Float[Array, "B T D"]:
        """Run the layer.

        Args:
            x: the stream.
            sentence: of each token its sentence in the row, any number (or True where it is real,
                in a row of one sentence): tokens see those of their own.
            train: turn dropout on.
        """
        q, k, v = self._affine(x, query=self.query, key=self.key, value=self.value)
        mixed = self._attend(q, k, v, sentence, train)
        (y,) = self._affine(mixed, attention_output=self.attention_output)
        x = self.attention_norm(x + self.dropout(y, deterministic=not train))
        (y,) = self._affine(x, ffn_in=self.ffn_in)
        (y,) = self._affine(_ACTIVATIONS[self.config.hidden_act](y), ffn_out=self.ffn_out)
        return self.ffn_norm(x + self.dropout(y, deterministic=not train))

    def _affine(self, x: Array, **matrices: Matrix) -> tuple[Array, ...]:
        return _apply(self.product, x, matrices, self.dtype)

    def _attend(self, q: Array, k: Array, v: Array, sentence: Array, train: bool) -> Array:
        dropout = functools.partial(self.attention_dropout, deterministic=not train)
        return attend(q, k, v, sentence, self.config.num_attention_heads, dropout)


def attend(
    q: Float[Array, "B T D"],
    k: Float[Array, "B T D"],
    v: Float[Array, "B T D"],
    sentence: Int32[Array, "B T"] | Bool[Array, "B T"],
    heads: int,
    dropout: Callable[[Array], Array] = lambda weights: weights,
) -> Float[Array, "B T D"]:
    """Mix values by the softmax of scaled scores, each token with those of its own sentence.

    Args:
        q, k, v: queries, keys and values, in the compute dtype.
        sentence: as for `EncoderLayer`.
        heads: how many.
        dropout: of the weights.
    """
    split, dtype = (*q.shape[:2], heads, -1), q.dtype
    # What is least is scaled: queries for scores, and what was mixed for the weights.
    q = q * jnp.asarray((q.shape[-1] // heads) ** -0.5, q.dtype)
    # Heads lead, so that XLA multiplies plain matrices; it transposes worse by itself.
    q, k, v = (a.reshape(split).swapaxes(1, 2) for a in (q, k, v))
    exact = lax.Precision.HIGHEST
    scores = jnp.einsum("bhtd,bhsd->bhts", q, k, precision=exact).astype(jnp.float32)
    same = sentence[:, None, :, None] == sentence[:, None, None, :]
    scores = jnp.where(same, scores, -jnp.inf)  # each token sees itself, so one is finite
    largest = lax.stop_gradient(scores.max(axis=-1, keepdims=True))
    weights = jnp.exp(scores - largest)
    total = weights.sum(axis=-1, keepdims=True).astype(dtype)
    weights = dropout(weights.astype(dtype))
    mixed = jnp.einsum("bhts,bhsd->bhtd", weights, v, precision=exact) / total
    mixed = mixed.swapaxes(1, 2)
    return mixed.reshape(*mixed.shape[:2], -1)


class Head(nn.Module):
    """First token -> pooler -> classifier."""

    config: BertConfig
    product: Product = float_product
    dtype: Any = jnp.float32

    def setup(self) -> None:
        d = self.config.hidden_size
        self.pooler, self.classifier = Matrix(d, d), Matrix(d, self.config.num_labels)
        self.dropout = nn.Dropout(self.config.hidden_dropout_prob)

    def __call__(self, x: Float[Array, "B T D"], train: bool = False) -> Float[Array, "B N"]:
        """Compute logits (float32) from the encoder's output; only the first token is looked at."""
        first, family = x[:, 0], self.config.family
        if family.drops_features:
            first = self.dropout(first, deterministic=not train)
        (y,) = _apply(self.product, first, {"pooler": self.pooler}, self.dtype)
        y = self.dropout(_HEAD_ACTIVATIONS[family.head_activation](y), deterministic=not train)
        (y,) = _apply(self.product, y, {"classifier": self.classifier}, self.dtype)
        return y.astype(jnp.float32)


class Bert(nn.Module):
    """The whole model, its layers stacked and scanned."""

    config: BertConfig
    product: Product = float_product
    lookup: Lookup = float_lookup
    dtype: Any = jnp.float32

    def setup(self) -> None:
        self.embeddings = Embeddings(self.config, self.lookup, self.dtype)
        self.encoder = EncoderLayer(self.config, self.product, self.dtype)
        self.head = Head(self.config, self.product, self.dtype)

    def __call__(
        self,
        ids: Int32[Array, "B T"],
        types: Int32[Array, "B T"],
        mask: Bool[Array, "B T"],
        train: bool = False,
    ) -> Float[Array, "B N"]:
        """Compute the logits of a batch.

        Args:
            ids: token ids, below `vocab_size` (not checked here).
            types: segment ids.
            mask: True on real tokens.
            train: turn dropout on; it draws from the `dropout` key given to `apply`.

        Returns:
            One row of N logits for each sentence, float32.
        """

        def layer(module: EncoderLayer, x: Array, _: None) -> tuple[Array, None]:
            return module(x, mask, train), None

        def passes(module: EncoderLayer, x: Array, _: None) -> tuple[Array, None]:
            return nn.scan(
                layer,
                variable_broadcast="params",
                split_rngs={"params": False, "dropout": True},
                length=self.config.passes,
            )(module, x, None)

        through_layers = nn.scan(
            layer if self.config.passes == 1 else passes,
            variable_axes={"params": 0},
            split_rngs={"params": True, "dropout": True},
            length=self.config.layers,
        )
        x, _ = through_layers(self.encoder, self.embeddings(ids, types, train=train), None)
        return self.head(x, train)


def init_params(config: BertConfig, key: Key[Array, ""]) -> dict[str, Any]:
    """Draw random parameters: normal(0.02) matrices, zero biases, unit norms."""
    ids = jnp.zeros((1, 2), jnp.int32)
    return Bert(config).init(key, ids, ids, jnp.ones((1, 2), bool))["params"]
