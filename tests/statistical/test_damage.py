"""Expected damage against the mean over chips as sampled."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from arrays import read_matrix

from rerax.crossbar.keys import chip_key, root_key
from rerax.crossbar.spec import ChipSpec
from rerax.faults import fault_model
from rerax.faults.sampling.rates import rate_table
from rerax.hardware import Hardware
from rerax.protection import protection
from rerax.protection.planner import MatrixProfile, damage

ROWS, COLUMNS, CHIPS = 40, 32, 160


def matrix(spec, closed=16):
    rng = np.random.default_rng(0)
    row, column = np.ones((1, ROWS), bool), np.ones((1, COLUMNS), bool)
    row[0, rng.permutation(ROWS)[:closed]] = False
    column[0, rng.permutation(COLUMNS)[:4]] = False
    codes = np.clip(np.rint(rng.normal(0, 127 / 3, (1, ROWS, COLUMNS))), -127, 127)
    codes = np.where(row[:, :, None] & column[:, None, :], codes, 0).astype(np.int8)
    return MatrixProfile(codes, row, column, True, rng.uniform(0.5, 2, (1, COLUMNS)))


def sampled_damage(scheme, known, fault, rate, share, spec):
    """Damage of each of many chips, through the evaluator's own store, disturb and recover."""
    at = rate_table(rate, share, fault)
    hardware = Hardware(spec, fault, scheme)
    stored = scheme.store(known.codes[0], (known.row[0], known.column[0]), spec, "query")
    stored = jax.tree.map(jnp.asarray, stored)

    def one(chip):
        return read_matrix(stored, chip_key(root_key(5), chip), at, hardware)[0]

    read = np.asarray(jax.jit(lambda n: jax.lax.map(one, n))(jnp.arange(CHIPS, dtype=jnp.uint32)))
    error = (read.astype(float) - known.codes[0]) ** 2 * known.sensitivity[0]
    kept = known.row[0][:, None] & known.column[0][None, :]
    return (error * kept).sum((1, 2))


CASES = [
    ("none", "differential", 1, "wordline", "plain"),
    ("msb:1x3:pruned", "offset", 1, "wordline", "plain"),
    ("msb:2x3:lsb", "offset", 1, "wordline", "plain"),
    ("msb:2x3:pruned", "twos_complement", 2, "bitline", "plain"),
    ("msb:5.3:pruned:erasures", "offset", 1, "uniform", "plain"),
    ("msb:1x3:lsb", "offset", 4, "flip", "plain"),
    ("msb:3x3:pruned+lsb", "sign_magnitude", 1, "uniform", "plain"),
    ("duplicate:3:erasures", "differential", 2, "uniform", "plain"),
    ("none", "offset", 1, "wordline", "alternate"),
    ("msb:3x3:pruned+lsb", "sign_magnitude", 1, "uniform", "inverted"),
    ("msb:2x3:pruned", "twos_complement", 2, "uniform", "alternate"),
    ("duplicate:5", "differential", 1, "uniform", "inverted:0x60"),
    ("closest", "sign_magnitude", 1, "uniform", "inverted"),
    ("code:golay:4:pruned", "offset", 1, "uniform", "alternate"),
    ("code:golay:2:pruned", "twos_complement", 1, "wordline", "plain"),
    ("code:hamming:4:pruned", "sign_magnitude", 1, "uniform", "inverted"),
    ("code:hamming:5:pruned", "differential", 2, "flip", "plain"),
    ("code:bch:5:pruned", "offset", 1, "bitline", "plain"),
    ("code:secded:7:lsb", "offset", 1, "uniform", "plain"),
]
"""Every kind of protection, encoding and cell; tests/unit has all outcomes of single weights."""


@pytest.mark.parametrize(("name", "encoding", "cell", "fault", "polarity"), CASES)
def test_expected_damage_is_the_mean_over_chips(name, encoding, cell, fault, polarity):
    spec = ChipSpec(encoding, 8, cell, tile=(8, 512), polarity=polarity)
    known, scheme, share = matrix(spec), protection(name), 0.75
    fault = fault_model(fault)
    # so that enough bits are wrong
    voted_lines = fault.text == "wordline" and name.endswith(":lsb")
    rate = 0.2 if "erasures" in name or voted_lines else 0.05
    rate = 0.1 if name[:6] in ("duplic", "code:g") and rate < 0.1 else rate
    expected = damage(scheme, known, fault.odds(rate, share), spec)
    found = sampled_damage(scheme, known, fault, rate, share, spec)
    se = found.std(ddof=1) / np.sqrt(CHIPS)
    assert abs(found.mean() - expected) < 4.5 * se
    assert se < 0.12 * expected  # it would notice a wrong formula


def mean_errors(polarity, name):
    """Mean error of each chip's codes: of all, of odd less even rows, of odd less even columns."""
    spec = ChipSpec(polarity=polarity)
    rng = np.random.default_rng(0)
    codes = np.clip(np.rint(rng.normal(0, 30, (64, 64))), -127, 127).astype(np.int8)
    shield, fault = protection(name), fault_model("uniform")
    stored = jax.tree.map(jnp.asarray, shield.store(codes, None, spec, "query"))
    hardware, share = Hardware(spec, fault, shield), 904 / 1079

    def one(chip, rates):
        return read_matrix(stored, chip_key(root_key(1), chip), rates, hardware)[0]

    many = jax.jit(lambda n, rates: jax.lax.map(lambda chip: one(chip, rates), n))
    read = many(jnp.arange(256, dtype=jnp.uint32), rate_table(0.02, share, fault))
    clean = many(jnp.zeros(1, jnp.uint32), rate_table(0.0, share, fault))
    error = np.asarray(read, float) - np.asarray(clean, float)
    odd, each = np.where(np.arange(64) % 2, 1.0, -1.0), np.ones(64)
    sides = [(each, each), (odd, each), (each, odd)]
    return [np.einsum("nrc,r,c->n", error, r, c) / 64**2 for r, c in sides]


def deviation(values):
    """Mean over chips, in standard errors."""
    return values.mean() / (values.std(ddof=1) / np.sqrt(len(values)))


@pytest.mark.parametrize("name", ["none", "msb:1x3:lsb", "duplicate:3", "code:hamming:4:lsb"])
def test_under_alternate_polarity_the_mean_error_is_0(name):
    """Of every column: a complement by columns would leave odd less even ones."""
    of_all, by_row, by_column = map(deviation, mean_errors("alternate", name))
    assert abs(of_all) < 5
    assert abs(by_column) < 5
    if name == "none":
        assert abs(by_row) > 20
        assert abs(deviation(mean_errors("plain", name)[0])) > 20
