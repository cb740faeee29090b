"""Decoding on reading, and writing a tested chip so that code words decode well, inside jit."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Int32, UInt8, UInt16

from rerax.crossbar.encoding import decode
from rerax.crossbar.spec import ChipSpec
from rerax.faults.read_out import ReadOut
from rerax.protection.bit_addresses import Hosts, with_bits
from rerax.protection.codes.block_code import CheckSpec, checks_of
from rerax.protection.codes.placement import CheckPlacement
from rerax.protection.msb.freed_cells import NOWHERE
from rerax.protection.nearest_word import nearest_word

MEMBERS = 4
"""Weights whose corrections one 32-bit number holds."""


class CodeWords(NamedTuple):
    """Code words as they are read or wanted.

    Attributes:
        words: words of the members.
        checks: check bits, the first one lowest.
    """

    words: UInt8[Array, "G w B C"]
    checks: UInt16[Array, "G B C"]


class Wrong(NamedTuple):
    """What a decoder finds.

    Attributes:
        words, checks: bits that are wrong; none where too many are.
        known: whether so few are that it can tell.
    """

    words: UInt8[Array, "G w B C"]
    checks: UInt16[Array, "G B C"]
    known: Bool[Array, "G B C"]


def read_decoded(
    base: ReadOut, host: ReadOut, layout: CheckPlacement, asked: CheckSpec, spec: ChipSpec
) -> UInt8[Array, "G R C"]:
    """Decode the words of open rows; those of closed lines mean nothing.

    Args:
        base: as read from the matrix's own array.
        host: as read from the array that holds the check bits, the same or a spare one.
        layout: code words and check bits, of one layer.
        asked: what is protected.
        spec: geometry.
    """
    read = _code_words(base.words, host.words, layout)
    fixed = read.words ^ find_wrong(read, asked, spec).words
    return _at_own_rows(fixed, layout) & ~jnp.uint8((1 << asked.low) - 1)


def read_with_erasures(
    base: ReadOut, host: ReadOut, layout: CheckPlacement, asked: CheckSpec, spec: ChipSpec
) -> UInt8[Array, "G R C"]:
    """Decode twice, with known stuck bits filled by 0 and by 1, and take the nearer result."""
    read = _code_words(base.words, host.words, layout)
    stuck = _code_words(base.known, host.known, layout)
    fixed = _with_erasures(read, stuck, asked, spec)
    return _at_own_rows(fixed, layout) & ~jnp.uint8((1 << asked.low) - 1)


def find_wrong(read: CodeWords, asked: CheckSpec, spec: ChipSpec) -> Wrong:
    """Look up the syndromes of code words."""
    syndrome = read.checks ^ checks_of(read.words, asked, spec)
    packed, checks, known = _syndrome_tables(asked, spec)
    fixes = [jnp.asarray(table).take(syndrome, mode="clip") for table in packed]
    words = [
        (fixes[i // MEMBERS] >> jnp.uint32(8 * (i % MEMBERS))).astype(jnp.uint8)
        for i in range(asked.weights)
    ]
    return Wrong(
        jnp.stack(words, axis=1),
        jnp.asarray(checks).take(syndrome, mode="clip"),
        jnp.asarray(known).take(syndrome, mode="clip"),
    )


def write_around(
    words: UInt8[Array, "G R C"],
    stuck: UInt8[Array, "G R C"],
    held: UInt8[Array, "G R C"],
    layout: CheckPlacement,
    hosts: Hosts,
    asked: CheckSpec,
    spec: ChipSpec,
) -> UInt8[Array, "G R C"]:
    """Find words and check bits to write, so that what is decoded differs least.

    Tried for each code word: what is wanted; the nearest words that the low bits' stuck cells
    allow, for the code to put right the top ones; the nearest that all stuck cells allow. The one
    of the least sum of squared errors after decoding is written, the first of several, so that no
    code word is worse than without.

    Args:
        words: wanted.
        stuck, held: bits that stuck cells hold, and what they read.
        layout: code words and check bits, of one layer.
        hosts: words that hold check bits.
        asked: what is protected.
        spec: geometry.
    """
    given = jnp.uint8((1 << asked.low) - 1)  # low bits that hold check bits, and are read as 0
    top = jnp.uint8((1 << asked.bits) - 1 << spec.group_bits - asked.bits)
    wanted = _code_words(words & ~given, words, layout)
    here, reads = _code_words(stuck, stuck, layout), _code_words(held, held, layout)
    fixed = (here.words & ~given) | given, reads.words & ~given
    tried = [
        wanted.words,
        nearest_word(wanted.words, fixed[0] & ~top, fixed[1], spec),
        nearest_word(wanted.words, *fixed, spec),
    ]
    goal = _decoded(wanted.words, spec)
    members = (jnp.asarray(layout.rows) < NOWHERE)[:, :, None]
    least = jnp.full(goal.shape[1:], jnp.iinfo(jnp.int32).max)
    best = wanted
    for target in tried:
        checks = jnp.asarray(checks_of(target, asked, spec))
        read = CodeWords(
            (target & ~here.words) | (reads.words & here.words),
            (checks & ~here.checks) | (reads.checks & here.checks),
        )
        found = (read.words ^ find_wrong(read, asked, spec).words) & ~given
        error = jnp.sum(jnp.where(members, (_decoded(found, spec) - goal) ** 2, 0), axis=0)
        better = error < least
        least = jnp.minimum(error, least)
        best = CodeWords(
            jnp.where(better, target, best.words), jnp.where(better, checks, best.checks)
        )
    open_row = jnp.zeros(words.shape[1], bool).at[jnp.ravel(layout.rows)].set(True, mode="drop")
    kept = open_row[None, :, None] & (jnp.asarray(layout.at)[0, :1, :1].max(1) >= 0)[:, None, :]
    written = jnp.where(kept, _at_own_rows(best.words, layout) | (words & given), words)
    number = jnp.arange(asked.code.check, dtype=jnp.uint16)
    # A loop, or XLA would decode anew for every bit that is looked up.
    bits = lax.map(lambda j: (best.checks >> j & jnp.uint16(1)).astype(jnp.uint8), number)
    return with_bits(written, hosts, bits)


def _with_erasures(
    read: CodeWords, stuck: CodeWords, asked: CheckSpec, spec: ChipSpec
) -> UInt8[Array, "G w B C"]:
    """Correct words twice, known stuck bits filled by 0 and by 1, and take the nearer result."""
    top = jnp.uint8((1 << asked.bits) - 1 << spec.group_bits - asked.bits)
    unsure = CodeWords(stuck.words & top, stuck.checks)
    best, least = read.words, jnp.full(read.checks.shape, 255, jnp.uint8)
    for ones in (False, True):
        filled = CodeWords(*(
            (bits & ~those) | (those if ones else jnp.zeros_like(those))
            for bits, those in zip(read, unsure, strict=True)
        ))  # fmt: skip
        wrong = find_wrong(filled, asked, spec)
        others = lax.population_count(wrong.words & ~unsure.words)
        apart = jnp.sum(others, axis=1, dtype=jnp.uint8) + lax.population_count(
            wrong.checks & ~unsure.checks
        ).astype(jnp.uint8)
        apart = jnp.where(wrong.known, apart, jnp.uint8(255))
        nearer = apart < least
        best = jnp.where(nearer[:, None], filled.words ^ wrong.words, best)
        least = jnp.minimum(apart, least)
    return best


def _decoded(words: UInt8[Array, "G w B C"], spec: ChipSpec) -> Int32[Array, "w B C"]:
    groups, *shape = words.shape
    flat = words.reshape(groups, -1, shape[-1])
    return decode(flat, spec).reshape(shape).astype(jnp.int32)


def _code_words(
    words: UInt8[Array, "G R C"], host: UInt8[Array, "H S C"], layout: CheckPlacement
) -> CodeWords:
    """Collect members and check bits of all code words, zeros where there is no row."""
    rows = jnp.asarray(layout.rows)
    taken = words.take(rows.ravel(), axis=1, mode="fill", fill_value=0)
    at = jnp.maximum(jnp.asarray(layout.at), 0)
    bits = (host.ravel().take(at >> 3, mode="clip") >> (at & 7).astype(jnp.uint8)) & jnp.uint8(1)
    checks = jnp.zeros(bits.shape[1:], jnp.uint16)
    for j, bit in enumerate(bits):
        checks |= bit.astype(jnp.uint16) << jnp.uint16(j)
    return CodeWords(taken.reshape(words.shape[0], *rows.shape, words.shape[2]), checks)


def _at_own_rows(words: UInt8[Array, "G w B C"], layout: CheckPlacement) -> UInt8[Array, "G R C"]:
    """Put the words of members back at their own rows."""
    flat = words.reshape(words.shape[0], -1, words.shape[-1])
    return flat.take(jnp.asarray(layout.place), axis=1, mode="clip")


def _syndrome_tables(
    asked: CheckSpec, spec: ChipSpec
) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    """Tabulate by syndrome corrections of members, four to a 32-bit number, and of check bits."""
    data, checks, known = asked.code.fixes
    packed = [np.zeros(len(data), np.uint32) for _ in range(-(-asked.weights // MEMBERS))]
    for i in range(asked.weights):
        for p in range(asked.bits):
            wrong = (data >> np.uint64(i * asked.bits + p) & np.uint64(1)).astype(np.uint32)
            place = 8 * (i % MEMBERS) + spec.group_bits - 1 - p
            packed[i // MEMBERS] |= wrong << np.uint32(place)
    return packed, checks, known
