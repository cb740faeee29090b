"""Measured chips inside `jit`: each cell of the file holds its level, and nothing else is stuck."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest
from arrays import array_key, write_map

from rerax.chip import read
from rerax.encoding import decode, encode
from rerax.faults import Measured, Site, dose, fault_model, measured
from rerax.keys import chip_key, root_key, spare_key
from rerax.spec import BITS_PER_CELL, ENCODINGS, LAYOUTS, ChipSpec

SHAPE = (13, 6)
PLACES = [(chip, "query", layer) for chip in (3, 4, 9) for layer in (0, 2)] + [(4, "key", 1)]

SPECS = [
    ChipSpec(encoding, bits, per_cell, layout=LAYOUTS[(i + j) % 2])
    for i, (encoding, bits) in enumerate(zip(ENCODINGS, (8, 7, 5, 6), strict=True))
    for j, per_cell in enumerate(BITS_PER_CELL)
]
each_spec = pytest.mark.parametrize(
    "spec", SPECS, ids=[f"{s.encoding}-{s.bits_per_cell}c-{s.layout}" for s in SPECS]
)


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


@functools.partial(jax.jit, static_argnames=("fault", "spec", "matrix"))
def _disturb(fault, spec, words, doses, chip, matrix, layer):
    site = Site(chip, matrix, layer)
    return fault.disturb(words, array_key(0), doses, spec, site=site)


def disturb(fault, spec, words, place, rate=0.1):
    chip, matrix, layer = place
    doses = jax.tree.map(jnp.asarray, dose(rate, fault=fault))
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
    others += [(3, "query", 3), (3, "pooler", 0), (2**32 - 1, "query", 0)]
    for place in PLACES + others:
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
    if spec.bits_per_cell > 1:
        assert any(0 < v < highest(spec, b) for of in cells.values() for (_, b), v in of.items())


def test_rate_zero_and_spare_arrays_are_fault_free(tmp_path):
    spec = ChipSpec()
    fault = Measured.read(write(tmp_path / "lot.parquet", random_cells(spec)))
    words = words_of(spec)
    same, known, counts = disturb(fault, spec, words, PLACES[0], rate=0.0)
    np.testing.assert_array_equal(same, words)
    assert not known.any()
    assert not any(counts)
    doses = dose(0.1, fault=fault)
    spare = fault.disturb(jnp.asarray(words), spare_key(array_key(0), 0), doses, spec)
    np.testing.assert_array_equal(spare.words, words)
    assert not any(int(c) for c in spare.counts)


def test_lanes_and_chunks_change_no_word(tmp_path, monkeypatch):
    """Chips with many, few and no cells side by side, over any size of chunk."""
    spec = ChipSpec()
    cells = random_cells(spec)
    cells[9, "query", 0] = {(1, 1): 1}
    fault, words = (
        Measured.read(write(tmp_path / "lot.parquet", cells)),
        jnp.asarray(words_of(spec)),
    )
    doses = jax.tree.map(jnp.asarray, dose(0.1, fault=fault))
    chips = jnp.array([3, 4, 5, 9], jnp.uint32)
    alone = [disturb(fault, spec, words, (int(chip), "query", 0)) for chip in chips]

    def lane(chip):
        site = Site(chip, "query", 0)
        return fault.disturb(words, array_key(0), doses, spec, "lanes", site)

    expected = jax.tree.map(lambda *leaves: np.stack(leaves), *alone)
    for size in (1024, 7):
        monkeypatch.setattr(measured, "CELLS_PER_CHUNK", size)
        together = jax.jit(jax.vmap(lambda c: lane(c), axis_name="lanes"))(chips)
        jax.tree.map(np.testing.assert_array_equal, together, expected)


def test_codes_of_a_layer_are_read_through_the_map(tmp_path):
    """The way from `chip.read`: the chip's number picks the cells, a traced layer as well."""
    spec = ChipSpec("twos_complement", 6, 2, layout="separate")
    cells = random_cells(spec)
    fault = Measured.read(write(tmp_path / "lot.parquet", cells))
    codes = np.random.default_rng(0).integers(-31, 32, SHAPE).astype(np.int8)
    words = {"query": jnp.asarray(encode(codes, spec)), "key": jnp.asarray(encode(codes, spec))}

    @jax.jit
    def layer_of(layer, chip, doses):
        key = chip_key(root_key(0), chip)
        return read(words, key, layer, doses, fault, spec, chip=chip)[0]

    doses = jax.tree.map(jnp.asarray, dose(0.1, fault=fault))
    for layer, matrix in ((0, "query"), (2, "query"), (1, "key")):
        got = layer_of(jnp.uint32(layer), jnp.uint32(4), doses)
        stored = encode(codes, spec)
        expected = disturb(fault, spec, stored, (4, matrix, layer)).words
        np.testing.assert_array_equal(got[matrix], decode(jnp.asarray(expected), spec))
        assert (got[matrix] != codes).any()
        other = "key" if matrix == "query" else "query"
        np.testing.assert_array_equal(got[other], codes)


def test_another_content_is_another_model(tmp_path):
    path = tmp_path / "lot.parquet"
    one = fault_model(f"map:{write(path, random_cells(ChipSpec()))}")
    other = fault_model(f"map:{write(path, random_cells(ChipSpec(), seed=1))}")
    assert one != other
    assert other == fault_model(f"map:{path}")
    with pytest.raises(ValueError, match="has changed since it was read"):
        one.tables(0.1)
    with pytest.raises(ValueError, match="make it by dose"):
        other.disturb(jnp.asarray(words_of(ChipSpec())), array_key(0), dose(0.1), ChipSpec(),
                      site=Site(jnp.uint32(0), "query", 0))  # fmt: skip
