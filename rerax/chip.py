"""From parameters to stored words, once per model; from stored words to codes, once per chip.

`program` runs on the host, in NumPy, before any randomness. `read` runs inside jit: faults
act on the words and the words become codes.
"""

import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Int8, Key, UInt8, UInt32

from rerax._types import AnyArray, Params
from rerax.crossbar.encoding import decode
from rerax.crossbar.keys import array_key, spare_key
from rerax.crossbar.masking import Lines, open_lines
from rerax.crossbar.quantise import quantise
from rerax.crossbar.spec import ChipSpec
from rerax.faults import Counts, Disturbed, Dose, FaultModel, Healthy, Site, disturb_planes
from rerax.models.bert.names import DEFAULT_GROUPS, GROUPS, IDS, MATRICES, SECTIONS
from rerax.models.bert.scope import Scope
from rerax.protection import Ledger, Protection, Unprotected, left_bare
from rerax.pruning.gates import Gates, open_cells

UNPROTECTED = Unprotected()


class Programmed(NamedTuple):
    """A model laid onto crossbars, and what stays outside them.

    Attributes:
        words: {section: {matrix: [*L, G, R, C] uint8}}, L for the encoder's matrices only.
        scales: {section: {matrix: [*L, C] float32}}, a code's worth in each column.
        params: the model's parameters without the matrices on crossbars.
        lines: {section: {matrix: open lines}} of the matrices with closed gates.
        extras: {section: {matrix: arrays}}, where the protection finds its copies.
    """

    words: dict[str, dict[str, AnyArray]]
    scales: dict[str, dict[str, AnyArray]]
    params: Params
    lines: dict[str, dict[str, Lines]]
    extras: dict[str, dict[str, Any]]


class Acting(NamedTuple):
    """Where faults act, as data, so that one compile serves every layer, matrix and bit.

    Attributes:
        arrays: [M, L] whether they do in a matrix (as in `models.bert.names.MATRICES`) of a layer.
        planes: a word with the bits set in which they do; None: in all.
    """

    arrays: AnyArray
    planes: AnyArray | None


def acting(scope: Scope, groups: tuple[str, ...], layers: int) -> Acting:
    """A scope as arrays.

    Args:
        scope: where faults act.
        groups: groups of matrices on crossbars.
        layers: layers of the model.
    """
    planes = None if scope.planes is None else np.array(scope.planes, np.uint8)
    return Acting(scope.arrays(groups, layers), planes)


def on_crossbars(params: Params, groups: tuple[str, ...]) -> dict[str, dict[str, np.ndarray]]:
    """Weights of the matrices that `groups` names, {section: {matrix: [*L, R, C]}}.

    Raises:
        ValueError: unknown group; the known ones are listed.
    """
    unknown = [group for group in groups if group not in GROUPS]
    if unknown:
        known = ", ".join(GROUPS)
        raise ValueError(f"unknown matrices {unknown[0]!r}: use some of {known}")
    chosen = {name for group in groups for name in GROUPS[group]}
    return {
        section: {
            name: next(leaves[kind] for kind in ("kernel", "table") if kind in leaves)
            for name, leaves in params.get(section, {}).items()
            if name in chosen
        }
        for section in SECTIONS
    }


def program(
    params: Params,
    spec: ChipSpec,
    groups: tuple[str, ...] = DEFAULT_GROUPS,
    gates: Gates | None = None,
    protection: Protection = UNPROTECTED,
) -> Programmed:
    """Quantise, encode, protect and lay out a model's matrices: the part without randomness.

    Args:
        params: float parameters of `rerax.models.bert`.
        spec: how codes become cells.
        groups: which matrices go onto crossbars: encoder, pooler, classifier, embeddings.
        gates: closed rows and columns; matrices not named are all open.
        protection: what is stored beside the weights.

    Returns:
        Words, scales, the parameters that stay in float, the open lines, and the places of
        copies.

    Raises:
        ValueError: a matrix without room for the protection, or none with the gates it needs.
    """
    bare_matrices(params, groups, gates, protection)  # raises
    words: dict[str, dict[str, AnyArray]] = {section: {} for section in SECTIONS}
    scales: dict[str, dict[str, AnyArray]] = {section: {} for section in SECTIONS}
    lines: dict[str, dict[str, Lines]] = {section: {} for section in SECTIONS}
    extras: dict[str, dict[str, Any]] = {section: {} for section in SECTIONS}
    rest: dict[str, Any] = {section: dict(leaves) for section, leaves in params.items()}
    for section, matrices in on_crossbars(params, groups).items():
        for name, weights in matrices.items():
            gate = (gates or {}).get(name)
            opened = None if gate is None else open_lines(gate)
            kept = None
            if gate is not None and opened is not None:
                kept, lines[section][name] = open_cells(gate["row"], gate["column"]), opened
            codes, scales[section][name] = quantise(np.asarray(weights), spec.bits, kept)
            stored = protection.store(codes, _open(gate), spec, name)
            words[section][name], extras[section][name] = stored
            rest[section][name] = {k: v for k, v in rest[section][name].items() if k == "bias"}
    return Programmed(words, scales, rest, lines, extras)


def _open(gate: Mapping[str, Any] | None) -> tuple[np.ndarray, np.ndarray] | None:
    return None if gate is None else (np.asarray(gate["row"]) >= 0, np.asarray(gate["column"]) >= 0)


def read(
    words: Mapping[str, UInt8[Array, "G R C"]],
    chip_key: Key[Array, ""],
    layer: int | UInt32[Array, ""],
    dose: Dose,
    fault: FaultModel,
    spec: ChipSpec,
    protection: Protection = UNPROTECTED,
    extras: Mapping[str, Any] | None = None,
    lanes: str | None = None,
    chip: UInt32[Array, ""] | None = None,
    where: Acting | None = None,
) -> tuple[dict[str, Int8[Array, "R C"]], dict[str, Counts]]:
    """Codes of one layer's matrices as one chip reads them.

    Args:
        words: stored words of each matrix.
        chip_key: the chip's key.
        layer: encoder layer, 0 for matrices outside the encoder.
        dose: fault rate and share.
        fault: the fault model.
        spec: how words become codes.
        protection: what was stored beside the weights.
        extras: where it finds its copies in each matrix.
        lanes: name of the enclosing `vmap` axis over chips, if any.
        chip: the chip's number, for measured chips.
        where: where faults act; None: everywhere.

    Returns:
        Codes, and faulty cells (spare arrays included), of each matrix.
    """
    codes, counts = {}, {}
    chips = [chip_key, *(spare_key(chip_key, j) for j in range(protection.spare_arrays))]
    for name, stored in words.items():
        sites = [None if chip is None else Site(chip, name, layer)]
        sites += [None] * protection.spare_arrays
        site_keys = [array_key(key, IDS[name], layer) for key in chips]
        extra = (extras or {}).get(name)
        how = (stored, site_keys, sites, dose, spec, lanes)
        if where is None:
            arrays = _disturb(fault, None, *how)
        else:  # what is not faulty is not sampled either
            arrays = lax.cond(
                jnp.asarray(where.arrays)[MATRICES.index(name)][layer],
                functools.partial(_disturb, fault, where.planes, *how),
                functools.partial(_disturb, Healthy(), None, *how),
            )
        counts[name] = Counts(
            *(sum(column) for column in zip(*(a.counts for a in arrays), strict=True))
        )
        recovered = protection.recover(arrays, extra, spec, name)
        codes[name] = decode(recovered, spec)
    return codes, counts


def _disturb(
    fault: FaultModel,
    planes: AnyArray | None,
    stored: UInt8[Array, "G R C"],
    array_keys: list[Key[Array, ""]],
    sites: list[Site | None],
    dose: Dose,
    spec: ChipSpec,
    lanes: str | None,
) -> list[Disturbed]:
    """What the base array and its spare ones read."""
    places = [(key, dose, spec, lanes, site) for key, site in zip(array_keys, sites, strict=True)]
    if planes is None:
        return [fault.disturb(stored, *place) for place in places]
    return [disturb_planes(fault, jnp.asarray(planes), stored, *place) for place in places]


def ledger(
    params: Params,
    spec: ChipSpec,
    groups: tuple[str, ...],
    gates: Gates | None,
    protection: Protection,
) -> dict[str, list[Ledger]]:
    """What each matrix stores, layer by layer (a single entry outside the encoder).

    Raises:
        ValueError: a matrix without room for the protection.
    """
    found = {}
    for matrices in on_crossbars(params, groups).values():
        for name, weights in matrices.items():
            gate = (gates or {}).get(name)
            found[name] = [
                protection.ledger(row, column, gate is not None, spec, name)
                for row, column in zip(*lines_of(weights.shape, gate), strict=True)
            ]
    return found


def lines_of(
    shape: tuple[int, ...], gate: Mapping[str, Any] | None
) -> tuple[Bool[np.ndarray, "L R"], Bool[np.ndarray, "L C"]]:
    """Whether each row and column is open, layer by layer (L = 1 outside the encoder).

    Args:
        shape: [*L, R, C] of the matrix's weights.
        gate: its gates; None: all lines are open.
    """
    *_, rows, columns = shape
    row, column = _open(gate) or (np.ones(shape[:-1], bool), np.ones((*shape[:-2], columns), bool))
    return row.reshape(-1, rows), column.reshape(-1, columns)


def bare_matrices(
    params: Params, groups: tuple[str, ...], gates: Gates | None, protection: Protection
) -> tuple[str, ...]:
    """Matrices without gates that the protection leaves as they are (`protection.left_bare`).

    Raises:
        ValueError: it could protect none.
    """
    found = on_crossbars(params, groups).values()
    return left_bare(protection, {m: m in (gates or {}) for matrices in found for m in matrices})


def cells(programmed: Programmed, spec: ChipSpec) -> int:
    """Physical cells of all base arrays."""
    return sum(
        (words.size // spec.groups) * spec.cells_per_weight
        for matrices in programmed.words.values()
        for words in matrices.values()
    )


def sparsity(params: Params, groups: tuple[str, ...], gates: Gates | None) -> float:
    """Share of the weights on crossbars that lie under a closed gate."""
    closed = total = 0
    for matrices in on_crossbars(params, groups).values():
        for name, weights in matrices.items():
            total += weights.size
            gate = (gates or {}).get(name)
            if gate is not None:
                closed += weights.size - int(open_cells(gate["row"], gate["column"]).sum())
    return closed / total if total else 0.0
