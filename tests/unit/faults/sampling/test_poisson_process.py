"""The sampler's integers: rates, coordinates, counts, and the units of a small grid."""

from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest
from arrays import array_key
from quick import WITHOUT_OPTIMISING

from rerax.crossbar import keys
from rerax.crossbar.spec import ChipSpec
from rerax.faults import FaultModel, fault_model
from rerax.faults.bit_filter import disturb_bits
from rerax.faults.read_out import Counts, ReadOut
from rerax.faults.sampling.addresses import Plane
from rerax.faults.sampling.poisson import EDGES
from rerax.faults.sampling.poisson_process import sample, scale
from rerax.faults.sampling.rates import limit_of, rate_table


@pytest.mark.parametrize("rate", [1e-9, 1e-3, 0.1, 0.4999, 0.5, 0.6, 1.0])
def test_the_table_is_the_rate_exactly(rate):
    """The hazard that the limits stand for gives back the rate to the sampler's resolution."""
    d = rate_table(rate)
    h = sum(
        float(b - a) * (int(limit) + 1) / 2**32
        for a, b, limit in list(zip(EDGES, EDGES[1:], d.limits, strict=False))[: int(d.intervals)]
    )
    below = -np.expm1(-h)
    assert below == pytest.approx(min(rate, 0.5), rel=1e-4 if rate < 1e-6 else 1e-8)
    above = (int(d.above_limit) + 1) / 2**32 if d.above else 0
    assert below + (1 - below) * above == pytest.approx(rate, rel=1e-4 if rate < 1e-6 else 1e-8)


@pytest.mark.parametrize("share", [0.0, Fraction(904, 1079), 0.5, 1.0])
def test_a_share_is_a_limit_of_hashes(share):
    d = rate_table(0.1, share)
    assert (int(d.sa1_limit) + 1) / 2**32 * bool(d.sa1) == pytest.approx(float(share), abs=2**-32)


def test_limits_at_the_ends():
    assert limit_of(Fraction(0)) is None
    assert limit_of(Fraction(1, 2**32)) == 0
    assert limit_of(Fraction(1)) == limit_of(Fraction(2)) == 2**32 - 1


def test_coordinates_by_multiply_high():
    """`scale` equals the 64-bit product, on either side of 2^16."""
    rng = np.random.default_rng(0)
    words = np.concatenate([rng.integers(0, 2**32, 999, np.uint32), np.uint32([0, 2**32 - 1])])
    for n in (1, 3, 3072, 65535, 65536, 65537, 119547 * 8, 2**31 - 1):
        expected = (words.astype(np.uint64) * np.uint64(n)) >> np.uint64(32)
        np.testing.assert_array_equal(scale(jnp.asarray(words), n), expected)


def test_units_are_those_of_plain_loops():
    """Without faults, at few, many and most, and at the exact end: one compiled sampler."""
    rows, width = 7, 5
    read = jax.jit(
        lambda key, doses: sample(key, doses, Plane(rows, width)),
        compiler_options=WITHOUT_OPTIMISING,
    )
    words = np.asarray(keys.purpose_keys(array_key(4), 3))
    for rate in (0.0, 0.1, 0.4, 0.7, 1.0):
        doses = rate_table(rate, Fraction(1, 3))
        found = read(array_key(4), jax.tree.map(jnp.asarray, doses))
        stuck = oracle.stuck_cells(words, doses, ChipSpec(), rows, width)
        state = {None: 0, "SA0": 1, "SA1": 3}
        expected = [[state[stuck[r, u]] for u in range(width)] for r in range(rows)]
        np.testing.assert_array_equal(found[0], expected)
        assert (found > 0).all() == (rate == 1)


class Given(FaultModel):
    """A fault model whose outcome is given."""

    def __init__(self, *outcome):
        self.outcome = outcome

    def disturb(self, words, key, rates, spec, site=None):
        counts = Counts(*[jnp.int32(-1)] * 5)
        return ReadOut(*map(jnp.asarray, self.outcome), counts)


@pytest.mark.parametrize("bits_per_cell", [1, 2])
@pytest.mark.parametrize("planes", [0b10000000, 0b01100001, 0b11111111])
def test_faults_in_chosen_bits_leave_the_others_as_written(planes, bits_per_cell):
    """Against plain loops over the cells; a cell counts if it holds a chosen bit."""
    rng, spec = np.random.default_rng(planes), ChipSpec(bits_per_cell=bits_per_cell)
    words, read = rng.integers(0, 256, (2, 1, 3, 4), np.uint8)
    known = np.zeros_like(words)
    expected = dict.fromkeys(Counts._fields, 0)
    for place in np.ndindex(words.shape):
        for low in range(0, 8, bits_per_cell):
            cell = ((1 << bits_per_cell) - 1) << low
            if rng.random() < 0.5:
                known[place] |= cell
                if planes & cell:
                    level = (read[place] & cell) >> low
                    ends = {0: "stuck_at_0", (1 << bits_per_cell) - 1: "stuck_at_1"}
                    expected[ends.get(int(level), "stuck_other")] += 1
            else:
                changed = int((words[place] ^ read[place]) & cell & planes)
                expected["flipped"] += changed.bit_count()
    fault = Given(read, known)
    found = disturb_bits(
        fault, jnp.uint8(planes), jnp.asarray(words), array_key(0), rate_table(0.1), spec
    )
    rest = np.uint8(0xFF ^ planes)
    np.testing.assert_array_equal(found.words, (words & rest) | (read & np.uint8(planes)))
    np.testing.assert_array_equal(found.known, known & np.uint8(planes))
    assert {name: int(count) for name, count in found.counts._asdict().items()} == expected


@pytest.mark.parametrize("bad", [-0.1, 1.5, float("nan")])
def test_bad_rates_and_shares_are_refused(bad):
    with pytest.raises(ValueError, match="outside"):
        rate_table(bad)
    with pytest.raises(ValueError, match="outside"):
        rate_table(0.1, bad)


@pytest.mark.parametrize("bad", ["meteor", "uniform:2", "clustered", "clustered:", "uniform:", ""])
def test_unknown_fault_lists_the_known(bad):
    with pytest.raises(ValueError, match="use one of bitline, clustered:A, flip, map:F"):
        fault_model(bad)


@pytest.mark.parametrize("shape", ["x", "0", "-1", "nan", "inf", "1e-3", "101"])
def test_bad_shapes_are_refused(shape):
    with pytest.raises(ValueError, match="give a gamma shape such as 2"):
        fault_model(f"clustered:{shape}")
