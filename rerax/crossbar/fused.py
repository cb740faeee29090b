"""Products on a GPU whose end does the rest: kernels for Pallas's Triton backend.

Plain XLA writes the int32 sums of a product to memory and reads them again for scale, bias and
GELU, and twice more for the next quantiser. Here scale, bias, GELU and residual come while a tile
of sums is in registers, and quantisers read a token's vector from memory once. The plain path
(`products.multiply`, `quantise.quantise_inputs`) is the twin: the sums are the same integers, and
what follows is computed in float32. `interpret` runs the kernels on any backend, slowly.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jaxtyping import Array, Float, Float32, Int8

from rerax._types import AnyArray

TOKENS, COLUMNS, ROWS = 128, 128, 128
"""Of a tile of sums, and rows that are multiplied at once."""
VECTORS = 16
"""Token vectors of a program of the row kernels."""

_MAGIC, _MAGIC_BITS = 1.5 * 2**23, 0x4B400000
_ERF = (
    *(7.853861e-5, -8.010194e-4, 5.188328e-3, -2.685381e-2),
    *(1.128358515e-1, -3.761262582e-1, 1.128379167),
)
_NEAR = (
    *(2.326819970e-2, -1.387039389e-1, 3.687424675e-1, -5.824733027e-1, 6.210004622e-1),
    *(-4.944515323e-1, 3.404879938e-1, -2.741127028e-1, 5.638259427e-1),
)
_FAR = (
    *(-1.047766400e1, 1.297719955e1, -7.495518718, 2.921019019),
    *(-1.015265279, 4.218463358e-1, -2.820767440e-1, 5.641895068e-1),
)
"""Of erf below 1, and of erfc below 2 and above."""


def fits(rows: int, columns: int) -> bool:
    """Tell whether the kernels can multiply such a matrix."""
    return rows % ROWS == 0 and columns % COLUMNS == 0


def rows_last(codes: Int8[Array, "R C"]) -> Int8[Array, "C R"]:
    """Lay codes out as a GPU multiplies them fastest; held, so that it is done once."""
    return lax.optimization_barrier(codes.T)


def padded(x: Array) -> Array:
    """Fill up tokens [T, ...] with zeros to whole tiles."""
    return jnp.pad(x, [(0, -len(x) % TOKENS), *[(0, 0)] * (x.ndim - 1)])


def fused_product(
    inputs: Int8[Array, "T R"],
    token_scale: Float32[Array, " T"],
    codes: Int8[Array, "C R"],
    scale: Float32[Array, " C"],
    bias: Float32[Array, " C"],
    residual: Float[Array, "T C"] | None = None,
    gelu: bool = False,
    dtype: Any = jnp.float32,
    interpret: bool = False,
) -> Float[Array, "T C"]:
    """Multiply input codes by weight codes, scale, and add bias and residual.

    Args:
        inputs: codes of the inputs; T in whole tiles (`padded`).
        token_scale: a code's worth in each token.
        codes: weight codes, rows last.
        scale: a code's worth in each column.
        bias: of each column.
        residual: added last.
        gelu: apply GELU before that.
        dtype: of the result.
        interpret: run the kernel as plain operations.
    """
    (tokens, rows), columns = inputs.shape, len(codes)
    assert not tokens % TOKENS

    def kernel(*refs: Any) -> None:
        x_ref, codes_ref, token_ref, scale_ref, bias_ref, *rest = refs

        def add(i: Any, sums: Any) -> Any:
            at = pl.ds(i * ROWS, ROWS)
            dims = (((1,), (1,)), ((), ()))
            return sums + lax.dot_general(
                x_ref[:, at], codes_ref[:, at], dims, preferred_element_type=jnp.int32
            )

        sums = lax.fori_loop(0, rows // ROWS, add, jnp.zeros((TOKENS, COLUMNS), jnp.int32))
        y = sums.astype(jnp.float32) * (token_ref[...][:, None] * scale_ref[...][None])
        y = y + bias_ref[...][None]
        y = _gelu(y) if gelu else y
        if residual is not None:
            y = y + rest[0][...].astype(jnp.float32)
        rest[-1][...] = y.astype(dtype)

    of_tile = pl.BlockSpec((TOKENS, COLUMNS), lambda i, j: (i, j))
    of_columns = pl.BlockSpec((COLUMNS,), lambda i, j: (j,))
    return pl.pallas_call(
        kernel,
        grid=(tokens // TOKENS, columns // COLUMNS),
        in_specs=[
            pl.BlockSpec((TOKENS, rows), lambda i, j: (i, 0)),
            pl.BlockSpec((COLUMNS, rows), lambda i, j: (j, 0)),
            pl.BlockSpec((TOKENS,), lambda i, j: (i,)),
            of_columns,
            of_columns,
            *([] if residual is None else [of_tile]),
        ],
        out_specs=of_tile,
        out_shape=jax.ShapeDtypeStruct((tokens, columns), dtype),
        **_how(interpret, 8, 3),
    )(inputs, codes, token_scale, scale, bias, *([] if residual is None else [residual]))


def quantise_vectors(
    x: Float[Array, "T R"], interpret: bool = False
) -> tuple[Int8[Array, "T R"], Float32[Array, " T"]]:
    """Quantise the vectors that drive the wordlines as `quantise_inputs` does.

    Scales of finite vectors are equal to the bit. Compilers may divide by a reciprocal here, so
    that a number within a few steps of float32 of a tie may get the neighbouring code.

    Args:
        x: inputs; T in whole tiles, R a multiple of ROWS.
        interpret: run the kernel as plain operations.

    Returns:
        Codes, and the scale of every token.
    """

    def kernel(x_ref: Any, codes_ref: Any, scale_ref: Any) -> None:
        _write_codes(lambda at: x_ref[:, at].astype(jnp.float32), x.shape[1], codes_ref, scale_ref)

    vectors, line = _vectors(x)
    return pl.pallas_call(
        kernel,
        grid=(len(x) // VECTORS,),
        in_specs=[vectors],
        out_specs=[vectors, line],
        out_shape=_coded(x),
        **_how(interpret, 4, 1),
    )(x)


def normed_vectors(
    x: Float[Array, "T R"],
    scale: Float32[Array, " R"],
    bias: Float32[Array, " R"],
    eps: float,
    interpret: bool = False,
) -> tuple[Float[Array, "T R"], Int8[Array, "T R"], Float32[Array, " T"]]:
    """Take the layer norm of token vectors, and quantise it.

    Args:
        x: vectors; T in whole tiles, R a multiple of ROWS.
        scale, bias: of the norm.
        eps: added to the variance.
        interpret: run the kernel as plain operations.

    Returns:
        The norm in x's dtype, its codes, and the scale of every token.
    """
    width = x.shape[1]

    def kernel(
        x_ref: Any, scale_ref: Any, bias_ref: Any, y_ref: Any, codes_ref: Any, token_ref: Any
    ) -> None:
        def part(at: Any) -> Any:
            return x_ref[:, at].astype(jnp.float32)

        zero = jnp.zeros(VECTORS, jnp.float32)
        mean = _over(width, lambda at, total: total + part(at).sum(1), zero) / width

        def square(at: Any) -> Any:
            away = part(at) - mean[:, None]
            return (away * away).sum(1)

        variance = _over(width, lambda at, total: total + square(at), zero) / width
        factor = lax.rsqrt(variance + jnp.float32(eps))

        def normed(at: Any) -> Any:
            y = (part(at) - mean[:, None]) * factor[:, None]
            y = y * scale_ref[at][None] + bias_ref[at][None]
            return y.astype(x.dtype)

        def write(at: Any, done: Any) -> Any:
            y_ref[:, at] = normed(at)
            return done

        _over(width, write, jnp.int32(0))
        _write_codes(lambda at: normed(at).astype(jnp.float32), width, codes_ref, token_ref)

    vectors, line = _vectors(x)
    whole = pl.BlockSpec((width,), lambda i: (0,))
    return pl.pallas_call(
        kernel,
        grid=(len(x) // VECTORS,),
        in_specs=[vectors, whole, whole],
        out_specs=[vectors, vectors, line],
        out_shape=[jax.ShapeDtypeStruct(x.shape, x.dtype), *_coded(x)],
        **_how(interpret, 4, 1),
    )(x, scale, bias)


def _write_codes(part: Callable[[Any], Any], width: int, codes_ref: Any, scale_ref: Any) -> None:
    """Write the codes of vectors, and their scales (`quantise.quantise_inputs`).

    Args:
        part: gives some of their numbers, float32.
        width: of a vector.
        codes_ref, scale_ref: where to.
    """
    least = jnp.zeros(VECTORS, jnp.float32)
    largest = _over(width, lambda at, top: jnp.maximum(top, jnp.abs(part(at)).max(1)), least)
    scale = largest * jnp.float32(1 / 127)
    scale = jnp.where(scale == 0, jnp.float32(1), scale)
    scale_ref[...] = scale

    def write(at: Any, done: Any) -> Any:
        # added to 1.5 * 2^23 a number is rounded half to even, and stands in the lowest bits
        moved = part(at) / scale[:, None] + jnp.float32(_MAGIC)
        whole = lax.bitcast_convert_type(moved, jnp.int32) - jnp.int32(_MAGIC_BITS)
        codes_ref[:, at] = jnp.clip(whole, -127, 127).astype(jnp.int8)
        return done

    _over(width, write, jnp.int32(0))


def _over(width: int, step: Callable[[Any, Any], Any], start: Any) -> Any:
    """Fold over parts of ROWS numbers of a vector, since tiles are powers of two."""
    return lax.fori_loop(0, width // ROWS, lambda i, s: step(pl.ds(i * ROWS, ROWS), s), start)


def _vectors(x: Array) -> tuple[Any, Any]:
    """Give the blocks of token vectors, and of a number for each."""
    assert not len(x) % VECTORS
    vectors = pl.BlockSpec((VECTORS, x.shape[1]), lambda i: (i, 0))
    return vectors, pl.BlockSpec((VECTORS,), lambda i: (i,))


def _coded(x: Array) -> list[Any]:
    return [
        jax.ShapeDtypeStruct(x.shape, jnp.int8),
        jax.ShapeDtypeStruct((len(x),), jnp.float32),
    ]


def _how(interpret: bool, warps: int, stages: int) -> dict[str, Any]:
    """Give the settings of a kernel."""
    if interpret:
        return {"interpret": True}
    from jax.experimental.pallas import triton

    return {"compiler_params": triton.CompilerParams(num_warps=warps, num_stages=stages)}


def _gelu(x: AnyArray) -> Any:
    """Compute GELU with an error function of our own: Pallas's Triton backend has none.

    Source: S. Moshier, Cephes library, ndtrf.c: polynomials for erf below 1, and for erfc above.
    """
    z = jnp.abs(x) * jnp.float32(0.5**0.5)
    square = z * z
    inner = z * _polynomial(_ERF, square)
    safe = jnp.maximum(z, jnp.float32(0.5))
    far = 1 / (safe * safe)
    tail = jnp.where(z < 2, _polynomial(_NEAR, far), _polynomial(_FAR, far))
    tail = jnp.exp(-square) / safe * tail
    lower = jnp.where(z < 1, 1 - inner, tail)  # erfc of the magnitude
    return jnp.float32(0.5) * x * jnp.where(x < 0, lower, 2 - lower)


def _polynomial(coefficients: tuple[float, ...], x: Any) -> Any:
    """Evaluate a polynomial, its highest power first."""
    return functools.reduce(lambda y, c: y * x + jnp.float32(c), coefficients, jnp.float32(0))
