"""Reading copies back and voting, inside jit: the counterpart of `placement` for one layer."""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Int32, UInt8

from rerax._types import AnyArray
from rerax.crossbar.spec import ChipSpec
from rerax.crossbar.voting import majority_vote
from rerax.protection.msb.copy_spec import CopySpec, copied_cells, host_slices, voted_bits
from rerax.protection.msb.freed_cells import Freed
from rerax.protection.msb.low_bits import Low
from rerax.protection.msb.placement import CopyPlacement


def read_voted(
    words: UInt8[Array, "G R C"],
    known: UInt8[Array, "G R C"] | None,
    layout: CopyPlacement,
    asked: CopySpec,
    spec: ChipSpec,
) -> UInt8[Array, "G R C"]:
    """Vote the words of kept weights with their copies; those of closed weights mean nothing.

    Args:
        words: as read from the array.
        known: bits known to be stuck, which do not vote; None where nothing is known.
        layout: where the copies are, of one layer.
        asked: what was copied.
        spec: geometry.
    """
    images = read_images(words, layout, asked, spec)
    voted = jnp.asarray(voted_bits(asked, spec), jnp.uint8)[:, None, None, None]
    if known is None and len(set(asked.depths)) == 1:
        chosen = (majority_vote(jnp.concatenate([words[None], images])) & voted[0]) | (
            words & ~voted[0]
        )
    else:
        own = jnp.zeros_like(words) if known is None else known
        theirs = jnp.zeros_like(images)
        if known is not None:
            theirs = read_images(known, layout, asked, spec)
        stuck = jnp.concatenate([own[None], theirs | ~voted])
        chosen = majority_vote(jnp.concatenate([words[None], images]), stuck)
    if layout.low is not None:
        chosen &= ~layout.low.mask[0].astype(jnp.uint8)
    return chosen


def read_images(
    words: UInt8[Array, "G R C"], layout: CopyPlacement, asked: CopySpec, spec: ChipSpec
) -> UInt8[Array, "K G R C"]:
    """Read the copies of every kept weight's top bits, put at their own positions in a word.

    Lines that do not exist (NOWHERE) read as the last one here: clamped look-ups are twice as
    fast as filled ones, and only closed weights see them.
    """
    images = []
    freed = None
    if layout.freed is not None and layout.freed.kept.shape[-1]:
        freed = _from_freed(words, layout, asked, spec)
    for q in range(asked.rounds):
        image = jnp.zeros_like(words)
        if freed is not None and layout.freed is not None:
            image = freed[q].take(layout.freed.place, axis=-1, mode="clip")
        if layout.low is not None:
            hosts = words.take(layout.rows[q], axis=1)
            low = _from_low(hosts, q, layout.low, asked, spec)
            image = jnp.where(layout.low.served[None, None, :] > 0, low, image)
        images.append(image)
    return jnp.stack(images)


def _from_low(
    turned: UInt8[Array, "G R C"], round_: int, low: Low, asked: CopySpec, spec: ChipSpec
) -> UInt8[Array, "G R C"]:
    """Read a round's copies from low bits, bit by bit; zeros where freed cells serve the column."""
    first = sum(asked.bits_in(q) for q in range(round_))
    served = low.served[None, None, :].astype(jnp.uint8)
    image = jnp.zeros_like(turned)
    for p in range(asked.bits_in(round_)):
        hosts = turned.take(low.column[first + p], axis=-1)
        bits = (hosts >> low.bit[first + p][None, None, :].astype(jnp.uint8)) & served
        image |= bits << jnp.uint8(spec.group_bits - 1 - p)
    return image


def _from_freed(
    words: UInt8[Array, "G R C"],
    layout: CopyPlacement,
    asked: CopySpec,
    spec: ChipSpec,
) -> UInt8[Array, "K G R c"]:
    """Read the images of served columns: runs of cells, then the copies that traded places."""
    freed = layout.freed
    assert freed is not None
    rows, width = words.shape[1], freed.kept.shape[0]
    served = jnp.sum(freed.kept < words.shape[2])
    longest, a_weight = len(copied_cells(asked, 0, spec)) * width, len(host_slices(asked, spec))
    before = -(-longest // (words.shape[2] * a_weight))  # more lines, so that no slice is cut
    closed = words.take(_with_room(freed.rows, before, before), axis=1, mode="clip")
    closed = _host_levels(closed, asked, spec).ravel()
    room = -(-longest // a_weight)
    beside = words.take(_with_room(freed.columns, 0, room), axis=-1, mode="clip")
    beside = _host_levels(beside, asked, spec).reshape(rows, -1)
    origin = before * words.shape[2] * a_weight
    copied = [copied_cells(asked, q, spec) for q in range(asked.rounds)]  # the first copies most

    def runs(round_: tuple[Array, ...]) -> tuple[Array, Array]:
        cells, start, quota, base, partners = round_
        on_line = lax.dynamic_slice_in_dim(beside, start, longest, axis=1).take(partners, axis=0)
        begin = origin + base + layout.place * (cells * served - quota) - quota
        return on_line, jax.vmap(lambda b: lax.dynamic_slice_in_dim(closed, b, longest))(begin)

    cells = jnp.asarray([len(those) for those in copied])
    # A loop, or XLA would unpack the cells again for every run.
    on_line, below = lax.map(runs, (cells, freed.start, freed.quota, freed.base, layout.rows))
    images = []
    for q in range(asked.rounds):
        run = jnp.where(jnp.arange(longest)[None, :] < freed.quota[q], on_line[q], below[q])
        images.append(_image_of_run(run, served, width, copied[q], spec))
    return _with_fixes(jnp.stack(images), words, freed, asked, spec)


def _with_room(lines: AnyArray, before: int, behind: int) -> Int32[Array, " n"]:
    """Pad numbers of lines on either side with lines that do not exist, whose cells nobody uses."""
    none = jnp.iinfo(jnp.int32).max
    return jnp.pad(jnp.asarray(lines), (before, behind), constant_values=none)


def _host_levels(
    words: UInt8[Array, "G R C"], asked: CopySpec, spec: ChipSpec
) -> UInt8[Array, "R C S"]:
    """Unpack the levels of the cells that may hold copies, weight by weight."""
    places = zip(*(_bits_of(slice_, spec) for slice_ in host_slices(asked, spec)), strict=True)
    group, shift, mask = (jnp.asarray(numbers, jnp.uint8)[:, None, None] for numbers in places)
    of_group = words if len(words) == 1 else words.take(group[:, 0, 0], axis=0)
    levels = (of_group >> shift) & mask
    return levels.transpose(1, 2, 0)  # stacked slice by slice, this is several times slower


def _bits_of(slice_: int, spec: ChipSpec) -> tuple[int, int, int]:
    """Find a slice's group, where its cell's bits begin in a word, and a mask of their number."""
    group, cell = divmod(slice_, spec.cells_per_group)
    return group, cell * spec.bits_per_cell, (1 << spec.bits_of_cell(cell)) - 1


def _image_of_run(
    run: UInt8[Array, "R n"],
    served: Array,
    width: int,
    copied: tuple[int, ...],
    spec: ChipSpec,
) -> UInt8[Array, "G R c"]:
    """Pack the copied cells of a run into the words that they are copies of."""
    image = [jnp.zeros((run.shape[0], width), jnp.uint8)] * spec.groups
    for i, slice_ in enumerate(copied):
        group, shift, mask = _bits_of(slice_, spec)
        cell = lax.dynamic_slice_in_dim(run, i * served, width, axis=1)
        image[group] |= (cell & jnp.uint8(mask)) << jnp.uint8(shift)
    return jnp.stack(image)


def _with_fixes(
    images: UInt8[Array, "K G R c"],
    words: UInt8[Array, "G R C"],
    freed: Freed,
    asked: CopySpec,
    spec: ChipSpec,
) -> UInt8[Array, "K G R c"]:
    """Replace what the runs gave for the copies that traded places by those copies."""
    if freed.fix.shape[-1] == 0:
        return images
    bits = jnp.asarray([_bits_of(s, spec) for s in range(spec.cells_per_weight)], jnp.int32)
    copied = jnp.asarray(copied_cells(asked, 0, spec), jnp.int32)
    round_, which, row, place = freed.fix
    at_row, at_slice, at_column = freed.fix_at
    group, shift, mask = bits[copied.take(which, mode="clip")].T.astype(jnp.uint8)
    at_group, at_shift, _ = bits[at_slice].T.astype(jnp.uint8)
    moved = ((words[at_group, at_row, at_column] >> at_shift) & mask) << shift
    where = (round_, group, row, place)
    laid = images.at[where].get(mode="fill", fill_value=0) & (mask << shift)
    # The bits of different fixes of a word do not overlap, so differences add up exactly.
    return images.at[where].add(moved - laid, mode="drop")
