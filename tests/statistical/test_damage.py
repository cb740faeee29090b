"""Expected damage against the mean over chips as sampled."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rerax.crossbar.encoding import decode
from rerax.crossbar.keys import array_key, chip_key, root_key, spare_key
from rerax.crossbar.spec import ChipSpec
from rerax.faults import fault_model
from rerax.faults.sampling.rates import rate_table
from rerax.models.bert.names import IDS
from rerax.protection import protection
from rerax.protection.planner import Codes, damage

ROWS, COLUMNS, CHIPS = 40, 32, 160


def matrix(spec, closed=16):
    rng = np.random.default_rng(0)
    row, column = np.ones((1, ROWS), bool), np.ones((1, COLUMNS), bool)
    row[0, rng.permutation(ROWS)[:closed]] = False
    column[0, rng.permutation(COLUMNS)[:4]] = False
    codes = np.clip(np.rint(rng.normal(0, 127 / 3, (1, ROWS, COLUMNS))), -127, 127)
    codes = np.where(row[:, :, None] & column[:, None, :], codes, 0).astype(np.int8)
    return Codes(codes, row, column, True, rng.uniform(0.5, 2, (1, COLUMNS)))


def sampled_damage(scheme, known, fault, rate, share, spec):
    """Damage of each of many chips, through the evaluator's own store, disturb and recover."""
    at = rate_table(rate, share, fault)
    words, extra = scheme.store(known.codes[0], (known.row[0], known.column[0]), spec, "query")
    extra = jax.tree.map(jnp.asarray, extra)

    def one(chip):
        key = chip_key(root_key(5), chip)
        keys = [key, *(spare_key(key, j) for j in range(scheme.spare_arrays))]
        arrays = [
            fault.disturb(jnp.asarray(words), array_key(k, IDS["query"], 0), at, spec) for k in keys
        ]
        return decode(scheme.recover(arrays, extra, spec, "query"), spec)

    read = np.asarray(jax.jit(lambda n: jax.lax.map(one, n))(jnp.arange(CHIPS, dtype=jnp.uint32)))
    error = (read.astype(float) - known.codes[0]) ** 2 * known.sensitivity[0]
    kept = known.row[0][:, None] & known.column[0][None, :]
    return (error * kept).sum((1, 2))


CASES = [
    ("none", "differential", 1, "wordline"),
    ("msb:2x3:pruned", "twos_complement", 2, "bitline"),
    ("msb:5.3:pruned:erasures", "offset", 1, "uniform"),
    ("msb:1x3:lsb", "offset", 4, "flip"),
    ("msb:3x3:pruned+lsb", "sign_magnitude", 1, "uniform"),
    ("duplicate:3:erasures", "differential", 2, "uniform"),
]
"""Every kind of protection, encoding and cell; tests/unit has all outcomes of single weights."""


@pytest.mark.parametrize(("name", "encoding", "cell", "fault"), CASES)
def test_expected_damage_is_the_mean_over_chips(name, encoding, cell, fault):
    spec = ChipSpec(encoding, 8, cell, tile=(8, 512))
    known, scheme, share = matrix(spec), protection(name), 0.75
    fault = fault_model(fault)
    rate = 0.2 if "erasures" in name else 0.05  # so that enough bits are wrong
    expected = damage(scheme, known, fault.odds(rate, share), spec)
    found = sampled_damage(scheme, known, fault, rate, share, spec)
    se = found.std(ddof=1) / np.sqrt(CHIPS)
    assert abs(found.mean() - expected) < 4.5 * se
    assert se < 0.12 * expected  # it would notice a wrong formula
