"""Measured chips inside `jit`: each cell of the file holds its level, and nothing else is stuck."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest
from arrays import array_key, write_map
from quick import WITHOUT_OPTIMISING

from rerax.crossbar.keys import spare_key
from rerax.crossbar.spec import ChipSpec
from rerax.faults import Measured, Odds, Site, fault_model
from rerax.faults.sampling.rates import rate_table
from rerax.models.bert.names import IDS

SHAPE = (13, 6)
PLACES = [(chip, "query", layer) for chip in (3, 4, 9) for layer in (0, 2)] + [(4, "key", 1)]

SPECS = [
    ChipSpec("offset", 8, 1),
    ChipSpec("twos_complement", 7, 2, layout="separate"),
    ChipSpec("differential", 6, 4),
]
each_spec = pytest.mark.parametrize("spec", SPECS, ids=lambda s: f"{s.encoding}-{s.layout}")


def highest(spec, bitline):
    _, slice_ = spec.locate(bitline, SHAPE[1])
    return (1 << spec.bits_of_cell(slice_ % spec.cells_per_group)) - 1


def random_cells(spec, seed=0, share=0.2):
    """Stuck levels of every place, {place: {(wordline, bitline): level}}."""
    rng = np.random.default_rng(seed)
    addresses = list(itertools.product(range(SHAPE[0]), range(spec.bitlines(SHAPE[1]))))
    return {
        place: {
            (w, b): int(rng.integers(0, highest(spec, b) + 1))
            for w, b in addresses
            if rng.random() < share
        }
        for place in PLACES
    }


def write(path, cells):
    rows = [(*place, *at, level) for place, of in cells.items() for at, level in of.items()]
    order = np.random.default_rng(0).permutation(len(rows))
    return write_map(path, [rows[i] for i in order])


@functools.partial(
    jax.jit, static_argnames=("fault", "spec", "matrix"), compiler_options=WITHOUT_OPTIMISING
)
def _disturb(fault, spec, words, doses, chip, matrix, layer):
    site = Site(chip, IDS[matrix], layer)
    return fault.disturb(words, array_key(0), doses, spec, site=site)


def disturb(fault, spec, words, place, rate=0.1):
    chip, matrix, layer = place
    doses = jax.tree.map(jnp.asarray, rate_table(rate, fault=fault))
    at = jnp.uint32(chip), matrix, jnp.uint32(layer)
    return jax.device_get(_disturb(fault, spec, jnp.asarray(words), doses, *at))


def words_of(spec, seed=1):
    top = 1 << spec.group_bits
    return np.random.default_rng(seed).integers(0, top, (spec.groups, *SHAPE), np.uint8)


@each_spec
def test_a_round_trip_of_every_chip_and_layer(spec, tmp_path):
    """What is read is the file, cell by cell; other chips, matrices and layers are fault-free."""
    cells = random_cells(spec)
    fault, words = Measured.read(write(tmp_path / "lot.parquet", cells)), words_of(spec)
    others = [(0, "query", 0), (5, "query", 0), (10, "query", 0), (3, "query", 1), (3, "key", 1)]
    others += [(3, "query", 3), (2**32 - 1, "query", 0)]
    matrices = {"query", "key"} if spec == SPECS[0] else {"query"}  # each is compiled anew
    for place in PLACES + others:
        if place[1] not in matrices:
            continue
        levels = oracle.levels_of(words, spec)
        stuck = cells.get(place, {})
        for at, level in stuck.items():
            levels[at] = level
        read_, known, counts = disturb(fault, spec, words, place)
        np.testing.assert_array_equal(oracle.levels_of(read_, spec), levels)
        held = oracle.levels_of(known, spec)
        for w, b in np.ndindex(levels.shape):
            assert held[w, b] == (highest(spec, b) if (w, b) in stuck else 0)
        at_0 = sum(level == 0 for level in stuck.values())
        at_1 = sum(level == highest(spec, b) for (_, b), level in stuck.items())
        kinds = {"stuck_at_0": at_0, "stuck_at_1": at_1, "stuck_other": len(stuck) - at_0 - at_1}
        assert counts._asdict() == {"shorted": 0, "flipped": 0, **kinds}
    same, known, counts = disturb(fault, spec, words, PLACES[0], rate=0.0)
    np.testing.assert_array_equal(same, words)
    assert not known.any()
    assert not any(counts)
    if spec.bits_per_cell > 1:
        assert any(0 < v < highest(spec, b) for of in cells.values() for (_, b), v in of.items())


def test_another_content_is_another_model_and_a_spare_array_is_fault_free(tmp_path):
    path = tmp_path / "lot.parquet"
    one = fault_model(f"map:{write(path, random_cells(ChipSpec()))}")
    other = fault_model(f"map:{write(path, random_cells(ChipSpec(), seed=1))}")
    assert one != other
    assert other == fault_model(f"map:{path}")
    with pytest.raises(ValueError, match="has changed since it was read"):
        one.tables(0.1)
    words, doses = jnp.asarray(words_of(ChipSpec())), rate_table(0.1, fault=other)
    spare = other.disturb(words, spare_key(array_key(0), 0), doses, ChipSpec())
    np.testing.assert_array_equal(spare.words, words)
    assert not any(int(count) for count in spare.counts)
    with pytest.raises(ValueError, match="make them by rate_table"):
        other.disturb(words, array_key(0), rate_table(0.1), ChipSpec(),
                      site=Site(jnp.uint32(0), IDS["query"], 0))  # fmt: skip


def test_odds_are_of_the_maps_own_polarities(tmp_path):
    cells = {("query", 0): [(0, 0, 0), (0, 1, 1), (0, 2, 1), (0, 3, 1)]}
    cells[("key", 0)] = [(0, 0, 0)]
    rows = [(0, *place, *cell) for place, of in cells.items() for cell in of]
    fault = fault_model(f"map:{write_map(tmp_path / 'lot.parquet', rows)}")
    for share in (0.0, 0.9):
        assert fault.odds_on(0.02, share, ["query"]) == Odds(0.005, 0.015)
        assert fault.odds_on(0.02, share, ["key", "value"]) == Odds(0.02, 0.0)
        assert fault.odds_on(0.02, share, ["value"]) == Odds()
        assert fault.odds(0.02, share) == Odds(0.008, 0.012)
        assert fault_model("uniform").odds_on(0.02, 0.5, ["key"]) == Odds(0.01, 0.01)
