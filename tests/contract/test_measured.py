"""Measured chips in lanes, chunks and layers: the same cells whichever way they are read."""

import jax
import jax.numpy as jnp
import numpy as np
from arrays import array_key, read_matrix, write_map

from rerax.crossbar.encoding import decode, encode
from rerax.crossbar.keys import chip_key, root_key
from rerax.crossbar.spec import ChipSpec
from rerax.faults import Measured, Site
from rerax.faults.sampling import cell_list
from rerax.faults.sampling.rates import rate_table
from rerax.hardware import Hardware
from rerax.models.bert.names import IDS

SHAPE = (13, 6)
PLACES = [(chip, "query", layer) for chip in (3, 4) for layer in (0, 2)] + [(4, "key", 1)]


def random_map(path, spec):
    """A fifth of the cells of each place, at any level; one cell of a further chip."""
    rng = np.random.default_rng(0)
    cells = [
        (*place, w, b, int(rng.integers(0, 2)))
        for place in PLACES
        for w, b in np.ndindex(SHAPE[0], spec.bitlines(SHAPE[1]))
        if rng.random() < 0.2
    ]
    return Measured.read(write_map(path, [*cells, (9, "query", 0, 1, 1, 1)]))


def test_lanes_and_chunks_change_no_word(tmp_path, monkeypatch):
    """Chips with many, few and no cells side by side, over any size of chunk."""
    spec = ChipSpec()
    fault = random_map(tmp_path / "lot.parquet", spec)
    words = jnp.asarray(np.random.default_rng(1).integers(0, 256, (1, *SHAPE), np.uint8))
    rates = jax.tree.map(jnp.asarray, rate_table(0.1, fault=fault))
    chips = jnp.array([3, 4, 5, 9], jnp.uint32)

    def lane(chip, axis=None):
        site = Site(chip, IDS["query"], 0)
        return fault.disturb(words, array_key(0), rates.along(axis), spec, site)

    one = jax.jit(lane)
    alone = jax.tree.map(lambda *leaves: np.stack(leaves), *(one(chip) for chip in chips))
    known = [int(np.bitwise_count(k).sum()) for k in alone.known]
    assert (known[2:], min(known[:2]) > 50) == ([0, 1], True)
    for size in (1024, 7):
        monkeypatch.setattr(cell_list, "CELLS_PER_CHUNK", size)
        together = jax.jit(jax.vmap(lambda c: lane(c, "lanes"), axis_name="lanes"))(chips)
        jax.tree.map(np.testing.assert_array_equal, together, alone)


def test_codes_of_a_layer_are_read_through_the_map(tmp_path):
    """The way from `read_codes`: the chip's number picks the cells, a traced layer as well."""
    spec = ChipSpec("twos_complement", 6, 2, layout="separate")
    fault = random_map(tmp_path / "lot.parquet", spec)
    codes = np.random.default_rng(0).integers(-31, 32, SHAPE).astype(np.int8)
    stored = jnp.asarray(encode(codes, spec))

    @jax.jit
    def layer_of(layer, chip, rates):
        key, hardware, got, expected = chip_key(root_key(0), chip), Hardware(spec, fault), {}, {}
        for m in ("query", "key"):
            where = {"array": m, "layer": layer, "number": chip}
            got[m] = read_matrix(stored, key, rates, hardware, **where)
            site = Site(chip, IDS[m], layer)
            expected[m] = fault.disturb(stored, key, rates, spec, site)
        return got, expected

    rates = jax.tree.map(jnp.asarray, rate_table(0.1, fault=fault))
    for layer, matrix in ((0, "query"), (2, "query"), (1, "key")):
        got, expected = layer_of(jnp.uint32(layer), jnp.uint32(4), rates)
        found, counts = got[matrix]
        np.testing.assert_array_equal(found, decode(expected[matrix].words, spec))
        assert (found != codes).any()
        assert counts == expected[matrix].counts
        other = "key" if matrix == "query" else "query"
        np.testing.assert_array_equal(got[other][0], codes)


def test_csv_and_parquet_hold_the_same_cells(tmp_path):
    spec = ChipSpec()
    words = jnp.asarray(np.random.default_rng(1).integers(0, 256, (1, *SHAPE), np.uint8))
    found = []
    for name in ("lot.parquet", "lot.csv"):
        fault = random_map(tmp_path / name, spec)
        rates = jax.tree.map(jnp.asarray, rate_table(0.1, fault=fault))
        places = [Site(jnp.uint32(c), IDS[m], layer) for c, m, layer in (PLACES[0], PLACES[-1])]
        found.append([fault.disturb(words, array_key(0), rates, spec, at) for at in places])
    jax.tree.map(np.testing.assert_array_equal, *found)
    assert all(one.known.any() for one in found[0])
