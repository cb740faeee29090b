"""Rows rotated around stuck cells: choices against all candidates, and whole chips."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from arrays import random_gates
from paths import ROOT
from quick import WITHOUT_OPTIMISING

import rerax
from rerax.crossbar.encoding import decode, encode
from rerax.crossbar.spec import ChipSpec
from rerax.protection import Rotated, protection
from rerax.protection.nearest_word import nearest_word
from rerax.protection.row_rotation import unrotated, write_around

quickly = functools.partial(jax.jit, compiler_options=WITHOUT_OPTIMISING)
nearest = quickly(nearest_word, static_argnums=3)
RNG = np.random.default_rng(0)


def test_names():
    assert protection("rotate") == protection("rotate:16") == Rotated()
    assert protection("rotate:4:closest") == Rotated(4, True)
    assert protection("rotate:4:closest").text == "rotate:4:closest"
    assert protection("rotate").knows == "map at writing"
    for wrong, said in (
        ("rotate:1", "try 2 to 128"),
        ("rotate:200", "try 2 to 128"),
        ("rotate:x", "is not understood"),
        ("rotate:4:4", "is not understood"),
    ):
        with pytest.raises(ValueError, match=said):
            protection(wrong)
    with pytest.raises(ValueError, match="a tile of 4096x4096 in 32 bits"):
        rerax.Hardware(ChipSpec(tile=(4096, 4096)), protection="rotate")
    rerax.Hardware(ChipSpec(tile=(256, 256)), protection="rotate")
    with pytest.raises(ValueError, match="a tile of 256x256 in 32 bits"):  # 256 weights a wordline
        rerax.Hardware(ChipSpec(tile=(256, 256), layout="separate"), protection="rotate")


def small(spec, rows, columns, p):
    """Words, stuck bits and what they read, of a small array of one-bit cells."""
    most = 2 ** (spec.bits - 1) - 1
    codes = RNG.integers(-most, most + 1, (rows, columns)).astype(np.int8)
    planes = 1 << np.arange(spec.group_bits)
    hit, high = RNG.random((2, spec.groups, rows, columns, spec.group_bits)) < [
        [[[[p]]]],
        [[[[0.7]]]],
    ]
    stuck, held = ((bits * planes).sum(-1).astype(np.uint8) for bits in (hit, hit & high))
    return codes, encode(codes, spec), stuck, held


@pytest.mark.parametrize("closest", [False, True])
@pytest.mark.parametrize(
    "spec",
    [
        ChipSpec("offset", 4, tile=(8, 10)),  # weights that lie on two tiles
        ChipSpec("differential", 4, tile=(8, 12)),
        ChipSpec("sign_magnitude", 5, tile=(7, 3), layout="separate"),
    ],
    ids=lambda spec: spec.encoding,
)
def test_rotations_are_the_best_of_all(spec, closest):
    """Tried one after the other by loops, block by block; the last block of rows is a short one."""
    rows, columns, tries = 3 * spec.tile[0] - 3, 7, 5
    codes, words, stuck, held = small(spec, rows, columns, 0.1)
    lines = RNG.random(rows) < 0.8, RNG.random(columns) < 0.8
    write = quickly(write_around, static_argnums=(4, 5, 6))
    given = [jnp.asarray(a) for a in (words, stuck, held)]
    written, chosen = write(*given, lines, spec, tries, closest)
    read = (np.asarray(written) & ~stuck) | held
    assert not closest or (read == written).all()
    back = np.asarray(decode(unrotated(jnp.asarray(read), chosen, spec, tries), spec), int)
    blocks = np.array(spec.column_blocks(columns))
    assert chosen.shape == (3, blocks.max() + 1)
    assert len(np.unique(chosen)) > 2
    for top in range(0, rows, spec.tile[0]):
        n = min(spec.tile[0], rows - top)
        for block in range(blocks.max() + 1):
            own = np.flatnonzero(blocks == block)
            errors, found = [], []
            for k in range(tries):
                shift = k * n // tries
                read_back = np.zeros((n, len(own)), int)
                for row in range(n):
                    at = top + (row + shift) % n  # moved down
                    for j, column in enumerate(own):
                        wanted = words[:, top + row, column]
                        bits, value = stuck[:, at, column], held[:, at, column]
                        one = (wanted & ~bits) | value
                        if closest:
                            one = nearest(*map(jnp.asarray, (wanted, bits, value)), spec)
                        found_word = jnp.asarray(one, jnp.uint8)[:, None, None]
                        read_back[row, j] = int(decode(found_word, spec)[0, 0])
                off = read_back - codes[top : top + n, own]
                counted = lines[0][top : top + n, None] & lines[1][None, own]
                errors.append(int((off**2 * counted).sum()))
                found.append(read_back)
            best = int(np.argmin(errors))
            assert int(chosen[top // spec.tile[0], block]) == best
            np.testing.assert_array_equal(back[top : top + n, own], found[best])


def test_without_faults_nothing_is_moved():
    spec = ChipSpec(tile=(16, 16))
    _, words, *_ = small(spec, 40, 5, 0.1)
    none = jnp.zeros(words.shape, jnp.uint8)
    lines = np.ones(40, bool), np.ones(5, bool)
    written, chosen = write_around(jnp.asarray(words), none, none, lines, spec, 8, False)
    assert not np.any(chosen)
    np.testing.assert_array_equal(written, words)


def test_metadata_are_counted():
    spec = ChipSpec(tile=(128, 128))
    row, column = np.ones(300, bool), np.ones(20, bool)
    found = Rotated(16).ledger(row, column, False, spec, "m")
    assert found.metadata == 4 * 3 * 2  # 16 columns of 8 cells a tile
    assert Rotated(5).ledger(row, column, False, spec, "m").metadata == 3 * 3 * 2
    assert found.physical == 300 * 20 * 8
    assert found.spare == found.copies == 0


@pytest.mark.parametrize("polarity", ["plain", "alternate"])
@pytest.mark.parametrize("gated", [False, True])
def test_whole_chips_lose_less(polarity, gated):
    """Through `rerax.program` and `rerax.read`, with closed lines and complemented rows."""
    spec = ChipSpec(polarity=polarity)
    params = {"dense": {"kernel": RNG.normal(size=(300, 40)).astype(np.float32)}}
    gates = {"dense": random_gates(RNG, (), 300, 40)} if gated else None
    clean = None
    errors = {}
    for name in ("none", "rotate:8", "closest", "rotate:8:closest"):
        hardware = rerax.Hardware(spec, protection=name)
        stored = rerax.program(params, hardware, lambda path, leaf: "io", gates=gates)
        exact = np.asarray(rerax.read(stored, rerax.chip(0, 0), 0.0)["dense"]["kernel"])
        clean = exact if clean is None else clean
        np.testing.assert_array_equal(exact, clean)
        own = [
            np.asarray(rerax.read(stored, rerax.chip(0, k), 0.01)["dense"]["kernel"]) - exact
            for k in range(6)
        ]
        errors[name] = float(np.mean(np.square(own)))
    assert errors["rotate:8"] < errors["none"]
    assert errors["rotate:8:closest"] < errors["closest"] < errors["rotate:8"]


@pytest.mark.parametrize("closest", [False, True])
def test_assigned_rows_are_the_best_of_all_permutations(monkeypatch, closest):
    """The reference of `experiments/read_error.py`, tile by tile."""
    if not (ROOT / "experiments").is_dir():
        pytest.skip("no experiments beside the tests")
    monkeypatch.syspath_prepend(ROOT / "experiments")
    import read_error

    spec = ChipSpec("offset", 4, tile=(5, 12))
    codes, words, stuck, held = small(spec, 8, 5, 0.2)
    total, blocks = 0, np.array(spec.column_blocks(5))
    for rows in (range(5), range(5, 8)):
        for block in range(blocks.max() + 1):
            own = blocks == block
            errors = []
            for order in itertools.permutations(rows):  # cells of row i hold the order's i-th
                target = words[:, order][:, :, own]
                cells, value = stuck[:, rows][:, :, own], held[:, rows][:, :, own]
                read = (target & ~cells) | value
                if closest:
                    read = nearest(*map(jnp.asarray, (target, cells, value)), spec)
                off = np.asarray(decode(jnp.asarray(read), spec), int) - codes[list(order)][:, own]
                errors.append(int((off**2).sum()))
            total += min(errors)
    assert read_error.least_errors(words, stuck, held, spec, closest) == total
