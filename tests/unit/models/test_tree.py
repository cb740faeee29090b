"""Any tree on crossbars: identities of paths, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rerax
from rerax.crossbar.array_id import path_id
from rerax.hardware import Hardware

GOLDEN = {
    "layers/0/kernel": (1073741824, 91456768, 3062785774),
    "encoder/query/kernel": (1073741824, 1214667734, 548061424),
    "é/0": (1073741824, 2075205526, 2362759560),
}


@pytest.mark.parametrize("path", GOLDEN)
def test_identities_of_paths_are_fixed_for_ever(path):
    assert path_id(path).numbers == GOLDEN[path]


def take(name):
    return lambda path, leaf: path.endswith(name)


DENSE = {"a": {"kernel": np.ones((3, 2), np.float32)}, "n": np.arange(3), "f": len}


@pytest.mark.parametrize(
    ("params", "select", "said"),
    [
        (DENSE, lambda *_: False, "select takes none of 3 leaves"),
        (DENSE, take("n"), "n is of int64, no floating matrix"),
        (DENSE, take("f"), "f is of type builtin_function_or_method, no floating matrix"),
        ({"a": np.ones((2, 3, 4))}, take("a"), "a has 3 axes: let select name them"),
        ({"a": np.ones((2, 3, 4))}, lambda *_: "io", "axes 'io' are not those of a"),
        ({"a": np.ones((2, 3))}, lambda *_: "ii", "has no outputs"),
        ({"a": np.ones((2, 3))}, lambda *_: 5, "select gives 5 for a: give True, False or the"),
        ({"a": np.ones((2, 3))}, lambda *_: np.False_, "select takes none of 1 leaves"),
        ({"a": {"b": np.full((2, 2), np.nan)}}, take("b"), "a/b has weights that are NaN, inf"),
        ({"a": np.ones((0, 3))}, take("a"), "has no outputs"),
    ],
)
def test_bad_selections_are_refused(params, select, said):
    with pytest.raises(ValueError, match=said) as error:
        rerax.program(params, Hardware(), select)
    assert "\n" not in str(error.value)


def test_objects_of_another_kind_are_refused():
    weights = {"a": np.ones((2, 2), np.float32)}
    stored, chip = rerax.program(weights, Hardware(), lambda *_: True), rerax.chip(0, 0)
    several = jax.vmap(lambda n: rerax.chip(0, n))(jnp.arange(3, dtype=jnp.uint32))
    for given, said in (
        ((weights, chip, 0.1), "stored is of type dict: give what rerax.program did"),
        ((stored, 3, 0.1), r"chip is 3: give rerax.chip\(seed, number\)"),
        ((stored, several, 0.1), "3 chips in one: map over them with jax.vmap"),
        ((stored, chip, [0.1, 0.2]), "the table has 2 rates"),
        ((stored, chip, [[0.1]]), "rates have 2 axes"),
        ((stored, chip, "x"), "rate 'x' is not a number"),
        ((stored, chip, None), "rate None is not a number"),
        ((stored, chip, 0.1, {"a": True}), "mask is of type dict: give a rerax.FaultMask"),
    ):
        with pytest.raises(ValueError, match=said):
            rerax.read(*given)
    for select in (None, "kernel"):
        with pytest.raises(ValueError, match=f"select is {select!r}: give a function of path"):
            rerax.program(weights, Hardware(), select)
    for ids, said in (({"b": path_id("a")}, "ids name 'b', which is"), ({"a": "x"}, "'a' is 'x'")):
        with pytest.raises(ValueError, match=said):
            rerax.program(weights, Hardware(), lambda *_: True, ids=ids)
    with pytest.raises(ValueError, match="a has weights that are NaN, infinite or too large"):
        rerax.program({"a": np.full((2, 2), 1e300)}, Hardware(), lambda *_: True)


@pytest.mark.parametrize(
    ("gate", "axes", "said"),
    [
        ({"row": np.ones(1), "column": np.ones(4)}, "io", r"do not fit its shape \(4, 4\)"),
        ({"row": np.ones(4)}, "io", "do not fit"),
        ({"row": np.ones(4), "column": np.ones(4), "col": 1}, "io", "do not fit"),
        ({"row": np.full(4, np.nan), "column": np.ones(4)}, "io", "are not finite"),
        ({"row": np.ones(4) > 0, "column": np.ones(4)}, "io", "are truth values, which close no"),
        ({"row": np.arange(4) > 0, "column": np.arange(4) % 2.0}, "io", "are truth values"),
        ({"row": np.ones(4), "column": np.arange(4) % 2.0}, "io", "are zeros and ones, which clo"),
        ({"row": np.ones(4), "column": np.array(["a"] * 4)}, "io", "are of <U1: give numbers"),
        ({"row": np.ones(4), "column": np.ones(4)}, "oi", "gates are for kernels of inputs by out"),
    ],
)
def test_gates_that_do_not_fit_are_refused(gate, axes, said):
    params = {"a": {"kernel": np.ones((4, 4), np.float32)}}
    with pytest.raises(ValueError, match=said):
        rerax.program(params, Hardware(), lambda *_: axes, {"a": gate})
    if "do not fit" in said:
        with pytest.raises(ValueError, match=said):
            rerax.mask(params, {"a": gate})
