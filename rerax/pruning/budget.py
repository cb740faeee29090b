"""Budgets: which rows and columns are closed so that just as many weights are freed as asked for.

Training lowers or raises units, the numbers behind gates (`pruning.ties`). After every step
`meet_budget` ranks the lines of each budget by their units and closes the lowest, just as many as
the sparsity of that step asks for. It then subtracts one threshold from all units of the budget, so
that exactly the closed ones lie below zero. That is what a penalty on every kept weight would do to
them, with the difference that nobody has to tune it: the sparsity is met exactly at every step.

Units begin as ranks by importance for each weight that a line frees (`rank_units`), so a unit
compares lines of long and of short sides fairly.
"""

from collections.abc import Callable, Mapping

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int32

from rerax.pruning.ties import (
    Ties,
    Units,
    sides_of_units,
    tied_matrices,
    units_of_matrix,
    weights_of_units,
)

MIN_OPEN_SHARE = 0.1
"""Share of the lines of every side that stay open whatever the budget: no layer collapses."""

BELOW_ZERO = -1e-6
"""Highest value of a closed unit, where the threshold itself would leave it at zero."""

ABOVE_ZERO = 1e-6
"""Lowest value of an open unit: gates of zeros and ones are taken for a mask, and refused."""


def weights_to_free(
    shapes: Mapping[str, tuple[int, ...]], sparsity: float, scope: str
) -> dict[str, int]:
    """Count the weights that each budget is to free for a sparsity.

    Args:
        shapes: shape [*L, R, C] of every gated matrix.
        sparsity: share of weights to free, in [0, 1).
        scope: `matrix`: a budget for each matrix of each layer; `global`: one for all.

    Returns:
        {matrix: weights}, or {"global": weights}.

    Raises:
        ValueError: sparsity outside [0, 1) or beyond what `MIN_OPEN_SHARE` leaves; unknown scope.
    """
    if not 0 <= sparsity < 1:
        raise ValueError(f"sparsity {sparsity:g} is outside [0, 1): give a share such as 0.35")
    if scope not in ("matrix", "global"):
        raise ValueError(f"sparsity-scope {scope!r} is unknown: use matrix or global")
    most = {}
    for name, shape in shapes.items():
        rows, columns = shape[-2:]
        most[name] = rows * columns - _least_open(rows) * _least_open(columns)
    for name, shape in shapes.items():
        if sparsity * shape[-2] * shape[-1] > most[name]:
            raise ValueError(
                f"sparsity {sparsity:g} is more than {name} ({shape[-2]} x {shape[-1]}) can free "
                f"with {MIN_OPEN_SHARE:.0%} of its lines open: give at most "
                f"{most[name] / (shape[-2] * shape[-1]):.3f}"
            )
    if scope == "matrix":
        return {n: _whole(sparsity * s[-2] * s[-1]) for n, s in shapes.items()}
    return {"global": _whole(sparsity * sum(int(np.prod(s)) for s in shapes.values()))}


def _whole(weights: float) -> int:
    # Rounded up, except where a product such as 0.35 * 100 is off by its last bit.
    return int(np.ceil(weights - 1e-6))


def _least_open(lines: int) -> int:
    return max(1, int(np.ceil(MIN_OPEN_SHARE * lines)))


def rank_units(
    importance: Units, shapes: Mapping[str, tuple[int, ...]], scope: str, ties: Ties
) -> Units:
    """Give units their first values: ranks by importance for each freed weight, within (0, 1).

    Args:
        importance: of every line, such as the mean squared gradient of the loss by its `step`.
        shapes: shape [*L, R, C] of every gated matrix.
        scope, ties: as in `meet_budget`; ranks are taken within a budget.
    """
    per_line = weights_of_units(shapes, ties)
    ranked: Units = {}
    for group in _ranked_together(tuple(shapes), scope, ties):
        each = {unit: importance[unit] / per_line[unit] for unit in group}
        ranks, ordered = _rank(each, scope)
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
    """Close just as many lines as free the weights asked for, and open all others.

    In each budget the lines with the lowest units are closed, one after another, until at least
    `to_free` weights are freed. A tied line counts in both its matrices: once one of the two has
    freed enough no further tied line is closed, and the other goes on with its own lines alone.
    So no matrix frees less than it should, and at most one line more, unless it should free more
    than `MIN_OPEN_SHARE` lets it (`weights_to_free` refuses to ask for so much).

    Args:
        units: trainable numbers, [*L, n] each.
        to_free: weights to free (`weights_to_free`), traced or not.
        shapes: shape [*L, R, C] of every gated matrix.
        scope: `matrix` or `global`.
        ties: sides that share a unit.

    Returns:
        Units, shifted so that they are below zero exactly where a line is closed.
    """
    shifted: Units = {}
    for group, matrices in _ranked_together(tuple(shapes), scope, ties).items():
        part = {unit: units[unit] for unit in group}
        sides = {matrix: units_of_matrix(matrix, ties, tuple(shapes)) for matrix in matrices}
        ranks, ordered = _rank(part, scope)
        count = ordered.shape[-1]
        ranks = {unit: _keep_highest_open(rank, count) for unit, rank in ranks.items()}
        if scope == "global":
            closed = dict.fromkeys(group, _closed_of_all(ranks, count, sides, to_free["global"]))
        else:
            closed = _closed_of_each(ranks, count, sides, to_free)
        for unit in group:
            is_closed = ranks[unit] < _per_line(closed[unit], ranks[unit])
            moved = part[unit] - _per_line(_threshold(ordered, closed[unit]), part[unit])
            # Ranks decide between equal units, whose shifted values are on one side of zero.
            shifted[unit] = jnp.where(
                is_closed, jnp.minimum(moved, BELOW_ZERO), jnp.maximum(moved, ABOVE_ZERO)
            )
    return shifted


def _closed_of_all(
    ranks: Units, count: int, sides: Mapping[str, tuple[str, str]], needed: int | Array
) -> Int32[Array, ""]:
    """Count the lines that one budget for all matrices closes."""

    def enough(k: Array) -> Array:
        freed = [_freed(ranks[row], ranks[column], k, k).sum() for row, column in sides.values()]
        return jnp.stack(freed).sum() >= needed

    return _bisect(enough, count, ())


def _closed_of_each(
    ranks: Units,
    count: int,
    sides: Mapping[str, tuple[str, str]],
    needed: Mapping[str, int | Array],
) -> dict[str, Int32[Array, "*L"]]:
    """Find the rank below which each unit closes its lines, for matrices that share a unit."""
    layers = next(iter(ranks.values())).shape[:-1]

    def rank_needed(matrix: str, fixed: Mapping[str, Array]) -> Int32[Array, "*L"]:
        """Find the least rank that frees enough of a matrix; `fixed` holds those of some units."""
        row, column = sides[matrix]

        def enough(k: Array) -> Array:
            of_sides = fixed.get(row, k), fixed.get(column, k)
            return _freed(ranks[row], ranks[column], *of_sides) >= needed[matrix]

        return _bisect(enough, count, layers)

    # Each matrix by itself first; a shared unit stops at the first of its matrices to have enough;
    # then each matrix again, with its own lines alone.
    alone = {matrix: rank_needed(matrix, {}) for matrix in sides}
    owners = {unit: [m for m, both in sides.items() if unit in both] for unit in ranks}
    shared = {
        unit: jnp.stack([alone[m] for m in owned]).min(0)
        for unit, owned in owners.items()
        if len(owned) > 1
    }
    final = {matrix: rank_needed(matrix, shared) for matrix in sides}
    return {unit: shared.get(unit, final[owned[0]]) for unit, owned in owners.items()}


def _freed(
    rows: Int32[Array, "*L R"], columns: Int32[Array, "*L C"], k_rows: Array, k_columns: Array
) -> Int32[Array, "*L"]:
    """Count the weights freed by closing rows and columns whose ranks are below these two."""
    kept_rows = (rows >= _per_line(k_rows, rows)).sum(-1)
    kept = kept_rows * (columns >= _per_line(k_columns, columns)).sum(-1)
    return rows.shape[-1] * columns.shape[-1] - kept


def _per_line(number: Array, lines: Array) -> Array:
    """Repeat a number for every line: one for each layer, or one for all."""
    return jnp.broadcast_to(number[..., None], lines.shape)


def _bisect(enough: Callable[[Array], Array], count: int, shape: tuple[int, ...]) -> Array:
    """Find the least k in 0..count for which `enough(k)` is true; count if none is."""

    def halve(_: Array, span: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = span
        middle = (low + high) // 2
        good = enough(middle)
        return jnp.where(good, low, middle + 1), jnp.where(good, middle, high)

    start = jnp.zeros(shape, jnp.int32), jnp.full(shape, count, jnp.int32)
    return lax.fori_loop(0, count.bit_length() + 1, halve, start)[1]


def _threshold(ordered: Float[Array, "*L n"], k: Int32[Array, "*L"]) -> Float[Array, "*L"]:
    """Find a value between the k lowest of a budget and the others."""

    def at(place: Array) -> Array:
        inside = jnp.clip(place, 0, ordered.shape[-1] - 1)
        return jnp.take_along_axis(ordered, inside[..., None], axis=-1)[..., 0]

    below, above = at(k - 1), at(k)
    # Zero wherever it lies between them, so that units of a budget that is met are not moved.
    middle = jnp.where((below < 0) & (above >= 0), jnp.float32(0), (below + above) / 2)
    return jnp.where(k == 0, jnp.minimum(above, 0), middle)


def _ranked_together(
    matrices: tuple[str, ...], scope: str, ties: Ties
) -> dict[tuple[str, ...], tuple]:
    """Group the units that are ranked together: {units: matrices that they belong to}."""
    every = sides_of_units(matrices, ties)
    if scope == "global":
        return {tuple(every): matrices}
    groups: dict[tuple[str, ...], tuple] = {}
    for tied in tied_matrices(matrices, ties):
        inside = tuple(u for u, sides in every.items() if any(m in tied for m, _ in sides))
        groups[inside] = tied
    return groups


def _rank(values: Units, scope: str) -> tuple[dict[str, Int32[Array, "..."]], Float[Array, "..."]]:
    """Rank every line among all of its budget, from 0; give the budget's values in order, too.

    Equal values have different ranks, so that a budget can be met line by line.
    """
    lines = {u: v.reshape(-1) if scope == "global" else v for u, v in values.items()}
    joined = jnp.concatenate(list(lines.values()), axis=-1)
    places = lax.broadcasted_iota(jnp.int32, joined.shape, joined.ndim - 1)
    ordered, order = lax.sort((joined, places), num_keys=1)
    ranks = jnp.put_along_axis(places, order, places, axis=-1, inplace=False)
    cuts = np.cumsum([v.shape[-1] for v in lines.values()])[:-1]
    parts = zip(values.items(), jnp.split(ranks, cuts, axis=-1), strict=True)
    return {unit: part.reshape(v.shape) for (unit, v), part in parts}, ordered


def _keep_highest_open(ranks: Int32[Array, "*L n"], count: int) -> Int32[Array, "*L n"]:
    """Put the ranks of a side's highest lines past the end, so that these are never closed."""
    most = _least_open(ranks.shape[-1])
    first = _bisect(
        lambda k: (ranks >= _per_line(k, ranks)).sum(-1) <= most, count, ranks.shape[:-1]
    )
    return jnp.where(ranks >= _per_line(first, ranks), count, ranks)
