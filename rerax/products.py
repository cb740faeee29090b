"""Products and look-ups of `rerax.models.bert` on crossbars: by the codes read from them."""

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, BFloat16, Int8, Int32

from rerax._types import AnyArray
from rerax.crossbar.masking import Lines, masked_codes
from rerax.crossbar.quantise import quantise_inputs
from rerax.instructions import fastest_factor
from rerax.models.bert.model import Lookup, Product, float_lookup, float_product

EXACT_ROWS = (1 << 24) // (127 * 128)
"""Products of two codes that float32 sums exactly in any order, all of them at their largest."""


def crossbar_product(
    codes: dict[str, Int8[Array, "R C"]],
    scales: Mapping[str, AnyArray],
    input_bits: int | None,
    lines: Mapping[str, Lines] | None = None,
) -> Product:
    """Matrix product of `rerax.models.bert` that multiplies by the codes read from crossbars.

    With `input_bits=8` inputs are quantised per token and each product is an exact sum of
    products of codes (`integer_product`); matrices that read the same input are multiplied as
    one. Otherwise codes are scaled back and multiplied in float.
    Matrices without codes fall back to their float kernels. Closed lines (those not in `lines`)
    take no part, whatever is read from them: their codes are zeros.
    """
    lines = lines or {}
    codes = {n: masked_codes(c, lines[n]) if n in lines else c for n, c in codes.items()}
    if input_bits is not None:
        codes = {n: c.astype(factor_format()) for n, c in codes.items()}

    def product(
        names: tuple[str, ...], x: Array, kernels: tuple[Array | None, ...]
    ) -> tuple[Array, ...]:
        if not any(name in codes for name in names):
            return float_product(names, x, kernels)
        if input_bits is None:
            weights = tuple(
                codes[n].astype(x.dtype) * scales[n][None].astype(x.dtype) for n in names
            )
            return float_product(names, x, weights)
        inputs, token_scale = quantise_inputs(x)
        widths = np.cumsum([codes[n].shape[-1] for n in names])
        joined = jnp.concatenate([codes[n] for n in names], axis=-1)
        sums = jnp.split(integer_product(inputs, joined), widths[:-1], axis=-1)
        column_scales = (scales[n].reshape((1,) * (x.ndim - 1) + (-1,)) for n in names)
        return tuple(
            (s.astype(jnp.float32) * (token_scale * c)).astype(x.dtype)
            for s, c in zip(sums, column_scales, strict=True)
        )

    return product


def factor_format() -> str:
    """Number format in which this machine multiplies codes fastest; the sums are the same."""
    return fastest_factor() if jax.default_backend() == "cpu" else "int8"


def integer_product(
    inputs: Int8[Array, "*B R"], codes: Int8[Array, "R C"] | BFloat16[Array, "R C"]
) -> Int32[Array, "*B C"]:
    """Exact product of input codes and weight codes.

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


def crossbar_lookup(codes: dict[str, Int8[Array, "R C"]], scales: Mapping[str, AnyArray]) -> Lookup:
    """Table look-up on crossbars: a one-hot input drives a single wordline."""

    def lookup(name: str, ids: Array, table: Array | None) -> Array:
        if name not in codes:
            return float_lookup(name, ids, table)
        scale = scales[name].reshape((1,) * ids.ndim + (-1,))
        return codes[name][ids].astype(jnp.float32) * scale

    return lookup
