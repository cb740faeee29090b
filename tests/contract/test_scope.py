"""Where faults act: how it is written, what is refused, and what grids it makes."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from arrays import array_key, write_map

from rerax import chip, faults, keys
from rerax.campaign.grid import spread
from rerax.campaign.point import Point
from rerax.measured import MATRICES
from rerax.protection import protection
from rerax.scope import Scope, combine, places
from rerax.spec import MATRIX_GROUPS, ChipSpec

GROUPS = ("encoder", "pooler", "classifier")
POINT = Point(task="sst2", model="m", rate=0.1)
ENCODER = MATRIX_GROUPS["encoder"]


def test_a_scope_has_one_way_of_writing():
    text = "bits=7+0+7; layers=3 +0;matrices=ffn_in+query"
    assert Scope.parse(text).text == "layers=0+3;matrices=query+ffn_in;bits=0+7"
    assert Scope.parse("matrices=encoder").matrices == ENCODER
    one, other = (dataclasses.replace(POINT, faulty=f"layers={x}") for x in ("1+0", "0+1"))
    assert one.hash == other.hash != POINT.hash
    assert one.identity()["faulty"] == "layers=0+1"


def test_arrays_planes_and_the_first_layer():
    scope = Scope.parse("layers=1+2;matrices=key+value;bits=0+7")
    acts = scope.arrays(GROUPS, 4)
    where = {(MATRICES[m], int(layer)) for m, layer in zip(*np.nonzero(acts), strict=True)}
    assert where == {("key", 1), ("key", 2), ("value", 1), ("value", 2)}
    assert scope.planes == 0b10000001
    assert Scope.parse("matrices=pooler").planes is None
    firsts = {"layers=1+2": 1, "matrices=key": 0, "matrices=pooler": 4, "bits=3": 0}
    for text, first in firsts.items():
        assert Scope.parse(text).first_layer(GROUPS, 4) == first
    with_tables = (*GROUPS, "embeddings")
    assert Scope.parse("bits=3").first_layer(with_tables, 4) is None
    assert Scope.parse("layers=2").first_layer(with_tables, 4) == 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is not understood: give parts such as"),
        ("layers", "is not understood"),
        ("rows=3", "is not understood"),
        ("layers=0;layers=1", "is not understood"),
        ("layers=x", "faulty layers 'x' is not a whole number: give"),
        ("layers=-1", "faulty layers '-1' is not a whole number"),
        ("bits=each", "faulty bits 'each' is not a whole number"),
        ("matrices=brain", "unknown faulty matrix 'brain': use some of query"),
        ("matrices=word_embeddings", "word_embeddings is not on crossbars: use some of query"),
        ("layers=0;matrices=pooler", "pooler is in no layer: leave out the layers"),
        ("bits=8", r"faulty bit 8 is outside 0..7: give"),
    ],
)
def test_bad_scopes_are_refused(text, said):
    with pytest.raises(ValueError, match=said) as error:
        dataclasses.replace(POINT, faulty=text)
    assert "\n" not in str(error.value)


def test_what_only_the_model_knows_is_refused_where_it_is_known():
    with pytest.raises(ValueError, match=r"faulty layer 3 is outside 0..2: give"):
        spread([dataclasses.replace(POINT, encoding="differential")], ["layers=3"], 3)
    with pytest.raises(ValueError, match="no matrix of the encoder is on crossbars"):
        places("layers=0", ("pooler",), ChipSpec(), 3)
    with pytest.raises(ValueError, match=r"faulty bit 7 is outside 0..6"):
        places("bits=7", GROUPS, ChipSpec("differential"), 3)


def test_each_and_all_make_a_grid():
    assert combine(None, None, None) == [None]
    assert combine("all,each", None, None) == [None, "layers=each"]
    assert places("layers=each", GROUPS, ChipSpec(), 3) == ["layers=0", "layers=1", "layers=2"]
    every = places("matrices=each", GROUPS, ChipSpec(), 3)
    assert every == [f"matrices={name}" for name in (*ENCODER, "pooler", "classifier")]
    assert len(places("layers=1;matrices=each", GROUPS, ChipSpec(), 3)) == len(ENCODER)
    assert len(places("bits=each", GROUPS, ChipSpec("differential", 6), 3)) == 5


def test_rates_run_within_scopes_and_rate_zero_stands_once():
    points = [dataclasses.replace(POINT, rate=rate) for rate in (0.0, 0.1, 0.2)]
    found = [(p.rate, p.faulty) for p in spread(points, [None, "layers=each"], 2)]
    assert found == [
        (0.0, None), (0.1, None), (0.2, None), (0.1, "layers=0"), (0.2, "layers=0"),
        (0.1, "layers=1"), (0.2, "layers=1"),
    ]  # fmt: skip
    assert spread(points, [None], 2) == tuple(points)


# Planes: the chip's own faults, those of other bits unheard.

SPECS = [ChipSpec(tile=(16, 24)), ChipSpec("differential", 6, 4, (7, 30), "separate")]
NAMES = ("uniform", "map", "wordline", "short", "clustered:0.5", "flip")


@functools.partial(jax.jit, static_argnames=("fault", "spec", "whole"))
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


CASES = [(name, SPECS[i % 2]) for i, name in enumerate(NAMES)] + [("uniform", SPECS[1])]


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


@functools.partial(jax.jit, static_argnames=("fault", "shield"))
def read(words, layer, dose, where, fault, shield):
    key = keys.chip_key(keys.root_key(0), jnp.uint32(4))
    scheme = protection(shield)
    return chip.read(words, key, layer, dose, fault, ChipSpec(), scheme, where=where)


@pytest.mark.parametrize("shield", ["none", "duplicate:3"])
def test_a_restricted_chip_is_the_whole_chip_masked(shield):
    rng = np.random.default_rng(0)
    words = {
        n: jnp.asarray(rng.integers(0, 256, (1, 20, 9), np.uint8)) for n in ("query", "ffn_in")
    }
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

    @functools.partial(jax.jit, static_argnums=2)
    def several(layer, where, wide):
        chips = jnp.arange(3, dtype=jnp.uint32)
        if wide:
            lane = functools.partial(one, layer=layer, where=where, lanes="lanes")
            return jax.vmap(lane, axis_name="lanes")(chips)
        return jax.lax.map(lambda c: one(c, layer, where, None), chips)

    for text in ("layers=1", "layers=1;bits=7"):
        where = jax.tree.map(jnp.asarray, chip.acting(Scope.parse(text), GROUPS, 2))
        for layer in range(2):
            wide, alone = (several(jnp.uint32(layer), where, w) for w in (True, False))
            jax.tree.map(np.testing.assert_array_equal, wide, alone)
            assert (wide[0]["query"] != wide[0]["query"][0, 0, 0]).any() == (layer == 1)
