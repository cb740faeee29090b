"""The model's products and look-ups by codes: what is quantised, scaled and left out."""

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

from rerax.crossbar.crossbar import Crossbar
from rerax.crossbar.masking import open_lines
from rerax.models.bert import crossbars
from rerax.models.bert.crossbars import crossbar_lookup, crossbar_product
from rerax.models.bert.names import IDS

RNG = np.random.default_rng(0)
X = RNG.normal(size=(2, 3, 9)).astype(np.float32)
CODES = {
    name: RNG.integers(-128, 128, (9, n)).astype(np.int8) for name, n in (("query", 4), ("key", 5))
}
SCALES = {name: RNG.uniform(0.01, 0.1, c.shape[1]).astype(np.float32) for name, c in CODES.items()}
GATE = {"row": np.where(np.arange(9) % 4 == 1, -1, 1), "column": np.where(np.arange(4) == 2, -1, 1)}
NAMES = ("query", "key")


def crossbar(scale, lines=None):
    """A crossbar as products look at it."""
    return Crossbar(None, scale, None, lines, None, IDS["query"])


def by_loops(name, codes, input_bits=8):
    """Codes of the whole vector times codes, scaled at the end; or floats times scaled codes."""
    out = np.zeros((2, 3, codes.shape[1]), np.float32)
    for b, t in np.ndindex(2, 3):
        if input_bits is None:
            out[b, t] = X[b, t] @ (codes.astype(np.float32) * SCALES[name])
            continue
        inputs, scale = oracle.quantise_inputs(X[b, t])
        sums = oracle.product(np.array([inputs]), codes)[0]
        out[b, t] = sums.astype(np.float32) * (scale * SCALES[name])
    return out


def apply(names=NAMES, kernels=(None, None), input_bits=8, lines=None):
    read = jax.tree.map(jnp.asarray, CODES)
    held = {name: crossbar(SCALES[name], (lines or {}).get(name)) for name in CODES}
    product = crossbar_product(read, held, input_bits)
    return jax.jit(lambda x: product(names, x, kernels))(X)


@pytest.mark.parametrize("form", ["int8", "bfloat16"])
def test_matrices_of_one_input_are_multiplied_as_one(form, monkeypatch):
    monkeypatch.setattr(crossbars, "factor_format", lambda: form)
    for name, found in zip(NAMES, apply(), strict=True):
        np.testing.assert_allclose(found, by_loops(name, CODES[name]), rtol=1e-6)


def test_float_inputs_meet_scaled_codes():
    for name, found in zip(NAMES, apply(input_bits=None), strict=True):
        np.testing.assert_allclose(found, by_loops(name, CODES[name], None), rtol=1e-4, atol=1e-5)


def test_closed_lines_take_no_part_whatever_is_read_from_them():
    """Row gates act after the input's own scale is known."""
    lines = {"query": open_lines(GATE)}
    masked = CODES["query"] * np.outer(GATE["row"] > 0, GATE["column"] > 0).astype(np.int8)
    expected = (by_loops("query", masked), by_loops("key", CODES["key"]))
    for found, wanted in zip(apply(lines=lines), expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-6)


def test_matrices_without_codes_are_multiplied_in_float():
    kernel = RNG.normal(size=(9, 2)).astype(np.float32)
    (found,) = apply(("pooler",), kernels=(jnp.asarray(kernel),))
    np.testing.assert_allclose(found, X @ kernel, rtol=1e-4, atol=1e-5)


def test_a_look_up_drives_one_wordline():
    look_up, ids = (
        crossbar_lookup({"words": jnp.asarray(CODES["key"])}, {"words": crossbar(SCALES["key"])}),
        [8, 0, 3],
    )
    found = look_up("words", jnp.asarray([ids]), None)
    np.testing.assert_array_equal(found[0], CODES["key"][ids].astype(np.float32) * SCALES["key"])
    table = jnp.asarray(RNG.normal(size=(9, 2)), jnp.float32)
    np.testing.assert_array_equal(
        look_up("types", jnp.asarray(ids), table), table[jnp.asarray(ids)]
    )
