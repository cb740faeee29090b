"""Logits against committed numbers of transformers' PyTorch model, and the model's own laws."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from paths import GOLDEN

from rerax.models.bert import convert
from rerax.models.bert.model import Bert, Embeddings, EncoderLayer, Head, float_product, init_params

BERTS = GOLDEN / "bert"
CASES = sorted(path.stem for path in BERTS.glob("*.npz"))


@functools.partial(jax.jit, static_argnums=0)
def _apply(model, params, ids, types, mask):
    return model.apply({"params": params}, ids, types, mask)


def logits(config, params, ids, types, mask, **options):
    given = (jnp.asarray(a) for a in (ids, types, mask))
    return np.asarray(_apply(Bert(config, **options), params, *given))


@pytest.mark.parametrize("case", CASES)
def test_equals_pytorch(case):
    """2 layers, odd sizes; gelu, gelu_new, relu; 1 and 2 segment types; 1, 2, 3 labels."""
    config, params = convert.load(BERTS / case)
    golden = np.load(BERTS / f"{case}.npz")
    mask = golden["mask"].astype(bool)
    got = logits(config, params, golden["ids"], golden["types"], mask)
    np.testing.assert_allclose(got, golden["logits"], atol=1e-4)
    assert np.abs(golden["logits"]).max() > 0.05  # not a comparison of zeros


def test_golden_cases_cover_what_they_should():
    configs = [convert.read_config(BERTS / case) for case in CASES]
    assert {c.hidden_act for c in configs} == {"gelu", "gelu_new", "relu"}
    assert {c.type_vocab_size for c in configs} == {1, 2}
    assert {c.num_labels for c in configs} == {1, 2, 3}


def test_minilm_on_real_sentences(shared):
    """64 sentences of SST-2 dev against the logits that PyTorch gave."""
    from rerax.glue import data
    from rerax.glue.tasks import find_task

    folder = shared / "models" / "minilm-sst2"
    config, params = convert.load(folder)
    split = data.read_split(find_task("sst2"), shared / "data" / "glue", max_examples=64)
    tokens = data.tokenise(
        split,
        data.load_tokenizer(folder),
        max_length=128,
        positions=config.max_position_embeddings,
        vocab_size=config.vocab_size,
    )
    golden = np.load(folder / "sst2-validation-logits.npy")[:64]
    sizes = np.array([len(row) for row in tokens.ids])
    ids, types = (
        np.stack([np.pad(row, (0, sizes.max() - len(row))) for row in rows])
        for rows in (tokens.ids, tokens.types)
    )
    mask = np.arange(sizes.max()) < sizes[:, None]
    np.testing.assert_allclose(logits(config, params, ids, types, mask), golden, atol=1e-4)


PARAMS = tiny.random_params()
IDS = np.random.default_rng(0).integers(1, 50, (5, 12)).astype(np.int32)
TYPES = (np.arange(12)[None] > np.arange(5)[:, None] + 3).astype(np.int32)
MASK = np.arange(12)[None] < np.array([12, 3, 7, 5, 9])[:, None]


def test_padding_and_batching_do_not_matter():
    expected = logits(tiny.CONFIG, PARAMS, IDS, TYPES, MASK)
    wide = [
        np.pad(a, [(0, 0), (0, 9)], constant_values=v) for a, v in ((IDS, 7), (TYPES, 1), (MASK, 0))
    ]
    np.testing.assert_allclose(logits(tiny.CONFIG, PARAMS, *wide), expected, atol=1e-5)
    for i in (0, 1, 3):
        one = logits(tiny.CONFIG, PARAMS, IDS[i : i + 1], TYPES[i : i + 1], MASK[i : i + 1])
        np.testing.assert_allclose(one, expected[i : i + 1], atol=1e-5)


def test_a_row_of_padding_stays_finite():
    nothing = np.zeros_like(MASK)
    assert np.isfinite(logits(tiny.CONFIG, PARAMS, IDS, TYPES, nothing)).all()


def test_layers_by_hand_equal_the_scan_and_kernels_may_come_from_elsewhere():
    c, p = tiny.CONFIG, PARAMS
    kernels = {n: leaves["kernel"] for n, leaves in p["encoder"].items() if "kernel" in leaves}
    without = {
        n: {k: v for k, v in leaves.items() if k != "kernel"} for n, leaves in p["encoder"].items()
    }

    @jax.jit
    def by_hand(kernels, params, head):
        x = Embeddings(c).apply({"params": p["embeddings"]}, jnp.asarray(IDS), jnp.asarray(TYPES))

        def layer(x, given):
            kernels, params = given

            def product(names, x, held):
                assert held == (None,) * len(names)
                return float_product(names, x, tuple(kernels[n] for n in names))

            run = EncoderLayer(c, product)
            return run.apply({"params": params}, x, jnp.asarray(MASK)), None

        x, _ = jax.lax.scan(layer, x, (kernels, params))
        return Head(c).apply({"params": head}, x)

    got = by_hand(kernels, without, p["head"])
    np.testing.assert_allclose(got, logits(c, p, IDS, TYPES, MASK), atol=1e-5)


def test_bfloat16_is_near():
    half = logits(tiny.CONFIG, PARAMS, IDS, TYPES, MASK, dtype=jnp.bfloat16)
    full = logits(tiny.CONFIG, PARAMS, IDS, TYPES, MASK)
    assert half.dtype == np.float32
    assert 0 < np.abs(half - full).max() < 0.2 * np.abs(full).max()


def test_initial_parameters():
    params = jax.jit(init_params, static_argnums=0)(tiny.CONFIG, jax.random.key(0))
    assert params["encoder"]["ffn_in"]["kernel"].shape == (3, 30, 37)
    assert 0.015 < float(params["encoder"]["query"]["kernel"].std()) < 0.025
    layers = params["encoder"]["query"]["kernel"]
    assert (layers[0] != layers[1]).any()
