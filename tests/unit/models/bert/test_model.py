"""Modules of the model against NumPy, in float64; whole networks are in tests/contract."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from scipy.special import erf

from rerax.models.bert.config import BertConfig
from rerax.models.bert.model import (
    _ACTIVATIONS,
    Bert,
    Embeddings,
    EncoderLayer,
    Head,
    Norm,
    float_lookup,
    float_product,
    init_params,
)
from rerax.pruning.masks import mask

CONFIG = dataclasses.replace(tiny.CONFIG, num_hidden_layers=1)
EMBEDDINGS, ENCODER, HEAD = tiny.random_params(CONFIG).values()
LAYER = {name: {k: v[0] for k, v in leaves.items()} for name, leaves in ENCODER.items()}
RNG = np.random.default_rng(0)
for leaves in LAYER.values():  # so that biases and scales have a say
    for kind in leaves.keys() & {"bias", "scale"}:
        leaves[kind] = leaves[kind] + RNG.normal(0, 0.3, leaves[kind].shape).astype(np.float32)
MASK = np.arange(7)[None] < np.array([7, 3])[:, None]
X = RNG.normal(size=(2, 7, 30)).astype(np.float32)
IDS = jnp.asarray(RNG.integers(1, 50, (2, 7)), jnp.int32)
TYPES = jnp.asarray(np.arange(7)[None] > np.array([[3], [1]]), jnp.int32)


def norm(x, p):
    x = np.asarray(x, float)
    x = x - x.mean(-1, keepdims=True)
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-12) * p["scale"] + p["bias"]


def gelu(x):
    return x / 2 * (1 + erf(x / np.sqrt(2)))


def dense(x, p):
    return x @ np.asarray(p["kernel"], float) + p["bias"]


def layer_by_numpy(x, p, mask, heads):
    """One post-norm layer, head by head and sentence by sentence."""
    mixed = np.zeros_like(x, float)
    width = x.shape[-1] // heads
    q, k, v = (dense(np.asarray(x, float), p[name]) for name in ("query", "key", "value"))
    for b, h in np.ndindex(len(x), heads):
        part = np.s_[b, :, h * width : (h + 1) * width]
        scores = q[part] @ k[part].T / np.sqrt(width)
        scores = np.where(mask[b], scores, -np.inf)
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        mixed[part] = weights / weights.sum(-1, keepdims=True) @ v[part]
    x = norm(x + dense(mixed, p["attention_output"]), p["attention_norm"])
    return norm(x + dense(gelu(dense(x, p["ffn_in"])), p["ffn_out"]), p["ffn_norm"])


def test_a_layer():
    found = jax.jit(EncoderLayer(CONFIG).apply)({"params": LAYER}, X, MASK)
    expected = layer_by_numpy(X, LAYER, MASK, 3)
    np.testing.assert_allclose(found[MASK], expected[MASK], atol=1e-4)


def test_sentences_of_a_row_do_not_see_each_other():
    """Even where scores are beyond all measure, as on a chip with many stuck cells."""
    sentence = np.array([[1, 1, 2, 2, 2, 3, 0], [1, 1, 1, 1, 2, 2, 2]], np.int32)
    run = jax.jit(EncoderLayer(CONFIG).apply)
    for size in (1, 1e12):
        own = {**LAYER, "query": jax.tree.map(lambda a, size=size: size * a, LAYER["query"])}
        found = np.asarray(run({"params": own}, X, sentence))
        for b, number in ((0, 1), (0, 2), (0, 3), (1, 1), (1, 2)):
            there = sentence[b] == number
            alone = layer_by_numpy(X[b : b + 1, there], own, np.ones((1, there.sum()), bool), 3)
            np.testing.assert_allclose(found[b, there], alone[0], atol=1e-3)


def test_a_layers_products_come_from_outside_by_name_and_input():
    """Traced only: what reads the same input is asked for at once, with its kernels."""
    asked = []

    def product(names, x, kernels):
        asked.append((names, x.shape))
        assert [kernel.shape[0] for kernel in kernels] == [x.shape[-1]] * len(names)
        return float_product(names, x, kernels)

    found = jax.eval_shape(EncoderLayer(CONFIG, product).apply, {"params": LAYER}, X, MASK)
    assert found.shape == X.shape
    assert asked == [
        (("query", "key", "value"), (2, 7, 30)),
        (("attention_output",), (2, 7, 30)),
        (("ffn_in",), (2, 7, 30)),
        (("ffn_out",), (2, 7, 37)),
    ]


def test_closed_gates_are_zeros_in_the_kernel():
    rows, columns = np.ones(30, np.float32), np.ones(30, np.float32)
    rows[::3] = columns[1::4] = -1
    zeroed = {**HEAD, "pooler": dict(HEAD["pooler"])}
    zeroed["pooler"]["kernel"] = HEAD["pooler"]["kernel"] * np.outer(rows > 0, columns > 0)
    masked = mask(HEAD, {"pooler": {"row": rows, "column": columns}})
    jax.tree.map(np.testing.assert_array_equal, masked, zeroed)


def test_embeddings_and_their_dropout():
    tables = {name: p["table"] for name, p in EMBEDDINGS.items() if "table" in p}
    summed = (
        tables["word_embeddings"][IDS]
        + tables["token_type_embeddings"][TYPES]
        + tables["position_embeddings"][:7]
    )
    expected = norm(summed, EMBEDDINGS["norm"])

    @jax.jit
    def embed(key):
        module, given = Embeddings(CONFIG), ({"params": EMBEDDINGS}, IDS, TYPES)
        return module.apply(*given), module.apply(*given, train=True, rngs={"dropout": key})

    found, dropped = embed(jax.random.key(0))
    np.testing.assert_allclose(found, expected, atol=1e-5)
    kept = np.asarray(dropped) != 0
    assert 0.8 < kept.mean() < 0.97
    np.testing.assert_allclose(dropped[kept], expected[kept] / 0.9, atol=1e-5)
    assert (np.asarray(embed(jax.random.key(1))[1] != 0) != kept).any()


def test_the_head_looks_at_the_first_token():
    expected = dense(np.tanh(dense(X[:, 0].astype(float), HEAD["pooler"])), HEAD["classifier"])
    found = jax.jit(Head(CONFIG).apply)({"params": HEAD}, X)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_norm_keeps_its_statistics_in_float32():
    p = LAYER["ffn_norm"]
    x = (X * 100 + 1000).astype(jnp.bfloat16)
    found = jax.jit(Norm(1e-12, jnp.bfloat16).apply)({"params": p}, x)
    assert found.dtype == jnp.bfloat16
    np.testing.assert_allclose(found.astype(np.float32), norm(x, p), atol=0.05)


def test_activations():
    x = np.linspace(-4, 4, 33).astype(np.float32)
    inner = np.sqrt(2 / np.pi) * (x + 0.044715 * x.astype(float) ** 3)
    expected = {"gelu": gelu(x), "gelu_new": x / 2 * (1 + np.tanh(inner)), "relu": x.clip(0)}
    assert expected.keys() == _ACTIVATIONS.keys()
    for name, values in expected.items():
        np.testing.assert_allclose(jax.jit(_ACTIVATIONS[name])(x), values, atol=1e-6)


def test_the_whole_model_has_the_parameters_and_logits_of_its_config():
    """By tracing alone."""
    shapes = jax.eval_shape(lambda: init_params(tiny.CONFIG, jax.random.key(0)))
    assert shapes.keys() == {"embeddings", "encoder", "head"}
    assert shapes["encoder"]["ffn_in"]["kernel"].shape == (3, 30, 37)
    assert shapes["encoder"]["ffn_norm"].keys() == {"scale", "bias"}
    assert shapes["head"]["classifier"]["kernel"].shape == (30, 2)
    out = jax.eval_shape(Bert(tiny.CONFIG).apply, {"params": shapes}, IDS, TYPES, MASK)
    assert (out.shape, out.dtype) == ((2, 2), np.float32)


def test_a_missing_kernel_or_table_is_named():
    head = {**HEAD, "pooler": {"bias": np.zeros(30, np.float32)}}
    with pytest.raises(ValueError, match="no kernel for pooler: give it in the parameters"):
        Head(CONFIG).apply({"params": head}, jnp.asarray(X))
    with pytest.raises(ValueError, match="no table word_embeddings: give it"):
        float_lookup("word_embeddings", IDS, None)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"hidden_size": 31}, "not a multiple"),
        ({"hidden_act": "swish"}, "use one of gelu"),
        ({"num_hidden_layers": 0}, "no size"),
    ],
)
def test_bad_configurations(fields, said):
    with pytest.raises(ValueError, match=said):
        BertConfig(**{"hidden_size": 30, "num_attention_heads": 3, **fields})
