"""Where copies are laid, and the ledger; how they are read is in test_copies."""

import itertools

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from placed import lines, random_codes

from rerax.crossbar.spec import ENCODINGS, ChipSpec
from rerax.protection import MsbEmbed
from rerax.protection.msb.copy_spec import CopySpec, copied_cells, host_slices
from rerax.protection.msb.placement import copy_cells, lay_out_copies
from rerax.protection.msb.room import embedded_ledger, shortage
from rerax.protection.msb.swap import cell_address, cell_number
from rerax.protection.msb.write import write_copies

WISHES = {
    "pruned": CopySpec((3, 3), True, False),
    "deep": CopySpec((5, 3), True, False),
    "lsb": CopySpec((3,), False, True),
    "both": CopySpec((3,), True, True),
}


def addresses(places, row, column, wish, spec):
    """[images, X, r, c] wordlines and bitlines of all images of each copied cell; -1 for none."""
    at = copy_cells(places, row, wish, spec)
    own = cell_number(
        np.flatnonzero(row)[None, :, None],
        np.array(copied_cells(wish, 0, spec))[:, None, None],
        np.asarray(places.freed.kept)[None, None, :],
        spec,
        column.size,
    )
    images = np.concatenate([own[None], at])
    r, s, c = cell_address(images, spec, column.size)
    return np.where(images < 0, -1, r), np.where(images < 0, -1, spec.bitline(c, s, column.size))


def shared(lines):
    """How many pairs of images of one cell lie on one line."""
    pairs = itertools.combinations(lines, 2)
    return sum(int(((a == b) & (a >= 0)).sum()) for a, b in pairs)


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
@settings(max_examples=60, deadline=None)
def test_images_lie_on_lines_of_their_own(
    rows, columns, closed_rows, closed_columns, depths, encoding, cell, seed
):
    spec, wish = ChipSpec(encoding, 8, cell), CopySpec(depths, True, False)
    rng = np.random.default_rng(seed)
    row, column = lines(rng, rows, columns, closed_rows, closed_columns)
    assume(row.any() and column.any() and shortage(row, column, wish, spec) is None)
    assume(slack(row, column, wish, spec))
    assume(row.size >= max(depths) and spec.bitlines(column.size) >= 2 * max(depths))
    places = lay_out_copies(row, column, wish, spec)
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
@settings(max_examples=50, deadline=None)
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
            fits = CopySpec(wish.depths[:most], wish.freed, wish.low)
            assert shortage(row, column, fits, spec) is None
        return
    book = embedded_ledger(row, column, wish, spec)
    assert book.used + book.free + book.copies + book.left_over == book.physical
    assert book.physical == spec.cells(rows, columns)
    assert min(book.used, book.free, book.copies, book.left_over) >= 0
    _, places, *_ = write_copies(random_codes(rng, row, column, spec), row, column, wish, spec)
    if wish.freed and not wish.low:
        at = copy_cells(places, row, wish, spec)
        assert book.copies == len(np.unique(at[at >= 0])) == (at >= 0).sum()
        kept = int(row.sum()) * int(column.sum())
        each = sum(len(copied_cells(wish, q, spec)) for q in range(wish.rounds))
        assert book.copies == kept * each


def test_too_much_names_bits_and_the_most_that_fits():
    row, column = np.ones(10, bool), np.ones(10, bool)
    row[:3] = False  # 30 freed weights of 8 bits against 70 x 2 x 2
    with pytest.raises(
        ValueError, match=r"^query has no room for msb:2x3:pruned: 40 bits short: at"
    ):
        MsbEmbed(2, 3).check_room(row, column, ChipSpec(), "query")
    MsbEmbed(1, 3).check_room(row, column, ChipSpec(), "query")
