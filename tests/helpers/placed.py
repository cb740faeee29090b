"""Where copies are, found by reading: independent of how they were placed."""

import collections

import jax
import jax.numpy as jnp
import numpy as np

from rerax.protection.embed import embed
from rerax.protection.placement import low_bits, served_columns
from rerax.protection.recover import read_images, voted_bits


def lines(rng, rows, columns, closed_rows, closed_columns):
    row, column = np.ones(rows, bool), np.ones(columns, bool)
    row[rng.permutation(rows)[:closed_rows]] = False
    column[rng.permutation(columns)[:closed_columns]] = False
    return row, column


def images_read(row, column, wish, spec):
    """{bit: its images, the bit itself first} from what reading gives when a single bit is set.

    A bit is ((group, row, column), bit of the word).
    """
    codes = np.zeros((row.size, column.size), np.int8)
    words, layout = embed(codes, row, column, wish, spec)
    layout = jax.tree.map(jnp.asarray, layout)
    places = list(np.ndindex(spec.groups, spec.group_bits, row.size, column.size))
    ones = np.zeros((len(places), *words.shape), np.uint8)
    for one, (g, bit, r, c) in zip(ones, places, strict=True):
        one[g, r, c] = 1 << bit
    read = np.asarray(jax.jit(jax.vmap(lambda w: read_images(w, layout, wish, spec)))(ones))
    kept = row[:, None] & column[None, :]
    given_up = low_bits(wish, int(column.sum()), served_columns(wish, spec, row, column))
    found = collections.defaultdict(list)
    for q, mask in enumerate(voted_bits(wish, spec)):
        for bit in range(given_up, spec.group_bits):
            if mask >> bit & 1:
                where = np.argwhere((read[:, q] >> bit & 1).astype(bool) & kept)
                for place, g, r, c in where.tolist():
                    host, host_bit, host_row, host_column = places[place]
                    found[(g, r, c), bit].append(((host, host_row, host_column), host_bit))
    return {own: [own, *copies] for own, copies in found.items()}


def address(image, spec, columns):
    """Wordline and bitline of an image."""
    (group, row, column), bit = image
    slice_ = group * spec.cells_per_group + bit // spec.bits_per_cell
    return row, spec.bitline(column, slice_, columns)
