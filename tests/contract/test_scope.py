"""Faults that act in some places only: those of the whole chip there, and none elsewhere."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from arrays import array_key, read_matrix, write_map
from quick import WITHOUT_OPTIMISING

from rerax.crossbar import keys
from rerax.crossbar.spec import ChipSpec
from rerax.faults import Site, Uniform, fault_model
from rerax.faults.bit_filter import disturb_bits
from rerax.faults.sampling.rates import rate_table
from rerax.hardware import Hardware
from rerax.models.bert.crossbars import fault_mask
from rerax.models.bert.names import IDS
from rerax.models.bert.scope import Scope

GROUPS = ("encoder", "pooler", "classifier")
quick_jit = functools.partial(jax.jit, compiler_options=WITHOUT_OPTIMISING)

# Planes: the chip's own faults, those of other bits unheard.

SPECS = [ChipSpec(tile=(16, 24)), ChipSpec("differential", 6, 4, (7, 30), "separate")]


@functools.partial(quick_jit, static_argnames=("fault", "spec", "whole"))
def both(fault, spec, words, planes, rates, whole=False):
    site = Site(jnp.uint32(0), IDS["query"], 0)
    arguments = (words, array_key(0), rates, spec, site)
    if whole:
        return fault.disturb(*arguments)
    return disturb_bits(fault, planes, *arguments)


def cells_of(mask, spec):
    """Cells of words in which any bit of a mask is set, counted one by one."""
    mask = np.asarray(mask)
    tops = [
        ((1 << spec.bits_of_cell(c)) - 1) << c * spec.bits_per_cell
        for c in range(spec.cells_per_group)
    ]
    return sum(int(((mask & top) != 0).sum()) for top in tops)


CASES = [
    ("uniform", SPECS[0]),
    ("wordline", SPECS[0]),
    *((name, SPECS[1]) for name in ("map", "short", "flip")),
]


@pytest.mark.parametrize(("name", "spec"), CASES, ids=str)
def test_planes_mask_what_the_whole_chip_reads(name, spec, tmp_path):
    rng = np.random.default_rng(1)
    words = rng.integers(0, 1 << spec.group_bits, (spec.groups, 31, 23), np.uint8)
    if name == "map":
        tops = [(1 << spec.bits_of_cell(c)) - 1 for c in range(spec.cells_per_group)]
        at = {(int(w), int(b)) for w, b in rng.integers(0, (31, spec.bitlines(23)), (300, 2))}
        cells = [
            (0, "query", 0, w, b,
             int(rng.integers(0, tops[spec.locate(b, 23)[1] % spec.cells_per_group] + 1)))
            for w, b in sorted(at)
        ]  # fmt: skip
        name = f"map:{write_map(tmp_path / 'lot.parquet', cells)}"
    fault = fault_model(name)
    rates = jax.tree.map(jnp.asarray, rate_table(0.2, fault=fault))
    run = functools.partial(both, fault, spec, jnp.asarray(words), rates=rates)
    all_ = jax.device_get(run(jnp.uint8(255), whole=True))
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(run(jnp.uint8(255))), all_)
    total = np.zeros(5, int)
    for cell in range(spec.cells_per_group):
        held = ((1 << spec.bits_of_cell(cell)) - 1) << cell * spec.bits_per_cell
        total += np.array(jax.device_get(run(jnp.uint8(held))).counts)
    np.testing.assert_array_equal(total, all_.counts)  # every cell in the planes of its own bits
    for planes in (1, 0b1000, 0b100010):
        read, known, counts = jax.device_get(run(jnp.uint8(planes)))
        np.testing.assert_array_equal(read, (words & (255 - planes)) | (all_.words & planes))
        np.testing.assert_array_equal(known, all_.known & planes)
        stuck = counts.stuck_at_0 + counts.stuck_at_1 + counts.stuck_other
        assert stuck == cells_of(known, spec)
        if name == "flip":
            assert counts.flipped == np.bitwise_count((all_.words ^ words) & planes).sum()
        else:
            assert counts.flipped == 0
    assert not any(jax.device_get(run(jnp.uint8(0))).counts)


# Matrices and layers: those in scope read as on the unrestricted chip, all others are clean.


@functools.partial(quick_jit, static_argnames="hardware")
def read(words, layer, rates, mask, hardware):
    key = keys.chip_key(keys.root_key(0), jnp.uint32(4))
    where = {"layer": layer, "mask": mask}
    return {n: read_matrix(w, key, rates, hardware, array=n, **where) for n, w in words.items()}


@pytest.mark.parametrize(
    ("shield", "names"), [("none", ("query", "ffn_in")), ("duplicate:3", ("query",))]
)
def test_a_restricted_chip_is_the_whole_chip_masked(shield, names):
    rng = np.random.default_rng(0)
    words = {n: jnp.asarray(rng.integers(0, 256, (1, 20, 9), np.uint8)) for n in names}
    hardware, layers = Hardware(fault=Uniform(), protection=shield), 3
    rates, none = (jax.tree.map(jnp.asarray, rate_table(rate)) for rate in (0.3, 0.0))
    scope = Scope.parse("layers=1+2;matrices=query")
    mask = jax.tree.map(jnp.asarray, fault_mask(scope, GROUPS, layers))
    for layer in range(layers):
        at = jnp.uint32(layer)
        whole = read(words, at, rates, None, hardware)
        clean = read(words, at, none, None, hardware)
        found = read(words, at, rates, mask, hardware)
        for name in words:
            acts = name == "query" and layer > 0
            codes, counts = found[name]
            np.testing.assert_array_equal(codes, (whole if acts else clean)[name][0])
            for n, whole_n in zip(counts, whole[name][1], strict=True):
                assert n == (whole_n if acts else 0)
        assert (whole["query"][0] != clean["query"][0]).any()


def test_lanes_change_no_restricted_cell():
    """The sampler's own agreement among lanes lies within the choice of faulty arrays."""
    words = jnp.asarray(np.full((1, 20, 9), 7, np.uint8))
    rates = jax.tree.map(jnp.asarray, rate_table(0.3))

    def one(number, layer, mask, axis):
        key = keys.chip_key(keys.root_key(0), number)
        where = {"layer": layer, "number": number, "mask": mask}
        return read_matrix(words, key, rates.along(axis), Hardware(fault=Uniform()), **where)

    @functools.partial(quick_jit, static_argnums=2)
    def several(layer, mask, wide):
        chips = jnp.arange(3, dtype=jnp.uint32)
        if wide:
            lane = functools.partial(one, layer=layer, mask=mask, axis="lanes")
            return jax.vmap(lane, axis_name="lanes")(chips)
        return jax.lax.map(lambda c: one(c, layer, mask, None), chips)

    scope = Scope.parse("layers=1;bits=7")
    mask = jax.tree.map(jnp.asarray, fault_mask(scope, GROUPS, 2))
    for layer in range(2):
        wide, alone = (several(jnp.uint32(layer), mask, w) for w in (True, False))
        jax.tree.map(np.testing.assert_array_equal, wide, alone)
        codes, _ = wide
        assert (codes != codes[0, 0, 0]).any() == (layer == 1)
