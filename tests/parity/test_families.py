"""Every family against transformers' own PyTorch models, live. Run by `make parity`."""

import dataclasses

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="make parity installs torch")
transformers = pytest.importorskip("transformers")

import jax  # noqa: E402
import tiny  # noqa: E402

from rerax.models.bert import convert  # noqa: E402
from rerax.models.bert.families import FAMILIES  # noqa: E402
from rerax.models.bert.model import Bert  # noqa: E402


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("act", ["gelu", "gelu_new", "relu"])
@pytest.mark.parametrize("labels", [1, 2, 3])
def test_random_models_both_ways(tmp_path, family, act, labels):
    """A folder that rerax writes is read by transformers, and both give the same logits."""
    config = dataclasses.replace(
        tiny.config_of(family), hidden_act=act, labels=tuple(f"l{i}" for i in range(labels))
    )
    params = tiny.random_params(config, scale=12.0)
    for section in params.values():  # PyTorch's zeros would hide a bias at the wrong place
        for leaves in section.values():
            if "bias" in leaves:
                leaves["bias"] += np.random.default_rng(0).normal(0, 0.2, leaves["bias"].shape)
    convert.save(tmp_path, config, params)
    theirs = getattr(transformers, config.family.architecture)
    model, report = theirs.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(report[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    model.eval()
    draw, pad = np.random.default_rng(labels), config.pad_token_id
    mask = np.arange(20)[None] < draw.integers(3, 21, 9)[:, None]
    ids = np.where(mask, draw.integers(pad + 1, config.vocab_size, mask.shape), pad)
    given = {"input_ids": ids, "attention_mask": mask.astype(np.int64)}
    with torch.no_grad():
        expected = model(**{n: torch.from_numpy(a) for n, a in given.items()}).logits.numpy()
    ids = ids.astype(np.int32)
    got = np.asarray(jax.jit(Bert(config).apply)({"params": params}, ids, 0 * ids, mask))
    print(f"{family}: largest difference {np.abs(got - expected).max():.2e}")
    np.testing.assert_allclose(got, expected, atol=1e-4)
    np.testing.assert_array_equal(got.argmax(-1), expected.argmax(-1))
