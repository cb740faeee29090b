"""What a faulty array reads: stuck cells hold their level whatever was written."""

from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Int32, UInt8

from rerax._types import AnyArray
from rerax.crossbar.spec import ChipSpec

STUCK, AT_1 = 1, 2  # bits of a cell's state: 0 healthy, 1 stuck at 0, 3 stuck at 1

HALF = 16
"""Bits of half a 32-bit number."""


class Counts(NamedTuple):
    """Faulty cells of one array, an int32 scalar each; after a sum over arrays, int64 [chips].

    `flipped` counts bits.
    """

    stuck_at_0: AnyArray
    stuck_at_1: AnyArray
    stuck_other: AnyArray
    shorted: AnyArray
    flipped: AnyArray


class ReadOut(NamedTuple):
    """What an array reads, and what is wrong with it.

    Attributes:
        words: stored words as read.
        known: the bits of each word that a tester would know to be stuck: those of stuck cells.
            Transient flips and shorts leave it zero.
        counts: faulty cells.
    """

    words: UInt8[Array, "G R C"]
    known: UInt8[Array, "G R C"]
    counts: Counts


def stuck_words(
    states: UInt8[Array, "S R C"], spec: ChipSpec
) -> tuple[UInt8[Array, "G R C"], UInt8[Array, "G R C"]]:
    """Pack cell states into word masks.

    Returns:
        Bits of each word that stuck cells hold, and what those bits read.
    """
    held, reads = [], []
    for group in range(spec.groups):
        mask = value = jnp.zeros(states.shape[1:], jnp.uint8)
        for cell in range(spec.cells_per_group):
            state = states[group * spec.cells_per_group + cell]
            level = ((1 << spec.bits_of_cell(cell)) - 1) << (cell * spec.bits_per_cell)
            mask |= (state & STUCK) * jnp.uint8(level)
            value |= (state >> 1) * jnp.uint8(level)
        held.append(mask)
        reads.append(value)
    return jnp.stack(held), jnp.stack(reads)


def stick(words: UInt8[Array, "G R C"], states: UInt8[Array, "S R C"], spec: ChipSpec) -> ReadOut:
    """Hold stuck cells at their level whatever was written.

    Args:
        words: stored words.
        states: of every cell: 0 healthy, 1 stuck at 0, 3 stuck at 1.
        spec: how words become cells.
    """
    mask, value = stuck_words(states, spec)
    lowest = jnp.uint8(lowest_bits(spec))  # words are fewer than cells, and so counted sooner
    stuck, at_1 = _ones_of_both(mask & lowest, value & lowest)
    counts = counts_of(stuck_at_0=stuck - at_1, stuck_at_1=at_1)
    return ReadOut((words & ~mask) | value, mask, counts)


def _ones_of_both(
    one: UInt8[Array, "G R C"], other: UInt8[Array, "G R C"]
) -> tuple[Int32[Array, ""], Int32[Array, ""]]:
    """Count the `ones` of two arrays in one pass: a row's counts fit into halves of 32 bits."""
    if 8 * one.shape[-1] >= 1 << HALF:
        return ones(one), ones(other)
    low, high = (lax.population_count(words).astype(jnp.uint32) for words in (one, other))
    rows = jnp.sum(low + (high << HALF), axis=-1, dtype=jnp.uint32)
    halves = (rows & ((1 << HALF) - 1), rows >> HALF)
    first, second = (jnp.sum(half.astype(jnp.int32), dtype=jnp.int32) for half in halves)
    return first, second


def ones(words: UInt8[Array, "*shape"]) -> Int32[Array, ""]:
    """Count the bits that are set in all of the words."""
    return jnp.sum(lax.population_count(words), dtype=jnp.int32)


def lowest_bits(spec: ChipSpec) -> int:
    """Make a word with the lowest bit of each of its cells set."""
    return sum(1 << low for low in range(0, spec.group_bits, spec.bits_per_cell))


def counts_of(**known: Int32[Array, ""]) -> Counts:
    """Make counts that are 0 where nothing is given."""
    return Counts(**{**dict.fromkeys(Counts._fields, jnp.int32(0)), **known})


def rewritten(
    read: ReadOut,
    stuck: UInt8[Array, "G R C"],
    words: UInt8[Array, "G R C"],
    written: UInt8[Array, "G R C"],
) -> ReadOut:
    """Give what is read once other words are written.

    Stuck cells hold their level whatever is written; what else is wrong with the array, such as
    flips, turns the same bits.

    Args:
        read: what was read of `words`.
        stuck: bits of all stuck cells, known or not.
        words: written before.
        written: written now.
    """
    return read._replace(words=read.words ^ ((words ^ written) & ~stuck))


def unharmed(words: UInt8[Array, "G R C"]) -> ReadOut:
    """Read words as they are, with no faulty cell."""
    return ReadOut(words, jnp.zeros_like(words), counts_of())
