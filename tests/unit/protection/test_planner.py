"""Expected damage against chips as sampled, and the planner's choice against all others."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rerax.encoding import decode
from rerax.faults import dose, fault_model
from rerax.keys import chip_key, matrix_key, root_key, spare_key
from rerax.protection import Duplicate, MsbEmbed, Unprotected, allocate, protection
from rerax.protection.damage import Odds, odds
from rerax.protection.planner import (
    Allocation,
    Codes,
    _candidates,
    damage,
    read_allocation,
)
from rerax.spec import ENCODINGS, ChipSpec

ROWS, COLUMNS, CHIPS = 40, 32, 160


def matrix(spec, closed=0.4, gated=True, seed=0):
    rng = np.random.default_rng(seed)
    row, column = np.ones((1, ROWS), bool), np.ones((1, COLUMNS), bool)
    if gated:
        row[0, rng.permutation(ROWS)[: round(ROWS * closed)]] = False
        column[0, rng.permutation(COLUMNS)[:4]] = False
    top = 2 ** (spec.bits - 1) - 1
    codes = np.clip(np.rint(rng.normal(0, top / 3, (1, ROWS, COLUMNS))), -top, top)
    codes = np.where(row[:, :, None] & column[:, None, :], codes, 0).astype(np.int8)
    return Codes(codes, row, column, gated, rng.uniform(0.5, 2, (1, COLUMNS)))


def sampled_damage(scheme, known, fault, rate, share, spec):
    """Damage of each of many chips, through the evaluator's own store, disturb and recover."""
    model, at = fault_model(fault), None
    at = dose(rate, share, model)
    lines = (known.row[0], known.column[0]) if known.gated else None
    words, extra = scheme.store(known.codes[0], lines, spec, "query")
    extra = jax.tree.map(jnp.asarray, extra)

    def one(chip):
        key = chip_key(root_key(5), chip)
        keys = [key, *(spare_key(key, j) for j in range(scheme.spare_arrays))]
        arrays = [
            model.disturb(jnp.asarray(words), matrix_key(k, "query", 0), at, spec) for k in keys
        ]
        return decode(scheme.recover(arrays, extra, spec, "query"), spec)

    read = np.asarray(jax.jit(lambda n: jax.lax.map(one, n))(jnp.arange(CHIPS, dtype=jnp.uint32)))
    error = (read.astype(float) - known.codes[0]) ** 2 * known.sensitivity[0]
    kept = known.row[0][:, None] & known.column[0][None, :]
    return (error * kept).sum((1, 2))


CASES = [
    ("none", "offset", 1, "uniform"),
    ("none", "sign_magnitude", 2, "flip"),
    ("none", "differential", 1, "wordline"),
    ("none", "twos_complement", 4, "bitline"),
    ("msb:2x3:pruned", "offset", 1, "uniform"),
    ("msb:2x3:pruned", "differential", 1, "uniform"),
    ("msb:1x3:pruned", "twos_complement", 2, "uniform"),
    ("msb:5.3:pruned", "sign_magnitude", 1, "flip"),
    ("msb:5.3:pruned:erasures", "offset", 1, "uniform"),
    ("msb:1x3:lsb", "offset", 2, "uniform"),
    ("msb:2x3:lsb:erasures", "sign_magnitude", 1, "uniform"),
    ("msb:3x3:pruned+lsb", "twos_complement", 1, "uniform"),
    ("msb:2x3:pruned+lsb", "offset", 1, "wordline"),
    ("duplicate:3", "differential", 2, "uniform"),
    ("duplicate:3:erasures", "offset", 1, "uniform"),
]


@pytest.mark.parametrize(("name", "encoding", "cell", "fault"), CASES)
def test_expected_damage_is_the_mean_over_chips(name, encoding, cell, fault):
    spec = ChipSpec(encoding, 8, cell, tile=(8, 512))
    known, scheme, share = matrix(spec), protection(name), 0.75
    rate = 0.2 if "erasures" in name else 0.05  # so that enough bits are wrong
    expected = damage(scheme, known, odds(fault, rate, share), spec)
    found = sampled_damage(scheme, known, fault, rate, share, spec)
    se = found.std(ddof=1) / np.sqrt(CHIPS)
    assert abs(found.mean() - expected) < 4.5 * se
    assert se < 0.12 * expected  # it would notice a wrong formula


def test_without_faults_only_rounding_is_left():
    spec = ChipSpec()
    known = matrix(spec)
    assert damage(MsbEmbed(2, 3, "pruned"), known, Odds(), spec) == 0
    assert damage(Unprotected(), known, Odds(), spec) == 0
    rounded = damage(MsbEmbed(2, 3, "lsb"), known, Odds(), spec)
    words, _ = MsbEmbed(2, 3, "lsb").store(known.codes, (known.row, known.column), spec, "query")
    kept = known.row[0][:, None] & known.column[0][None, :]
    read = (words[0, 0] & 0xF0).astype(int) - 128
    by_hand = ((read - known.codes[0]) ** 2 * known.sensitivity[0] * kept).sum()
    assert rounded == pytest.approx(by_hand, rel=1e-12)


@pytest.mark.parametrize(
    ("encoding", "rate"), [*zip(ENCODINGS, [1e-2, 1e-4, 0.2, 1e-2], strict=True)]
)
def test_the_plan_does_least_damage_of_all_that_fits(encoding, rate):
    spec, chances = ChipSpec(encoding), odds("uniform", rate, 904 / 1079)
    known = {"query": matrix(spec), "pooler": matrix(spec, gated=False, seed=1)}
    chosen = allocate(known, chances, spec)
    for name, one in known.items():
        least = damage(chosen.protects(name), one, chances, spec)
        others = [damage(s, one, chances, spec) for s in _candidates(one, spec, False)]
        assert least == min(others)
        assert least < damage(Unprotected(), one, chances, spec) or rate == 1e-4
    ledger = chosen.ledger(known["query"].row[0], known["query"].column[0], True, spec, "query")
    assert ledger.physical == spec.cells(ROWS, COLUMNS)
    assert ledger.spare == chosen.spare_arrays == 0


def test_the_plan_mixes_depths_and_leaves_a_matrix_alone():
    spec = ChipSpec()
    chances = odds("uniform", 1e-2, 904 / 1079)
    known = {"query": matrix(spec, 0.62), "key": matrix(spec, gated=False)}
    chosen = dict(allocate(known, chances, spec).chosen)
    depths = protection(chosen["query"]).depths
    assert len(set(depths)) > 1
    assert "lsb" in chosen["key"]
    few = odds("uniform", 1e-9, 0.5)
    assert dict(allocate({"key": known["key"]}, few, spec).chosen) == {}


def test_a_saved_plan_comes_back(tmp_path):
    plan = Allocation.of({"query": "msb:5.3:pruned", "key": "none", "value": "msb:3.3:lsb"})
    assert plan.name == "allocation:query=msb:5.3:pruned/value=msb:2x3:lsb"
    assert protection(plan.name) == plan
    saved = {"allocation": dict(plan.chosen) | {"key": "none"}, "design": {"rate": 0.01}}
    (tmp_path / "plan.json").write_text(json.dumps(saved))
    assert read_allocation(str(tmp_path / "plan.json")) == plan
    (tmp_path / "bad.json").write_text("[]")
    with pytest.raises(ValueError, match="holds no allocation"):
        read_allocation(str(tmp_path / "bad.json"))
    with pytest.raises(ValueError, match="is no saved plan"):
        read_allocation(str(tmp_path / "absent.json"))
    with pytest.raises(ValueError, match="is not for one matrix"):
        Allocation.of({"query": "duplicate:3"})
    with pytest.raises(ValueError, match="is not understood"):
        protection("allocation:query")
    with pytest.raises(ValueError, match="depends on the model"):
        protection("plan")


def test_duplicates_are_not_for_the_planner_but_have_a_damage():
    spec, chances = ChipSpec(), odds("uniform", 1e-2, 0.5)
    known = matrix(spec)
    assert damage(Duplicate(3), known, chances, spec) < damage(Unprotected(), known, chances, spec)
    with pytest.raises(ValueError, match="odds of fault"):
        odds("cosmic", 1e-2, 0.5)
