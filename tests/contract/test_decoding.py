"""Codes as read from faulty cells: against plain loops, dead lines, and chips written around."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from arrays import array_key, physical, read_matrix
from placed import lines, random_codes
from quick import WITHOUT_OPTIMISING

from rerax.crossbar import keys
from rerax.crossbar.encoding import decode, encode
from rerax.crossbar.spec import ENCODINGS, ChipSpec
from rerax.faults import Uniform
from rerax.faults.read_out import ReadOut, counts_of
from rerax.faults.sampling.rates import rate_table
from rerax.hardware import Hardware
from rerax.models.bert.names import IDS
from rerax.models.stored import as_written
from rerax.protection import protection
from rerax.protection.codes.placement import check_numbers, lines_of_bits, members
from rerax.protection.msb.write import rounded_codes

RATE, KEY = 0.04, keys.chip_key(keys.root_key(0), jnp.uint32(5))
LOOKED = 6  # columns that the loops look at
EXACT = (
    *("golay:4:pruned", "bch:5:pruned:closest", "hamming:5:lsb", "bch:4:lsb:erasures"),
    *("secded:6:pruned", "secded:6:lsb:closest", "golay:3:lsb", "bch:5:spare:erasures"),
)
quickly = functools.partial(jax.jit, compiler_options=WITHOUT_OPTIMISING)


def matrix(spec, seed=0):
    rng = np.random.default_rng(seed)
    row, column = lines(rng, 64, 50, 24, 19)
    return random_codes(rng, row, column, spec), row, column


def nearest(code_word, data, code):
    """The fewest wrong bits that explain a code word, if they are few enough: by trial."""
    checks = data + code.check

    def holds(bits):
        total = 0
        for i, column in enumerate(code.columns):
            total ^= column * bits[i]
        return total == sum(bits[data + j] << j for j in range(code.check))

    def turned(bits, places):
        bits = list(bits)
        for place in places:
            bits[place] ^= 1
        return bits

    for few in range(code.corrects + 1):
        for places in itertools.combinations(range(checks), few):
            if holds(turned(code_word, places)):
                return turned(code_word, places)
    return list(code_word)


@pytest.mark.parametrize(
    ("name", "spec"),
    [
        ("code:golay:4:pruned", ChipSpec(polarity="alternate")),
        ("code:bch:5:pruned", ChipSpec("sign_magnitude", polarity="inverted")),
        ("code:secded:7:lsb", ChipSpec("twos_complement")),
        ("code:hamming:4:pruned", ChipSpec("differential", bits_per_cell=2, layout="separate")),
        ("code:secded:8:spare", ChipSpec(polarity="alternate")),
    ],
    ids=str,
)
def test_code_words_are_decoded_as_by_loops(name, spec):
    codes, row, column = matrix(spec)
    shield, fault = protection(name), Uniform()
    asked, hardware = shield.check_spec, Hardware(spec, fault, shield)
    stored = jax.tree.map(jnp.asarray, shield.store(codes, (row, column), spec, "query"))
    rates = rate_table(RATE, 0.75, fault)
    found, _ = quickly(lambda s: read_matrix(s, KEY, rates, hardware))(stored)
    # the same by loops, from the cells of each array
    laid = as_written(shield.store(codes, (row, column), spec, "query"), spec)
    bits = []
    for number, words in enumerate([laid.words] + ([laid.spare] if shield.spare_arrays else [])):
        key = array_key(5)
        if number:
            key = keys.array_key(keys.spare_key(KEY, 0), IDS["query"], 0)
        read = np.asarray(fault.disturb(jnp.asarray(words), key, rates, spec).words)
        turned = laid.complement
        if number:
            odd = np.arange(words.shape[1]) % 2 * (255 if spec.polarity == "alternate" else 0)
            turned = odd[:, None].astype(np.uint8)
        bits.append(read if turned is None else read ^ turned)
    numbers, rows = check_numbers(row, column, asked, spec), members(row, asked)
    host, expected, code = bits[-1], bits[0].copy(), asked.code
    line, at = np.divmod(numbers, column.size)
    r, plane = np.divmod(line, spec.groups * spec.group_bits)
    group, bit = np.divmod(plane, spec.group_bits)
    checks = host[group, r, at] >> bit & 1
    many = 0
    for g in range(spec.groups):
        for b in range(rows.shape[1]):
            for j, c in enumerate(np.flatnonzero(column)[:LOOKED]):
                data = [
                    int(bits[0][g, i, c]) >> (spec.group_bits - 1 - p) & 1 if i < row.size else 0
                    for i in rows[:, b]
                    for p in range(asked.bits)
                ]
                whole = data + [int(x) for x in checks[:, g, b, j]]
                right = nearest(whole, len(data), code)
                many += right != whole
                for k, i in enumerate(rows[:, b]):
                    for p in range(asked.bits):
                        if i < row.size and right[k * asked.bits + p] != whole[k * asked.bits + p]:
                            expected[g, i, c] ^= 1 << (spec.group_bits - 1 - p)
    expected &= np.uint8(255 & ~((1 << asked.low) - 1))
    kept = row[:, None] & (column & (np.cumsum(column) <= LOOKED))[None, :]
    np.testing.assert_array_equal(
        np.asarray(found)[kept], np.asarray(decode(jnp.asarray(expected), spec))[kept]
    )
    assert many > 3  # code words that were put right, or further wrong


@pytest.mark.parametrize(
    ("name", "encoding"),
    [(name, ENCODINGS[(i + k) % 4]) for i, name in enumerate(EXACT) for k in (0, 1 + i % 3)],
)
def test_without_faults_the_codes_come_back(name, encoding):
    """At rate 0 whatever the encoding; encodings, cells and polarities take turns."""
    turn = ENCODINGS.index(encoding) + len(name)
    polarity = ("plain", "alternate", "inverted:0x3")[turn % 3]
    spec = ChipSpec(encoding, bits_per_cell=(1, 2, 4)[turn % 4 % 3], polarity=polarity)
    codes, row, column = matrix(spec)
    shield = protection(f"code:{name}")
    hardware = Hardware(spec, Uniform(), shield)
    stored = jax.tree.map(jnp.asarray, shield.store(codes, (row, column), spec, "query"))
    found, counts = quickly(lambda s: read_matrix(s, KEY, rate_table(0.0), hardware))(stored)
    kept = row[:, None] & column[None, :]
    expected = rounded_codes(codes, shield.low, spec)
    np.testing.assert_array_equal(np.asarray(found)[kept], expected[kept])
    assert sum(map(int, counts)) == 0


@pytest.mark.parametrize("name", ["code:golay:4:pruned", "code:bch:5:pruned", "code:bch:6:lsb"])
@pytest.mark.parametrize("spec", [ChipSpec(), ChipSpec("twos_complement", bits_per_cell=2)])
def test_dead_lines_cost_what_the_arithmetic_says(name, spec):
    """A wordline stuck at 1 costs a code word a weight's zeros; a bitline a bit of each member."""
    codes, row, column = matrix(spec)
    shield = protection(name)
    asked = shield.check_spec
    words, layout, *_ = jax.tree.map(jnp.asarray, shield.store(codes, (row, column), spec, "query"))
    kept, rows = row[:, None] & column[None, :], members(row, asked)
    wordline, _ = lines_of_bits(check_numbers(row, column, asked, spec), spec, column.size)
    read = quickly(
        lambda w: decode(
            shield.recover([ReadOut(w, w * 0, counts_of())], layout, spec, "query"), spec
        )
    )
    wanted = np.asarray(read(words))
    np.testing.assert_array_equal(wanted[kept], rounded_codes(codes, asked.low, spec)[kept])
    top = 8 - asked.bits
    zeros = np.bitwise_count((~np.asarray(words[0]) & 255) >> top)
    for dead in np.flatnonzero(row)[:3]:
        found = np.asarray(read(words.at[:, dead].set(255)))
        code_word = int(np.flatnonzero((rows == dead).any(0))[0])
        others = [r for r in rows[:, code_word] if r < row.size and r != dead]
        hurt = (wordline[:, 0, code_word] == dead).sum(0)  # none, where misses are none
        assert not hurt.any()
        safe = column & (zeros[dead] <= asked.code.corrects)
        assert safe.any()
        assert (found[others][:, column] == wanted[others][:, column])[
            :, zeros[dead][column] <= asked.code.corrects
        ].all()
        read_word = np.asarray(encode(found[dead][None], spec))[0, 0]
        stored = np.asarray(words[0, dead])
        assert ((read_word ^ stored)[safe] >> top == 0).all()
        if name == "code:golay:4:pruned":  # it has one pattern for each syndrome: others go wrong
            lost = column & (zeros[dead] > 3)
            assert ((read_word ^ stored)[lost] >> top != 0).all()
            assert (zeros[dead][column] > 3).mean() < 0.2  # 15 of 16 for even bits
    if name.endswith("golay:4:pruned"):
        c = int(np.flatnonzero(column)[0])
        dead = words.at[:, :, c].set(words[:, :, c] | jnp.uint8(0x40))
        at = np.asarray(read(dead))[row, c]
        np.testing.assert_array_equal(at >> 4, wanted[row, c] >> 4)


@pytest.mark.parametrize("name", ["code:golay:4:pruned", "code:bch:6:lsb", "code:hamming:4:pruned"])
def test_a_chip_written_around_is_never_worse_in_any_code_word(name):
    spec, fault = ChipSpec(), Uniform()
    codes, row, column = matrix(spec)
    rates = rate_table(0.08, 0.75, fault)
    kept = row[:, None] & column[None, :]
    error = {}
    for more in ("", ":closest"):
        shield = protection(name + more)
        stored = jax.tree.map(jnp.asarray, shield.store(codes, (row, column), spec, "query"))
        hardware = Hardware(spec, fault, shield)
        found, _ = quickly(lambda s, h=hardware: read_matrix(s, KEY, rates, h))(stored)
        wanted = rounded_codes(codes, shield.low, spec)
        apart = (np.asarray(found).astype(int) - wanted) ** 2 * kept
        rows = members(row, shield.check_spec)
        code_words = np.where(rows[:, :, None] < 64, apart[np.minimum(rows, 63)], 0).sum(0)
        error[more] = code_words[:, column]
    assert (error[":closest"] <= error[""]).all()
    assert error[":closest"].sum() < 0.5 * error[""].sum()


def test_erasures_correct_twice_as_many_known_bits():
    """Six known stuck bits of a Golay code word are put right whatever they hold; three unknown."""
    spec, shield = ChipSpec(), protection("code:golay:4:pruned:erasures")
    codes, row, column = matrix(spec)
    words, layout, *_ = jax.tree.map(jnp.asarray, shield.store(codes, (row, column), spec, "query"))
    rows = members(row, shield.check_spec)
    rng = np.random.default_rng(0)
    stuck = np.zeros(words.shape, np.uint8)
    for b in range(rows.shape[1]):  # two bits of each member
        for r in rows[:, b]:
            if r < row.size:
                for c in np.flatnonzero(column):
                    stuck[0, r, c] = sum(1 << int(p) for p in 4 + rng.permutation(4)[:2])
    held = rng.integers(0, 256, words.shape).astype(np.uint8) & stuck
    read = (words & ~stuck) | held
    found = quickly(
        lambda w, k: shield.recover([ReadOut(w, k, counts_of())], layout, spec, "query")
    )(read, jnp.asarray(stuck))
    kept = row[:, None] & column[None, :]
    np.testing.assert_array_equal(np.asarray(found)[0][kept] >> 4, np.asarray(words)[0][kept] >> 4)
    plain = protection("code:golay:4:pruned").recover(
        [ReadOut(read, jnp.asarray(stuck), counts_of())], layout, spec, "query"
    )
    assert (np.asarray(plain)[0][kept] >> 4 != np.asarray(words)[0][kept] >> 4).any()


def test_physical_cells_do_not_move_with_codes():
    """Stuck cells are those of the bare array: only what they hold differs."""
    spec, fault = ChipSpec(), Uniform()
    rates = rate_table(RATE, 0.75, fault)
    cells = [
        physical(np.asarray(fault.states(array_key(5), rates, s, (64, 50))), s)
        for s in (spec, ChipSpec(polarity="alternate"))
    ]
    np.testing.assert_array_equal(*cells)
