"""Crossbar products under a Linen model that knows nothing of them."""

import dataclasses
import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest
import tiny
from quick import WITHOUT_OPTIMISING

import rerax
from rerax.crossbar import products
from rerax.crossbar.encoding import decode
from rerax.glue.packing import make_batches
from rerax.hardware import Hardware
from rerax.models.bert.crossbars import program_bert
from rerax.models.bert.names import IDS

quickly = functools.partial(jax.jit, compiler_options=WITHOUT_OPTIMISING)
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

    @quickly
    def run(rates):
        with rerax.crossbar_layers(stored, chip, rates):
            return MODEL.apply({"params": PARAMS}, X)

    found = run(rerax.rate_table(rate))
    weights = quickly(lambda rates: rerax.read(stored, chip, rates))(rerax.rate_table(rate))
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

    @quickly
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
        pytest.raises(ValueError, match="enter the context inside the function that is compiled"),
        rerax.crossbar_layers(stored, rerax.chip(0, 0), 0.1),
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
        pytest.raises(ValueError, match=r"has axes 'lio': layers that are stacked"),
        rerax.crossbar_layers(stored, rerax.chip(0, 0), 0.0),
    ):
        model.apply({"params": params}, X)


class Around(nn.Module):
    @nn.compact
    def __call__(self, x):
        return Mlp(name="inside")(x)


class General(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.DenseGeneral(3, name="out")(x)


class Doubled(nn.Dense):
    @nn.compact
    def __call__(self, x):
        return 2 * super().__call__(x)


class Plain(nn.Dense):
    pass


class Single(nn.Module):
    layer: type
    how: dict = dataclasses.field(default_factory=dict)

    @nn.compact
    def __call__(self, x):
        return self.layer(3, name="out", **self.how)(x)


def applied(model, params, stored=None, rate=0.1, x=X):
    stored = rerax.program(params, Hardware(), kernels) if stored is None else stored

    def run(rates):
        with rerax.crossbar_layers(stored, rerax.chip(0, 0), rates):
            return model.apply({"params": params}, x)

    return quickly(run)(rerax.rate_table(rate))


def made(model, key=0):
    return model.init(jax.random.key(key), X)["params"]


def test_a_model_that_ran_without_its_crossbars_is_refused():
    """Under other paths, in other layers, and as compiled before."""
    stored = rerax.program(PARAMS, Hardware(), kernels)
    unused = "kernel is on crossbars and no Dense layer multiplied by it"
    with pytest.raises(ValueError, match=f"inner/{unused}"):
        applied(Around(), made(Around()), stored)
    with pytest.raises(ValueError, match=f"out/{unused}"):
        applied(General(), made(General()))
    compiled = jax.jit(lambda x: MODEL.apply({"params": PARAMS}, x))
    compiled(X)
    with (
        pytest.raises(ValueError, match=f"inner/{unused}"),
        rerax.crossbar_layers(stored, rerax.chip(0, 0), 0.1),
    ):
        compiled(X)
    with pytest.raises(ZeroDivisionError), rerax.crossbar_layers(stored, rerax.chip(0, 0), 0.1):
        1 / 0  # noqa: B018  # an error inside stays what it is


def test_a_layer_whose_product_would_be_another_is_refused():
    with pytest.raises(ValueError, match=r"out/kernel belongs to a layer with its own __call__ of"):
        applied(Single(Doubled), made(Single(Doubled)))
    own = Single(nn.Dense, {"dot_general": jax.lax.dot_general})
    with pytest.raises(ValueError, match="a layer with its own dot_general"):
        applied(own, made(own))
    params = made(Single(Plain))
    same = applied(Single(nn.Dense), params)
    np.testing.assert_array_equal(applied(Single(Plain), params), same)


def test_another_model_of_the_same_paths_is_refused():
    stored = rerax.program(PARAMS, Hardware(), kernels)
    with pytest.raises(ValueError, match="inner/kernel of this model is not what was put on"):
        applied(MODEL, made(MODEL, 1), stored)
    turned = jax.tree.map(lambda a: -a, PARAMS)
    mixed = {**PARAMS, "inner": {**PARAMS["inner"], "kernel": PARAMS["inner"]["kernel"][::-1]}}
    for other in (turned, mixed):  # the largest of every column is the same
        with pytest.raises(ValueError, match="inner/kernel of this model is not what was put on"):
            applied(MODEL, other, stored)
    params = made(Single(nn.Dense))
    with pytest.raises(ValueError, match="out/kernel of this model is not"):  # shapes, traced
        jax.eval_shape(lambda p: applied(Single(nn.Dense), p, stored), params)
    gates = rerax.open_gates({"inner": (6, 8)})
    gates["inner"]["column"][:4] = -1
    gated = rerax.program(PARAMS, Hardware(), kernels, gates)
    pruned = rerax.mask(PARAMS, gates)
    np.testing.assert_array_equal(applied(MODEL, PARAMS, gated), applied(MODEL, pruned, gated))


def test_a_context_within_another_is_refused_and_ends():
    stored = rerax.program(PARAMS, Hardware(), kernels)
    with (
        pytest.raises(ValueError, match="entered within another"),
        rerax.crossbar_layers(stored, rerax.chip(0, 1), 0.1),
    ):
        applied(MODEL, PARAMS, stored)
    assert applied(MODEL, PARAMS, stored).shape == (5, 3)


def test_derivatives_are_refused_in_a_line_of_ours():
    stored = rerax.program(PARAMS, Hardware(), kernels)
    with pytest.raises(ValueError, match="crossbar_layers has no derivatives"):
        jax.grad(lambda p: applied(MODEL, p, stored).sum())(PARAMS)
    with pytest.raises(ValueError, match="crossbar_layers has no derivatives"):
        jax.grad(lambda x: applied(MODEL, PARAMS, stored, x=x).sum())(X)
    params = made(Single(nn.Dense))  # of a single layer no number passes but the kernel's
    stored = rerax.program(params, Hardware(), kernels)
    with pytest.raises(ValueError, match="crossbar_layers has no derivatives"):
        jax.grad(lambda p: applied(Single(nn.Dense), p, stored).sum())(params)


@pytest.mark.parametrize("jit", ["function", "module"])
def test_nothing_compiled_inside_keeps_its_chip(jit):
    """Neither within a compiled function; the model can be called as before, and by `remat`."""
    stored = rerax.program(PARAMS, Hardware(), kernels)
    inner = jax.jit(MODEL.apply) if jit == "function" else nn.jit(Mlp)().apply

    @quickly
    def outer(number):
        with rerax.crossbar_layers(stored, rerax.chip(0, number), 0.1):
            return inner({"params": PARAMS}, X)

    with pytest.raises(ValueError, match="enter the context inside the function that is compiled"):
        outer(np.uint32(0))
    plain = MODEL.apply({"params": PARAMS}, X)
    np.testing.assert_allclose(inner({"params": PARAMS}, X), plain, rtol=1e-5, atol=1e-6)
    again = nn.remat(Mlp)()
    np.testing.assert_array_equal(applied(again, PARAMS, stored), applied(MODEL, PARAMS, stored))


def test_dtypes_are_those_of_the_layer_as_it_is():
    half = jax.tree.map(lambda a: a.astype(jnp.bfloat16), PARAMS)
    for params, x in ((half, X.astype(jnp.bfloat16)), (half, X), (PARAMS, X)):
        with jax.numpy_dtype_promotion("standard"):
            plain = MODEL.apply({"params": params}, x)
            found = applied(MODEL, params, rate=0.0, x=x)
        assert found.dtype == plain.dtype
        np.testing.assert_allclose(
            np.asarray(found, np.float32), np.asarray(plain, np.float32), atol=0.1
        )


def test_parameters_may_be_made_inside():
    stored = rerax.program(PARAMS, Hardware(), kernels)
    with rerax.crossbar_layers(stored, rerax.chip(0, 0), 0.1):
        fresh = MODEL.init(jax.random.key(0), X)["params"]
        MODEL.apply({"params": PARAMS}, X)
    np.testing.assert_array_equal(fresh["out"]["kernel"], PARAMS["out"]["kernel"])


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
    tokens, types = np.stack(examples.ids), np.stack(examples.types)
    hardware = Hardware(rerax.ChipSpec("differential", 7, 2))
    sums, real = [], products.integer_product

    def recorded(inputs, codes):
        found = real(inputs, codes)
        jax.debug.callback(lambda s: sums.append(np.asarray(s)), found, ordered=True)
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
    mask = np.ones(tokens.shape, bool)

    @quickly
    def run(rates):
        with (
            rerax.crossbar_layers(plain, rerax.chip(5, 3), rates),
            jax.numpy_rank_promotion("allow"),
        ):
            return PlainBert().apply({"params": params}, tokens, types, mask)

    for rate in (0.0, 0.02):
        faults = rerax.Faults(rerax.rate_table(rate))
        (outcome,) = evaluator.outcomes(5, range(3, 4), faults)
        jax.effects_barrier()
        joined = next(s for s in sums if s.shape[-1] == 90)  # query, key and value as one
        sums.clear()
        found = run(rerax.rate_table(rate))
        jax.effects_barrier()
        apart = np.concatenate([s.reshape(-1, 30) for s in sums[:3]], axis=-1)
        sums.clear()
        np.testing.assert_array_equal(joined.reshape(-1, 90)[: tokens.size], apart)
        np.testing.assert_allclose(outcome.logits[0], found, atol=1e-5)
        np.testing.assert_array_equal(outcome.logits[0].argmax(-1), np.argmax(found, -1))
