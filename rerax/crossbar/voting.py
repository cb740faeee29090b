"""Majority voting on packed words, one bit position of all words at a time.

Usable alone: a word is any unsigned integer, a copy any array of the same shape. Adding the
copies up bit by bit in carry-save counters costs a few logical operations a word whatever its
width, so whole matrices vote at the speed of memory.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, UInt

Counter = list[Array]
"""Bits of a count, least significant first; bit i of a word counts votes on its bit i."""


@jax.jit
def majority_vote(
    images: UInt[Array, " k *shape"], stuck: UInt[Array, " k *shape"] | None = None
) -> UInt[Array, "*shape"]:
    """Vote bitwise by majority over k images of each word.

    Args:
        images: the original (first) and its copies, packed in words of any unsigned dtype.
        stuck: bits of each image known to be stuck, which do not vote (erasures).

    Returns:
        Words whose every bit is what most of its voters say; where voters tie or none is left,
        the original as it was read.

    Raises:
        ValueError: an even number of images, all of which vote.

    Example:
        >>> int(majority_vote(jnp.array([[0b1100], [0b1010], [0b1001]], jnp.uint8))[0])
        8
    """
    if stuck is None:
        if len(images) % 2 == 0:
            raise ValueError(f"{len(images)} images can tie: give an odd number")
        return at_least(count_votes(images), (len(images) + 1) // 2, images[0])
    ones, zeros = count_votes(images & ~stuck), count_votes(~images & ~stuck)
    more, fewer = _greater(ones, zeros), _greater(zeros, ones)
    return more | (images[0] & ~fewer)


def msb_encode(words: UInt[Array, "*shape"], bits: int, msbs: int) -> UInt[Array, "*shape"]:
    """Take the `msbs` most significant bits of `bits`-bit words, as numbers below 2^msbs.

    With `msb_decode` the readable form of what `MsbEmbed` does to whole arrays at once
    (`protection.msb`), to which the tests hold that faster path.

    Args:
        words: unsigned words below 2^bits.
        bits: width of a word.
        msbs: how many bits to copy, 1 to `bits`.

    Raises:
        ValueError: msbs outside 1..bits.

    Example:
        >>> int(msb_encode(jnp.uint8(0b10110001), 8, 2))
        2
    """
    _check_msbs(bits, msbs)
    return words >> jnp.asarray(bits - msbs, words.dtype)


def msb_decode(
    words: UInt[Array, "*shape"],
    copies: UInt[Array, " n *shape"],
    bits: int,
    msbs: int,
    stuck: tuple[UInt[Array, "*shape"], UInt[Array, " n *shape"]] | None = None,
) -> UInt[Array, "*shape"]:
    """Vote the `msbs` top bits of words with their copies; see `msb_encode`.

    Args:
        words: words as read.
        copies: an even number of copies of the top bits as read, in `msb_encode`'s form.
        bits: width of a word.
        msbs: bits copied.
        stuck: stuck bits of the words and of the copies, which do not vote.

    Raises:
        ValueError: msbs outside 1..bits, or an odd number of copies.
    """
    _check_msbs(bits, msbs)
    low = jnp.asarray(bits - msbs, words.dtype)
    images = jnp.concatenate([(words >> low)[None], copies])
    erased = None
    if stuck is not None:
        erased = jnp.concatenate([(stuck[0] >> low)[None], stuck[1]])
    rest = words & ((jnp.ones((), words.dtype) << low) - jnp.ones((), words.dtype))
    return (majority_vote(images, erased) << low) | rest


def _check_msbs(bits: int, msbs: int) -> None:
    if not 1 <= msbs <= bits:
        raise ValueError(f"msbs {msbs} is outside 1..{bits}: copy at least 1 bit, at most all")


def count_votes(images: Array | Sequence[Array]) -> Counter:
    """Count the images that have each bit set, in binary: one word for each digit of the count."""
    counter: Counter = []
    for carry in images:
        for place, digit in enumerate(counter):
            counter[place], carry = digit ^ carry, digit & carry
        if len(counter) < len(images).bit_length():
            counter.append(carry)
    return counter


def at_least(counter: Counter, least: int, like: Array) -> Array:
    """Find the bits whose count is `least` or more: then count + (2^n - least) has a carry."""
    carry = jnp.zeros_like(like)
    for place, digit in enumerate(counter):
        added = ((1 << len(counter)) - least) >> place & 1
        carry = digit | carry if added else digit & carry
    return carry


def _greater(a: Sequence[Array], b: Sequence[Array]) -> Array:
    """Find the bits whose count in `a` is above that in `b`."""
    result = jnp.zeros_like(a[0])
    for x, y in zip(a, b, strict=True):
        result = (x & ~y) | (~(x ^ y) & result)
    return result
