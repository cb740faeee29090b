"""What is laid onto crossbars, and what stays outside them."""

import jax.numpy as jnp
import numpy as np

from rerax.crossbar.encoding import decode
from rerax.crossbar.spec import ChipSpec
from rerax.hardware import Hardware
from rerax.models.bert.crossbars import crossbars_by_section, params_outside, program_bert

HARDWARE = Hardware()


def test_biases_and_other_matrices_are_left_alone():
    weights = np.random.default_rng(0).normal(size=(5, 7)).astype(np.float32)
    params = {
        "embeddings": {"word_embeddings": {"table": weights}},
        "encoder": {"query": {"kernel": weights[None], "bias": np.ones((1, 7), np.float32)}},
        "head": {"pooler": {"kernel": weights, "bias": np.ones(7, np.float32)}},
    }
    closed = {"query": {"row": np.ones((1, 5)), "column": np.where(np.arange(7) == 4, -1, 1)[None]}}
    closed = {k: {n: g.astype(np.float32) for n, g in v.items()} for k, v in closed.items()}
    laid = program_bert(params, HARDWARE, ("encoder",), closed)
    sections, outside = crossbars_by_section(laid), params_outside(laid)
    assert set(sections["encoder"]) == {"query"}
    assert not sections["head"]
    assert set(outside["encoder"]["query"]) == {"bias"}
    assert "kernel" in outside["head"]["pooler"]
    codes = decode(jnp.asarray(sections["encoder"]["query"].words[0]), ChipSpec())
    assert not codes[:, 4].any()
    kernel = weights[None].copy()
    kernel[:, :, 4] = 0
    zeroed = {**params, "encoder": {"query": {**params["encoder"]["query"], "kernel": kernel}}}
    same = crossbars_by_section(program_bert(zeroed, HARDWARE, ("encoder",)))["encoder"]["query"]
    np.testing.assert_array_equal(same.words, sections["encoder"]["query"].words)
    np.testing.assert_array_equal(same.scale, sections["encoder"]["query"].scale)


def test_cells_are_those_of_every_layer_and_matrix():
    params = {
        "encoder": {"query": {"kernel": np.ones((3, 5, 7), np.float32)}},
        "head": {"pooler": {"kernel": np.ones((7, 2), np.float32)}},
    }
    laid = program_bert(params, Hardware(ChipSpec("differential", 7, 2)))
    assert laid.cells == 6 * (3 * 5 * 7 + 7 * 2)
