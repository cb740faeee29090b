"""Chips written around their faults: choices against all candidates, and whole chips."""

import dataclasses
import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from arrays import random_gates
from quick import WITHOUT_OPTIMISING

import rerax
from rerax.crossbar.encoding import decode, encode
from rerax.crossbar.spec import ChipSpec
from rerax.faults.mask import Faults
from rerax.hardware import Hardware
from rerax.models.reading import read_codes
from rerax.protection import FaultAware, protection
from rerax.protection.column_flips import unflipped, write_around
from rerax.protection.nearest_word import nearest_word, negated
from rerax.protection.planner import MatrixProfile, damage

quickly = functools.partial(jax.jit, compiler_options=WITHOUT_OPTIMISING)
nearest = quickly(nearest_word, static_argnums=3)
RNG = np.random.default_rng(0)
ENCODINGS = ("offset", "twos_complement", "sign_magnitude", "differential")
NAMES = [
    "+".join(w for w, on in zip(("closest", "sign", "bit"), these, strict=True) if on)
    for these in itertools.product((True, False), repeat=3)
    if any(these)
]


def test_names():
    assert FaultAware() == protection("closest")
    for name in NAMES:
        assert protection(name).text == name
        assert protection(name).knows == "map at writing"
    assert protection("closest+sign:64").rows == 64
    assert protection("closest+sign:64").text == "closest+sign:64"
    for wrong, said in (("sign:32", "rows 32"), ("sign:x", "is not understood"),
                        ("sign:64:64", "is not understood")):  # fmt: skip
        with pytest.raises(ValueError, match=said):
            protection(wrong)
    with pytest.raises(ValueError, match=r"ways sign\+closest are not understood"):
        FaultAware(("sign", "closest"))


def small(spec, rows, columns, p):
    """Words, stuck bits and what they read, of a small array."""
    most = 2 ** (spec.bits - 1) - 1
    codes = RNG.integers(-most, most + 1, (rows, columns)).astype(np.int8)
    stuck = np.zeros((spec.groups, rows, columns), np.uint8)
    held = stuck.copy()
    for cell in range(spec.cells_per_group):
        level = ((1 << spec.bits_of_cell(cell)) - 1) << (cell * spec.bits_per_cell)
        hit, high = RNG.random((2, *stuck.shape)) < [[[[p]]], [[[0.7]]]]
        stuck |= np.where(hit, level, 0).astype(np.uint8)
        held |= np.where(hit & high, level, 0).astype(np.uint8)
    return codes, encode(codes, spec), stuck, held


SPECS = [ChipSpec("offset", 4), ChipSpec("sign_magnitude", 4, 2), ChipSpec("differential", 3)]


@pytest.mark.parametrize("name", ["sign", "bit", "closest+sign+bit"])
@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.encoding)
def test_flips_are_the_best_of_all_candidates(name, spec):
    """Tried one after the other by loops; of equal ones the first that flips fewest bits."""
    ways, rows, wide = name.split("+"), 64, 3
    codes, words, stuck, held = small(spec, 70, wide, 0.1)
    lines = RNG.random(70) < 0.8, np.array([True, True, False])
    given = [jnp.asarray(a) for a in (words, stuck, held)]
    write = quickly(write_around, static_argnums=(4, 5, 6))
    written, flips = write(*given, lines, spec, tuple(ways), rows)
    read = (np.asarray(written) & ~stuck) | held
    assert ("closest" not in ways) or (read == written).all()
    back = unflipped(jnp.asarray(read), flips, spec, rows)
    found = np.asarray(decode(back, spec)).astype(int)
    masks = sorted(range(1 << spec.group_bits), key=lambda m: (m.bit_count(), m))
    masks = masks if "bit" in ways else [0]
    for block, column in itertools.product(range(2), range(2)):
        here = np.arange(70) // rows == block
        part = [a[:, here, column : column + 1] for a in (words, stuck, held)]
        wanted, counts = codes[here, column].astype(int), lines[0][here]
        least = None
        for mask, sign in itertools.product(masks, (False, True) if "sign" in ways else (False,)):
            target = np.asarray(negated(jnp.asarray(part[0]), spec)) if sign else part[0]
            seen = part[2] ^ (np.uint8(mask) & part[1])
            if "closest" in ways:
                near = np.asarray(nearest(jnp.asarray(target), jnp.asarray(part[1]),
                                               jnp.asarray(seen), spec))  # fmt: skip
            else:
                near = (target & ~part[1]) | seen
            meant = np.asarray(negated(jnp.asarray(near), spec)) if sign else near
            error = np.asarray(decode(jnp.asarray(meant), spec)).astype(int)[:, 0] - wanted
            total = int((error[counts] ** 2).sum())
            if least is None or total < least[0]:
                least = total, mask, sign
        error = (found[here, column] - wanted)[counts]
        assert int((error**2).sum()) == least[0]
        assert int(flips.bits[block, 0, column]) == least[1]
        assert bool(flips.sign[block, column]) == least[2]


WHOLE = [("offset", name) for name in NAMES] + [
    (encoding, name) for encoding in ENCODINGS[1:] for name in ("closest", "closest+sign")
]


@pytest.mark.parametrize(("encoding", "name"), WHOLE)
def test_whole_chips(encoding, name):
    """No fault: the codes. Faults: less damage than bare cells, in the same stuck cells."""
    spec = ChipSpec(encoding, 8 if name == "closest" else 4)
    weights = {"k": RNG.normal(size=(150, 20)).astype(np.float32)}

    def codes(scheme):
        stored = rerax.program(weights, Hardware(spec, protection=scheme), lambda *_: True)
        where = stored.crossbars["k"], rerax.chip(0, 3)
        read = quickly(lambda faults: read_codes(*where, faults, stored.hardware))
        found = [read(Faults(rerax.rate_table(rate))) for rate in (0.0, 0.01, 0.05)]
        return [(codes.astype(int), counts) for codes, counts in jax.device_get(found)]

    ((wanted, _), *bares), ((clean, _), *arounds) = codes("none"), codes(name)
    np.testing.assert_array_equal(clean, wanted)
    for (bare, cells), (around, same) in zip(bares, arounds, strict=True):
        assert cells == same
        assert ((around - wanted) ** 2).sum() < ((bare - wanted) ** 2).sum()
        if name == "closest":
            assert (np.abs(around - wanted) <= np.abs(bare - wanted)).all()


def test_faults_that_no_tester_knows_act_on_what_is_written():
    weights = {"k": RNG.normal(size=(40, 12)).astype(np.float32)}
    for fault in ("flip", "short"):
        read = []
        for scheme in ("none", "closest+sign"):
            hardware = Hardware(ChipSpec(bits=4), fault, scheme)
            stored = rerax.program(weights, hardware, lambda *_: True)
            one = quickly(lambda rates, stored=stored: rerax.read(stored, rerax.chip(0, 0), rates))
            read.append(np.asarray(one(rerax.rate_table(0.05))["k"]))
        np.testing.assert_array_equal(*read)


def test_metadata_is_counted_to_the_bit():
    row, column = np.ones(300, bool), np.arange(40) < 30
    for name, each in (("closest", 0), ("sign", 1), ("bit", 8), ("closest+sign+bit", 9)):
        for rows, blocks in ((128, 3), (64, 5)):
            scheme = FaultAware(tuple(name.split("+")), rows)
            ledger = scheme.ledger(row, column, True, ChipSpec(), "m")
            assert ledger.metadata == each * blocks * 30
            assert (ledger.physical, ledger.spare) == (300 * 40 * 8, 0)
    assert FaultAware(("bit",)).ledger(row, column, True, ChipSpec("differential"), "m").metadata \
        == 7 * 3 * 30  # fmt: skip


@pytest.mark.parametrize(
    ("spec", "name", "fault"),
    [
        (ChipSpec("sign_magnitude", 6, 2), "closest", "uniform"),
        (ChipSpec("differential", 6, 1), "closest", "uniform"),
        (ChipSpec("offset", 6, 1, polarity="alternate"), "msb:2x3:pruned:closest", "uniform"),
        (ChipSpec("twos_complement", 6, 2), "msb:2x2:pruned:erasures:closest", "uniform"),
        (ChipSpec("offset", 6, 1), "msb:1x3:lsb:closest", "wordline"),
        # Broken wordlines in tiles whose edges lie between the cells of a weight, or in many tiles.
        (ChipSpec("differential", 6, 1, (32, 32)), "none", "wordline"),
        (ChipSpec("differential", 6, 1, (32, 32)), "msb:1x3:lsb", "wordline"),
        (ChipSpec("differential", 6, 1, (32, 32)), "closest", "wordline"),
        (ChipSpec("offset", 7, 1, (32, 32)), "code:hamming:4:pruned", "wordline"),
        (ChipSpec("offset", 6, 1, (32, 32)), "none", "wordline"),
        (ChipSpec("offset", 6, 1, (32, 32), "separate"), "closest", "wordline"),
        (ChipSpec("differential", 6, 2, (32, 32), "separate"), "none", "wordline"),
    ],
)
def test_the_expected_error_is_what_chips_have(spec, name, fault):
    """Within five standard errors of the mean over chips, and less than that of bare cells."""
    hardware, rng = Hardware(spec, fault, name), np.random.default_rng(4)
    gates = random_gates(rng, (1,), 96, 80, closed=0.4)
    gate = {side: gates[side][0] for side in gates} if "pruned" in name else None
    weights = {"k": rng.normal(size=(96, 80)).astype(np.float32)}
    given = {} if gate is None else {"gates": {"k": gate}}
    stored = rerax.program(weights, hardware, lambda *_: True, **given)
    bare = Hardware(dataclasses.replace(spec, polarity="plain"))
    plain = rerax.program(weights, bare, lambda *_: True, **given).crossbars["k"]
    written = np.asarray(decode(jnp.asarray(plain.words), spec), int)
    row, column = np.ones(96, bool), np.ones(80, bool)
    if gate is not None:
        row, column = (np.asarray(gate[side]) >= 0 for side in ("row", "column"))
    kept = row[:, None] & column[None, :]
    lines = row[None], column[None]
    known = MatrixProfile(written[None].astype(np.int8), *lines, gate is not None, np.ones((1, 80)))
    chances = hardware.fault.odds(0.04, 0.8)
    wanted = damage(hardware.protection, known, chances, spec)
    rates, crossbar = Faults(rerax.rate_table(0.04, 0.8)), stored.crossbars["k"]
    read = quickly(lambda n: read_codes(crossbar, rerax.chip(0, n), rates, stored.hardware)[0])
    found = [((np.asarray(read(np.uint32(n)), int) - written) ** 2)[kept].sum() for n in range(60)]
    assert abs(np.mean(found) - wanted) < 5 * np.std(found, ddof=1) / np.sqrt(60)
    bare = damage(protection("none"), known, chances, spec)
    assert wanted == bare if name == "none" else wanted < 0.9 * bare


def test_no_closed_form_is_claimed_for_flips():
    codes = np.zeros((1, 8, 4), np.int8)
    lines = np.ones((1, 8), bool), np.ones((1, 4), bool)
    known = MatrixProfile(codes, *lines, True, np.ones((1, 4)))
    for name in ("sign", "closest+bit"):
        with pytest.raises(TypeError, match="is not known"):
            damage(protection(name), known, rerax.Uniform().odds(0.02, 0.8), ChipSpec())
    with pytest.raises(TypeError, match="codes in two groups on broken wordlines is not known"):
        damage(
            protection("code:hamming:4:pruned"),
            known,
            rerax.Wordline().odds(0.02, 0.8),
            ChipSpec("differential"),
        )
