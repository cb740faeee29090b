"""Single bits of packed words by their addresses: 8 times the number of a word, plus the bit."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int32, UInt8


def set_bits(words: np.ndarray, at: np.ndarray, values: np.ndarray) -> None:
    """Set bits of words in place, on the host.

    Args:
        words: uint8, of any shape.
        at: [n, ..] addresses, -1 for none; no two alike in a line.
        values: [n, ..] or [n], 0 or 1.
    """
    flat = words.reshape(-1)
    for here, value in zip(at, values, strict=True):
        value = np.broadcast_to(value, here.shape)
        for bit in range(8):  # bits of one word one after another
            mine = (here >= 0) & (here & 7 == bit)
            word = here[mine] >> 3
            flat[word] = flat[word] & ~np.uint8(1 << bit) | (
                value[mine].astype(np.uint8) << np.uint8(bit)
            )


def with_bits(
    words: UInt8[Array, "G R C"], at: Int32[Array, "*shape"], bits: UInt8[Array, "*shape"]
) -> UInt8[Array, "G R C"]:
    """Give words with bits set to others, inside jit.

    Args:
        words: as they are.
        at: addresses, -1 for none; no two alike.
        bits: 0 or 1 for each address.
    """
    place, flat = (at & 7).astype(jnp.uint8), words.ravel()
    old = (flat.take(at >> 3, mode="clip") >> place) & jnp.uint8(1)
    # No two addresses are alike, so differences of a word add up exactly.
    where = jnp.where(at < 0, flat.size, at >> 3)
    return flat.at[where].add((bits - old) << place, mode="drop").reshape(words.shape)
