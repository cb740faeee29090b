"""Where copies are, found by reading: independent of how they were placed."""

import collections
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from quick import WITHOUT_OPTIMISING

from rerax.crossbar.spec import ChipSpec
from rerax.protection.msb.copy_spec import CopySpec, low_bits, served_columns, voted_bits
from rerax.protection.msb.read import read_images, read_voted
from rerax.protection.msb.write import write_copies

ROWS, COLUMNS, CLOSED = 9, 8, (5, 3)


def lines(rng, rows, columns, closed_rows, closed_columns):
    row, column = np.ones(rows, bool), np.ones(columns, bool)
    row[rng.permutation(rows)[:closed_rows]] = False
    column[rng.permutation(columns)[:closed_columns]] = False
    return row, column


def random_codes(rng, row, column, spec):
    top = 2 ** (spec.bits - 1) - 1
    codes = rng.integers(-top, top + 1, (row.size, column.size)).astype(np.int8)
    return np.where(row[:, None] & column[None, :], codes, 0).astype(np.int8)


def given_up(wish, row, column, spec):
    return low_bits(wish, int(column.sum()), served_columns(wish, spec, row, column))


class Case(NamedTuple):
    """A small matrix with copies in it, and what is read of it, all by one compiled function.

    Arrays read lead with what was read: the stored words, one word after another with a single
    bit set, one cell after another stuck at either level, and at last random words.
    """

    spec: ChipSpec
    wish: CopySpec
    row: np.ndarray
    column: np.ndarray
    codes: np.ndarray
    stored: np.ndarray
    layout: Any
    words: np.ndarray
    known: np.ndarray
    recovered: np.ndarray
    images: np.ndarray

    @property
    def kept(self):
        return self.row[:, None] & self.column[None, :]

    @property
    def bits(self):
        """Every bit of every word: (group, bit, row, column)."""
        return list(np.ndindex(self.spec.groups, self.spec.group_bits, ROWS, COLUMNS))

    @property
    def low(self):
        """Low bits that every weight gives up."""
        return given_up(self.wish, self.row, self.column, self.spec)

    @property
    def alone(self):
        """What is read where a single bit is set, in the order of `bits`."""
        return slice(1, 1 + len(self.bits))

    @property
    def broken(self):
        """What is read where a single cell is stuck."""
        return slice(1 + len(self.bits), -RANDOM)

    def found(self):
        """{bit: its images, the bit itself first}, from where a bit is seen that is set alone.

        A bit is ((group, row, column), bit of the word).
        """
        found, places = collections.defaultdict(list), self.bits
        for q, mask in enumerate(voted_bits(self.wish, self.spec)):
            seen = self.images[self.alone, q]
            for bit in range(self.low, self.spec.group_bits):
                if mask >> bit & 1:
                    where = np.argwhere((seen >> bit & 1).astype(bool) & self.kept)
                    for place, g, r, c in where.tolist():
                        host, host_bit, host_row, host_column = places[place]
                        found[(g, r, c), bit].append(((host, host_row, host_column), host_bit))
        return {own: [own, *copies] for own, copies in found.items()}


RANDOM = 4


def read_case(spec: ChipSpec, wish: CopySpec, erasures: bool, seed: int = 0) -> Case:
    """Place copies in a small matrix and read it in every way that tests ask about."""
    rng = np.random.default_rng(seed)
    row, column = lines(rng, ROWS, COLUMNS, *CLOSED)
    codes = random_codes(rng, row, column, spec)
    stored, layout, *_ = write_copies(codes, row, column, wish, spec)
    ones = [
        np.where(np.arange(stored.size).reshape(stored.shape) == place, 1 << bit, 0)
        for bit in range(spec.group_bits)
        for place in range(stored.size)
    ]
    order = np.arange(len(ones)).reshape(spec.group_bits, spec.groups, -1).swapaxes(0, 1).ravel()
    stuck = []
    for s in range(spec.cells_per_weight):
        group, cell = divmod(s, spec.cells_per_group)
        mask = np.uint8(((1 << spec.bits_of_cell(cell)) - 1) << (cell * spec.bits_per_cell))
        for r, c in np.ndindex(ROWS, COLUMNS):
            for level in (np.uint8(0), mask):
                one = stored.copy()
                one[group, r, c] = one[group, r, c] & ~mask | level
                stuck.append(one)
    drawn = rng.integers(0, 1 << spec.group_bits, (2, RANDOM, *stored.shape))
    words = np.stack([stored, *(ones[i] for i in order), *stuck, *drawn[0]]).astype(np.uint8)
    known = np.zeros_like(words)
    if erasures:
        known[-RANDOM:] = drawn[1]

    @functools.partial(jax.jit, compiler_options=WITHOUT_OPTIMISING)
    @jax.vmap
    def read(words, known):
        told = known if erasures else None
        return read_voted(words, told, layout, wish, spec), read_images(words, layout, wish, spec)

    layout = jax.tree.map(jnp.asarray, layout)
    recovered, images = jax.device_get(read(words, known))
    return Case(spec, wish, row, column, codes, stored, layout, words, known, recovered, images)


def address(image, spec, columns):
    """Wordline and bitline of an image."""
    (group, row, column), bit = image
    slice_ = group * spec.cells_per_group + bit // spec.bits_per_cell
    return row, spec.bitline(column, slice_, columns)
