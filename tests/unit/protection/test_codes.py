"""Block codes against their definitions, and where check bits lie."""

import itertools

import numpy as np
import pytest
from placed import lines, random_codes

import rerax
from rerax.crossbar.spec import ENCODINGS, ChipSpec
from rerax.protection import Code, protection
from rerax.protection.codes.block_code import BlockCode, CheckSpec
from rerax.protection.codes.placement import check_numbers, count_misses, lines_of_bits, members
from rerax.protection.codes.room import code_ledger

CODES = [
    ("hamming", 8, 4),
    ("hamming", 56, 6),
    ("secded", 64, 8),
    ("secded", 56, 7),
    ("bch", 20, 10),
    ("bch", 48, 12),
    ("golay", 12, 11),
]
NAMES = [
    "code:golay:4:pruned",
    "code:bch:5:pruned",
    "code:hamming:4:pruned",
    "code:secded:8:pruned",
    "code:secded:7:lsb",
    "code:bch:6:lsb",
    "code:golay:4:lsb",
    "code:secded:8:spare",
]


def times(a, b, modulus):
    """Product of polynomials over GF(2), modulo another."""
    total = 0
    for i in range(b.bit_length()):
        total ^= (a << i) * (b >> i & 1)
    while total.bit_length() >= modulus.bit_length():
        total ^= modulus << (total.bit_length() - modulus.bit_length())
    return total


@pytest.mark.parametrize(("name", "k", "r"), CODES)
def test_every_pattern_of_few_wrong_bits_is_found(name, k, r):
    """All syndromes: those of up to t wrong bits name them, and no other pattern shares them."""
    code = BlockCode(name, k)
    assert code.check == r
    data, check, known = code.fixes
    single = [*code.columns, *(1 << j for j in range(r))]
    seen = set()
    for weight in range(code.corrects + 1):
        for places in itertools.combinations(range(k + r), weight):
            syndrome = 0
            for place in places:
                syndrome ^= single[place]
            assert syndrome not in seen
            seen.add(syndrome)
            wrong = {i for i in range(k) if int(data[syndrome]) >> i & 1}
            wrong |= {k + j for j in range(r) if int(check[syndrome]) >> j & 1}
            assert wrong == set(places)
    assert set(np.flatnonzero(known)) == seen
    assert not data[~known].any()
    assert not check[~known].any()
    if name == "secded":  # two wrong bits are told from one
        pairs = {a ^ b for a, b in itertools.combinations(single, 2)}
        assert not pairs & seen


@pytest.mark.parametrize(("k", "r", "field"), [(20, 10, 0b100101), (48, 12, 0b1000011)])
def test_bch_words_vanish_where_the_code_says(k, r, field):
    """Code words as polynomials are 0 at a and a^3, a the field's generator."""
    code, rng = BlockCode("bch", k), np.random.default_rng(0)
    for _ in range(50):
        bits = rng.integers(0, 2, k)
        check = 0
        for bit, column in zip(bits, code.columns, strict=True):
            check ^= column * int(bit)
        word = [check >> j & 1 for j in range(r)] + list(bits)
        for power in (2, times(times(2, 2, field), 2, field)):
            at, total = 1, 0
            for bit in word:
                total ^= at * int(bit)
                at = times(at, power, field)
            assert total == 0


def test_golay_decodes_to_the_nearest_of_all_words():
    code, rng = BlockCode("golay", 12), np.random.default_rng(0)
    data, check, known = code.fixes
    assert known.all()
    words = np.zeros(4096, np.int64)
    for i, column in enumerate(code.columns):
        words ^= (np.arange(4096) >> i & 1) * (1 << i | column << 12)
    for read in rng.integers(0, 1 << 23, 300):
        syndrome = int(read) >> 12
        for i, column in enumerate(code.columns):
            syndrome ^= column * (int(read) >> i & 1)
        found = int(read) ^ int(data[syndrome]) ^ int(check[syndrome]) << 12
        nearest = words[np.argmin(np.bitwise_count(words ^ read))]
        assert found == nearest


@pytest.fixture(scope="module")
def matrix():
    rng = np.random.default_rng(0)
    row, column = lines(rng, 64, 50, 24, 19)
    return random_codes(rng, row, column, ChipSpec()), row, column


@pytest.mark.parametrize("encoding", ["offset", "differential"])
@pytest.mark.parametrize("name", NAMES)
def test_check_bits_have_cells_of_their_own(name, encoding, matrix):
    _, row, column = matrix
    asked, spec = protection(name).check_spec, ChipSpec(encoding)
    if asked.bits > spec.group_bits or asked.bits + asked.low > spec.group_bits:
        pytest.skip("a group has fewer bits")
    numbers = check_numbers(row, column, asked, spec)
    code_words = -(-int(row.sum()) // asked.weights)
    assert numbers.shape == (asked.code.check, spec.groups, code_words, column.sum())
    assert len(np.unique(numbers)) == numbers.size
    line, at = np.divmod(numbers, column.size)
    r, plane = np.divmod(line, spec.groups * spec.group_bits)
    if asked.into == "pruned":
        assert not (row[r] & column[at]).any()
    elif asked.into == "lsb":
        assert (row[r] & column[at]).all()
        assert (plane % spec.group_bits < asked.low).all()
    ledger = code_ledger(row, column, asked, spec)
    assert ledger.copies == (0 if asked.into == "spare" else numbers.size)
    assert ledger.used + ledger.free + ledger.copies + ledger.left_over == ledger.physical
    if asked.into == "pruned":
        assert ledger.reads == ledger.used + numbers.size


@pytest.mark.parametrize("layout", ["interleaved", "separate"])
@pytest.mark.parametrize("name", NAMES)
def test_check_bits_lie_on_other_lines_and_misses_are_counted(name, layout, matrix):
    _, row, column = matrix
    asked, spec = protection(name).check_spec, ChipSpec(layout=layout)
    numbers, rows = check_numbers(row, column, asked, spec), members(row, asked)
    wordline, bitline = lines_of_bits(numbers, spec, column.size)
    open_columns, met = np.flatnonzero(column), np.zeros(3, int)
    for b in range(rows.shape[1]):
        for c in range(len(open_columns)):
            own_rows = [int(r) for r in rows[:, b] if r < row.size]
            own_lines = [
                int(spec.bitline(open_columns[c], s, column.size)) for s in range(8 - asked.bits, 8)
            ]
            if asked.into == "spare":
                own_rows, own_lines = [], []
            mine = list(zip(wordline[:, 0, b, c], bitline[:, 0, b, c], strict=True))
            same_row = same_line = beside = False
            for j, (r, line) in enumerate(mine):
                others = [line2 for _, line2 in mine[:j]] + own_lines
                same_row |= r in own_rows or r in [r2 for r2, _ in mine[:j]]
                same_line |= line in others
                beside |= any(abs(line - line2) == 1 for line2 in others)
            met += len([r for r in rows[:, b] if r < row.size]) * np.array(
                [same_row, same_line, beside]
            )
    found = count_misses(row, column, asked, spec)
    assert (found.wordline, found.bitline, found.adjacent) == tuple(asked.bits * met)
    assert found.bits == asked.bits * row.sum() * column.sum()
    if asked.into == "pruned":
        assert found.wordline == found.bitline == 0


def test_members_of_a_code_word_come_from_equal_parts_of_the_open_rows():
    row = np.ones(20, bool)
    row[[3, 4]] = False
    found = members(row, CheckSpec("golay", 4, "pruned"))
    open_rows = np.flatnonzero(row)
    np.testing.assert_array_equal(found, open_rows.reshape(3, 6))
    row[0] = False  # 17 rows: the last code word is filled up
    assert (members(row, CheckSpec("golay", 4, "pruned")) >= 20).sum() == 1


def test_room_is_what_the_arithmetic_says():
    """Hamming on 4 bits fits from 20 % freed, BCH on 5 from 23.9, Golay on 4 from 31.4."""
    for name, least in (("hamming:4", 0.2), ("bch:5", 0.2381), ("golay:4", 0.3143)):
        shield = protection(f"code:{name}:pruned")
        rows = 12 * 100  # a multiple of every code word
        for freed, fits in ((least - 0.002, False), (least + 0.002, True)):
            column = np.arange(1000) >= round(1000 * freed)
            if fits:
                shield.check_room(np.ones(rows, bool), column, ChipSpec(), "query")
            else:
                with pytest.raises(ValueError, match=r"query has no room for code:.* bits short"):
                    shield.check_room(np.ones(rows, bool), column, ChipSpec(), "query")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("code:parity:4:pruned", "unknown code 'parity': use one of hamming"),
        ("code:golay:4", "is not understood: use code:golay:4:pruned"),
        ("code:golay:9:pruned", "9 protected bits are outside 1..8"),
        ("code:golay:4:attic", "check bits into 'attic': use one of pruned, lsb, spare"),
        ("code:golay:5:lsb", "needs 6 low bits below 5 protected ones"),
        ("code:bch:7:lsb", "code:bch:7:lsb is too long a code word for low bits: protect fewer"),
        ("code:golay:4:pruned:erasures:closest", "has erasures and closest: leave one out"),
        ("code:secded:8:spare:closest", "would have to know the spare array"),
        ("code:golay:4:pruned:closest:closest", "is not understood"),
    ],
)
def test_bad_names_are_refused(name, said):
    with pytest.raises(ValueError, match=said):
        protection(name)


def test_names_say_what_they_know():
    assert Code() == protection("code:golay:4:pruned")
    for more, knows in (("", "nothing"), (":erasures", "map at reading")):
        assert protection(f"code:bch:6:lsb{more}").knows == knows
        assert protection(f"code:bch:6:lsb{more}").text == f"code:bch:6:lsb{more}"
    assert protection("code:golay:4:pruned:closest").knows == "map at writing"


def test_a_group_needs_bits_enough():
    for encoding in ENCODINGS:
        spec, shield = ChipSpec(encoding), protection("code:secded:7:lsb")
        if spec.group_bits == 8:
            shield.check(spec)
        else:
            with pytest.raises(ValueError, match="takes 7 bits and 1 low ones of a group"):
                shield.check(spec)


@pytest.mark.parametrize("name", ["code:golay:4:pruned:closest", "code:hamming:2:spare:erasures"])
@pytest.mark.parametrize("axes", ["io", "lio"])
def test_a_matrix_without_an_open_row_is_read(name, axes):
    shape = (2, 4, 3)[3 - len(axes) :]
    gate = {"row": -np.ones(shape[:-1], np.float32), "column": np.ones((*shape[:-2], 3))}
    stored = rerax.program(
        {"k": np.ones(shape, np.float32)},
        rerax.Hardware(protection=name),
        lambda *_: axes,
        gates={"k": {side: np.asarray(x, np.float32) for side, x in gate.items()}},
    )
    assert not np.asarray(rerax.read(stored, rerax.chip(0, 0), 0.3)["k"]).any()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("closed_rows", "closed_columns"), [(0, 30), (40, 0), (64, 0), (0, 50)])
def test_matrices_may_keep_all_lines_or_none(name, closed_rows, closed_columns):
    """Of one side, or whole: every check bit still has a place of its own."""
    rng, shield, spec = np.random.default_rng(0), protection(name), ChipSpec()
    row, column = lines(rng, 64, 50, closed_rows, closed_columns)
    codes = random_codes(rng, row, column, spec)
    words, layout, *_ = shield.store(codes, (row, column), spec, "query")
    held = layout.at[layout.at >= 0]
    assert (
        len(np.unique(held))
        == len(held)
        == check_numbers(row, column, shield.check_spec, spec).size
    )
    assert words.shape == (1, 64, 50)
    if name.endswith("pruned"):
        assert count_misses(row, column, shield.check_spec, spec).wordline == 0


@pytest.mark.parametrize("name", ["code:golay:4:pruned", "code:bch:5:pruned"])
def test_where_there_are_tiles_enough_every_bit_has_one_of_its_own(name):
    rng = np.random.default_rng(0)
    row, column = lines(rng, 96, 96, 20, 20)
    spec, asked = ChipSpec(tile=(32, 64)), protection(name).check_spec
    found = count_misses(row, column, asked, spec)
    assert found.tile == 0
    numbers, rows = check_numbers(row, column, asked, spec), members(row, asked)
    wordline, bitline = lines_of_bits(numbers, spec, column.size)
    for b, c in ((0, 0), (3, 11), (7, 40)):  # by hand
        own = {
            (int(r) // 32, int(np.flatnonzero(column)[c]) * 8 // 64) for r in rows[:, b] if r < 96
        }
        at = zip(wordline[:, 0, b, c] // 32, bitline[:, 0, b, c] // 64, strict=True)
        held = {(int(r), int(t)) for r, t in at}
        assert len(held) == asked.code.check
        assert not held & own
