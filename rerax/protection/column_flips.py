"""Columns of a block of rows stored flipped around stuck cells, inside jit."""

import functools
from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Int32, UInt8

from rerax._types import AnyArray
from rerax.crossbar.encoding import decode
from rerax.crossbar.spec import ChipSpec
from rerax.protection.nearest_word import as_read, nearest_word, negated


class Flips(NamedTuple):
    """How the columns of each block are stored.

    Attributes:
        sign: [B, C] whether the negative weights are.
        bits: [B, G, C] bits that are complemented.
    """

    sign: Bool[Array, "B C"]
    bits: UInt8[Array, "B G C"]


def write_around(
    words: UInt8[Array, "G R C"],
    stuck: UInt8[Array, "G R C"],
    held: UInt8[Array, "G R C"],
    lines: tuple[Bool[AnyArray, " R"], Bool[AnyArray, " C"]],
    spec: ChipSpec,
    ways: tuple[str, ...],
    rows: int,
) -> tuple[UInt8[Array, "G R C"], Flips | None]:
    """Find what to write, so that what is read differs least from the wanted words.

    Args:
        words: wanted.
        stuck, held: bits that stuck cells hold, and what they read.
        lines: open rows and columns; errors elsewhere count nothing.
        spec: encoding and widths.
        ways: `closest`, `sign`, `bit`, or some of them.
        rows: of a block.

    Returns:
        Words to write, and the flips that `unflipped` needs; None where nothing can be flipped.
    """
    nearest = functools.partial(nearest_word, spec=spec) if "closest" in ways else as_read
    if ways == ("closest",):
        return nearest(words, stuck, held), None
    counts = jnp.asarray(lines[0])[:, None] & jnp.asarray(lines[1])[None, :]
    wanted = decode(words, spec).astype(jnp.int32)
    masks = _masks(spec) if "bit" in ways else jnp.zeros((1, spec.groups), jnp.uint8)
    signs = (False, True) if "sign" in ways else (False,)

    def errors(sign: bool, mask: UInt8[Array, " G"]) -> Int32[Array, "B C"]:
        turned = mask[:, None, None]
        target = negated(words, spec) if sign else words
        read = nearest(target, stuck, held ^ (turned & stuck))
        found = decode(negated(read, spec) if sign else read, spec).astype(jnp.int32)
        square = jnp.where(counts, (found - wanted) ** 2, 0)
        return jnp.sum(_in_blocks(square, rows), axis=1)

    def better(
        best: tuple[Int32[Array, "B C"], Int32[Array, "B C"]], tried: Int32[Array, ""]
    ) -> tuple[tuple[Int32[Array, "B C"], Int32[Array, "B C"]], None]:
        least, choice = best
        mask = masks[tried]
        for k, sign in enumerate(signs):
            error = errors(sign, mask)
            number = tried * len(signs) + k
            choice = jnp.where(error < least, number, choice)
            least = jnp.minimum(error, least)
        return (least, choice), None

    most = jnp.full((-(-words.shape[1] // rows), words.shape[2]), jnp.iinfo(jnp.int32).max)
    (_, choice), _ = lax.scan(better, (most, jnp.zeros_like(most)), jnp.arange(len(masks)))
    flips = Flips(choice % len(signs) > 0, masks[choice // len(signs)].transpose(0, 2, 1))
    sign_here, bits_here = _spread(flips, words.shape[1], rows)
    target = jnp.where(sign_here, negated(words, spec), words)
    written = nearest(target, stuck, held ^ (bits_here & stuck)) ^ bits_here
    return written, flips


def unflipped(
    words: UInt8[Array, "G R C"], flips: Flips | None, spec: ChipSpec, rows: int
) -> UInt8[Array, "G R C"]:
    """Undo flips in words as read."""
    if flips is None:
        return words
    sign, bits = _spread(flips, words.shape[1], rows)
    plain = words ^ bits
    return jnp.where(sign, negated(plain, spec), plain)


def _masks(spec: ChipSpec) -> UInt8[Array, "M G"]:
    """List all choices of complemented bits, those of fewest bits first; both groups alike."""
    numbers = sorted(range(1 << spec.group_bits), key=lambda mask: (mask.bit_count(), mask))
    return jnp.tile(jnp.asarray(numbers, jnp.uint8)[:, None], (1, spec.groups))


def _in_blocks(values: Array, rows: int) -> Array:
    """Cut [R, C] into blocks of rows [B, rows, C], zeros behind the last row."""
    blocks = -(-values.shape[0] // rows)
    room = blocks * rows - values.shape[0]
    return jnp.pad(values, ((0, room), (0, 0))).reshape(blocks, rows, values.shape[1])


def _spread(flips: Flips, height: int, rows: int) -> tuple[Array, Array]:
    """Repeat the flips of each block for its rows: [1, R, C] and [G, R, C]."""
    sign = jnp.repeat(flips.sign, rows, axis=0)[:height]
    bits = jnp.repeat(flips.bits.transpose(1, 0, 2), rows, axis=1)[:, :height]
    return sign[None], bits
