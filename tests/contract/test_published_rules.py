"""Closest values, sign flips and bit flips beside our reading of arXiv 2512.18459's rules.

There: two's complement of 8 bits in cells of one bit, blocks of 64 rows, as many SA0 as SA1, and
for each column of a block the choice of the least sum of *absolute* errors, ties to the plain one.
Here the sum of squared errors decides. The loops below are ours, written from the description.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from quick import WITHOUT_OPTIMISING

from rerax.crossbar.encoding import decode, encode
from rerax.crossbar.spec import ChipSpec
from rerax.protection.column_flips import unflipped, write_around

SPEC, ROWS, SHAPE, RATE = ChipSpec("twos_complement"), 64, (128, 20), 0.03
EVERY = np.arange(256)
VALUE = np.where(EVERY < 128, EVERY, EVERY - 256)


def closest(wanted, stuck, held):
    """Closest-value mapping: of all words that the stuck cells allow, the nearest value."""
    allowed = (EVERY & stuck) == (held & stuck)
    return VALUE[allowed][np.abs(VALUE[allowed] - wanted).argmin()]


def published(codes, stuck, held, way):
    """What their rules read: values, and the choice for each column of a block."""
    blocks = codes.shape[0] // ROWS
    read = np.zeros(codes.shape, int)
    chosen = np.zeros((blocks, codes.shape[1]), int)
    for block, c in np.ndindex(chosen.shape):
        rows = slice(block * ROWS, (block + 1) * ROWS)
        weights, mask, level = codes[rows, c], stuck[rows, c], held[rows, c]
        options = []
        if way == "bit":
            for flip in range(256):  # stored flipped, a cell stuck at v reads as v turned
                turned = level ^ (flip & mask)
                options.append([closest(*one) for one in zip(weights, mask, turned, strict=True)])
        else:
            for sign in (1, -1)[: 2 if way == "sign" else 1]:
                found = [
                    closest(sign * w, m, v) for w, m, v in zip(weights, mask, level, strict=True)
                ]
                options.append([min(sign * value, 127) for value in found])
        errors = np.abs(np.array(options) - weights).sum(1)
        chosen[block, c] = errors.argmin()
        read[rows, c] = options[chosen[block, c]]
    return read, chosen


@pytest.fixture(scope="module")
def chip():
    rng = np.random.default_rng(0)
    codes = np.clip(np.rint(rng.normal(0, 30, SHAPE)), -127, 127).astype(np.int8)
    cells = rng.random((8, *SHAPE)) < RATE
    ones = rng.random(cells.shape) < 0.5
    planes = (1 << np.arange(8))[:, None, None]
    stuck = (cells * planes).sum(0).astype(np.uint8)
    held = ((cells & ones) * planes).sum(0).astype(np.uint8)
    return codes, stuck, held


@pytest.mark.parametrize("way", ["closest", "sign", "bit"])
def test_ours_are_their_choices_but_for_the_square(chip, way):
    codes, stuck, held = chip
    ways = ("closest",) if way == "closest" else ("closest", way)
    lines = np.ones(SHAPE[0], bool), np.ones(SHAPE[1], bool)

    @functools.partial(jax.jit, compiler_options=WITHOUT_OPTIMISING)
    def ours(words, stuck, held):
        written, flips = write_around(words, stuck, held, lines, SPEC, ways, ROWS)
        read = (written & ~stuck) | held
        return decode(unflipped(read, flips, SPEC, ROWS), SPEC)

    words = encode(codes, SPEC)
    found = np.asarray(ours(*(jnp.asarray(one) for one in (words, stuck[None], held[None]))))
    theirs, chosen = published(codes.astype(int), stuck, held, way)
    own, other = (np.abs(read.astype(int) - codes) for read in (found, theirs))
    own, other = (error.reshape(-1, ROWS, SHAPE[1]) for error in (own, other))
    if way == "closest":
        np.testing.assert_array_equal(own, other)
        return
    assert (other.sum(1) <= own.sum(1)).all()  # each is best by its own measure
    assert ((own**2).sum(1) <= (other**2).sum(1)).all()
    assert (own.sum(1) == other.sum(1)).mean() > 0.5  # and mostly they choose alike
    plain, _ = published(codes.astype(int), stuck, held, "closest")
    assert (own**2).sum() < 0.6 * ((plain - codes) ** 2).sum()
    assert (chosen > 0).any()
    assert (chosen == 0).any() or way == "bit"
