"""Single bits of packed words by their addresses: 8 times the number of a word, plus the bit."""

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int32, UInt8

from rerax._types import AnyArray


class Hosts(NamedTuple):
    """Words that hold some bits, and which: what writing inside jit needs.

    Attributes:
        number: [*L, G, R, C] number of each word among those that hold any; -1: it holds none.
        plane: [*L, P] places in a word where bits are held.
        source: [*L, H, P] which of the bits each host holds in each place; -1: none.
    """

    number: Int32[AnyArray, "*L G R C"]
    plane: Int32[AnyArray, "*L P"]
    source: Int32[AnyArray, "*L H P"]


def hosts_of(at: np.ndarray, shape: tuple[int, int, int]) -> Hosts:
    """Turn addresses of bits into a list, by words, of the bits that each word holds. NumPy.

    Inside jit a chip then looks up what each word is to hold, which is faster than scattering bits.

    Args:
        at: addresses of bits in the order of their numbers, -1 for none; no two alike.
        shape: G, R and C of the words.
    """
    flat = at.ravel()
    bits = np.flatnonzero(flat >= 0)
    word, place = flat[bits] >> 3, flat[bits] & 7
    hosts, rank = np.unique(word, return_inverse=True)
    planes, column = np.unique(place, return_inverse=True)
    number = np.full(int(np.prod(shape)), -1, np.int32)
    number[hosts] = np.arange(len(hosts))
    source = np.full((len(hosts), len(planes)), -1, np.int32)
    source[rank, column] = bits
    return Hosts(number.reshape(shape), planes.astype(np.int32), source)


def stack_hosts(layers: Sequence[Hosts]) -> Hosts:
    """Put those of a matrix's layers together, filled up with words that hold nothing."""
    high, wide = np.max([layer.source.shape for layer in layers], axis=0)
    planes = [np.pad(layer.plane, (0, wide - len(layer.plane))) for layer in layers]
    sources = [
        np.pad(
            layer.source,
            ((0, high - len(layer.source)), (0, wide - layer.source.shape[1])),
            constant_values=-1,
        )
        for layer in layers
    ]
    return Hosts(np.stack([layer.number for layer in layers]), np.stack(planes), np.stack(sources))


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
    words: UInt8[Array, "G R C"], hosts: Hosts, bits: UInt8[Array, "*shape"]
) -> UInt8[Array, "G R C"]:
    """Give words with bits set to others, inside jit.

    By look-ups alone: on a CPU a scatter takes ten times as long.

    Args:
        words: as they are.
        hosts: which words hold which of the bits, of one layer.
        bits: 0 or 1, in the order of their numbers.
    """
    if not hosts.source.size:
        return words
    source, place = jnp.asarray(hosts.source), jnp.asarray(hosts.plane).astype(jnp.uint8)[None, :]
    taken = bits.ravel().take(source, mode="clip") << place
    here = (source >= 0).astype(jnp.uint8) << place
    # the places of a word are apart, so sums are unions
    value = jnp.sum(jnp.where(here > 0, taken, jnp.uint8(0)), axis=1, dtype=jnp.uint8)
    held = jnp.sum(here, axis=1, dtype=jnp.uint8)
    number = jnp.asarray(hosts.number)
    mask = jnp.where(number < 0, jnp.uint8(0), held.take(number, mode="clip"))
    return (words & ~mask) | (value.take(number, mode="clip") & mask)
