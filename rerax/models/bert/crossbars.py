"""A BERT on crossbars: which of its leaves, and products and look-ups by the codes read."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int8

from rerax._types import Params
from rerax.crossbar.crossbar import Crossbar
from rerax.crossbar.products import factor_format, multiply
from rerax.faults.mask import FaultMask
from rerax.hardware import Hardware
from rerax.models.bert.model import Lookup, Product, float_lookup, float_product
from rerax.models.bert.names import (
    DEFAULT_GROUPS,
    GROUPS,
    IDS,
    MATRICES,
    SECTION,
    SECTIONS,
    by_matrix,
    leaf_of,
)
from rerax.models.bert.scope import Scope
from rerax.models.reading import kept_codes
from rerax.models.stored import StoredModel, closed_share, matrix_ledgers
from rerax.models.tree import program_tree
from rerax.protection import Ledger, Protection, check_named, left_bare
from rerax.pruning.gates import Gates

Codes = dict[str, Int8[Array, "R C"]]


def program_bert(
    params: Params,
    hardware: Hardware,
    groups: tuple[str, ...] = DEFAULT_GROUPS,
    gates: Gates | None = None,
) -> StoredModel:
    """Put a BERT's matrices onto crossbars.

    Args:
        params: float parameters of `rerax.models.bert`.
        hardware: what they are put on.
        groups: which matrices: encoder, pooler, classifier, embeddings.
        gates: closed rows and columns; matrices not named are all open.

    Raises:
        ValueError: an unknown group or matrix, parameters without any of the matrices, a matrix
            without room for the protection, or none with the gates it needs.
    """
    check_named(hardware.protection, MATRICES)
    found = weights_of(params, groups)
    if groups and not found:
        raise ValueError(
            f"params have no matrix of {', '.join(groups)}: give parameters as rerax.load does"
        )
    named = by_matrix(gates or {})
    for name in named:
        if name not in MATRICES:
            raise ValueError(
                f"gates of {name!r}: there is no such matrix: use some of {', '.join(MATRICES)}"
            )
    gated = {name: gate for name, gate in named.items() if name in found}
    axes = {path_of(name): "io" if SECTION[name] != "encoder" else "lio" for name in found}
    ids = {path_of(name): IDS[name] for name in found}
    return program_tree(params, hardware, lambda path, _: axes.get(path, False), gated, ids)


def path_of(matrix: str) -> str:
    """Find the path of a matrix in the parameters."""
    return f"{SECTION[matrix]}/{matrix}/{leaf_of(matrix)}"


def weights_of(params: Params, groups: tuple[str, ...]) -> dict[str, Any]:
    """Collect the weights [*L, R, C] of the matrices of some groups.

    Raises:
        ValueError: unknown group; the known ones are listed.
    """
    for group in groups:
        if group not in GROUPS:
            raise ValueError(f"unknown matrices {group!r}: use some of {', '.join(GROUPS)}")
    chosen = {name for group in groups for name in GROUPS[group]}
    return {
        name: leaves[leaf_of(name)]
        for section in SECTIONS
        for name, leaves in params.get(section, {}).items()
        if name in chosen
    }


def crossbars_by_section(stored: StoredModel) -> dict[str, dict[str, Crossbar]]:
    """Sort crossbars by section of the parameters: {section: {matrix: crossbar}}."""
    found: dict[str, dict[str, Crossbar]] = {section: {} for section in SECTIONS}
    for crossbar in stored.crossbars.values():
        found[SECTION[crossbar.array.name]][crossbar.array.name] = crossbar
    return found


def params_outside(stored: StoredModel) -> dict[str, Any]:
    """Collect the parameters without the matrices on crossbars."""
    whole = jax.tree_util.tree_unflatten(stored.structure, stored.rest)
    return {
        section: {
            name: {kind: leaf for kind, leaf in leaves.items() if leaf is not None}
            for name, leaves in parts.items()
        }
        for section, parts in whole.items()
    }


def crossbar_product(
    codes: Codes, crossbars: Mapping[str, Crossbar], input_bits: int | None
) -> Product:
    """Make the matrix product of a BERT that multiplies by the codes read from crossbars.

    Matrices that read the same input are multiplied as one (`products.multiply`); those without
    codes by their float kernels.

    Args:
        codes: as read.
        crossbars: what they were read from, for scales and open lines.
        input_bits: 8 for exact products of integers, None for float inputs.
    """
    integers = input_bits is not None
    kept = {name: kept_codes(crossbars[name], read) for name, read in codes.items()}
    if integers:
        kept = {name: read.astype(factor_format()) for name, read in kept.items()}

    def product(
        names: tuple[str, ...], x: Array, kernels: tuple[Array | None, ...]
    ) -> tuple[Array, ...]:
        if not any(name in kept for name in names):
            return float_product(names, x, kernels)
        scales = [crossbars[name].scale for name in names]
        return multiply(x, [kept[name] for name in names], scales, integers)

    return product


def crossbar_lookup(codes: Codes, crossbars: Mapping[str, Crossbar]) -> Lookup:
    """Make the table look-up on crossbars: a one-hot input drives a single wordline."""

    def lookup(name: str, ids: Array, table: Array | None) -> Array:
        if name not in codes:
            return float_lookup(name, ids, table)
        scale = jnp.asarray(crossbars[name].scale).reshape((1,) * ids.ndim + (-1,))
        return codes[name][ids].astype(jnp.float32) * scale

    return lookup


def fault_mask(scope: Scope, groups: tuple[str, ...], layers: int) -> FaultMask:
    """Make a mask of a scope.

    Args:
        scope: where faults act.
        groups: groups of matrices on crossbars.
        layers: layers of the model.
    """
    bits = None if scope.planes is None else np.array(scope.planes, np.uint8)
    return FaultMask(scope.arrays(groups, layers), bits)


def ledgers(
    params: Params, hardware: Hardware, groups: tuple[str, ...], gates: Gates | None
) -> dict[str, list[Ledger]]:
    """Count what each matrix stores, layer by layer (a single entry outside the encoder).

    Raises:
        ValueError: a matrix without room for the protection.
    """
    return {
        name: matrix_ledgers(weights.shape, (gates or {}).get(name), hardware, name)
        for name, weights in weights_of(params, groups).items()
    }


def bare_matrices(
    params: Params, groups: tuple[str, ...], gates: Gates | None, scheme: Protection
) -> tuple[str, ...]:
    """List matrices without gates that the protection leaves as they are (`protection.left_bare`).

    Raises:
        ValueError: it could protect none.
    """
    return left_bare(scheme, {name: name in (gates or {}) for name in weights_of(params, groups)})


def sparsity(params: Params, groups: tuple[str, ...], gates: Gates | None) -> float:
    """Compute the share of the weights on crossbars that lie under a closed gate."""
    return closed_share(
        (weights.shape, (gates or {}).get(name))
        for name, weights in weights_of(params, groups).items()
    )
