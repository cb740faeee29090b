"""Products of inputs with the codes read from crossbars."""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, BFloat16, Float, Int8, Int32

from rerax._types import AnyArray
from rerax.crossbar.platform import fastest_factor
from rerax.crossbar.quantise import quantise_inputs

EXACT_ROWS = (1 << 24) // (127 * 128)
"""Products of two codes that float32 sums exactly in any order, all of them at their largest."""


def multiply(
    x: Float[Array, "*B R"], codes: Sequence[Array], scales: Sequence[AnyArray], integers: bool
) -> tuple[Float[Array, "*B C"], ...]:
    """Multiply inputs by the matrices of codes that read them.

    With `integers` inputs are quantised per token and each product is an exact sum of products of
    codes (`integer_product`), all matrices as one. Otherwise codes are scaled back and multiplied
    in float, in full precision of x's dtype.

    Args:
        x: inputs.
        codes: [R, C] of each matrix, in `factor_format` with `integers`, else int8.
        scales: [C] a code's worth in each column of each matrix.
        integers: whether inputs are driven as 8-bit codes.

    Returns:
        x @ (codes * scales) of each, in x's dtype.
    """
    pairs = list(zip(codes, scales, strict=True))
    if not integers:
        weights = [c.astype(x.dtype) * s[None].astype(x.dtype) for c, s in pairs]
        return tuple(jnp.dot(x, w, precision=lax.Precision.HIGHEST) for w in weights)
    inputs, token_scale = quantise_inputs(x)
    widths = np.cumsum([c.shape[-1] for c in codes])
    sums = jnp.split(integer_product(inputs, jnp.concatenate(codes, axis=-1)), widths[:-1], axis=-1)
    column_scales = (s.reshape((1,) * (x.ndim - 1) + (-1,)) for s in scales)
    return tuple(
        (s.astype(jnp.float32) * (token_scale * c)).astype(x.dtype)
        for s, c in zip(sums, column_scales, strict=True)
    )


def factor_format() -> str:
    """Choose the format in which this machine multiplies codes fastest; sums are the same."""
    return fastest_factor() if jax.default_backend() == "cpu" else "int8"


def integer_product(
    inputs: Int8[Array, "*B R"], codes: Int8[Array, "R C"] | BFloat16[Array, "R C"]
) -> Int32[Array, "*B C"]:
    """Multiply input codes by weight codes, exactly.

    Args:
        inputs: codes of the inputs, -127..127.
        codes: codes of the weights in int8, or the same integers in bfloat16, which holds all
            of them exactly: products are then summed in float32, which is exact as well for up
            to `EXACT_ROWS` rows; more rows are cut into parts whose sums are added as integers.
    """
    if codes.dtype == jnp.int8:
        return _dot(inputs, codes, jnp.int32)
    # Flat and held: XLA's CPU backend has no such product of inputs in another layout, which
    # those fresh from a look-up may have.
    flat = lax.optimization_barrier(inputs.reshape(-1, inputs.shape[-1]).astype(codes.dtype))
    parts = -(-len(codes) // EXACT_ROWS)
    pairs = zip(jnp.array_split(flat, parts, axis=-1), jnp.array_split(codes, parts), strict=True)
    sums = (_dot(x, c, jnp.float32).astype(jnp.int32) for x, c in pairs)
    return functools.reduce(jnp.add, sums).reshape(*inputs.shape[:-1], -1)


def _dot(inputs: Array, codes: Array, sums: Any) -> Array:
    contract = (((inputs.ndim - 1,), (0,)), ((), ()))
    return lax.dot_general(inputs, codes, contract, preferred_element_type=sums)
