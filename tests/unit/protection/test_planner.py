"""Expected damage against all outcomes one by one, and the planner's choice against all others."""

import dataclasses
import functools
import itertools
import json
import math

import numpy as np
import oracle
import pytest
import scipy.stats

from rerax.crossbar.spec import ENCODINGS, ChipSpec
from rerax.faults import Odds, fault_model
from rerax.models.bert.planning import account, save_plan
from rerax.protection import (
    Allocation,
    Code,
    Duplicate,
    MsbEmbed,
    Plan,
    Unprotected,
    protection,
    register_protection,
    without_planner,
)
from rerax.protection.expected_error import CODES, Votes, _cell_transition, squared_error
from rerax.protection.msb.copy_spec import low_bits, served_columns
from rerax.protection.msb.write import rounded_codes
from rerax.protection.planner import MatrixProfile, _candidates, allocate, damage

ROWS, COLUMNS = 40, 32


def matrix(spec, closed=0.4, gated=True, seed=0):
    rng = np.random.default_rng(seed)
    row, column = np.ones((1, ROWS), bool), np.ones((1, COLUMNS), bool)
    if gated:
        row[0, rng.permutation(ROWS)[: round(ROWS * closed)]] = False
        column[0, rng.permutation(COLUMNS)[:4]] = False
    top = 2 ** (spec.bits - 1) - 1
    codes = np.clip(np.rint(rng.normal(0, top / 3, (1, ROWS, COLUMNS))), -top, top)
    codes = np.where(row[:, :, None] & column[:, None, :], codes, 0).astype(np.int8)
    return MatrixProfile(codes, row, column, gated, rng.uniform(0.5, 2, (1, COLUMNS)))


def by_enumeration(code, stored, votes, chances, spec):
    """E[(code read - code)^2] over everything that the cells of a weight can be, one by one.

    On broken wordlines the mean over columns, of which some lie in two tiles.
    """
    columns = range(spec.tile[1] if chances.by_wordline else 1)
    each = [_in_column(n, code, stored, votes, chances, spec) for n in columns]
    return sum(each) / len(each)


@functools.cache
def _in_tiles(column, spec):
    """Tile of each cell of a weight, numbered from its first one."""
    bitlines = range(column * spec.cells_per_weight, (column + 1) * spec.cells_per_weight)
    return tuple(b // spec.tile[1] - bitlines[0] // spec.tile[1] for b in bitlines)


@functools.cache
def _of_tiles(tiles, code, stored, votes, chances, spec):
    groups = oracle.groups_of(stored, spec)
    images = []  # (group, bit, its value, the cell that shows it, for every image)
    for g, bit in itertools.product(range(len(groups)), range(spec.group_bits)):
        cell = bit // spec.bits_per_cell
        for image in range(votes.depths[bit]):
            if chances.flip:
                shows = (g, bit, image)
            elif chances.by_wordline:
                shows = (image, tiles[g * spec.cells_per_group + cell])
            elif votes.whole_cells or image == 0:
                shows = (g, cell, image)
            else:  # a copy of one bit, alone in a low cell
                shows = (g, bit, image)
            images.append((g, bit, groups[g] >> bit & 1, shows))
    cells = sorted({shows for *_, shows in images}, key=str)
    if chances.flip:
        states = {"well": 1 - chances.flip, "flipped": chances.flip}
    else:
        states = {"well": 1 - chances.at_0 - chances.at_1, 0: chances.at_0, 1: chances.at_1}
    total = 0.0
    for outcome in itertools.product(states, repeat=len(cells)):
        state = dict(zip(cells, outcome, strict=True))
        read = [0] * len(groups)
        for (g, bit), seen in itertools.groupby(images, lambda image: image[:2]):
            seen = [(value, state[shows]) for *_, value, shows in seen]
            values = [
                value if s == "well" else 1 - value if s == "flipped" else s for value, s in seen
            ]
            erased = [int(votes.erasures and chances.known and s in (0, 1)) for _, s in seen]
            read[g] |= oracle.vote(values, erased, 1) << bit
        read = [number & ~((1 << votes.low) - 1) for number in read]
        chance = math.prod(states[s] for s in outcome)
        total += chance * (oracle.code_of(read, spec) - code) ** 2
    return total


def _in_column(column, *more):
    return _of_tiles(_in_tiles(column, more[-1]), *more)


UNIFORM = Odds(0.03, 0.08)


@pytest.mark.parametrize(
    ("spec", "votes", "chances"),
    [
        (ChipSpec("offset", 3), Votes((1, 1, 1)), UNIFORM),
        (ChipSpec("offset", 3), Votes((1, 3, 3)), UNIFORM),
        (ChipSpec("twos_complement", 3), Votes((1, 1, 5), erasures=True), UNIFORM),
        (ChipSpec("sign_magnitude", 3), Votes((1, 3, 3)), Odds(flip=0.07, known=False)),
        (ChipSpec("sign_magnitude", 3), Votes((1, 1, 3), True, True), Odds(flip=0.1, known=False)),
        (ChipSpec("sign_magnitude", 3), Votes((1, 2, 4), True, True), Odds(flip=0.1, known=False)),
        (ChipSpec("offset", 3), Votes((1, 2, 4), erasures=True), UNIFORM),
        (ChipSpec("twos_complement", 4, 2), Votes((1, 1, 2, 2), False, True), UNIFORM),
        (ChipSpec("differential", 3), Votes((1, 3)), UNIFORM),
        (ChipSpec("differential", 3, 2), Votes((3, 3)), UNIFORM),
        (ChipSpec("offset", 4, 2), Votes((1, 1, 3, 3), erasures=True), UNIFORM),
        (ChipSpec("twos_complement", 4, 2), Votes((1, 1, 3, 3), False), UNIFORM),
        (ChipSpec("offset", 4), Votes((1, 1, 1, 3), False, True, low=1), UNIFORM),
        (ChipSpec("sign_magnitude", 4), Votes((1, 1, 1, 3), False, low=2), UNIFORM),
        (ChipSpec("offset", 4), Votes((1, 1, 3, 3)), Odds(0.1, 0.2, by_wordline=True)),
        (
            ChipSpec("differential", 4),
            Votes((1, 1, 3), True, True),
            Odds(0.1, 0.2, by_wordline=True),
        ),
    ],
    ids=str,
)
def test_expected_errors_are_those_of_all_outcomes(spec, votes, chances):
    top = 2 ** (spec.bits - 1) - 1
    codes = np.clip(CODES, -top, top).astype(np.int8)[:, None]
    stored = rounded_codes(codes, votes.low, spec)[:, 0]
    found = squared_error(stored, votes, chances, spec)
    for code in {-top, -1, 0, top}:
        expected = by_enumeration(code, int(stored[code + 128]), votes, chances, spec)
        assert found[code + 128] == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_damage_is_the_error_of_every_kept_weight_times_its_columns_sensitivity():
    """A matrix whose freed cells serve some columns, and low bits the others."""
    spec, scheme, chances = ChipSpec(), MsbEmbed(2, 3, "pruned+lsb"), Odds(0.01, 0.04)
    known = matrix(spec, 0.2)
    row, column = known.row[0], known.column[0]
    served = served_columns(scheme.copy_spec, spec, row, column)
    assert 0 < served < column.sum()
    low = low_bits(scheme.copy_spec, int(column.sum()), served)
    stored = rounded_codes(CODES.clip(-127, 127).astype(np.int8)[:, None], low, spec)[:, 0]
    errors = [
        squared_error(stored, Votes((1,) * 6 + (3, 3), freed, False, low), chances, spec)
        for freed in (True, False)
    ]
    total = 0.0
    for place, c in enumerate(np.flatnonzero(column)):
        for r in np.flatnonzero(row):
            error = errors[place >= served][int(known.codes[0, r, c]) + 128]
            total += error * known.sensitivity[0, c]
    assert damage(scheme, known, chances, spec) == pytest.approx(total, rel=1e-12)


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("uniform", Odds(0.075, 0.025)),
        ("clustered:2", Odds(0.075, 0.025, by_tile=True)),
        ("bitline", Odds(0.075, 0.025, by_bitline=True)),
        ("wordline", Odds(0.075, 0.025, by_wordline=True)),
        ("flip", Odds(flip=0.1, known=False)),
        ("short", Odds(at_1=1 - 0.95**2, known=False, by_bitline=True)),
    ],
)
def test_odds_of_a_cell_are_those_of_the_fault(fault, expected):
    found = fault_model(fault).odds(0.1, 0.25)
    np.testing.assert_allclose(dataclasses.astuple(found), dataclasses.astuple(expected))


def test_without_faults_only_rounding_is_left():
    spec = ChipSpec()
    known = matrix(spec)
    assert damage(MsbEmbed(2, 3, "pruned"), known, Odds(), spec) == 0
    assert damage(Unprotected(), known, Odds(), spec) == 0
    rounded = damage(MsbEmbed(2, 3, "lsb"), known, Odds(), spec)
    words, *_ = MsbEmbed(2, 3, "lsb").store(known.codes, (known.row, known.column), spec, "query")
    kept = known.row[0][:, None] & known.column[0][None, :]
    read = (words[0, 0] & 0xF0).astype(int) - 128
    by_hand = ((read - known.codes[0]) ** 2 * known.sensitivity[0] * kept).sum()
    assert rounded == pytest.approx(by_hand, rel=1e-12)


@pytest.mark.parametrize(
    ("encoding", "rate"), [*zip(ENCODINGS, [1e-2, 1e-4, 0.2, 1e-2], strict=True)]
)
def test_the_plan_does_least_damage_of_all_that_fits(encoding, rate):
    spec, chances = ChipSpec(encoding), fault_model("uniform").odds(rate, 904 / 1079)
    known = {"query": matrix(spec), "pooler": matrix(spec, gated=False, seed=1)}
    chosen = allocate(known, chances, spec)
    for name, one in known.items():
        least = damage(chosen.of(name), one, chances, spec)
        others = [damage(s, one, chances, spec) for s in _candidates(one, spec, False)]
        assert least == min(others)
        assert least < damage(Unprotected(), one, chances, spec) or rate == 1e-4
    ledger = chosen.ledger(known["query"].row[0], known["query"].column[0], True, spec, "query")
    assert ledger.physical == spec.cells(ROWS, COLUMNS)
    assert ledger.spare == chosen.spare_arrays == 0


def test_the_plan_mixes_depths_and_leaves_a_matrix_alone():
    spec = ChipSpec()
    chances = fault_model("uniform").odds(1e-2, 904 / 1079)
    known = {"query": matrix(spec, 0.62), "key": matrix(spec, gated=False)}
    chosen = dict(allocate(known, chances, spec, erasures=True).chosen)
    assert len(set(chosen["query"].depths)) > 1
    assert "lsb" in chosen["key"].into
    coded = dict(allocate(known, chances, spec).chosen)
    assert isinstance(coded["query"], Code)
    assert coded["query"].into == "pruned"
    assert coded["key"].into == "lsb"
    few = fault_model("uniform").odds(1e-9, 0.5)
    assert dict(allocate({"key": known["key"]}, few, spec).chosen) == {}


def test_what_has_no_known_error_is_left_out_of_a_plan():
    spec = ChipSpec("differential", bits=4)
    chances = fault_model("wordline").odds(1e-2, 904 / 1079)
    with pytest.raises(TypeError, match="codes in two groups on broken wordlines is not known"):
        damage(protection("code:hamming:2:lsb"), matrix(spec, gated=False), chances, spec)
    plan = allocate({"key": matrix(spec, gated=False)}, chances, spec)
    assert not any(isinstance(scheme, Code) for _, scheme in plan.chosen)


@pytest.mark.parametrize(
    ("scheme", "fault", "given", "told"),
    [
        ("code:hamming:4:pruned", "bitline", {}, "where weights of a code word share one"),
        ("code:hamming:4:pruned", "short", {}, "where weights of a code word share one"),
        ("msb:2x3:pruned", "wordline", {}, "wordlines, where some copies of a weight share one"),
        ("msb:2x3:pruned:closest", "wordline", {}, "where some copies of a weight share one"),
        ("code:golay:4:pruned", "clustered:1", {}, "where tiles have rates of their own"),
        ("none", "wordline", {"layout": "separate"}, "broken wordlines is not known where 32 col"),
        ("closest", "wordline", {"layout": "separate"}, "wordlines is not known where 32 columns"),
        ("msb:1x11:pruned:closest", "uniform", {}, "11 images are too many to list"),
    ],
)
def test_errors_that_lines_make_depend_on_each_other_are_not_told(scheme, fault, given, told):
    """What is told is what independent cells would make of it, far from the truth there."""
    spec, chances = ChipSpec(**given), fault_model(fault).odds(1e-2, 0.5)
    known = matrix(spec)
    with pytest.raises(TypeError, match=told):
        damage(protection(scheme), known, chances, spec)
    assert damage(protection("msb:1x3:pruned"), known, fault_model("uniform").odds(1e-2, 0.5), spec)


def test_a_matrix_of_which_no_error_is_known_stays_unprotected():
    chances = fault_model("wordline").odds(1e-2, 0.5)
    with pytest.warns(UserWarning, match="the plan leaves them unprotected"):
        plan = allocate({"key": matrix(ChipSpec())}, chances, ChipSpec(layout="separate"))
    assert plan.chosen == ()
    one = ChipSpec("offset", 4, 4, layout="separate")  # no two cells of a weight share a line
    assert damage(protection("none"), matrix(one), chances, one) > 0


@pytest.mark.parametrize("depth", [11, 99])
def test_errors_of_many_copies_of_cells_of_one_bit_are_known(depth):
    """A vote of as many is wrong where half of its images are, a binomial tail."""
    spec, p = ChipSpec("offset", 2), 0.3
    chances = Odds(p, 0.0)
    found = squared_error(np.zeros(256, np.int8), Votes((depth, depth)), chances, spec)
    wrong = scipy.stats.binom.sf(depth // 2, depth, p)  # the code 0 is the word 10: its 1 is lost
    assert found[128] == pytest.approx(4 * wrong, rel=1e-9)


def test_a_tie_is_the_originals_also_where_bits_are_copied_alone():
    for depth in (2, 4):
        each = [
            _cell_transition((depth,), whole, UNIFORM, False, (0, 0)) for whole in (True, False)
        ]
        np.testing.assert_allclose(*each, rtol=1e-12)


def test_a_saved_plan_comes_back(tmp_path):
    plan = Allocation.make({"query": "msb:5.3:pruned", "key": "none", "value": "msb:3.3:lsb"})
    assert plan.text == "allocation:query=msb:5.3:pruned/value=msb:2x3:lsb"
    assert protection(plan.text) == plan
    names = {matrix: scheme.text for matrix, scheme in plan.chosen}
    saved = {"allocation": names | {"key": "none"}, "design": {"rate": 0.01}}
    (tmp_path / "plan.json").write_text(json.dumps(saved))
    assert Plan(str(tmp_path / "plan.json")).read() == plan
    (tmp_path / "bad.json").write_text("[]")
    with pytest.raises(ValueError, match="holds no allocation"):
        Plan(str(tmp_path / "bad.json")).read()
    with pytest.raises(ValueError, match="is no saved plan"):
        Plan(str(tmp_path / "absent.json")).read()
    with pytest.raises(ValueError, match="is not for one matrix"):
        Allocation.make({"query": "duplicate:3"})
    with pytest.raises(ValueError, match="is not understood"):
        protection("allocation:query")
    with pytest.raises(ValueError, match="depends on the model"):
        protection("plan").store(np.zeros((2, 2), np.int8), None, ChipSpec(), "query")


def test_duplicates_are_not_for_the_planner_but_have_a_damage():
    spec, chances = ChipSpec(), fault_model("uniform").odds(1e-2, 0.5)
    known = matrix(spec)
    assert damage(Duplicate(3), known, chances, spec) < damage(Unprotected(), known, chances, spec)


def test_a_plan_from_a_file_needs_no_planner(tmp_path):
    file = tmp_path / "plan.json"
    file.write_text('{"allocation": {"query": "msb:1x3:pruned"}}')
    read = without_planner(protection(f"plan:{file}"))
    assert read.text == "allocation:query=msb:1x3:pruned"
    assert without_planner(protection("closest")).text == "closest"
    with pytest.raises(ValueError, match="protection plan is found by rerax sweep and rerax plan"):
        without_planner(protection("plan"))


def test_weights_of_a_golay_code_word_may_share_a_bitline_in_pairs():
    row = np.ones((1, 256), bool)
    row[0, ::3] = False
    known = MatrixProfile(
        np.ones((1, 256, 16), np.int8) * row[:, :, None], row, np.ones((1, 16), bool), True,
        np.ones((1, 16)),
    )  # fmt: skip
    chances = fault_model("bitline").odds(0.03, 0.75)
    with pytest.raises(TypeError, match="where weights of a code word share one"):
        damage(protection("code:golay:4:pruned"), known, chances, ChipSpec())


@pytest.mark.parametrize("gated", [True, False])
def test_copies_in_low_bits_are_known_on_broken_wordlines(gated):
    chances = fault_model("wordline").odds(0.02, 0.75)
    for name in ("msb:1x3:lsb", "msb:2x3:lsb", *(["msb:1x3:pruned"] if gated else [])):
        assert damage(protection(name), matrix(ChipSpec(), gated=gated), chances, ChipSpec()) > 0
    plan = allocate({"a": matrix(ChipSpec(), gated=False)}, chances, ChipSpec())
    assert plan.of("a").text.endswith(":lsb")


def test_under_clusters_only_cells_by_themselves_have_a_damage():
    spec, known = ChipSpec(), matrix(ChipSpec())
    clustered, uniform = (fault_model(f).odds(0.01, 0.75) for f in ("clustered:0.5", "uniform"))
    assert damage(protection("none"), known, clustered, spec) > 0
    assert damage(protection("duplicate:3"), known, clustered, spec) > 0
    for name in ("msb:2x3:pruned", "msb:1x3:lsb", "closest", "code:golay:4:pruned"):
        with pytest.raises(TypeError, match="where tiles have rates of their own"):
            damage(protection(name), known, clustered, spec)
    assert allocate({"a": known}, clustered, spec) == allocate({"a": known}, uniform, spec)


def test_matrices_that_a_plan_cannot_weigh_are_told():
    spec, chances = ChipSpec(layout="separate"), fault_model("wordline").odds(1e-2, 0.5)
    wide = MatrixProfile(
        np.ones((1, 4, 128), np.int8), np.ones((1, 4), bool), np.ones((1, 128), bool), False,
        np.ones((1, 128)),
    )  # fmt: skip
    with pytest.warns(UserWarning, match="known of a with .*: the plan leaves them unprotected"):
        allocate({"a": matrix(spec), "b": wide}, chances, spec)


def test_copies_that_would_meet_are_no_candidates():
    few = MatrixProfile(
        np.ones((1, 2, 2), np.int8), np.ones((1, 2), bool), np.ones((1, 2), bool), False,
        np.ones((1, 2)),
    )  # fmt: skip
    for scheme in _candidates(few, ChipSpec(), erasures=False):
        scheme.ledger(few.row[0], few.column[0], few.gated, ChipSpec(), "a")  # raises if refused


def test_more_copies_than_low_bits_are_refused_in_words():
    known = {"classifier": matrix(ChipSpec(), gated=False)}
    with pytest.raises(ValueError, match="classifier has no room for msb:2x99:lsb"):
        account(protection("msb:2x99:lsb"), known, Odds(0.01, 0.01), ChipSpec())


def test_damage_that_is_not_known_is_null(tmp_path):
    spec = ChipSpec(layout="separate")
    found = account(Unprotected(), {"classifier": matrix(spec)}, Odds(by_wordline=True), spec)
    save_plan(tmp_path / "plan.json", found, {})

    def refused(constant):
        raise AssertionError(constant)

    read = json.loads((tmp_path / "plan.json").read_text(), parse_constant=refused)
    assert read["matrices"]["classifier"]["damage_unprotected"] is None


@pytest.mark.parametrize("name", ["code:bch:7:lsb", "code:hamming:8:lsb"])
def test_a_code_word_too_long_for_low_bits_says_so_of_the_bits_that_were_given(name):
    with pytest.raises(ValueError, match=f"{name} is too long a code word for low bits"):
        protection(name)


@dataclasses.dataclass(frozen=True)
class Named(Unprotected):
    said: str

    @property
    def text(self):
        return f"own:{self.said}"


def test_an_allocation_names_leaves_by_their_paths():
    made = Allocation.make({"dense/kernel": "msb:2x3:lsb", "a/b/c": "closest", "d": "sign"})
    assert protection(made.text) == made
    register_protection("own", lambda parts: Named(parts[0]))
    made = Allocation.make({"dense/kernel": "own:k=3", "a": "own:k=4"})
    assert protection(made.text) == made
    for text in ("dense/kernel", "a=closest/b", "=closest", "a==closest"):
        with pytest.raises(ValueError, match=r"is not understood|unknown"):
            protection(f"allocation:{text}")
