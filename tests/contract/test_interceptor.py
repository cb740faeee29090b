"""Crossbar products under a Linen model that knows nothing of them."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest
import tiny

import rerax
from rerax.crossbar import products
from rerax.crossbar.encoding import decode
from rerax.glue.data import make_batches
from rerax.hardware import Hardware
from rerax.models.bert.crossbars import program_bert
from rerax.models.bert.names import IDS

RNG = np.random.default_rng(0)
X = RNG.normal(size=(5, 6)).astype(np.float32)


class Mlp(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(3, use_bias=False, name="out")(nn.relu(nn.Dense(8, name="inner")(x)))


MODEL = Mlp()
PARAMS = jax.device_get(MODEL.init(jax.random.key(0), X))["params"]
PARAMS["inner"]["bias"] = RNG.normal(size=8).astype(np.float32)


def kernels(path, _):
    return path.endswith("kernel")


def layer(x, codes, scale, bias=0.0):
    """An int8 product by plain loops, then the documented float steps."""
    out = np.zeros((len(x), codes.shape[1]), np.float32)
    for row, vector in zip(out, x, strict=True):
        inputs, token = oracle.quantise_inputs(vector)
        sums = oracle.product(np.array([inputs]), codes)[0]
        row[:] = sums.astype(np.float32) * (token * scale)
    return out + np.float32(bias)


@pytest.mark.parametrize("rate", [0.0, 0.05])
def test_logits_are_those_of_a_product_of_codes_by_hand(rate):
    stored = rerax.program(PARAMS, Hardware(), kernels)
    chip = rerax.chip(3, 1)
    with rerax.crossbar_layers(stored, chip, rate):
        found = MODEL.apply({"params": PARAMS}, X)
    weights = rerax.read(stored, chip, rate)
    codes, scales = {}, {}
    for name in ("inner", "out"):
        scales[name] = np.asarray(stored.crossbars[f"{name}/kernel"].scale)
        codes[name] = np.rint(np.asarray(weights[name]["kernel"]) / scales[name]).astype(np.int8)
        if rate == 0:
            words = stored.crossbars[f"{name}/kernel"].words
            np.testing.assert_array_equal(codes[name], decode(jnp.asarray(words), rerax.ChipSpec()))
    hidden = layer(X, codes["inner"], scales["inner"], PARAMS["inner"]["bias"])
    expected = layer(np.maximum(hidden, 0), codes["out"], scales["out"])
    np.testing.assert_array_equal(found, expected)


def test_float_inputs_meet_the_faulty_weights():
    stored = rerax.program(PARAMS, Hardware(input_bits=None), kernels)
    chip, rates = rerax.chip(0, 0), rerax.rate_table(0.05)

    @jax.jit
    def run(rates):
        with rerax.crossbar_layers(stored, chip, rates):
            return MODEL.apply({"params": PARAMS}, X)

    plain = MODEL.apply({"params": rerax.read(stored, chip, rates)}, X)
    np.testing.assert_allclose(run(rates), plain, rtol=1e-5, atol=1e-6)
    assert np.abs(run(rates) - MODEL.apply({"params": PARAMS}, X)).max() > 0.01


def test_layers_that_are_not_on_crossbars_are_left_alone():
    stored = rerax.program(PARAMS, Hardware(), lambda path, _: path == "out/kernel")
    with rerax.crossbar_layers(stored, rerax.chip(0, 0), 0.0):
        found, state = MODEL.apply(
            {"params": PARAMS}, X, capture_intermediates=True, mutable=["intermediates"]
        )
    inner = state["intermediates"]["inner"]["__call__"][0]
    dense = X @ PARAMS["inner"]["kernel"] + PARAMS["inner"]["bias"]
    np.testing.assert_allclose(inner, dense, rtol=1e-5, atol=1e-6)
    assert np.abs(found - MODEL.apply({"params": PARAMS}, X)).max() > 0


def test_what_is_compiled_within_the_context_would_keep_its_chip_and_is_refused():
    stored = rerax.program(PARAMS, Hardware(), kernels)
    compiled = jax.jit(lambda x: MODEL.apply({"params": PARAMS}, x))
    with (
        rerax.crossbar_layers(stored, rerax.chip(0, 0), 0.1),
        pytest.raises(ValueError, match="enter the context inside the function that is compiled"),
    ):
        compiled(X)

    @jax.jit
    def of_chip(number):
        with rerax.crossbar_layers(stored, rerax.chip(0, number), 0.1):
            return MODEL.apply({"params": PARAMS}, X)

    one, other = of_chip(np.uint32(0)), of_chip(np.uint32(1))
    assert (one != other).any()
    both = jax.vmap(of_chip)(np.arange(2, dtype=np.uint32))
    np.testing.assert_array_equal(both[0], one)


def test_layers_of_a_stack_are_refused():
    class Scanned(nn.Module):
        @nn.compact
        def __call__(self, x):
            one = nn.scan(
                lambda layer, x, _: (layer(x), None),
                variable_axes={"params": 0},
                split_rngs={"params": True},
                length=2,
            )
            return one(nn.Dense(6, name="dense"), x, None)[0]

    model = Scanned()
    params = model.init(jax.random.key(0), X)["params"]
    stored = rerax.program(params, Hardware(), lambda p, _: p.endswith("kernel") and "lio")
    with (
        rerax.crossbar_layers(stored, rerax.chip(0, 0), 0.0),
        pytest.raises(ValueError, match=r"has axes 'lio': layers that are stacked"),
    ):
        model.apply({"params": params}, X)


# A BERT that knows nothing of rerax, against the package's own.

CONFIG = dataclasses.replace(tiny.CONFIG, num_hidden_layers=1)
BERT = tiny.random_params(CONFIG)
OWN = {
    "layer/query": "query", "layer/key": "key", "layer/value": "value",
    "layer/attention": "attention_output", "layer/inner": "ffn_in", "layer/outer": "ffn_out",
    "pooler": "pooler", "classifier": "classifier",
}  # fmt: skip
"""Names of its layers, and of the matrices that they are."""


class Layer(nn.Module):
    @nn.compact
    def __call__(self, x, mask):
        def heads(a):
            return a.reshape(*a.shape[:2], CONFIG.num_attention_heads, -1)

        q, k, v = (heads(nn.Dense(30, name=name)(x)) for name in ("query", "key", "value"))
        mixed = nn.dot_product_attention(q, k, v, mask=mask[:, None, None, :])
        y = nn.Dense(30, name="attention")(mixed.reshape(x.shape))
        x = nn.LayerNorm(epsilon=CONFIG.layer_norm_eps, name="first")(x + y)
        y = nn.gelu(nn.Dense(CONFIG.intermediate_size, name="inner")(x), approximate=False)
        return nn.LayerNorm(epsilon=CONFIG.layer_norm_eps, name="second")(
            x + nn.Dense(30, name="outer")(y)
        )


class PlainBert(nn.Module):
    @nn.compact
    def __call__(self, ids, types, mask):
        positions = jnp.arange(ids.shape[1])
        x = nn.Embed(50, 30, name="words")(ids) + nn.Embed(2, 30, name="types")(types)
        x = x + nn.Embed(40, 30, name="places")(positions)
        x = Layer(name="layer")(nn.LayerNorm(epsilon=CONFIG.layer_norm_eps, name="norm")(x), mask)
        return nn.Dense(2, name="classifier")(jnp.tanh(nn.Dense(30, name="pooler")(x[:, 0])))


def as_plain(params):
    """The package's parameters under the names of the plain model."""
    encoder = jax.tree.map(lambda a: a[0], params["encoder"])
    tables = {"words": "word", "types": "token_type", "places": "position"}
    found = {
        name: {"embedding": params["embeddings"][f"{own}_embeddings"]["table"]}
        for name, own in tables.items()
    }
    inside = {name.partition("/")[2]: encoder[own] for name, own in OWN.items() if own in encoder}
    norms = {"first": encoder["attention_norm"], "second": encoder["ffn_norm"]}
    head = {name: params["head"][name] for name in ("pooler", "classifier")}
    return {**found, "norm": params["embeddings"]["norm"], "layer": {**inside, **norms}, **head}


def test_a_bert_of_dense_layers_equals_the_packages_own(monkeypatch):
    """Codes and integer sums exactly, logits to 1e-5, all predictions, with faults and without."""
    examples = tiny.random_examples(24, config=CONFIG, lengths=(8,))
    batches = make_batches(examples, CONFIG.pad_token_id)
    (bucket,) = batches.buckets
    hardware = Hardware(rerax.ChipSpec("differential", 7, 2))
    sums, real = [], products.integer_product

    def recorded(inputs, codes):
        found = real(inputs, codes)
        jax.debug.callback(lambda s: sums.append(np.asarray(s)), found)
        return found

    monkeypatch.setattr(products, "integer_product", recorded)
    stored = program_bert(BERT, hardware)
    ids = {f"{name}/kernel": IDS[own] for name, own in OWN.items()}
    params = as_plain(BERT)
    plain = rerax.program(params, hardware, lambda path, _: path in ids, ids=ids)
    own = {c.array.name: c for c in stored.crossbars.values()}
    for path, crossbar in plain.crossbars.items():
        theirs = own[crossbar.array.name].words
        np.testing.assert_array_equal(crossbar.words, theirs.reshape(crossbar.words.shape), path)
    evaluator = rerax.Evaluator.make(rerax.Network(CONFIG), stored, batches)
    mask = np.arange(bucket.ids.shape[-1]) < bucket.lengths[0][:, None]
    for rate in (0.0, 0.02):
        faults = rerax.Faults(rerax.rate_table(rate))
        (outcome,) = evaluator.outcomes(5, range(3, 4), faults)
        jax.effects_barrier()
        joined = next(s for s in sums if s.shape[-1] == 90)  # query, key and value as one
        sums.clear()
        with (
            rerax.crossbar_layers(plain, rerax.chip(5, 3), rate),
            jax.numpy_rank_promotion("allow"),
        ):
            found = PlainBert().apply({"params": params}, bucket.ids[0], bucket.types[0], mask)
        jax.effects_barrier()
        apart = np.concatenate([s.reshape(-1, 30) for s in sums[:3]], axis=-1)
        sums.clear()
        np.testing.assert_array_equal(joined.reshape(-1, 90), apart)
        logits = np.zeros((len(examples), 2), np.float32)
        logits[bucket.index[0][bucket.index[0] >= 0]] = found[bucket.index[0] >= 0]
        np.testing.assert_allclose(outcome.logits[0], logits, atol=1e-5)
        np.testing.assert_array_equal(outcome.logits[0].argmax(-1), logits.argmax(-1))
