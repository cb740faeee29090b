"""What is laid onto crossbars, and what stays outside them."""

import jax.numpy as jnp
import numpy as np

from rerax.chip import cells, program
from rerax.crossbar.encoding import decode
from rerax.crossbar.spec import ChipSpec


def test_program_leaves_biases_and_other_matrices_alone():
    weights = np.random.default_rng(0).normal(size=(5, 7)).astype(np.float32)
    params = {
        "embeddings": {"word_embeddings": {"table": weights}},
        "encoder": {"query": {"kernel": weights[None], "bias": np.ones((1, 7), np.float32)}},
        "head": {"pooler": {"kernel": weights, "bias": np.ones(7, np.float32)}},
    }
    closed = {"query": {"row": np.ones((1, 5)), "column": np.where(np.arange(7) == 4, -1, 1)[None]}}
    closed = {k: {n: g.astype(np.float32) for n, g in v.items()} for k, v in closed.items()}
    laid = program(params, ChipSpec(), ("encoder",), closed)
    assert set(laid.words["encoder"]) == {"query"}
    assert not laid.words["head"]
    assert set(laid.params["encoder"]["query"]) == {"bias"}
    assert "kernel" in laid.params["head"]["pooler"]
    codes = decode(jnp.asarray(laid.words["encoder"]["query"][0]), ChipSpec())
    assert not codes[:, 4].any()
    zeroed = {**params, "encoder": {"query": {**params["encoder"]["query"]}}}
    kernel = weights[None].copy()
    kernel[:, :, 4] = 0
    zeroed["encoder"]["query"]["kernel"] = kernel
    same = program(zeroed, ChipSpec(), ("encoder",))
    np.testing.assert_array_equal(same.words["encoder"]["query"], laid.words["encoder"]["query"])
    np.testing.assert_array_equal(same.scales["encoder"]["query"], laid.scales["encoder"]["query"])


def test_cells_are_those_of_every_layer_and_matrix():
    spec = ChipSpec("differential", 7, 2)
    params = {
        "encoder": {"query": {"kernel": np.ones((3, 5, 7), np.float32)}},
        "head": {"pooler": {"kernel": np.ones((7, 2), np.float32)}},
    }
    assert cells(program(params, spec), spec) == 6 * (3 * 5 * 7 + 7 * 2)
