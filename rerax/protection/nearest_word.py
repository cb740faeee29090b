"""Words that stuck cells allow, and the nearest of them to a wanted one, inside jit.

A cell that is stuck holds known bits of its word. Of all words with those bits the nearest is the
one whose code differs least from the wanted code; where two are equally near, the one on the side
of the first stuck bit that is wrong, from the top.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int16, Int32, UInt8

from rerax._types import AnyArray
from rerax.crossbar.encoding import decode, encode
from rerax.crossbar.spec import ChipSpec
from rerax.faults import Odds
from rerax.protection.expected_error import CODES, Votes, settled_bits

Word = UInt8[Array, "*shape"]


def nearest_word(
    words: UInt8[Array, " G *shape"],
    stuck: UInt8[Array, " G *shape"],
    held: UInt8[Array, " G *shape"],
    spec: ChipSpec,
) -> UInt8[Array, " G *shape"]:
    """Find the words nearest to wanted ones among those that stuck cells allow.

    Args:
        words: wanted, of each group.
        stuck: bits that stuck cells hold.
        held: what those bits read; other bits mean nothing.
        spec: encoding and widths.

    Returns:
        Words that agree with `held` in the bits of `stuck`, so that they are read as written.

    Source: closest-value mapping; the search by bits is exact for codes that grow with their word.
    """
    full, half = (1 << spec.group_bits) - 1, 1 << (spec.bits - 1)
    if spec.encoding == "offset":
        return _nearest_above_below(words, stuck, held, full)
    if spec.encoding == "twos_complement":
        turned = (words ^ jnp.uint8(half), stuck, held ^ jnp.uint8(half))
        return _nearest_above_below(*turned, full) ^ jnp.uint8(half)
    if spec.encoding == "sign_magnitude":
        return _nearest_magnitude(words, stuck, held, half)
    pair = _nearest_difference(words[0], words[1], stuck, held, spec.group_bits)
    return jnp.stack(pair)


def as_read(
    words: UInt8[Array, " G *shape"],
    stuck: UInt8[Array, " G *shape"],
    held: UInt8[Array, " G *shape"],
) -> UInt8[Array, " G *shape"]:
    """Read words that were written as they are."""
    return (words & ~stuck) | (held & stuck)


def squared_errors(
    read: UInt8[Array, "G R C"],
    words: UInt8[Array, "G R C"],
    lines: tuple[Bool[AnyArray, " R"], Bool[AnyArray, " C"]],
    spec: ChipSpec,
) -> Int32[Array, "R C"]:
    """Compute the squared error of every code as read, 0 in rows and columns that are not open."""
    off = decode(read, spec).astype(jnp.int32) - decode(words, spec).astype(jnp.int32)
    counts = jnp.asarray(lines[0])[:, None] & jnp.asarray(lines[1])[None, :]
    return jnp.where(counts, off**2, 0)


def negated(words: UInt8[Array, " G *shape"], spec: ChipSpec) -> UInt8[Array, " G *shape"]:
    """Give the words of the negative codes; that of -2^(b-1), which has none, is 2^(b-1) - 1."""
    half = jnp.uint8(1 << (spec.bits - 1))
    if spec.encoding == "differential":
        return words[::-1]
    if spec.encoding == "sign_magnitude":
        return words ^ half
    full = jnp.uint8((1 << spec.bits) - 1)
    lowest = jnp.uint8(0) if spec.encoding == "offset" else half
    return jnp.where(words == lowest, lowest ^ full, (~words + jnp.uint8(1)) & full)


def mean_square(
    stored: np.ndarray, votes: Votes, chances: Odds, spec: ChipSpec
) -> Float[np.ndarray, "256"]:
    """Compute the expected squared error of each code in -128 .. 127, written as nearest words.

    Args:
        stored: [256] the code that is wanted in place of each.
        votes: how bits are voted.
        chances: odds of a cell, whose stuck cells are known.
        spec: encoding and cells.
    """
    words = encode(stored.astype(np.int8)[None], spec)
    given = np.uint8((1 << votes.low) - 1)
    error, rows = np.zeros(256), range(1 if spec.polarity == "plain" else 2)
    for row in rows:
        chance, bits, held = settled_bits(votes, row, chances, spec)
        shape = (spec.groups, len(chance), 256)
        here, reads = ((mask.T)[:, :, None] for mask in (bits | given, held & ~given))
        given_words = [jnp.broadcast_to(one, shape) for one in (words, here, reads)]
        found = nearest_word(given_words[0], given_words[1], given_words[2], spec)
        apart = np.asarray(decode(found, spec), np.float64) - CODES
        error += chance @ apart**2 / len(rows)
    return error


def _nearest_above_below(words: Word, stuck: Word, held: Word, full: int) -> Word:
    """Find the nearest allowed number, below or above, for words in plain binary up to `full`."""
    one = jnp.uint8(1)
    free = ~stuck & jnp.uint8(full)
    held = held & stuck
    wrong = (words ^ held) & stuck
    smeared = wrong | (wrong >> 1)
    smeared |= smeared >> 2
    smeared |= smeared >> 4
    below = smeared >> 1
    top = smeared ^ below  # the highest bit that is wrong
    is_up = (held & top) != 0  # with that bit the word is larger than wanted
    most = held | free
    near = (words & ~smeared) | (held & top) | (jnp.where(is_up, held, most) & below)
    turns = free & ~smeared & jnp.where(is_up, words, ~words)
    turn = turns & (~turns + one)  # the lowest bit that can turn to the other side
    under = turn - one
    other = ((words ^ turn) & ~under) | (jnp.where(is_up, most, held) & under)
    nearer = (turn != 0) & (_apart(other, words) < _apart(near, words))
    return jnp.where(wrong == 0, words, jnp.where(nearer, other, near))


def _apart(a: Word, b: Word) -> Word:
    return jnp.maximum(a, b) - jnp.minimum(a, b)


def _nearest_magnitude(words: Word, stuck: Word, held: Word, half: int) -> Word:
    """Find the nearest magnitude of the wanted sign, or the least of the other sign."""
    sign, low = jnp.uint8(half), jnp.uint8(half - 1)
    held = held & stuck
    wanted = words & low
    same = _nearest_above_below(wanted, stuck & low, held & low, half - 1)
    least = held & low
    own = words & sign
    can_own = ((stuck & sign) == 0) | ((held & sign) == own)
    can_other = ((stuck & sign) == 0) | ((held & sign) != own)
    far = least.astype(jnp.int16) + wanted.astype(jnp.int16)
    take_other = ~can_own | (can_other & (far < _apart(same, wanted).astype(jnp.int16)))
    return jnp.where(take_other, (own ^ sign) | least, own | same)


def _nearest_difference(
    plus: Word,
    minus: Word,
    stuck: UInt8[Array, " 2 *shape"],
    held: UInt8[Array, " 2 *shape"],
    n: int,
) -> tuple[Word, Word]:
    """Find the pair of nearest difference, by digits -1, 0 and 1 from the top.

    What is left to reach below digit i is one of two numbers, apart by 2^i, whatever the digits
    above: all others lie outside what the digits below can give, and end at its ends.
    """
    held = held & stuck
    wanted = plus.astype(jnp.int16) - minus.astype(jnp.int16)
    nothing = jnp.zeros_like(plus)
    never = _Part(jnp.zeros(plus.shape, bool), jnp.zeros_like(wanted), nothing, nothing)
    whole = _Part(jnp.ones(plus.shape, bool), wanted, nothing, nothing)
    best = _Found(jnp.full(plus.shape, 1 << 14, jnp.int16), nothing, nothing)

    def settle(k: Array, carry: tuple[_Part, _Part, _Found]) -> tuple[_Part, _Part, _Found]:
        *parts, best = carry
        i = jnp.int16(n - 1) - k.astype(jnp.int16)
        lowest, highest = _ends(stuck, held, i)
        rest_above, rest_below = never, never
        for part in parts:
            for step, (allowed, bit_p, bit_m) in zip(
                (-1, 0, 1), _digits(stuck, held, i), strict=True
            ):
                rest = part.left - (jnp.int16(step) << i)
                p, m, can = part.plus | bit_p, part.minus | bit_m, part.alive & allowed
                over, under = rest >= highest.value, rest <= lowest.value
                best = _nearer(best, can & over, rest - highest.value, p, m, highest)
                best = _nearer(best, can & under, lowest.value - rest, p, m, lowest)
                inside, new = can & ~over & ~under, _Part(allowed, rest, p, m)
                rest_above = _either(inside & (rest >= 0), new, rest_above)
                rest_below = _either(inside & (rest < 0), new, rest_below)
        return rest_above, rest_below, best

    # A loop: unrolled, XLA would compute a digit anew for each of those that follow from it.
    *_, best = lax.fori_loop(0, n, settle, (whole, never, best))
    right = (((plus ^ held[0]) & stuck[0]) | ((minus ^ held[1]) & stuck[1])) == 0
    return jnp.where(right, plus, best.plus), jnp.where(right, minus, best.minus)


class _Part(NamedTuple):
    """Digits chosen from the top: whether any were, what is left to reach, bits of both words."""

    alive: Bool[Array, "*shape"]
    left: Int16[Array, "*shape"]
    plus: Word
    minus: Word


class _Found(NamedTuple):
    """A pair of words, and how far it is from what was wanted."""

    apart: Int16[Array, "*shape"]
    plus: Word
    minus: Word


class _End(NamedTuple):
    """Least or largest difference of the bits below a digit, and those bits of both words."""

    value: Int16[Array, "*shape"]
    plus: Word
    minus: Word


def _either(here: Array, new: _Part, old: _Part) -> _Part:
    left, plus, minus = (jnp.where(here, a, b) for a, b in zip(new[1:], old[1:], strict=True))
    return _Part(old.alive | here, left, plus, minus)


def _nearer(best: _Found, can: Array, apart: Array, plus: Word, minus: Word, end: _End) -> _Found:
    take = can & (apart < best.apart)
    found = (apart, plus | end.plus, minus | end.minus)
    return _Found(*(jnp.where(take, a, b) for a, b in zip(found, best, strict=True)))


def _digits(
    stuck: UInt8[Array, " 2 *shape"], held: UInt8[Array, " 2 *shape"], i: Int16[Array, ""]
) -> tuple[tuple[Array, Word, Word], ...]:
    """Say for -1, 0 and 1 whether bit i of both words can give it, and by which bits."""
    bit = jnp.uint8(1) << i.astype(jnp.uint8)
    free, ones = (stuck & bit) == 0, (held & bit) != 0
    can_0, can_1 = free | ~ones, free | ones  # of plus and of minus
    on, off = jnp.broadcast_to(bit, held[0].shape), jnp.zeros_like(held[0])
    none = can_0[0] & can_0[1]
    alike = jnp.where(none, off, on)
    return (
        (can_0[0] & can_1[1], off, on),
        (none | (can_1[0] & can_1[1]), alike, alike),
        (can_1[0] & can_0[1], on, off),
    )


def _ends(
    stuck: UInt8[Array, " 2 *shape"], held: UInt8[Array, " 2 *shape"], i: Int16[Array, ""]
) -> tuple[_End, _End]:
    """Compute the least and the largest difference of the bits below i."""
    below = (jnp.uint8(1) << i.astype(jnp.uint8)) - jnp.uint8(1)
    least, most = held & below, (held | ~stuck) & below
    low, high = (
        _End(a.astype(jnp.int16) - b.astype(jnp.int16), a, b)
        for a, b in ((least[0], most[1]), (most[0], least[1]))
    )
    return low, high
