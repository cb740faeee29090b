"""Pruning by trainable gates: the estimator, ties, and the controller that meets a budget.

A matrix is masked by step(row gate) x step(column gate). The step is hard on the way forward;
backwards it passes the gradient on with the derivative of softplus, the logistic function, as
in Li et al., arXiv 2401.11664. What training moves are *units*: one number for each line, or
for lines that are tied because they are one hidden dimension seen from two matrices.

The objective is task loss + price x kept weights. The price is not tuned: after every step it
is solved for (`meet_budget`), one price for each budget, so that the count of kept weights is
exactly what the schedule asks for. Units are measured per weight that they free, so the price
lowers all units of a budget alike and those that fall below zero are closed.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int32

from rerax.crossbar.quantise import straight_through
from rerax.paths import kernels_named, with_leaves
from rerax.pruning.gates import Gates, check_gate, check_mapping

if TYPE_CHECKING:
    AGates = Gates
else:  # what is of another kind is refused below, in a line of our own
    AGates = Any

Units = dict[str, Array]
"""{unit name: [*L, n]}: the trainable numbers behind the gates."""

Side = tuple[str, str]
"""(matrix, "row" or "column")."""

Ties = Mapping[str, tuple[Side, ...]]
"""Lines that are one dimension of the network, and so share the unit of that name."""

FLOOR = 0.1
"""Share of the lines of every side that stay open whatever the budget: no layer collapses."""

EDGE = 1e-6  # a line that is closed for its rank alone is put just below zero


def step(gate: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """1 where a gate is open (>= 0), else 0; the derivative is that of softplus.

    Example:
        >>> step(jnp.array([-0.5, 0.0, 2.0])).tolist()
        [0.0, 1.0, 1.0]
        >>> round(float(jax.grad(lambda g: step(g).sum())(jnp.zeros(1))[0]), 2)
        0.5
    """
    soft = jax.nn.softplus(gate)
    return straight_through((gate >= 0).astype(gate.dtype), soft)


def masked(
    kernel: Float[Array, "*L R C"], row: Float[Array, "*L R"], column: Float[Array, "*L C"]
) -> Float[Array, "*L R C"]:
    """A kernel with its closed rows and columns at zero; bit-identical where all are open."""
    opened = step(row)[..., :, None] * step(column)[..., None, :]
    return kernel * opened.astype(kernel.dtype)


def mask(params: Any, gates: AGates) -> Any:
    """Parameters of any model with its closed rows and columns at zero.

    Both are trainable: derivatives reach the kernels under open gates, and through `step` the
    gates. A model is pruned by `model.apply({"params": mask(params, gates)}, ..)` and needs to
    know nothing of it.

    Args:
        params: any tree of float parameters, its kernels [*L, R, C].
        gates: of some of its kernels; for their names see `paths.kernels_named`.

    Raises:
        ValueError: gates of no kernel of the tree, or of several.
    """
    check_mapping(gates)
    found = kernels_named(params, gates)
    for name, (path, kernel) in found.items():
        check_gate(path, gates[name], np.shape(kernel))
    return with_leaves(
        params,
        {
            path: masked(*map(jnp.asarray, (kernel, gates[name]["row"], gates[name]["column"])))
            for name, (path, kernel) in found.items()
        },
    )


def members(matrices: tuple[str, ...], ties: Ties) -> dict[str, tuple[Side, ...]]:
    """Which sides of which matrices each unit stands for.

    Args:
        matrices: names of the gated matrices.
        ties: sides that share a unit; those of a matrix without gates are left out.
    """
    shared = {
        unit: sides
        for unit, sides in ties.items()
        if all(matrix in matrices for matrix, _ in sides)
    }
    taken = {side for sides in shared.values() for side in sides}
    own = {
        f"{matrix}.{side}": ((matrix, side),)
        for matrix in matrices
        for side in ("row", "column")
        if (matrix, side) not in taken
    }
    return {**own, **shared}


def units_of(gates: Gates, ties: Ties) -> Units:
    """Units behind gates; where tied gates differ, their mean.

    Args:
        gates: expanded gates.
        ties: sides that share a unit.
    """
    return {
        unit: jnp.stack([jnp.asarray(gates[matrix][side]) for matrix, side in sides]).mean(0)
        for unit, sides in members(tuple(gates), ties).items()
    }


def expand(units: Units, matrices: tuple[str, ...], ties: Ties) -> dict[str, dict[str, Array]]:
    """Gates of every row and column, from the units behind them."""
    gates: dict[str, dict[str, Array]] = {matrix: {} for matrix in matrices}
    for unit, sides in members(matrices, ties).items():
        for matrix, side in sides:
            gates[matrix][side] = units[unit]
    return gates


def weights_of_units(shapes: Mapping[str, tuple[int, ...]], ties: Ties) -> dict[str, int]:
    """Weights that one line of each unit frees while all other lines are open."""
    along = {"row": -1, "column": -2}
    return {
        unit: sum(shapes[matrix][along[side]] for matrix, side in sides)
        for unit, sides in members(tuple(shapes), ties).items()
    }


def weights_to_free(
    shapes: Mapping[str, tuple[int, ...]], sparsity: float, scope: str
) -> dict[str, int]:
    """The least whole number of weights that a sparsity asks of each budget.

    Args:
        shapes: shape [*L, R, C] of every gated matrix.
        sparsity: share of weights to free, in [0, 1).
        scope: `matrix`: a budget for each matrix of each layer; `global`: one for all.

    Returns:
        {matrix: weights}, or {"global": weights}.

    Raises:
        ValueError: sparsity outside [0, 1) or beyond what `FLOOR` leaves; unknown scope.
    """
    if not 0 <= sparsity < 1:
        raise ValueError(f"sparsity {sparsity:g} is outside [0, 1): give a share such as 0.35")
    if scope not in ("matrix", "global"):
        raise ValueError(f"sparsity-scope {scope!r} is unknown: use matrix or global")
    most = {}
    for name, shape in shapes.items():
        rows, columns = shape[-2:]
        most[name] = rows * columns - _floor(rows) * _floor(columns)
    for name, shape in shapes.items():
        if sparsity * shape[-2] * shape[-1] > most[name]:
            raise ValueError(
                f"sparsity {sparsity:g} is more than {name} ({shape[-2]} x {shape[-1]}) can free "
                f"with {FLOOR:.0%} of its lines open: give at most "
                f"{most[name] / (shape[-2] * shape[-1]):.3f}"
            )
    if scope == "matrix":
        return {n: _at_least(sparsity * s[-2] * s[-1]) for n, s in shapes.items()}
    return {"global": _at_least(sparsity * sum(int(np.prod(s)) for s in shapes.values()))}


def _at_least(count: float) -> int:
    return int(np.ceil(count - 1e-6))


def _floor(lines: int) -> int:
    return max(1, int(np.ceil(FLOOR * lines)))


def rank_units(
    importance: Units, shapes: Mapping[str, tuple[int, ...]], scope: str, ties: Ties
) -> Units:
    """First values of units: their rank by importance per freed weight, spread over (0, 1).

    Args:
        importance: of every line, such as the mean squared derivative of the loss by its step.
        shapes: shape [*L, R, C] of every gated matrix.
        scope, ties: as in `meet_budget`; ranks are taken within a budget.
    """
    per_line = weights_of_units(shapes, ties)
    ranked: Units = {}
    for group in _budgets(tuple(shapes), scope, ties):
        each = {unit: importance[unit] / per_line[unit] for unit in group}
        ranks, ordered = _ranked(each, scope)
        n = ordered.shape[-1]
        ranked |= {unit: (rank.astype(jnp.float32) + 0.5) / n for unit, rank in ranks.items()}
    return ranked


def meet_budget(
    units: Units,
    to_free: Mapping[str, int | Array],
    shapes: Mapping[str, tuple[int, ...]],
    scope: str,
    ties: Ties,
) -> Units:
    """Shift units by the price at which just enough of them are closed.

    In each budget the lines with the lowest units are closed, one after another, until at least
    `to_free` weights are freed; all lines beyond are opened. A tied line counts in both its
    matrices: the first of the two to have enough stops it, and the other goes on with its own
    lines alone. So no matrix frees less than it should, nor more than one line above it.

    Args:
        units: trainable numbers, [*L, n] each.
        to_free: weights to free (`weights_to_free`), traced or not.
        shapes: shape [*L, R, C] of every gated matrix.
        scope: `matrix` or `global`.
        ties: sides that share a unit.

    Returns:
        Units below zero exactly where a line is closed.
    """
    shifted: Units = {}
    for group, matrices in _budgets(tuple(shapes), scope, ties).items():
        part = {unit: units[unit] for unit in group}
        sides = {matrix: _sides_of(matrix, ties, tuple(shapes)) for matrix in matrices}
        ranks, ordered = _ranked(part, scope)
        count = ordered.shape[-1]
        ranks = {unit: _hold_floor(rank, count) for unit, rank in ranks.items()}
        if scope == "global":
            closed = dict.fromkeys(group, _lines_of_all(ranks, count, sides, to_free["global"]))
        else:
            closed = _lines_of_each(ranks, count, sides, to_free)
        for unit in group:
            shut = ranks[unit] < _along(closed[unit], ranks[unit])
            moved = part[unit] - _along(_price(ordered, closed[unit]), part[unit])
            shifted[unit] = jnp.where(shut, jnp.minimum(moved, -EDGE), jnp.maximum(moved, 0))
    return shifted


def _lines_of_all(
    ranks: Units, count: int, sides: Mapping[str, tuple[str, str]], needed: int | Array
) -> Int32[Array, ""]:
    """How many lines the one budget closes."""

    def enough(k: Array) -> Array:
        freed = [_freed(ranks[row], ranks[column], k, k).sum() for row, column in sides.values()]
        return jnp.stack(freed).sum() >= needed

    return _least(enough, count, ())


def _lines_of_each(
    ranks: Units,
    count: int,
    sides: Mapping[str, tuple[str, str]],
    needed: Mapping[str, int | Array],
) -> dict[str, Int32[Array, "*L"]]:
    """How far down the common order each unit closes lines, for matrices that share a unit."""
    layers = next(iter(ranks.values())).shape[:-1]

    def reach(matrix: str, held: Mapping[str, Array]) -> Int32[Array, "*L"]:
        """The least k that frees enough of a matrix while the units in `held` stay as given."""
        row, column = sides[matrix]

        def enough(k: Array) -> Array:
            far = (held.get(row, k), held.get(column, k))
            return _freed(ranks[row], ranks[column], *far) >= needed[matrix]

        return _least(enough, count, layers)

    alone = {matrix: reach(matrix, {}) for matrix in sides}
    owners = {unit: [m for m, both in sides.items() if unit in both] for unit in ranks}
    shared = {
        unit: jnp.stack([alone[m] for m in owned]).min(0)
        for unit, owned in owners.items()
        if len(owned) > 1
    }
    final = {matrix: reach(matrix, shared) for matrix in sides}
    return {unit: shared.get(unit, final[owned[0]]) for unit, owned in owners.items()}


def _freed(
    rows: Int32[Array, "*L R"], columns: Int32[Array, "*L C"], k_rows: Array, k_columns: Array
) -> Int32[Array, "*L"]:
    """Weights freed by closing the lines whose rank is below k."""
    kept_rows = (rows >= _along(k_rows, rows)).sum(-1)
    kept = kept_rows * (columns >= _along(k_columns, columns)).sum(-1)
    return rows.shape[-1] * columns.shape[-1] - kept


def _along(number: Array, lines: Array) -> Array:
    """A number for each layer, or one for all, beside every line."""
    return jnp.broadcast_to(number[..., None], lines.shape)


def _least(enough: Callable[[Array], Array], count: int, shape: tuple[int, ...]) -> Array:
    """The least k in 0..count for which `enough(k)` is true, by bisection; count if none is."""

    def halve(_: Array, span: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = span
        middle = (low + high) // 2
        good = enough(middle)
        return jnp.where(good, low, middle + 1), jnp.where(good, middle, high)

    start = jnp.zeros(shape, jnp.int32), jnp.full(shape, count, jnp.int32)
    return lax.fori_loop(0, count.bit_length() + 1, halve, start)[1]


def _price(ordered: Float[Array, "*L n"], k: Int32[Array, "*L"]) -> Float[Array, "*L"]:
    """A price between the k-th lowest value of a budget and the next; 0 if that divides them."""

    def at(place: Array) -> Array:
        inside = jnp.clip(place, 0, ordered.shape[-1] - 1)
        return jnp.take_along_axis(ordered, inside[..., None], axis=-1)[..., 0]

    below, above = at(k - 1), at(k)
    price = jnp.where((below < 0) & (above >= 0), jnp.float32(0), (below + above) / 2)
    return jnp.where(k == 0, jnp.minimum(above, 0), price)


def _budgets(matrices: tuple[str, ...], scope: str, ties: Ties) -> dict[tuple[str, ...], tuple]:
    """{units that are ranked together: matrices that they belong to}."""
    every = members(matrices, ties)
    if scope == "global":
        return {tuple(every): matrices}
    groups: dict[tuple[str, ...], tuple] = {}
    for joined in _joined(matrices, ties):
        inside = tuple(u for u, sides in every.items() if any(m in joined for m, _ in sides))
        groups[inside] = joined
    return groups


def _joined(matrices: tuple[str, ...], ties: Ties) -> list[tuple[str, ...]]:
    """Matrices that share a unit, together; the others alone."""
    pairs = [tuple(m for m, _ in sides) for sides in ties.values()]
    pairs = [pair for pair in pairs if all(m in matrices for m in pair)]
    return pairs + [(m,) for m in matrices if not any(m in pair for pair in pairs)]


def _sides_of(matrix: str, ties: Ties, matrices: tuple[str, ...]) -> tuple[str, str]:
    """Units behind the rows and the columns of a matrix."""
    unit_of = {side: unit for unit, sides in members(matrices, ties).items() for side in sides}
    return unit_of[matrix, "row"], unit_of[matrix, "column"]


def _ranked(
    values: Units, scope: str
) -> tuple[dict[str, Int32[Array, "..."]], Float[Array, "..."]]:
    """Place of every line among all of its budget, from 0, and the budget's values in order.

    Equal values keep a fixed order, so that a budget can be met line by line.
    """
    together = {u: v.reshape(-1) if scope == "global" else v for u, v in values.items()}
    joined = jnp.concatenate(list(together.values()), axis=-1)
    places = lax.broadcasted_iota(jnp.int32, joined.shape, joined.ndim - 1)
    ordered, order = lax.sort((joined, places), num_keys=1)
    ranks = jnp.put_along_axis(places, order, places, axis=-1, inplace=False)
    cuts = np.cumsum([v.shape[-1] for v in together.values()])[:-1]
    parts = zip(values.items(), jnp.split(ranks, cuts, axis=-1), strict=True)
    return {unit: part.reshape(v.shape) for (unit, v), part in parts}, ordered


def _hold_floor(ranks: Int32[Array, "*L n"], count: int) -> Int32[Array, "*L n"]:
    """Ranks with those of a side's highest lines, which are never closed, put past the end."""
    most = _floor(ranks.shape[-1])
    first = _least(lambda k: (ranks >= _along(k, ranks)).sum(-1) <= most, count, ranks.shape[:-1])
    return jnp.where(ranks >= _along(first, ranks), count, ranks)
