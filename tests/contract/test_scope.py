"""Faults that act in some places only: those of the whole chip there, and none elsewhere."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from arrays import array_key, write_map
from quick import WITHOUT_OPTIMISING

from rerax import chip, faults
from rerax.crossbar import keys
from rerax.crossbar.spec import ChipSpec
from rerax.models.bert.scope import Scope
from rerax.protection import protection

GROUPS = ("encoder", "pooler", "classifier")
quick_jit = functools.partial(jax.jit, compiler_options=WITHOUT_OPTIMISING)

# Planes: the chip's own faults, those of other bits unheard.

SPECS = [ChipSpec(tile=(16, 24)), ChipSpec("differential", 6, 4, (7, 30), "separate")]


@functools.partial(quick_jit, static_argnames=("fault", "spec", "whole"))
def both(fault, spec, words, planes, dose, whole=False):
    site = faults.Site(jnp.uint32(0), "query", 0)
    arguments = (words, array_key(0), dose, spec, None, site)
    if whole:
        return fault.disturb(*arguments)
    return faults.disturb_planes(fault, planes, *arguments)


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
    fault = faults.fault_model(name)
    dose = jax.tree.map(jnp.asarray, faults.dose(0.2, fault=fault))
    run = functools.partial(both, fault, spec, jnp.asarray(words), dose=dose)
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


@functools.partial(quick_jit, static_argnames=("fault", "shield"))
def read(words, layer, dose, where, fault, shield):
    key = keys.chip_key(keys.root_key(0), jnp.uint32(4))
    scheme = protection(shield)
    return chip.read(words, key, layer, dose, fault, ChipSpec(), scheme, where=where)


@pytest.mark.parametrize(
    ("shield", "names"), [("none", ("query", "ffn_in")), ("duplicate:3", ("query",))]
)
def test_a_restricted_chip_is_the_whole_chip_masked(shield, names):
    rng = np.random.default_rng(0)
    words = {n: jnp.asarray(rng.integers(0, 256, (1, 20, 9), np.uint8)) for n in names}
    fault, layers = faults.Uniform(), 3
    dose, none = (jax.tree.map(jnp.asarray, faults.dose(rate)) for rate in (0.3, 0.0))
    where = jax.tree.map(
        jnp.asarray, chip.acting(Scope.parse("layers=1+2;matrices=query"), GROUPS, layers)
    )
    for layer in range(layers):
        at = jnp.uint32(layer)
        whole, all_counts = read(words, at, dose, None, fault, shield)
        clean, _ = read(words, at, none, None, fault, shield)
        found, counts = read(words, at, dose, where, fault, shield)
        for name in words:
            acts = name == "query" and layer > 0
            np.testing.assert_array_equal(found[name], whole[name] if acts else clean[name])
            for n, whole_n in zip(counts[name], all_counts[name], strict=True):
                assert n == (whole_n if acts else 0)
        assert (whole["query"] != clean["query"]).any()


def test_lanes_change_no_restricted_cell():
    """The sampler's own agreement among lanes lies within the choice of faulty arrays."""
    words = {"query": jnp.asarray(np.full((1, 20, 9), 7, np.uint8))}
    dose = jax.tree.map(jnp.asarray, faults.dose(0.3))

    def one(number, layer, where, lanes):
        key = keys.chip_key(keys.root_key(0), number)
        how = (dose, faults.Uniform(), ChipSpec(), chip.UNPROTECTED, None, lanes, number, where)
        return chip.read(words, key, layer, *how)

    @functools.partial(quick_jit, static_argnums=2)
    def several(layer, where, wide):
        chips = jnp.arange(3, dtype=jnp.uint32)
        if wide:
            lane = functools.partial(one, layer=layer, where=where, lanes="lanes")
            return jax.vmap(lane, axis_name="lanes")(chips)
        return jax.lax.map(lambda c: one(c, layer, where, None), chips)

    scope = Scope.parse("layers=1;bits=7")
    where = jax.tree.map(jnp.asarray, chip.acting(scope, GROUPS, 2))
    for layer in range(2):
        wide, alone = (several(jnp.uint32(layer), where, w) for w in (True, False))
        jax.tree.map(np.testing.assert_array_equal, wide, alone)
        assert (wide[0]["query"] != wide[0]["query"][0, 0, 0]).any() == (layer == 1)
