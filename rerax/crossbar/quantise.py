"""Float weights <-> codes, and float inputs -> 8-bit codes.

Weights are quantised once per model on the host, in NumPy's float64, so that codes never
depend on a backend. Inputs are quantised per token inside the network.
"""

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Float32, Int8

from rerax.crossbar.spec import check_bits


def quantise(
    weights: Float[np.ndarray, "*L R C"],
    bits: int,
    open_cells: Bool[np.ndarray, "*L R C"] | None = None,
) -> tuple[Int8[np.ndarray, "*L R C"], Float32[np.ndarray, "*L C"]]:
    """Quantise weights to symmetric codes with one scale for each column.

    code = rint(w * q / max|w|) and scale = max|w| / q with q = 2^(bits-1) - 1, the maximum
    over the column's kept weights; half to even. A column without a kept non-zero weight has
    codes 0 and scale 1.

    Args:
        weights: matrices W[in, out], finite.
        bits: code width b, 2 to 8.
        open_cells: True where both gates are open; a closed weight has code 0 and no say in
            the scale. None: all open.

    Returns:
        Codes in -q..q and scales (units of the weights).

    Raises:
        ValueError: bits outside that range.

    Example:
        >>> codes, scale = quantise(np.array([[1.0], [-0.5]], np.float32), 8)
        >>> codes.ravel().tolist(), round(float(scale[0]), 6)
        ([127, -64], 0.007874)
    """
    check_bits(bits)
    q = 2 ** (bits - 1) - 1
    kept = np.asarray(weights, np.float64)
    if open_cells is not None:
        kept = np.where(open_cells, kept, 0.0)
    largest = np.abs(kept).max(axis=-2)
    empty = largest == 0
    codes = np.rint(kept * q / np.where(empty, 1.0, largest)[..., None, :]).astype(np.int8)
    scale = np.where(empty, 1.0, largest / q).astype(np.float32)
    return codes, scale


def quantise_inputs(
    x: Float[Array, "*B R"],
) -> tuple[Int8[Array, "*B R"], Float32[Array, "*B 1"]]:
    """Quantise the vectors that drive the wordlines to 8-bit codes, with one scale for each token.

    scale = max|x| * float32(1/127), 1 for a zero vector; code = clip(round(x / scale), -127,
    127), half to even.

    Args:
        x: inputs, the last axis is one token's whole vector.

    Returns:
        Codes and the scale of every token.
    """
    x = x.astype(jnp.float32)
    # two reductions that XLA vectorises; that of |x| takes more than twice as long on a CPU
    largest = jnp.maximum(jnp.max(x, axis=-1, keepdims=True), -jnp.min(x, axis=-1, keepdims=True))
    scale = largest * jnp.float32(1 / 127)
    scale = jnp.where(scale == 0, jnp.float32(1), scale)
    return _to_int8(jnp.clip(jnp.round(x / scale), -127, 127)), scale


def _to_int8(whole: Float32[Array, "*n"]) -> Int8[Array, "*n"]:
    """Convert whole numbers of at most 127 to int8, by their bits.

    Added to 1.5 * 2^23 such a number stands in the lowest bits of the sum. The conversion of
    floats itself saturates, and takes most of the quantiser's time on a CPU.
    """
    bits = lax.bitcast_convert_type(whole + jnp.float32(1.5 * 2**23), jnp.int32)
    return bits.astype(jnp.int8)


def straight_through(hard: Float[Array, "*n"], soft: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """Give `hard`, bit for bit, the derivative of `soft` (both finite).

    Source: Bengio et al., "Estimating or propagating gradients through stochastic neurons",
    2013 (arXiv 1308.3432).
    """
    return lax.stop_gradient(hard) + (soft - lax.stop_gradient(soft))


def rounded_weights(weights: Float[Array, "*L R C"], bits: int) -> Float[Array, "*L R C"]:
    """Round weights to what a chip's codes stand for; derivatives pass straight through.

    Args:
        weights: masked weights.
        bits: code width b, 2 to 8.
    """
    codes, scale = whole_numbers(weights, bits)
    return straight_through((codes * scale).astype(weights.dtype), weights)


def whole_numbers(
    weights: Float[Array, "*L R C"], bits: int
) -> tuple[Float32[Array, "*L R C"], Float32[Array, "*L 1 C"]]:
    """Quantise weights inside jit: codes, in float32, and the scale of every column.

    The rule is that of `quantise`, in float32: on ties the last bit of a division may give the
    neighbouring code. A pruned weight must be zero already.

    Args:
        weights: masked weights.
        bits: code width b, 2 to 8.
    """
    q = jnp.float32(2 ** (bits - 1) - 1)
    kept = weights.astype(jnp.float32)
    largest = jnp.max(jnp.abs(kept), axis=-2, keepdims=True)
    scale = jnp.where(largest == 0, jnp.float32(1), largest / q)
    return jnp.round(kept * q / jnp.where(largest == 0, jnp.float32(1), largest)), scale


def rounded_inputs(x: Float[Array, "*B R"]) -> Float[Array, "*B R"]:
    """Round inputs to what `quantise_inputs` codes stand for; derivatives pass straight through."""
    codes, scale = quantise_inputs(x)
    return straight_through((codes.astype(jnp.float32) * scale).astype(x.dtype), x)
