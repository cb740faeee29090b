"""From codes to stored words, once for each model: on the host, in NumPy, before any randomness."""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Bool

from rerax._types import AnyArray
from rerax.crossbar.array_id import ArrayId
from rerax.crossbar.crossbar import Crossbar
from rerax.crossbar.encoding import complement
from rerax.crossbar.masking import open_lines
from rerax.crossbar.quantise import quantise
from rerax.crossbar.spec import ChipSpec
from rerax.hardware import Hardware
from rerax.protection import Ledger, StoredMatrix
from rerax.pruning.gates import open_cells

Gate = Mapping[str, Any] | None
"""Row and column gates of one matrix; None: it has none."""


class Leaf(NamedTuple):
    """A leaf of the tree.

    Attributes:
        path: keys from the root, joined by `/`.
        axes: a letter for each of its axes (`tree.program`); "": it is not on crossbars.
        shape, dtype: of a leaf on crossbars.
        constant: a leaf that is no array.
    """

    path: str
    axes: str = ""
    shape: tuple[int, ...] = ()
    dtype: str = ""
    constant: Any = None


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, repr=False)
class StoredModel:
    """A model on crossbars, and what of it stays outside.

    Attributes:
        crossbars: by the path of the leaf that each holds.
        rest: the other leaves of the tree in order, None in place of those on crossbars.
        hardware: what they lie on.
        structure: of the tree.
        leaves: what each leaf of the tree is, in order.
    """

    crossbars: dict[str, Crossbar]
    rest: tuple[Any, ...]
    hardware: Hardware = dataclasses.field(metadata={"static": True})
    structure: Any = dataclasses.field(metadata={"static": True})
    leaves: tuple[Leaf, ...] = dataclasses.field(metadata={"static": True})

    @property
    def cells(self) -> int:
        """Physical cells of all base arrays."""
        spec = self.hardware.spec
        return sum(
            crossbar.words.size // spec.groups * spec.cells_per_weight
            for crossbar in self.crossbars.values()
        )

    @property
    def spare_cells(self) -> int:
        """Physical cells of all spare arrays."""
        spec, spare = self.hardware.spec, self.hardware.protection.spare_arrays
        words = sum(
            crossbar.words.size * spare if crossbar.spare is None else crossbar.spare.size
            for crossbar in self.crossbars.values()
        )
        return words // spec.groups * spec.cells_per_weight

    @property
    def taken(self) -> tuple[str, ...]:
        """Paths of the leaves on crossbars."""
        return tuple(leaf.path for leaf in self.leaves if leaf.axes)

    @property
    def left(self) -> tuple[str, ...]:
        """Paths of the others."""
        return tuple(leaf.path for leaf in self.leaves if not leaf.axes)

    def __repr__(self) -> str:
        return (
            f"StoredModel: {len(self.taken)} leaves on crossbars ({', '.join(self.taken)}), "
            f"{len(self.left)} outside ({', '.join(self.left)})"
        )


def store(weights: AnyArray, array: ArrayId, hardware: Hardware, gate: Gate = None) -> Crossbar:
    """Quantise, encode, protect and lay out one matrix: the part without randomness.

    Args:
        weights: [*L, R, C] float weights.
        array: its identity.
        hardware: what it is put on.
        gate: its closed rows and columns, if it has gates.

    Raises:
        ValueError: no room for the protection.
    """
    spec, lines = hardware.spec, None if gate is None else open_lines(gate)
    kept = None
    if gate is not None and lines is not None:
        kept = open_cells(gate["row"], gate["column"])
    codes, scale = quantise(np.asarray(weights), spec.bits, kept)
    stored = StoredMatrix(*hardware.protection.store(codes, _lines_by_gate(gate), spec, array.name))
    words, extra, turned, spare = as_written(stored, spec)
    layers = codes.shape[:-2]
    number = np.arange(int(np.prod(layers)), dtype=np.uint32).reshape(layers)
    return Crossbar(words, scale, number, lines, extra, array, turned, spare)


def as_written(stored: StoredMatrix, spec: ChipSpec) -> StoredMatrix:
    """Give words as they lie in cells, and which of their bits are complemented; None: none."""
    if spec.polarity == "plain":
        return stored._replace(complement=None)
    turned, (*layers, _, rows, _) = stored.complement, stored.words.shape
    if turned is None:
        turned = np.broadcast_to(complement(rows, spec), (*layers, 1, rows, 1))
    spare = stored.spare
    if spare is not None:
        rows = complement(spare.shape[-2], spec)
        spare = spare ^ rows.reshape(*[1] * (spare.ndim - 2), *rows.shape)
    return stored._replace(words=stored.words ^ turned, complement=turned, spare=spare)


def _lines_by_gate(gate: Gate) -> tuple[np.ndarray, np.ndarray] | None:
    return None if gate is None else (np.asarray(gate["row"]) >= 0, np.asarray(gate["column"]) >= 0)


def matrix_ledgers(
    shape: tuple[int, ...], gate: Gate, hardware: Hardware, name: str
) -> list[Ledger]:
    """Count what one matrix stores, layer by layer (a single entry where it is not stacked).

    Args:
        shape: [*L, R, C] of its weights.
        gate: its gates, if it has any.
        hardware: what it lies on.
        name: of the matrix.

    Raises:
        ValueError: no room for the protection.
    """
    scheme, spec = hardware.protection, hardware.spec
    return [
        scheme.ledger(row, column, gate is not None, spec, name)
        for row, column in zip(*open_rows_and_columns(shape, gate), strict=True)
    ]


def open_rows_and_columns(
    shape: tuple[int, ...], gate: Gate
) -> tuple[Bool[np.ndarray, "L R"], Bool[np.ndarray, "L C"]]:
    """Whether each row and column is open, layer by layer (L = 1 where it is not stacked).

    Args:
        shape: [*L, R, C] of the matrix's weights.
        gate: its gates; None: all lines are open.
    """
    *_, rows, columns = shape
    row, column = _lines_by_gate(gate) or (
        np.ones(shape[:-1], bool),
        np.ones((*shape[:-2], columns), bool),
    )
    return row.reshape(-1, rows), column.reshape(-1, columns)


def closed_share(shapes: Iterable[tuple[tuple[int, ...], Gate]]) -> float:
    """Compute the share of the weights of some matrices that lie under a closed gate.

    Args:
        shapes: shape [*L, R, C] and gates of each.
    """
    closed = total = 0
    for shape, gate in shapes:
        size = int(np.prod(shape))
        total += size
        if gate is not None:
            closed += size - int(open_cells(gate["row"], gate["column"]).sum())
    return closed / total if total else 0.0
