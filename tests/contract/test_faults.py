"""The contracts on stuck cells, with planted bugs that they must catch."""

import dataclasses
import functools
import hashlib
import itertools
import json
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest
from arrays import array_key, physical
from hypothesis import given, settings
from hypothesis import strategies as st
from paths import GOLDEN
from scipy import stats

from rerax import keys
from rerax.campaign.grid import WITHOUT_POLARITY
from rerax.faults import (
    FAULTS,
    Counts,
    Disturbed,
    FaultModel,
    dose,
    fault_model,
    process,
    stuck_cells,
)
from rerax.poisson import EDGES, hazard, poisson_table
from rerax.spec import ChipSpec

ROWS, COLUMNS = 61, 43  # odd, unequal: a swap of axes cannot hide
SHARE = Fraction(904, 1079)
RATES = (0.0, 1e-6, 1e-3, 0.0175, 0.1079, 0.4999, 0.5, 0.6, 0.99, 1.0)
ALPHA = 1e-6
SPEC = ChipSpec()

MODELS = {
    "uniform": "uniform",
    "clustered": "clustered:0.5",
    "wordline": "wordline",
    "bitline": "bitline",
    "short": "short",
    "flip": "flip",
}
"""One of every kind in the registry. Shapes are cut by tiles at both edges."""

CUT = [ChipSpec(tile=(16, 24)), ChipSpec("differential", 6, 4, (7, 30), "separate")]
each_model = pytest.mark.parametrize("name", MODELS.values())
each_spec = pytest.mark.parametrize("spec", CUT, ids=str)


def test_every_kind_of_fault_is_under_contract():
    assert {*MODELS, "map"} == set(FAULTS)  # measured chips have no rate: tests/unit/faults


@each_model
def test_the_grid_knows_what_has_no_polarity(name):
    assert fault_model(name).has_polarity == (name.partition(":")[0] not in WITHOUT_POLARITY)


def random_words(spec, seed=1):
    rng = np.random.default_rng(seed)
    shape = (spec.groups, ROWS, COLUMNS)
    return jnp.asarray(rng.integers(0, 1 << spec.group_bits, shape, np.uint8))


@functools.partial(jax.jit, static_argnames=("name", "spec"))
def _disturb(name, spec, words, chip, dose):
    return fault_model(name).disturb(words, array_key(chip), dose, spec)


def disturb(name, spec, words, rate, share=SHARE, chip=0):
    on_device = jax.tree.map(jnp.asarray, dose(rate, share, fault_model(name)))
    return jax.device_get(_disturb(name, spec, words, jnp.uint32(chip), on_device))


sample = jax.jit(stuck_cells, static_argnames=("spec", "rows", "columns", "lanes"))


def cells(chip, rate, share=SHARE, spec=SPEC, columns=COLUMNS, **key):
    on_device = jax.tree.map(jnp.asarray, dose(rate, share))
    return np.asarray(sample(array_key(chip, **key), on_device, spec, ROWS, columns))


# 1. Same chip, same cells.


def test_golden_hash():
    """Stuck cells of every kind of address; a change asks for a raised SEMANTICS."""
    golden = json.loads((GOLDEN / "stuck_cells.json").read_text())
    for rate, expected in golden.items():
        hasher = hashlib.sha256()
        for chip in range(2):
            for matrix, layer in (("query", 0), ("query", 3), ("classifier", 0)):
                hasher.update(cells(chip, float(rate), matrix=matrix, layer=layer).tobytes())
        assert hasher.hexdigest() == expected, rate


def test_layout_tile_and_encoding_move_no_physical_cell():
    base = physical(cells(0, 0.05), ChipSpec())
    for encoding in ("twos_complement", "sign_magnitude"):
        np.testing.assert_array_equal(cells(0, 0.05, spec=ChipSpec(encoding)), cells(0, 0.05))
    for spec in (ChipSpec(layout="separate"), ChipSpec(tile=(3, 50))):
        np.testing.assert_array_equal(physical(cells(0, 0.05, spec=spec), spec), base)
    wide = ChipSpec("differential", 5, 1)  # eight cells a weight as well
    np.testing.assert_array_equal(physical(cells(0, 0.05, spec=wide), wide), base)


def test_lanes_and_chunks_move_no_cell(monkeypatch):
    chips = jnp.arange(5, dtype=jnp.uint32)
    d = jax.tree.map(jnp.asarray, dose(0.03))
    alone = np.stack([cells(int(c), 0.03) for c in chips])

    def lane(chip):
        key = keys.matrix_key(keys.chip_key(keys.root_key(0), chip), "query", 0)
        return stuck_cells(key, d, ChipSpec(), ROWS, COLUMNS, "lanes")

    np.testing.assert_array_equal(jax.vmap(lane, axis_name="lanes")(chips), alone)
    monkeypatch.setitem(process.POINTS_PER_CHUNK, "cpu", 7)
    np.testing.assert_array_equal(jax.jit(jax.vmap(lane, axis_name="lanes"))(chips), alone)


@each_model
def test_lanes_and_chunks_change_no_word_of_any_model(name, monkeypatch):
    fault, spec = fault_model(name), CUT[0]
    words, chips = random_words(spec), jnp.arange(4, dtype=jnp.uint32)
    d = jax.tree.map(jnp.asarray, dose(0.3, SHARE, fault))
    alone = [disturb(name, spec, words, 0.3, chip=int(chip)) for chip in chips]
    monkeypatch.setitem(process.POINTS_PER_CHUNK, "cpu", 7)

    def lane(chip):
        return fault.disturb(words, array_key(chip), d, spec, "lanes")

    together = jax.jit(jax.vmap(lane, axis_name="lanes"))(chips)
    jax.tree.map(
        np.testing.assert_array_equal, together, jax.tree.map(lambda *a: np.stack(a), *alone)
    )
    assert len({one.words.tobytes() for one in alone}) == len(chips)


@each_model
def test_golden_words(name):
    """Words, known bits and counts of every model; a change asks for a raised SEMANTICS."""
    golden = json.loads((GOLDEN / "fault_models.json").read_text())
    hasher = hashlib.sha256()
    for spec in CUT:
        for leaf in jax.tree.leaves(disturb(name, spec, random_words(spec), 0.1)):
            hasher.update(np.ascontiguousarray(leaf).tobytes())
    assert hasher.hexdigest() == golden[name]


def test_cells_differ_by_chip_matrix_layer_and_seed():
    places = ({}, {"matrix": "key"}, {"layer": 1}, {"seed": 1})
    seen = {cells(chip, 0.1, **place).tobytes() for chip in (0, 1) for place in places}
    assert len(seen) == 8


# 3. Chips age.


@given(st.lists(st.floats(0, 1), min_size=2, max_size=4), st.integers(0, 50))
@settings(max_examples=25)
def test_nested_in_rate_with_fixed_polarity(rates, chip):
    younger = np.zeros((8, ROWS, COLUMNS), np.uint8)
    for rate in sorted(rates):
        older = cells(chip, rate)
        assert (older[younger > 0] == younger[younger > 0]).all()
        younger = older


@each_model
@each_spec
def test_every_model_is_nested_in_rate(name, spec):
    """What is broken at a rate is broken in the same way at any higher one."""
    words = random_words(spec)
    ages = [disturb(name, spec, words, rate) for rate in (0.0, 0.02, 0.1, 0.45, 0.7, 0.95, 1.0)]
    for younger, older in itertools.pairwise(ages):
        if name == "flip":
            assert not ((younger.words ^ words) & ~(older.words ^ words)).any()
        elif name == "short":  # a run only grows, so the highest level in it only rises
            for low in range(0, spec.group_bits, spec.bits_per_cell):
                level = (1 << spec.bits_per_cell) - 1
                assert ((younger.words >> low & level) <= (older.words >> low & level)).all()
        assert not (younger.known & ~older.known).any()
        assert not (younger.known & (younger.words ^ older.words)).any()
        assert all(a <= b for a, b in zip(younger.counts, older.counts, strict=True))
    assert ages[1].words.tobytes() != ages[3].words.tobytes()


def test_tables_equal_the_poisson_law():
    for cells_ in (3, 20000, 5_000_000):
        table = poisson_table(cells_)
        for k in (0, 8, 20):
            mean = float(cells_ * (EDGES[k + 1] - EDGES[k]))
            entries = slice(table.start[k], table.start[k + 1])
            cdf = (table.high[entries].astype(float) * 2**32 + table.low[entries]) / 2**64
            counts = table.first[k] + np.arange(len(cdf))
            np.testing.assert_allclose(cdf, stats.poisson.cdf(counts, mean), rtol=1e-9, atol=1e-15)
            if mean < 50:
                assert abs(cdf[-1] - oracle.poisson_cdf(mean, int(counts[-1]))) < 1e-12


@pytest.mark.parametrize("rate", [1e-9, 1e-3, 0.1, 0.4999])
def test_dose_is_the_rate_exactly(rate):
    """The hazard that the limits stand for gives back the rate to the sampler's resolution."""
    d = dose(rate)
    h = sum(
        float(b - a) * (int(limit) + 1) / 2**32
        for a, b, limit in list(zip(EDGES, EDGES[1:], d.limits, strict=False))[: int(d.intervals)]
    )
    assert -np.expm1(-h) == pytest.approx(rate, rel=1e-4 if rate < 1e-6 else 1e-8)
    assert float(hazard(rate)) == pytest.approx(-np.log1p(-rate), rel=1e-14)


# 4. Paired schemes: encodings with equally many cells are above; flips of one-bit cells are too.


def test_flips_hit_the_cells_that_would_be_stuck():
    words = jnp.zeros((1, ROWS, COLUMNS), jnp.uint8)
    d = dose(0.02)
    flipped = fault_model("flip").disturb(words, array_key(0), d, ChipSpec()).words
    stuck = cells(0, 0.02)
    bits = np.stack([(np.asarray(flipped)[0] >> s) & 1 for s in range(8)])
    np.testing.assert_array_equal(bits, stuck & 1)


# 5. Exact ends.


@each_model
@each_spec
@pytest.mark.parametrize("share", [0.0, 1.0])
def test_rate_zero_changes_nothing_and_rate_one_everything(name, spec, share):
    words = np.asarray(random_words(spec))
    same, known, counts = disturb(name, spec, words, 0.0, share)
    np.testing.assert_array_equal(same, words)
    assert not known.any()
    assert not any(counts)
    top = (1 << spec.group_bits) - 1
    all_, known, counts = disturb(name, spec, words, 1.0, share)
    if name == "flip":
        closed, field, units = words ^ top, "flipped", spec.group_bits
    elif name == "short":
        closed, field, units = oracle.all_shorted(words, spec), "shorted", spec.cells_per_group
    else:
        closed = np.full_like(words, int(share * top))
        field, units = f"stuck_at_{int(share)}", spec.cells_per_group
    np.testing.assert_array_equal(all_, closed)
    np.testing.assert_array_equal(known, 0 if name in ("flip", "short") else top)
    assert counts._asdict() == {**dict.fromkeys(counts._fields, 0), field: words.size * units}


# What a tester knows.


@each_model
@each_spec
def test_known_bits_are_those_that_nothing_written_can_change(name, spec):
    words, top = np.asarray(random_words(spec)), (1 << spec.group_bits) - 1
    one, known, _ = disturb(name, spec, words, 0.1)
    other, _, _ = disturb(name, spec, words ^ top, 0.1)
    if name in ("flip", "short"):
        assert not known.any()
        return
    np.testing.assert_array_equal(known, (one ^ other) ^ top)
    np.testing.assert_array_equal((one ^ words) & ~known, 0)
    assert known.any()


# 6. Honest rates.


def p_values(states, rate, share, spec):
    """Binomial p-values of both polarities, by plane and by tile, and over all."""
    at = physical(states, spec)
    places = [states, *states]
    rows, columns = np.indices(at.shape)
    tile_row, tile_column = spec.tile_of(rows, columns)
    places += [
        at[(tile_row == i) & (tile_column == j)]
        for i in range(tile_row.max() + 1)
        for j in range(tile_column.max() + 1)
    ]
    for place in places:
        for state, probability in ((1, rate * float(1 - share)), (3, rate * float(share))):
            hits = int((place == state).sum())
            yield stats.binomtest(hits, place.size, min(probability, 1.0)).pvalue


def is_honest(states, rate, share, spec):
    values = list(p_values(states, rate, share, spec))
    return min(values) > ALPHA / len(values)


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize(
    "spec", [ChipSpec(tile=(32, 100)), ChipSpec("differential", 7, 2)], ids=str
)
def test_realised_rates_are_binomial(rate, spec):
    for chip in range(4):
        assert is_honest(cells(chip, rate, spec=spec, columns=301), rate, SHARE, spec)


def test_the_binomial_test_catches_a_share_multiplied_twice(monkeypatch):
    """The bug of a known simulator: 1.75 % asked, 0.19 % realised."""
    twice = dose(0.1079, SHARE)._replace(sa1_limit=dose(0.1079, SHARE * SHARE).sa1_limit)
    spec = ChipSpec()
    on_device = jax.tree.map(jnp.asarray, twice)
    states = np.asarray(sample(array_key(0), on_device, spec, ROWS, 301))
    assert not is_honest(states, 0.1079, SHARE, spec)
    assert is_honest(cells(0, 0.1079, columns=301), 0.1079, SHARE, spec)


def test_variance_over_chips_is_binomial():
    """A sampler with the right mean but shared draws would pass the test above."""
    n, size = 400, 8 * ROWS * COLUMNS
    counts = [int((cells(chip, 0.02) > 0).sum()) for chip in range(n)]
    chi2 = (n - 1) * np.var(counts, ddof=1) / (size * 0.02 * 0.98)
    assert ALPHA < stats.chi2.cdf(chi2, n - 1) < 1 - ALPHA


def test_coordinates_by_multiply_high():
    """`scale` equals the 64-bit product, on either side of 2^16."""
    rng = np.random.default_rng(0)
    words = np.concatenate([rng.integers(0, 2**32, 999, np.uint32), np.uint32([0, 2**32 - 1])])
    for n in (1, 3, 3072, 65535, 65536, 65537, 119547 * 8, 2**31 - 1):
        expected = (words.astype(np.uint64) * np.uint64(n)) >> np.uint64(32)
        np.testing.assert_array_equal(process.scale(jnp.asarray(words), n), expected)


@pytest.mark.parametrize("bad", [-0.1, 1.5, float("nan")])
def test_bad_rates_and_shares_are_refused(bad):
    with pytest.raises(ValueError, match="outside"):
        dose(bad)
    with pytest.raises(ValueError, match="outside"):
        dose(0.1, bad)


@pytest.mark.parametrize("bad", ["meteor", "uniform:2", "clustered", "clustered:", "uniform:", ""])
def test_unknown_fault_lists_the_known(bad):
    with pytest.raises(ValueError, match="use one of uniform, clustered:A, wordline, bitline, sh"):
        fault_model(bad)


@pytest.mark.parametrize("shape", ["x", "0", "-1", "nan", "inf", "1e-3", "101"])
def test_bad_shapes_are_refused(shape):
    with pytest.raises(ValueError, match="give a gamma shape such as 2"):
        fault_model(f"clustered:{shape}")


def test_a_notebook_can_add_a_fault_model(monkeypatch):
    @dataclasses.dataclass(frozen=True)
    class Inverted:
        has_polarity: bool = False

        def tables(self, rate):
            return ()

        def disturb(self, words, key, dose, spec, lanes=None, site=None):
            return Disturbed(~words, words ^ words, Counts(*[jnp.int32(0)] * len(Counts._fields)))

    monkeypatch.setitem(FAULTS, "inverted", lambda text: Inverted())
    assert isinstance(fault_model("inverted"), FaultModel)
    words = random_words(SPEC)
    np.testing.assert_array_equal(disturb("inverted", SPEC, words, 0.5).words, ~words)
