"""Any tree of parameters on crossbars: put there once, read by every chip."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from rerax.crossbar.array_id import BY_PATH, ArrayId, path_id
from rerax.crossbar.crossbar import Crossbar
from rerax.crossbar.keys import Chip
from rerax.faults.mask import FaultMask
from rerax.faults.read_out import Counts
from rerax.faults.sampling.rates import ARate
from rerax.hardware import Hardware
from rerax.models.conformance import check_own
from rerax.models.reading import faults_on, kept_codes, read_crossbars
from rerax.models.stored import Leaf, StoredModel, store
from rerax.paths import kernels_named, leaf_paths
from rerax.protection import check_named, left_bare
from rerax.pruning.gates import Gates, check_gate, check_mapping
from rerax.values import is_integer, shown

Select = Callable[[str, Any], bool | str]
"""(path, leaf) -> whether it goes onto crossbars, or the axes of its array (`program`)."""

if TYPE_CHECKING:
    AHardware = Hardware
    AStored = StoredModel
    AChip = Chip
    AMask = FaultMask | None
    ASelect = Select
    AGates = Gates | None
    Ids = Mapping[str, ArrayId] | None
else:  # what is of another kind is refused below, in a line of our own
    AHardware = AStored = AChip = AMask = ASelect = AGates = Ids = Any

USUAL_AXES = {2: "io", 4: "hwio", 5: "dhwio"}
"""Axes of an array by their number: Flax's dense kernels, and its convolutions in 2-D and 3-D."""


def program(
    params: Any,
    hardware: AHardware,
    select: ASelect,
    gates: AGates = None,
    ids: Ids = None,
) -> StoredModel:
    """Put the chosen leaves of any tree of parameters onto crossbars.

    `select` looks at each leaf and says False, True, or the leaf's axes, a letter for each: `o`
    an output, `l` a layer of a stack, `i` or any other letter an input. Inputs are flattened in
    their order and become the rows of a matrix, outputs its columns, and every layer has arrays
    of its own. True takes `io` for two axes, `hwio` for four, `dhwio` for five. So a convolution
    of Flax needs no more than True, a stack of dense kernels is `lio`, the query kernel of Flax's
    attention `ioo` and its output kernel `iio`, a `weight` of Equinox `oi`.

    Args:
        params: nested dictionaries, Flax's variables or `State`, an Equinox module: any pytree.
        hardware: what they are put on.
        select: which leaves.
        gates: closed rows and columns, by path or the end of it; other matrices are all open.
        ids: identities of arrays by path, in place of those that follow from the paths.

    Returns:
        What `read` makes faulty trees of. Printed, it says which leaves it took and which it left.

    Raises:
        ValueError: a selection of nothing, or of a leaf that is no matrix of finite floats; no
            room for the protection; two arrays of one identity.
    """
    stored = program_tree(params, hardware, select, gates, ids)
    check_named(stored.hardware.protection, [c.array.name for c in stored.crossbars.values()])
    if not stored.crossbars:
        known = ", ".join(stored.left[:4])
        raise ValueError(
            f"select takes none of {len(stored.left)} leaves ({known}, ..): nothing would be on "
            "crossbars"
        )
    shapes = {}
    for crossbar in stored.crossbars.values():
        *_, rows, columns = crossbar.words.shape
        shapes[crossbar.array.name] = (crossbar.layer.size, rows, columns)
    hardware.fault.check_arrays(shapes, stored.left, hardware.spec)
    return stored


def program_tree(
    params: Any,
    hardware: AHardware,
    select: ASelect,
    gates: AGates = None,
    ids: Ids = None,
) -> StoredModel:
    """Put a tree on crossbars as `program` does, but allow that nothing is chosen."""
    if not isinstance(hardware, Hardware):
        raise ValueError(f"hardware is of type {type(hardware).__name__}: give a rerax.Hardware")
    if not callable(select):
        raise ValueError(
            f"select is {shown(select)}: give a function of path and leaf, such as "
            "lambda path, leaf: path.endswith('kernel')"
        )
    paths, leaves, structure = leaf_paths(params)
    _check_ids(ids or {}, paths)
    check_own(hardware)
    gates = {} if gates is None else gates
    check_mapping(gates)
    gated = {path: gates[name] for name, (path, _) in kernels_named(params, gates).items()}
    crossbars: dict[str, Crossbar] = {}
    rest: list[Any] = []
    places: list[Leaf] = []
    for path, leaf in zip(paths, leaves, strict=True):
        is_array = isinstance(leaf, jax.Array | np.ndarray)
        axes = select(path, leaf)
        if isinstance(axes, np.bool_):
            axes = bool(axes)
        if axes is False or axes is None:
            if isinstance(leaf, np.ndarray) and leaf.dtype.kind in "USOMm":
                raise ValueError(
                    f"{path} is an array of {leaf.dtype}, which JAX cannot hold: take it out of "
                    "the tree"
                )
            rest.append(leaf if is_array else None)
            places.append(Leaf(path, constant=None if is_array else leaf))
            continue
        if path in crossbars:
            raise ValueError(f"two leaves have the path {path}: rename one, or leave it out")
        axes = _axes_of(path, leaf, axes)
        array = (ids or {}).get(path, path_id(path))
        if path in gated:
            _check_gated_leaf(path, axes, gated[path], leaf.shape)
        crossbars[path] = store(_as_matrix(leaf, axes), array, hardware, gated.get(path))
        rest.append(None)
        places.append(Leaf(path, axes, tuple(leaf.shape), _dtype_of(leaf)))
    _check_crossbars(crossbars, gated)
    left_bare(
        hardware.protection, {c.array.name: p in gated for p, c in crossbars.items()}
    )  # raises
    return StoredModel(crossbars, tuple(rest), hardware, structure, tuple(places))


def _dtype_of(leaf: Any) -> str:
    """Name the type that JAX gives a leaf: for NumPy's float64 float32, unless told otherwise."""
    return jax.dtypes.canonicalize_dtype(leaf.dtype).name


def _check_ids(ids: Mapping[str, Any], paths: tuple[str, ...]) -> None:
    """Refuse identities that are none, or of a leaf that is not there.

    Raises:
        ValueError: which.
    """
    for path, array in ids.items():
        if not isinstance(array, ArrayId):
            raise ValueError(f"ids of {path!r} is {shown(array)}: give a rerax.ArrayId or path_id")
        if path not in paths:
            raise ValueError(
                f"ids name {path!r}, which is no leaf of the tree: use some of "
                f"{', '.join(paths[:4])}, .."
            )
        _check_numbers(path, array)


def _check_numbers(path: str, array: ArrayId) -> None:
    """Refuse an identity whose numbers make no key, or could be those of another array.

    Raises:
        ValueError: which.
    """
    numbers = array.numbers
    if isinstance(numbers, tuple) and numbers and all(map(is_integer, numbers)):
        of_path = len(numbers) == 3 and numbers[0] == BY_PATH
        most = [BY_PATH + 1, 2**32, 2**32] if of_path else [BY_PATH] * len(numbers)
        if all(0 <= n < end for n, end in zip(numbers, most, strict=True)):
            return
    raise ValueError(
        f"ids of {path!r} has the numbers {shown(numbers)}: give a tuple of whole numbers from 0 "
        f"to {BY_PATH - 1}, or use rerax.path_id"
    )


def _axes_of(path: str, leaf: Any, axes: Any) -> str:
    """Find the axes of a leaf's array, a letter each.

    Raises:
        ValueError: a leaf that is no matrix of finite floats, or axes that are not its own.
    """
    if not isinstance(leaf, jax.Array | np.ndarray) or not jnp.issubdtype(leaf.dtype, jnp.floating):
        what = f"of {leaf.dtype}" if hasattr(leaf, "dtype") else f"of type {type(leaf).__name__}"
        raise ValueError(f"{path} is {what}, no floating matrix: leave it out of select")
    if axes is True:
        axes = USUAL_AXES.get(leaf.ndim)
        if axes is None:
            raise ValueError(
                f"{path} has {leaf.ndim} axes: let select name them, such as 'lio' for a stack of "
                "layers or 'hio' for a convolution, or leave it out"
            )
    if not isinstance(axes, str):
        raise ValueError(
            f"select gives {shown(axes)} for {path}: give True, False or the axes, such as 'io'"
        )
    if len(axes) != leaf.ndim or not set(axes) - set("lo"):
        raise ValueError(
            f"axes {axes!r} are not those of {path} {tuple(leaf.shape)}: give a letter for each, l "
            "for layers, o for outputs, i and others for inputs"
        )
    if "o" not in axes or not leaf.size:
        raise ValueError(f"{path} {tuple(leaf.shape)} ({axes}) has no outputs: leave it out")
    with np.errstate(over="ignore"):
        finite = np.isfinite(np.asarray(leaf, np.float32)).all()
    if not finite:
        raise ValueError(
            f"{path} has weights that are NaN, infinite or too large for float32: retrain, or "
            "check how it was made"
        )
    return axes


def _check_gated_leaf(path: str, axes: str, gate: Any, shape: tuple[int, ...]) -> None:
    """Refuse gates that `mask` would not take as lines of the same matrix, or that are NaN."""
    if axes.lstrip("l") != "io" or axes.count("l") > 1:
        raise ValueError(
            f"{path} has axes {axes!r}: gates are for kernels of inputs by outputs, 'io' or 'lio', "
            "so leave it without"
        )
    check_gate(path, gate, shape)


def _axes_in_order(axes: str) -> list[int]:
    """Order axes as layers, inputs, outputs."""
    kinds = {"l": 0, "o": 2}
    return sorted(range(len(axes)), key=lambda i: kinds.get(axes[i], 1))


def _as_matrix(leaf: Any, axes: str) -> np.ndarray:
    """Reshape a leaf to a matrix [R, C], or to a stack of them [L, R, C]."""
    array = np.asarray(leaf).transpose(_axes_in_order(axes))
    columns = int(np.prod([n for n, a in zip(leaf.shape, axes, strict=True) if a == "o"]))
    layers = int(np.prod([n for n, a in zip(leaf.shape, axes, strict=True) if a == "l"]))
    return array.reshape((layers, -1, columns) if "l" in axes else (-1, columns))


def _as_leaf(weights: Array, leaf: Leaf) -> Array:
    """Reshape a matrix to its leaf: the inverse of `_as_matrix`."""
    order = _axes_in_order(leaf.axes)
    moved = weights.reshape([leaf.shape[i] for i in order])
    return moved.transpose(np.argsort(order)).astype(leaf.dtype)


def _check_crossbars(crossbars: dict[str, Crossbar], gated: Mapping[str, Any]) -> None:
    """Refuse gates off the crossbars, and arrays of one identity, whose stuck cells were alike."""
    outside = [path for path in gated if path not in crossbars]
    if outside:
        raise ValueError(f"{outside[0]} has gates and is not on crossbars: let select take it")
    known: dict[Any, str] = {}  # by numbers and by names
    for path, crossbar in crossbars.items():
        numbers, name = crossbar.array.numbers, crossbar.array.name
        for mark, said in (
            (numbers, f"have one identity {name!r}, so the same cells would be stuck in both"),
            (name, f"are both called {name!r}, so no fault mask could tell them apart"),
        ):
            other = known.setdefault(mark, path)
            if other != path:
                raise ValueError(f"{other} and {path} {said}: give each its own")


def read(
    stored: AStored,
    chip: AChip,
    rates: ARate,
    mask: AMask = None,
) -> Any:
    """Read a model's weights as one chip holds them: the same tree, its weights faulty.

    For use inside `jit` and under `vmap`, over chips and over the rates of a table. At rate 0 the
    weights are the quantised ones, in the leaf's own type, but for low bits that make room for
    copies (`lsb`).

    Args:
        stored: the model on crossbars (`program`).
        chip: which chip (`rerax.chip`).
        rates: the fault rate; a number, or inside `jit` a table of them (`rerax.rate_table`).
        mask: where faults act; None: everywhere.

    Raises:
        ValueError: an object of another kind, a rate that is traced or outside [0, 1], or a mask
            that is not about the arrays on crossbars.
    """
    return read_counted(stored, chip, rates, mask)[0]


def read_counted(
    stored: AStored,
    chip: AChip,
    rates: ARate,
    mask: AMask = None,
) -> tuple[Any, dict[str, Counts]]:
    """Read a model as `read` does, and count the faulty cells of each array (of each layer)."""
    faults = faults_on(stored, chip, rates, mask)
    crossbars = {leaf.path: stored.crossbars[leaf.path] for leaf in stored.leaves if leaf.axes}
    codes, counts = read_crossbars(crossbars, chip, faults, stored.hardware)
    leaves: list[Any] = []
    for leaf, kept in zip(stored.leaves, stored.rest, strict=True):
        if leaf.axes:
            leaves.append(_as_leaf(_weights(crossbars[leaf.path], codes[leaf.path]), leaf))
        else:
            leaves.append(leaf.constant if kept is None else kept)
    return jax.tree_util.tree_unflatten(stored.structure, leaves), counts


def _weights(crossbar: Crossbar, codes: Array) -> Array:
    def one(layer: Crossbar, codes: Array) -> Array:
        return kept_codes(layer, codes).astype(jnp.float32) * jnp.asarray(layer.scale)[None]

    return jax.vmap(one)(crossbar, codes) if np.ndim(crossbar.layer) else one(crossbar, codes)
