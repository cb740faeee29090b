"""What must be equal on a GPU, for `gpu.py`: stuck cells, integer sums, and ends of products."""

import functools
import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import erfc

from rerax.crossbar import fused
from rerax.crossbar.keys import array_key, chip_key, root_key
from rerax.crossbar.products import integer_product
from rerax.crossbar.spec import ChipSpec
from rerax.faults import fault_model
from rerax.faults.sampling.rates import rate_table
from rerax.models.bert.names import IDS

MATRICES = ((768, 768), (768, 3072), (3072, 768))
"""Rows and columns of those of a BERT-base."""
TOKENS = 2 * fused.TOKENS
FAULTS = ("uniform", "clustered:0.5", "wordline", "bitline", "short", "flip")
RATES = (1e-6, 1e-3, 0.1079, 0.6)
STEP = 2.0**-23
"""Distance of neighbouring float32 numbers, over a number of them."""


def exact(kernels: str) -> dict[str, Any]:
    """Compare this device with a CPU and with NumPy.

    Args:
        kernels: of the fused products, `triton` or `interpret`.

    Returns:
        Whether words here are those of a CPU, by kind of fault; whether integer sums are those of
        NumPy, through the plain path and fused; and the largest error of a product's end in steps
        of float32 of its terms' sum, which counts as 1 at least before GELU.
    """
    interpret, ends = kernels == "interpret", {}
    sums_equal = {"plain": True, kernels: True}
    for rows, columns in MATRICES:
        draw = np.random.default_rng(rows + columns)
        x, weights = (
            draw.integers(-127, 128, shape, np.int8) for shape in ((TOKENS, rows), (rows, columns))
        )
        sums = (x.astype(np.float64) @ weights).astype(np.int64)  # exact below 2**53
        codes, multiply = jnp.asarray(weights.T), functools.partial(_fused, interpret=interpret)
        ones = (np.ones(TOKENS), np.ones(columns), np.zeros(columns))
        sums_equal["plain"] &= np.array_equal(jax.jit(integer_product)(x, weights), sums)
        sums_equal[kernels] &= np.array_equal(multiply(x, codes, *ones), sums)
        worth = np.abs(draw.normal(0, 1e-2, TOKENS)), np.abs(draw.normal(0, 2e-4, columns))
        bias, residual = draw.normal(size=columns), draw.normal(size=(TOKENS, columns))
        given = [np.float32(part) for part in (*worth, bias, residual)]
        for gelu, added in itertools.product((False, True), repeat=2):
            found = multiply(x, codes, *given[: 3 + added], gelu=gelu)
            error = _error(np.asarray(found, np.float64), sums, given[: 3 + added], gelu)
            name = "gelu" if gelu else "linear"
            ends[name] = max(ends.get(name, 0.0), error)
    cells = {name: _cells_are_those_of_a_cpu(name) for name in FAULTS}
    return {"cells_equal": cells, "sums_equal": sums_equal, "largest_error_in_steps": ends}


def _fused(
    x: Any,
    codes: Any,
    token: Any,
    scale: Any,
    bias: Any,
    residual: Any = None,
    gelu: bool = False,
    interpret: bool = False,
) -> Any:
    floats = [jnp.asarray(part, jnp.float32) for part in (token, scale, bias)]
    more = None if residual is None else jnp.asarray(residual)
    return fused.fused_product(
        jnp.asarray(x), floats[0], codes, *floats[1:], more, gelu=gelu, interpret=interpret
    )


def _error(found: Any, sums: Any, given: Any, gelu: bool) -> float:
    """Largest error in steps of float32.

    The reference is computed in float64 from the same numbers; a product's terms may cancel, so
    that its steps are those of what is added.
    """
    token, scale, bias, *residual = (np.asarray(part, np.float64) for part in given)
    scaled = sums * token[:, None] * scale
    wanted, terms = scaled + bias, np.abs(scaled) + np.abs(bias)
    if gelu:
        wanted = 0.5 * wanted * erfc(-wanted / np.sqrt(2))
        terms = np.maximum(1, terms)
    for part in residual:
        wanted, terms = wanted + part, terms + np.abs(part)
    return float((np.abs(found - wanted) / terms).max() / STEP)


def _cells_are_those_of_a_cpu(name: str) -> bool:
    """Tell whether two chips' words, known bits and counts are equal here and on a CPU."""
    fault, spec = fault_model(name), ChipSpec()
    shape, draw = (spec.groups, 384, 200), np.random.default_rng(1)
    words = draw.integers(0, 1 << spec.group_bits, shape, np.uint8)
    disturb = jax.jit(lambda key, table: fault.disturb(jnp.asarray(words), key, table, spec))

    def disturbed(device: Any) -> list[Any]:
        found = []
        with jax.default_device(device):
            for rate, chip in itertools.product(RATES, range(2)):
                key = array_key(chip_key(root_key(0), jnp.uint32(chip)), IDS["query"], 0)
                read = disturb(key, rate_table(rate, fault=fault))
                found += jax.device_get(jax.tree.leaves(read))
        return found

    here, there = disturbed(jax.devices()[0]), disturbed(jax.devices("cpu")[0])
    return all(itertools.starmap(np.array_equal, zip(here, there, strict=True)))
