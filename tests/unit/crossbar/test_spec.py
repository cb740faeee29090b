"""Addresses and cells of `rerax.crossbar.spec`."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerax.crossbar.encoding import complement
from rerax.crossbar.spec import BITS_PER_CELL, ENCODINGS, LAYOUTS, ChipSpec, parse_tile

specs = st.builds(
    ChipSpec,
    encoding=st.sampled_from(ENCODINGS),
    bits=st.integers(2, 8),
    bits_per_cell=st.sampled_from(BITS_PER_CELL),
    layout=st.sampled_from(LAYOUTS),
)


@given(specs, st.integers(1, 9))
def test_every_bitline_is_one_slice_of_one_column(spec, columns):
    pairs = [
        spec.bitline(column, slice_, columns)
        for column in range(columns)
        for slice_ in range(spec.cells_per_weight)
    ]
    assert sorted(pairs) == list(range(spec.bitlines(columns)))
    for bitline in pairs:
        column, slice_ = spec.locate(bitline, columns)
        assert spec.bitline(column, slice_, columns) == bitline


@given(specs)
def test_cells_hold_exactly_the_bits_of_a_group(spec):
    widths = [spec.bits_of_cell(i) for i in range(spec.cells_per_group)]
    assert sum(widths) == spec.group_bits
    assert all(width == spec.bits_per_cell for width in widths[:-1])
    assert 1 <= widths[-1] <= spec.bits_per_cell


def test_edge_tiles_are_cut():
    spec = ChipSpec(tile=(3, 5))
    wordline, bitline = np.mgrid[0:7, 0:8]
    tiles = set(zip(*(t.ravel().tolist() for t in spec.tile_of(wordline, bitline)), strict=True))
    assert tiles == {(i, j) for i in range(3) for j in range(2)}


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"encoding": "gray"}, "unknown encoding 'gray': use one of offset"),
        ({"bits": 1}, "outside 2..8"),
        ({"bits": 9}, "outside 2..8"),
        ({"bits": True}, "bits True is not a whole number"),
        ({"tile": (1 << 17, 128)}, "tile 131072x128 is larger than any crossbar"),
        ({"bits_per_cell": 3}, "use 1, 2 or 4"),
        ({"layout": "spiral"}, "interleaved, separate"),
        ({"tile": (0, 128)}, "not a size"),
    ],
)
def test_bad_specs_are_refused(fields, said):
    with pytest.raises(ValueError, match=said):
        ChipSpec(**fields)


@pytest.mark.parametrize("text", ["128", "x", "12x", "axb", "1.5x2"])
def test_bad_tiles_are_refused(text):
    with pytest.raises(ValueError, match="give wordlines x bitlines"):
        parse_tile(text)
    assert parse_tile("128X64") == (128, 64)


@pytest.mark.parametrize(
    ("encoding", "given_", "held", "inverted", "alternating"),
    [
        ("offset", "plain", "plain", 0, 0),
        ("offset", "alternate", "alternate", 0, 0xFF),
        ("sign_magnitude", "inverted", "inverted:0x7f", 0x7F, 0x80),
        ("differential", "inverted", "inverted:0x7f", 0x7F, 0),
        ("twos_complement", "inverted:64", "inverted:0x40", 0x40, 0xBF),
    ],
)
def test_polarity_says_which_bits_are_complemented(encoding, given_, held, inverted, alternating):
    spec = ChipSpec(encoding, polarity=given_)
    assert (spec.polarity, spec.inverted, spec.alternating) == (held, inverted, alternating)
    assert ChipSpec(encoding, polarity=held) == spec
    rows = complement(4, spec)[:, 0].tolist()
    assert rows == [inverted, inverted | alternating] * 2


@pytest.mark.parametrize(
    ("encoding", "polarity", "said"),
    [
        ("offset", "reverse", "unknown polarity 'reverse': use one of plain, alternate, inverted"),
        ("offset", "alternate:1", "unknown polarity 'alternate:1'"),
        ("offset", "inverted", "of no use to offset, whose bits are 1 as often as 0"),
        ("offset", "inverted:0x1ff", "outside 0x01..0xff"),
        ("differential", "inverted:0x80", "outside 0x01..0x7f"),
        ("sign_magnitude", "inverted:x", "bits 'x' of polarity inverted are outside"),
    ],
)
def test_bad_polarities_are_refused(encoding, polarity, said):
    with pytest.raises(ValueError, match=said):
        ChipSpec(encoding, polarity=polarity)


@pytest.mark.parametrize("misread", [-0.1, 1.5, float("nan")])
def test_noise_outside_its_range_is_refused(misread):
    with pytest.raises(ValueError, match="misread"):
        ChipSpec(misread=misread)
