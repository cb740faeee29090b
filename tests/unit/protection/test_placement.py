"""Copies: where they are, that they come back, what one stuck cell can do, and the ledger."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from placed import lines

from rerax.encoding import decode, encode
from rerax.protection.embed import embed, rounded_codes
from rerax.protection.ledger import embedded_ledger, shortage
from rerax.protection.placement import (
    Wish,
    copied_cells,
    copy_cells,
    host_slices,
    lay_out,
    low_bits,
    served_columns,
)
from rerax.protection.recover import read_images, recover, voted_bits
from rerax.protection.repair import join, split
from rerax.spec import ENCODINGS, ChipSpec

WISHES = {
    "pruned": Wish((3, 3), True, False),
    "deep": Wish((5, 3), True, False),
    "lsb": Wish((3,), False, True),
    "both": Wish((3,), True, True),
}


def random_codes(rng, row, column, spec):
    top = 2 ** (spec.bits - 1) - 1
    codes = rng.integers(-top, top + 1, (row.size, column.size)).astype(np.int8)
    return np.where(row[:, None] & column[None, :], codes, 0).astype(np.int8)


def given_up(wish, row, column, spec):
    return low_bits(wish, int(column.sum()), served_columns(wish, spec, row, column))


def addresses(places, row, column, wish, spec):
    """[images, X, r, c] wordlines and bitlines of all images of each copied cell; -1 for none."""
    at = copy_cells(places, row, wish, spec)
    own = join(
        np.flatnonzero(row)[None, :, None],
        np.array(copied_cells(wish, 0, spec))[:, None, None],
        np.asarray(places.freed.kept)[None, None, :],
        spec,
        column.size,
    )
    images = np.concatenate([own[None], at])
    r, s, c = split(images, spec, column.size)
    return np.where(images < 0, -1, r), np.where(images < 0, -1, spec.bitline(c, s, column.size))


def shared(lines):
    """How many pairs of images of one cell lie on one line."""
    pairs = itertools.combinations(lines, 2)
    return sum(int(((a == b) & (a >= 0)).sum()) for a, b in pairs)


@pytest.mark.parametrize("wish", WISHES.values(), ids=WISHES)
@pytest.mark.parametrize("cell", [1, 2, 4])
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_codes_come_back(encoding, cell, wish):
    spec = ChipSpec(encoding, 8, cell, layout="separate" if cell == 2 else "interleaved")
    rng = np.random.default_rng(0)
    row, column = lines(rng, 17, 13, 8, 6)
    assert shortage(row, column, wish, spec) is None
    codes = random_codes(rng, row, column, spec)
    words, places = embed(codes, row, column, wish, spec)
    assert words.shape == encode(codes, spec).shape  # zero space: the dense model's own shape
    places = jax.tree.map(jnp.asarray, places)
    read = jax.jit(
        lambda w: (recover(w, None, places, wish, spec), read_images(w, places, wish, spec))
    )
    voted, images = read(jnp.asarray(words))
    kept = row[:, None] & column[None, :]
    expected = rounded_codes(codes, given_up(wish, row, column, spec), spec)
    np.testing.assert_array_equal(np.asarray(decode(voted, spec))[kept], expected[kept])
    for mask, image in zip(voted_bits(wish, spec), np.asarray(images), strict=True):
        mask &= ~((1 << given_up(wish, row, column, spec)) - 1)
        np.testing.assert_array_equal((image & mask)[:, kept], (words & mask)[:, kept])


def test_layers_of_different_lines_share_one_layout():
    spec, wish, rng = ChipSpec(), Wish((3, 3), True, True), np.random.default_rng(2)
    masks = [lines(rng, 17, 13, *closed) for closed in ((9, 0), (0, 7), (3, 2), (0, 0), (8, 8))]
    row, column = (np.stack(side) for side in zip(*masks, strict=True))
    codes = np.stack([random_codes(rng, r, c, spec) for r, c in masks])
    words, places = embed(codes, row, column, wish, spec)
    read = jax.jit(lambda w, p: recover(w, None, p, wish, spec))
    for layer, (r, c) in enumerate(masks):
        one = jax.tree.map(lambda a, layer=layer: jnp.asarray(a[layer]), places)
        voted = decode(read(jnp.asarray(words[layer]), one), spec)
        expected = rounded_codes(codes[layer], given_up(wish, r, c, spec), spec)
        kept = r[:, None] & c[None, :]
        np.testing.assert_array_equal(np.asarray(voted)[kept], expected[kept])


def test_erased_cells_do_not_vote():
    """Two of three images of every voted bit wrong, and known to be: the third decides."""
    spec, wish, rng = ChipSpec(), Wish((3, 3), True, False), np.random.default_rng(3)
    row, column = lines(rng, 12, 10, 5, 3)
    codes = random_codes(rng, row, column, spec)
    words, places = embed(codes, row, column, wish, spec)
    kept = row[:, None] & column[None, :]
    broken, known = words.copy(), np.zeros_like(words)
    broken[:, kept] ^= 0xC0
    known[:, kept] = 0xC0
    at = copy_cells(places, row, wish, spec)[0]
    r, s, c = split(at.ravel(), spec, 10)
    np.bitwise_xor.at(broken[0], (r, c), np.uint8(1) << s.astype(np.uint8))
    np.bitwise_or.at(known[0], (r, c), np.uint8(1) << s.astype(np.uint8))
    read = recover(jnp.asarray(broken), jnp.asarray(known), places, wish, spec)
    np.testing.assert_array_equal(np.asarray(read)[:, kept], words[:, kept])
    blind = recover(jnp.asarray(broken), None, places, wish, spec)
    assert ((np.asarray(blind) ^ words)[:, kept] & 0xC0 == 0xC0).all()


@pytest.mark.parametrize("wish", [WISHES["pruned"], WISHES["lsb"], WISHES["both"]], ids=str)
@pytest.mark.parametrize("cell", [1, 2, 4])
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_one_stuck_cell_never_changes_a_voted_bit(encoding, cell, wish):
    """Every cell of a small matrix, stuck at either level."""
    spec = ChipSpec(encoding, 8, cell)
    rng = np.random.default_rng(1)
    row, column = lines(rng, 8, 7, 4, 2)
    if shortage(row, column, wish, spec):
        wish = Wish((3,), wish.freed, wish.low)
    assert shortage(row, column, wish, spec) is None
    codes = random_codes(rng, row, column, spec)
    words, places = embed(codes, row, column, wish, spec)
    kept = row[:, None] & column[None, :]
    voted = np.bitwise_or.reduce(voted_bits(wish, spec))
    if wish.low:
        voted &= ~((1 << given_up(wish, row, column, spec)) - 1)
    places = jax.tree.map(jnp.asarray, places)
    read = jax.jit(jax.vmap(lambda w: recover(w, None, places, wish, spec)))
    broken = []
    for s in range(spec.cells_per_weight):
        group, at = divmod(s, spec.cells_per_group)
        mask = np.uint8(((1 << spec.bits_of_cell(at)) - 1) << (at * spec.bits_per_cell))
        for r, c in np.ndindex(8, 7):
            for level in (np.uint8(0), mask):
                one = words.copy()
                one[group, r, c] = one[group, r, c] & ~mask | level
                broken.append(one)
    healthy = np.asarray(recover(jnp.asarray(words), None, places, wish, spec))
    changed = (np.asarray(read(jnp.asarray(np.stack(broken)))) ^ healthy) & voted
    assert not changed[:, :, kept].any()


def slack(row, column, wish, spec):
    """Whether separation is required of every bit: freed lines, and cells over the need."""
    freed_lines = int((~row).sum() + (~column).sum())
    freed = (row.size * column.size - int(row.sum()) * int(column.sum())) * len(
        host_slices(wish, spec)
    )
    need = int(row.sum()) * int(column.sum()) * wish.cell_copies(spec)
    line = max(spec.bitlines(column.size), row.size)
    return freed_lines >= wish.rounds and freed - need >= line


@given(
    st.integers(4, 12),
    st.integers(4, 12),
    st.integers(0, 11),
    st.integers(0, 11),
    st.sampled_from([(3,), (3, 3), (5,), (5, 3)]),
    st.sampled_from(ENCODINGS),
    st.sampled_from([1, 2, 4]),
    st.integers(0, 2**32 - 1),
)
@settings(max_examples=200, deadline=None)
def test_images_lie_on_lines_of_their_own(
    rows, columns, closed_rows, closed_columns, depths, encoding, cell, seed
):
    spec, wish = ChipSpec(encoding, 8, cell), Wish(depths, True, False)
    rng = np.random.default_rng(seed)
    row, column = lines(rng, rows, columns, closed_rows, closed_columns)
    assume(row.any() and column.any() and shortage(row, column, wish, spec) is None)
    assume(slack(row, column, wish, spec))
    assume(row.size >= max(depths) and spec.bitlines(column.size) >= 2 * max(depths))
    places = lay_out(row, column, wish, spec)
    wordlines, bitlines = addresses(places, row, column, wish, spec)
    assert shared(wordlines) == 0
    assert shared(bitlines) == 0


@given(
    st.integers(1, 20),
    st.integers(1, 20),
    st.floats(0, 0.7),
    st.sampled_from(list(WISHES.values())),
    st.sampled_from(ENCODINGS),
    st.sampled_from([1, 2, 4]),
    st.integers(3, 8),
    st.integers(0, 2**32 - 1),
)
@settings(max_examples=150, deadline=None)
def test_the_ledger_adds_up_to_the_array(rows, columns, share, wish, encoding, cell, bits, seed):
    spec = ChipSpec(encoding, bits, cell)
    rng = np.random.default_rng(seed)
    row, column = rng.random(rows) >= share, rng.random(columns) >= share
    assume(len(wish.depths) < spec.group_bits)
    missing = shortage(row, column, wish, spec)
    if missing is not None:
        short, most = missing
        assert short > 0
        assert most < len(wish.depths)
        if most:
            fits = Wish(wish.depths[:most], wish.freed, wish.low)
            assert shortage(row, column, fits, spec) is None
        return
    book = embedded_ledger(row, column, wish, spec)
    assert book.used + book.free + book.copies + book.left_over == book.physical
    assert book.physical == spec.cells(rows, columns)
    assert min(book.used, book.free, book.copies, book.left_over) >= 0
    _, places = embed(random_codes(rng, row, column, spec), row, column, wish, spec)
    if wish.freed and not wish.low:
        at = copy_cells(places, row, wish, spec)
        assert book.copies == len(np.unique(at[at >= 0])) == (at >= 0).sum()
        kept = int(row.sum()) * int(column.sum())
        each = sum(len(copied_cells(wish, q, spec)) for q in range(wish.rounds))
        assert book.copies == kept * each


def test_too_much_names_bits_and_the_most_that_fits():
    from rerax.protection import MsbEmbed

    row, column = np.ones(10, bool), np.ones(10, bool)
    row[:3] = False  # 30 freed weights of 8 bits against 70 x 2 x 2
    with pytest.raises(
        ValueError, match=r"^query has no room for msb:2x3:pruned: 40 bits short: at"
    ):
        MsbEmbed(2, 3).check(row, column, ChipSpec(), "query")
    MsbEmbed(1, 3).check(row, column, ChipSpec(), "query")
