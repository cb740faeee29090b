"""Codes <-> words: how a b-bit code becomes the levels of its cells.

A word packs the levels of one group's cells, natural binary, least significant cell lowest,
so that a word is simply the group's bits. `encode` runs once per model on the host, or at every
step of a training, inside jit; `decode` runs once per chip, inside jit.
"""

from typing import overload

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Int8, UInt8

from rerax._types import AnyArray
from rerax.crossbar.spec import ChipSpec


@overload
def encode(codes: Int8[np.ndarray, "*L R C"], spec: ChipSpec) -> UInt8[np.ndarray, "*L G R C"]: ...
@overload
def encode(codes: Int8[Array, "*L R C"], spec: ChipSpec) -> UInt8[Array, "*L G R C"]: ...
def encode(codes: Int8[AnyArray, "*L R C"], spec: ChipSpec) -> UInt8[AnyArray, "*L G R C"]:
    """Encode codes as the words that cells hold.

    `offset` stores code + 2^(b-1); `twos_complement` the code modulo 2^b; `sign_magnitude`
    the sign in the top bit above |code|; `differential` max(code, 0) in the plus group (first)
    and max(-code, 0) in the minus group.

    Args:
        codes: integers in -(2^(b-1)-1)..2^(b-1)-1; in `offset` and `twos_complement` also
            -2^(b-1), to which codes are rounded that give up low bits.
        spec: the encoding and width.

    Returns:
        Words, one for each group of each weight.

    Raises:
        ValueError: codes of NumPy that are wider than the spec's.
    """
    xp = np if isinstance(codes, np.ndarray) else jnp
    most = (1 << (spec.bits - 1)) - 1
    least = -most - (spec.encoding in ("offset", "twos_complement"))
    if isinstance(codes, np.ndarray) and ((codes < least) | (codes > most)).any():
        raise ValueError(
            f"codes are outside {least}..{most}: quantise to the {spec.bits} bits of the spec"
        )
    wide = codes.astype(np.int16)
    half = 1 << (spec.bits - 1)
    if spec.encoding == "differential":
        groups = [xp.maximum(wide, 0), xp.maximum(-wide, 0)]
    elif spec.encoding == "offset":
        groups = [wide + half]
    elif spec.encoding == "twos_complement":
        groups = [wide & (2 * half - 1)]
    else:
        groups = [xp.where(wide < 0, half - wide, wide)]
    return xp.stack(groups, axis=-3).astype(np.uint8)


def complement(rows: int, spec: ChipSpec) -> UInt8[np.ndarray, "R 1"]:
    """Give the bits of each row's words that are stored complemented (`ChipSpec.polarity`)."""
    odd = np.arange(rows)[:, None] % 2
    return np.asarray(spec.inverted | odd * spec.alternating, np.uint8)


def decode(words: UInt8[Array, "G R C"], spec: ChipSpec) -> Int8[Array, "R C"]:
    """Decode words to codes: the inverse of `encode`, on every word a faulty cell can give.

    Offset and two's complement can read -2^(b-1), which quantising never gives; a negative
    zero of `sign_magnitude` reads 0.
    """
    half = 1 << (spec.bits - 1)
    first = words[0]
    if spec.encoding == "differential":
        return _signed(first - words[1])
    if spec.encoding == "offset":
        return _signed(first - jnp.uint8(half))
    if spec.encoding == "twos_complement":
        return _signed((first ^ jnp.uint8(half)) - jnp.uint8(half))
    magnitude = _signed(first & jnp.uint8(half - 1))
    return jnp.where(first >= half, -magnitude, magnitude)


def _signed(byte: UInt8[Array, "*shape"]) -> Int8[Array, "*shape"]:
    # Unsigned arithmetic wraps modulo 256, so the byte's bits are the code's two's complement.
    return lax.bitcast_convert_type(byte, jnp.int8)
