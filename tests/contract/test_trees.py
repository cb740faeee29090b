"""Any tree on crossbars: five foreign models, exact ends, one compile for a grid of rates."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from arrays import p_values, write_map
from flax import nnx
from quick import WITHOUT_OPTIMISING

import rerax
from rerax.crossbar.array_id import ArrayId, path_id
from rerax.crossbar.quantise import quantise
from rerax.crossbar.spec import ChipSpec
from rerax.faults.read_out import Counts
from rerax.hardware import Hardware
from rerax.models.tree import read_counted
from rerax.paths import leaf_paths

quickly = functools.partial(jax.jit, compiler_options=WITHOUT_OPTIMISING)


class Mlp(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(3)(nn.relu(nn.Dense(8)(x)))


class Block(nn.Module):
    """One attention layer of a transformer."""

    @nn.compact
    def __call__(self, x, _):
        x = x + nn.MultiHeadDotProductAttention(num_heads=2)(x)
        return x + nn.Dense(6)(nn.relu(nn.Dense(12)(x))), None


class Transformer(nn.Module):
    @nn.compact
    def __call__(self, x):
        layers = nn.scan(Block, variable_axes={"params": 0}, split_rngs={"params": True}, length=2)
        return layers()(x, None)[0]


class Convolution(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Conv(4, (3, 2))(x).mean()


class NnxMlp(nnx.Module):
    def __init__(self, rngs):
        self.first = nnx.Linear(6, 8, rngs=rngs)
        self.rest = nnx.List([nnx.Linear(8, 3, rngs=rngs)])


def linen(model, shape):
    return jax.device_get(model.init(jax.random.key(0), jnp.ones(shape)))


def equinox():
    eqx = pytest.importorskip("equinox")
    return eqx.nn.MLP(6, 3, 8, 1, key=jax.random.key(0))


def attention(path, leaf):
    """Some of the kernels of a layer, each kind of axes once."""
    axes = {"query/kernel": "lioo", "out/kernel": "liio", "Dense_0/kernel": "lio"}
    return next((found for end, found in axes.items() if path.endswith(end)), False)


def kernels(path, leaf):
    return path.endswith("kernel")


MODELS = {
    "mlp": (lambda: linen(Mlp(), (1, 6)), kernels),
    "transformer": (lambda: linen(Transformer(), (1, 4, 6)), attention),
    "nnx": (lambda: nnx.state(NnxMlp(nnx.Rngs(0)), nnx.Param), kernels),
    "equinox": (equinox, lambda path, leaf: path.endswith("weight") and "oi"),
    "convolution": (lambda: linen(Convolution(), (1, 5, 5, 3)), kernels),
}
each_model = pytest.mark.parametrize("name", MODELS)


@functools.cache
def made(name, **hardware):
    params, select = MODELS[name][0](), MODELS[name][1]
    return params, rerax.program(params, Hardware(**hardware), select)


@functools.cache
def reader(name):
    _, stored = made(name)
    jit = pytest.importorskip("equinox").filter_jit if name == "equinox" else quickly
    return jit(lambda rates, number: rerax.read(stored, rerax.chip(0, number), rates))


def read(name, rate, number=0, share=0.5):
    return reader(name)(rerax.rate_table(rate, share), jnp.uint32(number))


def matrices(tree, stored):
    """Leaves on crossbars as [L, inputs, outputs], by path."""
    found = dict(zip(*leaf_paths(tree)[:2], strict=True))
    for leaf in stored.leaves:
        if leaf.axes:
            order = sorted(range(len(leaf.axes)), key=lambda i: "l?o".find(leaf.axes[i]) % 3)
            kinds = [[i for i in order if leaf.axes[i] == "l"],
                     [i for i in order if leaf.axes[i] not in "lo"],
                     [i for i in order if leaf.axes[i] == "o"]]  # fmt: skip
            array = np.asarray(found[leaf.path]).transpose([i for axes in kinds for i in axes])
            size = [int(np.prod([leaf.shape[i] for i in axes])) for axes in kinds]
            yield leaf.path, array.reshape(size)


@each_model
def test_at_rate_0_the_weights_are_the_quantised_ones_and_the_rest_is_untouched(name):
    params, stored = made(name)
    found = read(name, 0.0)
    assert jax.tree.structure(found) == jax.tree.structure(params)
    whole = dict(matrices(params, stored))
    for path, weights in matrices(found, stored):
        codes, scale = quantise(whole[path], 8)
        np.testing.assert_array_equal(weights, codes.astype(np.float32) * scale[:, None])
    before, after = (dict(zip(*leaf_paths(tree)[:2], strict=True)) for tree in (params, found))
    assert set(stored.left) | set(stored.taken) == set(before)
    for path in stored.left:
        if hasattr(before[path], "dtype"):
            np.testing.assert_array_equal(after[path], before[path])
        else:
            assert after[path] is before[path]


@each_model
def test_at_rate_1_every_word_reads_one_level(name):
    """All cells stuck at 1: an offset word of ones is the code 127."""
    params, stored = made(name)
    for path, weights in matrices(read(name, 1.0, share=1.0), stored):
        _, scale = quantise(dict(matrices(params, stored))[path], 8)
        np.testing.assert_array_equal(weights, np.broadcast_to(127 * scale[:, None], weights.shape))


@each_model
def test_a_chip_is_the_same_twice_and_others_are_others(name):
    one, same, other = read(name, 0.05), read(name, 0.05), read(name, 0.05, number=1)
    jax.tree.map(np.testing.assert_array_equal, *(leaf_paths(t)[1][:2] for t in (one, same)))
    _, stored = made(name)
    pairs = zip(matrices(one, stored), matrices(other, stored), strict=True)
    assert all((a != b).any() for (_, a), (_, b) in pairs)


def test_different_paths_and_layers_have_different_cells():
    """Four matrices of one shape and one weight, two of them layers of a stack."""
    names = [f"block{i}/kernel" for i in range(2)]
    params = {n: np.ones((20, 5), np.float32) for n in names}
    params["stack"] = np.ones((2, 20, 5), np.float32)
    stored = rerax.program(params, Hardware(), lambda p, _: "lio" if p == "stack" else True)
    found = quickly(lambda: rerax.read(stored, rerax.chip(0, 0), 0.2))()
    arrays = [np.asarray(found[n]).tobytes() for n in names]
    arrays += [np.asarray(layer).tobytes() for layer in found["stack"]]
    assert len(set(arrays)) == 4


def test_realised_rates_agree_with_the_request():
    weights = np.random.default_rng(1).normal(size=(4, 64, 32)).astype(np.float32)
    stored = rerax.program({"stack": weights}, Hardware(), lambda *_: "lio")

    @quickly
    def count(numbers, rates):
        return jax.vmap(lambda n: read_counted(stored, rerax.chip(0, n), rates)[1])(numbers)

    counts = count(jnp.arange(32, dtype=jnp.uint32), rerax.rate_table(0.03, 0.25))["stack"]
    cells, rates = 64 * 32 * 8, {"stuck_at_0": 0.03 * 0.75, "stuck_at_1": 0.03 * 0.25}
    for kind, rate in rates.items():
        hits = np.asarray(getattr(counts, kind))  # [chips, layers]
        assert hits.shape == (32, 4)
        assert p_values(hits.sum(0), 32 * cells, rate).min() > 1e-6 / 16
    assert isinstance(counts, Counts)


def test_a_grid_of_rates_and_chips_is_compiled_once_and_has_the_bits_of_each_alone():
    _, stored = made("mlp")
    traces = []

    @quickly
    def grid(rates, numbers):
        traces.append(1)

        def one(rate, number):
            return rerax.read(stored, rerax.chip(0, number), rate)

        return jax.vmap(jax.vmap(one, (None, 0)), (0, None))(rates, numbers)

    numbers = jnp.arange(3, dtype=jnp.uint32)
    for rates in ((0.0, 0.01, 0.1), (0.2, 0.5, 1.0)):
        found = grid(rerax.rate_table(rates), numbers)
        for i, rate in enumerate(rates):
            for number in range(3):
                alone = read("mlp", rate, number, share=rerax.faults.DEFAULT_SA1_SHARE)
                jax.tree.map(
                    lambda a, b, i=i, n=number: np.testing.assert_array_equal(a[i, n], b),
                    found,
                    alone,
                )
    assert len(traces) == 1


def test_a_named_axis_changes_no_bit():
    _, stored = made("mlp")
    numbers, rates = jnp.arange(4, dtype=jnp.uint32), rerax.rate_table(0.05)
    alone = quickly(jax.vmap(lambda n: rerax.read(stored, rerax.chip(0, n), rates)))
    along = rates.along("chips")
    named = jax.vmap(lambda n: rerax.read(stored, rerax.chip(0, n), along), axis_name="chips")
    plain, named = alone(numbers), quickly(named)(numbers)
    jax.tree.map(np.testing.assert_array_equal, plain, named)


def test_leaves_of_one_shape_are_read_as_each_is_alone():
    draw = np.random.default_rng(0)
    tree = {name: draw.standard_normal((2, 9, 7)).astype(np.float32) for name in "ab"}
    tree |= {name: draw.standard_normal((9, 7)).astype(np.float32) for name in "cd"}
    hardware = Hardware(rerax.ChipSpec(), protection="duplicate:3")

    def found(tree):
        stored = rerax.program(tree, hardware, lambda path, leaf: "lio" if leaf.ndim == 3 else True)
        chip, rates = rerax.chip(3, 5), rerax.rate_table(0.05)
        return jax.jit(read_counted, compiler_options=WITHOUT_OPTIMISING)(stored, chip, rates)

    weights, counts = found(tree)
    for name in "bd":
        alone, own = found({name: tree[name]})
        np.testing.assert_array_equal(weights[name], alone[name], name)
        for one, other in zip(counts[name], own[name], strict=True):
            np.testing.assert_array_equal(one, other)
    assert len({np.asarray(leaf).tobytes() for leaf in weights.values()}) == 4


def test_a_foreign_leaf_called_query_has_none_of_berts_cells():
    weights = np.ones((32, 8), np.float32)
    from rerax.models.bert.names import IDS

    own, berts = (
        rerax.program({"query": weights}, Hardware(), lambda *_: True, ids=ids)
        for ids in (None, {"query": IDS["query"]})
    )
    a, b = (rerax.read(s, rerax.chip(0, 0), 0.1)["query"] for s in (own, berts))
    assert (np.asarray(a) != np.asarray(b)).any()


def test_other_bad_input_is_refused():
    weights = {"a": np.ones((2, 2), np.float32), "b": np.ones((2, 2), np.float32)}
    same = {"a": path_id("x"), "b": path_id("x")}
    with pytest.raises(ValueError, match="a and b have one identity 'x'"):
        rerax.program(weights, Hardware(), lambda *_: True, ids=same)
    with pytest.raises(ValueError, match=r"hardware is of type ChipSpec: give a rerax.Hardware"):
        rerax.program(weights, ChipSpec(), lambda *_: True)
    with pytest.raises(ValueError, match=r"spec 8 is none: give a rerax\.ChipSpec"):
        Hardware(8)
    with pytest.raises(ValueError, match="gates of 'c': the model has no such matrix"):
        rerax.program(weights, Hardware(), lambda *_: True, gates={"c": {}})
    with pytest.raises(ValueError, match="msb:2x3:pruned keeps copies in cells that pruning freed"):
        rerax.program(weights, Hardware(protection="msb:2x3:pruned"), lambda *_: True)
    stored = rerax.program(weights, Hardware(), lambda *_: True)
    with pytest.raises(ValueError, match="the fault mask says nothing of b"):
        rerax.read(stored, rerax.chip(0, 0), 0.1, rerax.FaultMask({"a": np.bool_(True)}))
    with pytest.raises(ValueError, match=r"the table has 2 rates: map over them with jax.vmap"):
        rerax.read(stored, rerax.chip(0, 0), rerax.rate_table([0.1, 0.2]))
    for arrays, said in (
        ({"a": True, "b": True, "c": True}, "the fault mask names 'c': use some of a, b"),
        ({"a": [True, False], "b": True}, r"the fault mask of a has shape \(2,\)"),
    ):
        with pytest.raises(ValueError, match=said):
            rerax.read(stored, rerax.chip(0, 0), 0.1, rerax.FaultMask(arrays))
    with pytest.raises(ValueError, match=r"bits 256 of the fault mask are outside 0..255"):
        rerax.read(stored, rerax.chip(0, 0), 0.1, rerax.FaultMask({"a": True, "b": True}, 256))
    with pytest.raises(ValueError, match=r"bits of the fault mask 1.5 is not a whole number"):
        rerax.read(stored, rerax.chip(0, 0), 0.1, rerax.FaultMask({"a": True, "b": True}, 1.5))
    numbers = [rerax.FaultMask({"a": True, "b": True}, bits) for bits in (128, np.int64(128))]
    one, two = (rerax.read(stored, rerax.chip(0, 0), 0.1, mask)["a"] for mask in numbers)
    np.testing.assert_array_equal(one, two)
    with pytest.raises(ValueError, match=r"allocation:d=closest names 'd', .*: use some of a, b"):
        rerax.program(weights, Hardware(protection="allocation:d=closest"), lambda *_: True)
    texts = {**weights, "c": np.array(["one", "two"])}
    with pytest.raises(ValueError, match="c is an array of <U3, which JAX cannot hold: take it"):
        rerax.program(texts, Hardware(), lambda path, _: path != "c")
    for ids, said in (
        ({"a": ArrayId("a", (-1,))}, "whole numbers from 0 to 1073741823, or use rerax.path_id"),
        ({"a": ArrayId("a", (2**31,))}, "ids of 'a' has the numbers"),
        ({"a": ArrayId("a", ())}, "ids of 'a' has the numbers"),
        ({"a": ArrayId("x", (1,)), "b": ArrayId("x", (2,))}, "a and b are both called 'x'"),
    ):
        with pytest.raises(ValueError, match=said):
            rerax.program(weights, Hardware(), lambda *_: True, ids=ids)
    other = rerax.program(weights, Hardware(fault="clustered:2"), lambda *_: True)
    wrong = rerax.rate_table(0.1, fault=rerax.Clustered(0.5))
    with pytest.raises(ValueError, match=r"made for Clustered\(shape=0.5\) and the hardware has"):
        rerax.read(other, rerax.chip(0, 0), wrong)
    with pytest.raises(ValueError, match="the rates have no tile limits: make them by rate_table"):
        rerax.read(other, rerax.chip(0, 0), rerax.rate_table(0.1))
    with pytest.raises(ValueError, match=r"the rate is traced: make a table"):
        jax.jit(lambda rate: rerax.read(stored, rerax.chip(0, 0), rate))(0.1)
    assert "2 leaves on crossbars (a, b), 0 outside" in repr(stored)


def test_measured_chips_of_any_tree(tmp_path):
    weights = {"a": np.ones((3, 2), np.float32), "b": np.ones((3, 2), np.float32)}

    def programmed(cells):
        path = write_map(tmp_path / "chips.parquet", cells)
        return rerax.program(weights, Hardware(fault=f"map:{path}"), lambda path, _: path == "a")

    stored = programmed([(4, "a", 0, 1, 7, 0)])  # the top bit of a code of 127
    found = rerax.read(stored, rerax.chip(0, 4), 1.0)
    assert np.asarray(found["a"]).tolist() == [[1, 1], [-np.float32(1 / 127), 1], [1, 1]]
    np.testing.assert_array_equal(rerax.read(stored, rerax.chip(0, 5), 1.0)["a"], weights["a"])
    with pytest.raises(ValueError, match="unknown matrix 'c': use some of a"):
        programmed([(4, "c", 0, 1, 7, 0)])
    with pytest.raises(ValueError, match=r"wordline is outside 0..2"):
        programmed([(4, "a", 0, 3, 7, 0)])
    with pytest.warns(UserWarning, match="has cells of b, not on crossbars: left out"):
        programmed([(4, "b", 0, 1, 7, 0)])
    with pytest.raises(ValueError, match="brings its own chips and rate"):
        rerax.simulate(lambda p: p["a"].sum(), stored, rates=1.0)
