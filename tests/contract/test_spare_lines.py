"""Worst lines replaced by spare ones: choices against loops, and whole chips."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from quick import WITHOUT_OPTIMISING

import rerax
from rerax.crossbar.encoding import decode, encode
from rerax.crossbar.spec import ChipSpec
from rerax.protection import SpareLines, bitline_replacement, protection
from rerax.protection.line_replacement import with_spare, write_around
from rerax.protection.nearest_word import nearest_word

quickly = functools.partial(jax.jit, compiler_options=WITHOUT_OPTIMISING)
RNG = np.random.default_rng(0)


def test_names():
    assert protection("spare") == protection("spare:4") == SpareLines()
    assert protection("spare:2:closest") == SpareLines(2, True)
    assert protection("spare:2:closest").text == "spare:2:closest"
    found = protection("spare:8:bitlines:closest")
    assert found == SpareLines(8, True, "bitlines")
    assert found.text == "spare:8:bitlines:closest"
    for wrong, said in (
        ("spare:x", "is not understood"),
        ("spare:0", "is too few"),
        ("spare:4:4", "is not understood"),
    ):
        with pytest.raises(ValueError, match=said):
            protection(wrong)
    with pytest.raises(ValueError, match="spare lines 'columns' are unknown"):
        SpareLines(4, along="columns")
    with pytest.raises(ValueError, match="as many spare wordlines as a tile of 4x8"):
        rerax.Hardware(ChipSpec(tile=(4, 8)), protection="spare:4")
    with pytest.raises(ValueError, match="as many spare bitlines as a tile of 4x8"):
        rerax.Hardware(ChipSpec(tile=(4, 8)), protection="spare:8:bitlines")
    with pytest.raises(ValueError, match="stores 7 bits in cells of 2"):
        rerax.Hardware(ChipSpec("differential", bits_per_cell=2), protection="spare:2:bitlines")


def test_the_worst_lines_of_every_tile_are_replaced():
    """Counted by loops; lines without an error stay, also where spare ones are left."""
    spec, rows, columns, count = ChipSpec("offset", 4, tile=(8, 12)), 21, 7, 2
    codes = RNG.integers(-7, 8, (rows, columns)).astype(np.int8)
    words = encode(codes, spec)
    stuck = (RNG.random(words.shape) < 0.15) * np.uint8(8)
    stuck[:, 8:16, 3:] = 0  # a tile without a fault
    stuck[:, 17, :3] = 15  # and one with a single line of them
    stuck[:, [16, 18, 19, 20], :3] = 0
    held = np.where(RNG.random(words.shape) < 0.7, stuck, 0).astype(np.uint8)
    lines = RNG.random(rows) < 0.8, RNG.random(columns) < 0.8
    given = [jnp.asarray(a) for a in (words, stuck, held)]
    write = quickly(write_around, static_argnums=(4, 5, 6))
    written, replaced = write(*given, lines, spec, count, False)
    np.testing.assert_array_equal(written, words)
    read = (words & ~stuck) | held
    spare = jnp.asarray(RNG.integers(0, 16, replaced.words.shape).astype(np.uint8))
    found = np.asarray(with_spare(jnp.asarray(read), spare, replaced))
    expected, blocks = read.copy(), np.array(spec.column_blocks(columns))
    off = (np.asarray(decode(jnp.asarray(read), spec), int) - codes) ** 2
    off *= lines[0][:, None] & lines[1][None, :]
    for tile, top in enumerate(range(0, rows, 8)):
        for block in range(blocks.max() + 1):
            own = np.flatnonzero(blocks == block)
            errors = {row: off[row, own].sum() for row in range(top, min(top + 8, rows))}
            worst = sorted(errors, key=lambda row: (-errors[row], row))[:count]
            for j, row in enumerate(worst):
                if errors[row]:
                    expected[:, row, own] = spare[:, tile * count + j, own]
                    standing = replaced.words[:, tile * count + j, own]
                    np.testing.assert_array_equal(standing, words[:, row, own])
    assert (expected != read).any()
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("closest", [False, True])
@pytest.mark.parametrize("layout", ["interleaved", "separate"])
@pytest.mark.parametrize(("encoding", "bits_per_cell"), [("offset", 2), ("differential", 1)])
def test_the_worst_bitlines_of_every_tile_are_replaced(encoding, bits_per_cell, layout, closest):
    """Counted by loops over lines, one at a time; those whose replacing helps nothing stay."""
    spec = ChipSpec(encoding, 4, bits_per_cell, tile=(8, 6), layout=layout)
    rows, columns, count = 21, 7, 2
    slices, cells = spec.cells_per_weight, spec.cells_per_group
    codes = RNG.integers(-7, 8, (rows, columns)).astype(np.int8)
    words = encode(codes, spec)
    levels = RNG.random((slices, rows, columns)) < 0.1
    levels[:, 8:16] = False  # tiles without a fault
    top = (1 << bits_per_cell) - 1
    stuck, held = np.zeros_like(words), np.zeros_like(words)
    for s in range(slices):
        group, shift = s // cells, s % cells * bits_per_cell
        stuck[group] |= (levels[s] * np.uint8(top)) << np.uint8(shift)
        held[group] |= (levels[s] * RNG.integers(0, top + 1, (rows, columns))).astype(
            np.uint8
        ) << np.uint8(shift)
    lines = RNG.random(rows) < 0.8, RNG.random(columns) < 0.8

    def off(stuck):
        """Squared errors, where only those bits are stuck."""
        target = near(given[0], jnp.asarray(stuck), given[2], spec) if closest else words
        read = (np.asarray(target) & ~stuck) | (held & stuck)
        apart = (np.asarray(decode(jnp.asarray(read), spec), int) - codes) ** 2
        return apart * (lines[0][:, None] & lines[1][None, :])

    near = quickly(nearest_word, static_argnums=3)
    given = [jnp.asarray(a) for a in (words, stuck, held)]
    write = quickly(bitline_replacement.write_around, static_argnums=(4, 5, 6))
    written, replaced = write(*given, lines, spec, count, closest)
    free, expected = np.zeros_like(stuck), set()
    for down, first in enumerate(range(0, rows, 8)):
        of_tile = slice(first, first + 8)
        for tile in range(-(-spec.bitlines(columns) // 6)):
            gains = {}
            for line in range(tile * 6, min(tile * 6 + 6, spec.bitlines(columns))):
                column, s = spec.locate(line, columns)
                mask = np.zeros_like(stuck)
                mask[s // cells, of_tile, column] = top << s % cells * bits_per_cell
                gains[line] = (off(stuck) - off(stuck & ~mask)).sum(), mask
            for line in sorted(gains, key=lambda line: (-gains[line][0], line))[:count]:
                if gains[line][0] > 0:
                    expected.add((down, line))
                    free |= gains[line][1]
    found = np.asarray(replaced.bitline)
    none = spec.bitlines(columns)
    assert {(d, b) for d, row in enumerate(found) for b in row.tolist() if b != none} == expected
    assert expected
    assert not {d for d, _ in expected} & {1}
    target = near(given[0], jnp.asarray(stuck & ~free), given[2], spec) if closest else words
    np.testing.assert_array_equal(written, target)
    read = (np.asarray(written) & ~stuck) | (held & stuck)
    back = bitline_replacement.with_spare(jnp.asarray(read), replaced.words, replaced, spec)
    np.testing.assert_array_equal(back, (read & ~free) | (np.asarray(written) & free))


def test_bitlines_hold_the_levels_of_their_cells():
    """Addresses are those of the spec, and words come back as they were."""
    for spec in (
        ChipSpec("offset", 8, 2),
        ChipSpec("differential", 7, layout="separate"),
        ChipSpec("sign_magnitude", 4, 4),
    ):
        words = encode(RNG.integers(-7, 8, (5, 6)).astype(np.int8), spec)
        levels = np.asarray(bitline_replacement.levels_of(jnp.asarray(words), spec))
        for s in range(spec.cells_per_weight):
            group, cell = divmod(s, spec.cells_per_group)
            top = (1 << spec.bits_per_cell) - 1
            expected = words[group] >> np.uint8(cell * spec.bits_per_cell) & np.uint8(top)
            np.testing.assert_array_equal(levels[:, spec.bitline(np.arange(6), s, 6)], expected)
        back = bitline_replacement.words_of(jnp.asarray(levels), spec, 6)
        np.testing.assert_array_equal(back, words)


def test_cells_and_metadata_are_counted():
    row, column = np.ones(300, bool), np.ones(20, bool)
    found = SpareLines(4).ledger(row, column, False, ChipSpec(), "m")
    assert found.spare == 4 * 3 * 20 * 8
    assert found.metadata == 4 * 8 * 3 * 2  # 129 things that a spare wordline may stand for
    assert found.physical == 300 * 20 * 8
    found = SpareLines(4, along="bitlines").ledger(row, column, False, ChipSpec(), "m")
    assert found.spare == 300 * 8  # two tiles across, 4 bitlines in each
    assert found.metadata == 4 * 8 * 3 * 2


def error(name, fault, rate, tested="all", polarity="plain", misread=0.0, chips=4):
    spec = ChipSpec(polarity=polarity, misread=misread)
    kernel = np.random.default_rng(1).normal(size=(300, 40)).astype(np.float32)
    hardware = rerax.Hardware(spec, fault, name, tested=tested)
    stored = rerax.program({"kernel": kernel}, hardware, lambda path, leaf: "io")
    table = rerax.rate_table(rate, fault=hardware.fault, tested=hardware.tested)

    @quickly
    def read(number):
        return rerax.read(stored, rerax.chip(0, number), table)["kernel"]

    exact = rerax.read(stored, rerax.chip(0, 0), 0.0)["kernel"] if not misread else kernel
    np.testing.assert_allclose(exact, kernel, atol=0.02)
    return float(np.mean([np.square(read(jnp.uint32(k)) - kernel) for k in range(chips)]))


@pytest.mark.parametrize("polarity", ["plain", "alternate"])
def test_dead_wordlines_are_replaced(polarity):
    """But for those that are dead themselves, or come to more than there are spare ones."""
    bare = error("none", "wordline", 0.01, polarity=polarity)
    assert error("closest", "wordline", 0.01, polarity=polarity) > 0.5 * bare
    assert error("spare:4", "wordline", 0.01, polarity=polarity) < 0.1 * bare


@pytest.mark.parametrize("polarity", ["plain", "alternate"])
def test_dead_bitlines_are_replaced(polarity):
    bare = error("none", "bitline", 0.01, polarity=polarity)
    assert error("spare:8:bitlines", "bitline", 0.01, polarity=polarity) < 0.1 * bare
    assert error("spare:8:bitlines:closest", "bitline", 0.01, polarity=polarity) < 0.05 * bare


def test_scattered_faults_are_helped_a_little_and_nearest_values_more():
    bare, spare = error("none", "uniform", 0.003), error("spare:8", "uniform", 0.003)
    assert spare < 0.8 * bare
    assert error("spare:8:closest", "uniform", 0.003) < error("closest", "uniform", 0.003)


def test_what_no_test_has_found_stays_wrong_on_spare_lines_too():
    """Unknown stuck cells hold their level under whatever is written, as do flips.

    Where every wordline is dead, spare ones are as well.
    """
    dead = error("none", "wordline", 1.0)
    assert error("spare:100", "wordline", 1.0, tested="share:0.5") > 0.9 * dead
    flips = [error(name, "flip", 0.01) for name in ("none", "spare:4")]
    np.testing.assert_allclose(*flips, rtol=1e-6)  # nothing is known, and nothing replaced
    noisy = error("spare:4", "wordline", 0.01, misread=0.3)
    assert noisy > 2 * error("spare:4", "wordline", 0.01)
