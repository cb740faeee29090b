"""The products and look-ups of `rerax.bert` on crossbars: by the codes that are read from them."""

from collections.abc import Mapping

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Int8, Int32

from rerax._types import AnyArray
from rerax.bert.model import Lookup, Product, float_lookup, float_product
from rerax.compaction import Lines, masked_codes, open_product, take_out
from rerax.quantise import quantise_inputs


def crossbar_product(
    codes: dict[str, Int8[Array, "R C"]],
    scales: Mapping[str, AnyArray],
    input_bits: int | None,
    lines: Mapping[str, Lines] | None = None,
    compact: bool = False,
) -> Product:
    """Matrix product of `rerax.bert` that multiplies by the codes read from crossbars.

    With `input_bits=8` inputs are quantised per token and each product is an exact sum of
    int8 x int8 products in int32; otherwise codes are scaled back and multiplied in float.
    Matrices without codes fall back to their float kernels. Closed lines (those not in `lines`)
    take no part, whatever is read from them: their codes are zeros, or with `compact` left out.
    """
    lines = lines or {}
    compact = compact and input_bits is not None
    leave_out = take_out if compact else masked_codes
    codes = {n: leave_out(c, lines[n]) if n in lines else c for n, c in codes.items()}

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
        outputs = []
        for name in names:
            column_scale = scales[name].reshape((1,) * (x.ndim - 1) + (-1,))
            if compact and name in lines:
                sums = open_product(inputs, codes[name], lines[name], integer_product)
            else:
                sums = integer_product(inputs, codes[name])
            outputs.append(
                (sums.astype(jnp.float32) * (token_scale * column_scale)).astype(x.dtype)
            )
        return tuple(outputs)

    return product


def integer_product(inputs: Int8[Array, "*B R"], codes: Int8[Array, "R C"]) -> Int32[Array, "*B C"]:
    """Exact product of input codes and weight codes."""
    contract = (((inputs.ndim - 1,), (0,)), ((), ()))
    return lax.dot_general(inputs, codes, contract, preferred_element_type=jnp.int32)


def crossbar_lookup(codes: dict[str, Int8[Array, "R C"]], scales: Mapping[str, AnyArray]) -> Lookup:
    """Table look-up of `rerax.bert` on crossbars: a one-hot input drives a single wordline."""

    def lookup(name: str, ids: Array, table: Array | None) -> Array:
        if name not in codes:
            return float_lookup(name, ids, table)
        scale = scales[name].reshape((1,) * ids.ndim + (-1,))
        return codes[name][ids].astype(jnp.float32) * scale

    return lookup
