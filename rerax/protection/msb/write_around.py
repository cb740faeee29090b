"""Writing a tested chip so that votes decode well: addresses of copies, and the words to write."""

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Int32, UInt8

from rerax._types import AnyArray
from rerax.crossbar.spec import ChipSpec
from rerax.protection.bit_addresses import Hosts, hosts_of, stack_hosts, with_bits
from rerax.protection.msb.copy_spec import CopySpec, copied_cells, voted_bits
from rerax.protection.msb.placement import CopyPlacement, copy_cells, stack_copies
from rerax.protection.msb.read import read_voted
from rerax.protection.msb.swap import cell_address
from rerax.protection.nearest_word import nearest_word


class Writable(NamedTuple):
    """What writing needs beside the placement, of one layer or, leading with [L], of several.

    Attributes:
        copies: where copies are, for reading.
        hosts: words that hold copies of the top bits [P, G, R, C] of words, from the top down.
        row, column: whether each line is open.
    """

    copies: CopyPlacement
    hosts: Hosts
    row: Bool[AnyArray, "*L R"]
    column: Bool[AnyArray, "*L C"]


def writable(
    copies: CopyPlacement, row: np.ndarray, column: np.ndarray, asked: CopySpec, spec: ChipSpec
) -> Writable:
    """Give what writing one layer needs, on the host.

    Args:
        copies: as laid out, of one layer.
        row, column: whether each line is open.
        asked: what was copied.
        spec: geometry.
    """
    at = copy_addresses(copies, row, column, asked, spec)
    hosts = hosts_of(at, (spec.groups, row.size, column.size))
    source = np.where(hosts.source < 0, -1, hosts.source % at[0].size)  # rounds hold the same
    return Writable(copies, hosts._replace(source=source), row, column)


def copy_addresses(
    copies: CopyPlacement, row: np.ndarray, column: np.ndarray, asked: CopySpec, spec: ChipSpec
) -> Int32[np.ndarray, "K P G R C"]:
    """Find the bit address of the copy of each top bit, from the top down, in each round."""
    groups, rows, columns = spec.groups, row.size, column.size
    top, bits = spec.group_bits - 1, _copied_bits(asked, spec)
    at = np.full((asked.rounds, bits, groups, rows, columns), -1, np.int64)
    if copies.freed is not None:
        kept = copies.freed.kept[copies.freed.kept < columns]
        cells = copy_cells(copies, row, asked, spec)[:, :, :, : len(kept)]
        to_row, to_slice, to_column = cell_address(cells, spec, columns)
        group, cell = np.divmod(to_slice, spec.cells_per_group)
        word = (group * rows + to_row) * columns + to_column
        mine = np.ix_(np.flatnonzero(row), kept)
        for x, slice_ in enumerate(copied_cells(asked, 0, spec)):
            own, of_cell = divmod(slice_, spec.cells_per_group)
            for bit in range(spec.bits_of_cell(of_cell)):
                p = top - (of_cell * spec.bits_per_cell + bit)
                if p < bits:  # of a cell that is copied whole, not all bits need be voted
                    address = 8 * word[:, x] + cell[:, x] * spec.bits_per_cell + bit
                    place = at[:, p, own]
                    place[:, mine[0], mine[1]] = np.where(cells[:, x] < 0, -1, address)
    if copies.low is not None:
        own_rows, own_columns = np.ix_(np.flatnonzero(row), np.flatnonzero(copies.low.served))
        numbers = [(q, p) for q in range(asked.rounds) for p in range(asked.bits_in(q))]
        for n, (q, p) in enumerate(numbers):
            host, bit = copies.low.column[n][own_columns], copies.low.bit[n][own_columns]
            for g in range(groups):
                to_word = (g * rows + copies.rows[q][own_rows]) * columns + host
                at[q, p, g, own_rows, own_columns] = 8 * to_word + bit
    return at.astype(np.int32)


def stack_writable(layers: Sequence[Writable]) -> Writable:
    """Put those of a matrix's layers together."""
    copies, hosts, *lines = zip(*layers, strict=True)
    return Writable(stack_copies(list(copies)), stack_hosts(hosts), *map(np.stack, lines))


def write_around(
    words: UInt8[Array, "G R C"],
    stuck: UInt8[Array, "G R C"],
    held: UInt8[Array, "G R C"],
    layout: Writable,
    asked: CopySpec,
    erasures: bool,
    spec: ChipSpec,
) -> UInt8[Array, "G R C"]:
    """Find the words to write, copies among them, so that what is voted differs least.

    A bit is settled where its vote comes out alike whether every cell that can be written holds 0
    or 1. Of the words with the settled bits the nearest is written, to the original and to every
    copy, so that the vote gives it.

    Args:
        words: wanted, with copies.
        stuck, held: bits that stuck cells hold, and what they read.
        layout: where copies are, of one layer.
        asked: what was copied.
        erasures: whether stuck cells do not vote.
        spec: geometry.
    """
    known = stuck if erasures else None
    least, most = (
        read_voted(ends, known, layout.copies, asked, spec) for ends in (held, held | ~stuck)
    )
    given = jnp.uint8(0)  # low bits that hold copies, and are read as 0
    if layout.copies.low is not None:
        given = jnp.asarray(layout.copies.low.mask)[0].astype(jnp.uint8)
    whole = jnp.uint8((1 << spec.group_bits) - 1)
    target = nearest_word(words & ~given, ~(least ^ most) & whole, least, spec)
    kept = jnp.asarray(layout.row)[:, None] & jnp.asarray(layout.column)[None, :]
    written = jnp.where(kept, target | (words & given), words)
    place = spec.group_bits - 1 - jnp.arange(_copied_bits(asked, spec), dtype=jnp.uint8)
    # A loop, or XLA would vote anew for every bit that is looked up.
    bits = lax.map(lambda p: target >> p & jnp.uint8(1), place)
    return with_bits(written, layout.hosts, bits)


def _copied_bits(asked: CopySpec, spec: ChipSpec) -> int:
    """Count the top bits of a group that have copies."""
    return max(voted_bits(asked, spec)).bit_count()
