"""Gates on the host: one number behind every row and every column of a matrix. No JAX here.

A gate below zero closes its line. Gates mask weights only, never a bias, and come before the
quantiser's scale. `rerax.train` trains them; this module counts, checks, saves and loads them.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32

from rerax.io import whole_file
from rerax.paths import kernels_named, with_leaves

Gates = Mapping[str, Mapping[str, Any]]
"""{matrix: {"row": [*L, R], "column": [*L, C]}}, float32, by name (`paths.kernels_named`)."""

FILE = "gates.safetensors"


def open_gates(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, dict[str, np.ndarray]]:
    """Make gates of matrices with the given shapes, all open (+1).

    Args:
        shapes: shape [*L, R, C] of every gated matrix.

    Raises:
        ValueError: a shape that is no matrix's.
    """
    for name, shape in shapes.items():
        _check_kernel(name, shape)
    return {
        name: {
            "row": np.ones((*shape[:-2], shape[-2]), np.float32),
            "column": np.ones((*shape[:-2], shape[-1]), np.float32),
        }
        for name, shape in shapes.items()
    }


def check_mapping(gates: Any) -> None:
    """Refuse gates that are not by name.

    Raises:
        ValueError: the kind of what was given.
    """
    if not isinstance(gates, Mapping):
        raise ValueError(
            f"gates are of type {type(gates).__name__}: give "
            "{kernel: {'row': .., 'column': ..}}"
        )


def check_gate(name: str, gate: Any, shape: tuple[int, ...]) -> None:
    """Refuse gates that do not fit their kernel.

    Args:
        name: of the kernel.
        gate: its gates.
        shape: [*L, R, C] of the kernel.

    Raises:
        ValueError: not one number for each row and column, no matrix, or numbers that are no gates
            (`check_values`).
    """
    _check_kernel(name, shape)
    sides = {"row": shape[:-1], "column": (*shape[:-2], shape[-1])}
    fits = isinstance(gate, Mapping) and all(
        side in gate and np.shape(gate[side]) == wanted for side, wanted in sides.items()
    )
    fits = fits and set(gate) == set(sides)
    if not fits:
        raise ValueError(
            f"gates of {name!r} do not fit its shape {shape}: give row {sides['row']} and column "
            f"{sides['column']}, one number for each line, and nothing else"
        )
    for side in sides:
        check_values(f"gates of {name!r}", gate[side])


def _check_kernel(name: str, shape: tuple[int, ...]) -> None:
    if len(shape) < 2:
        raise ValueError(f"gates of {name!r}: it has shape {shape} and is no kernel: name one")


def check_values(what: str, values: Any) -> None:
    """Refuse numbers that close no line though they were meant to, and those that are none.

    Traced ones, as in training, are taken as they are.

    Args:
        what: they are, for the error.
        values: gates of one side.

    Raises:
        ValueError: truth values, zeros and ones, NaN or infinity.
    """
    try:
        found = np.asarray(values)
    except TypeError:  # JAX's, of a traced one
        return
    if found.dtype.kind not in "biufV":  # V: bfloat16
        raise ValueError(f"{what} are of {found.dtype}: give numbers, below 0 for a closed line")
    if found.dtype == bool or (np.isin(found, (0, 1)).all() and (found == 0).any()):
        kind = "truth values" if found.dtype == bool else "zeros and ones"
        raise ValueError(
            f"{what} are {kind}, which close nothing: a line is closed below 0, so give "
            "np.where(open, 1.0, -1.0)"
        )
    if not np.isfinite(found).all():
        raise ValueError(f"{what} are not finite: give numbers, below 0 for a closed line")


def open_cells(
    row: Float32[np.ndarray, "*L R"], column: Float32[np.ndarray, "*L C"]
) -> Bool[np.ndarray, "*L R C"]:
    """Mark the weights whose row and column are both open (gates >= 0)."""
    return (row >= 0)[..., :, None] & (column >= 0)[..., None, :]


def freed_weights(gates: Gates) -> dict[str, np.ndarray]:
    """Count the weights under a closed gate of every gated matrix, int64 [*L]."""
    freed = {}
    for name, gate in gates.items():
        rows, columns = np.asarray(gate["row"]), np.asarray(gate["column"])
        kept = (rows >= 0).sum(-1, dtype=np.int64) * (columns >= 0).sum(-1, dtype=np.int64)
        freed[name] = np.asarray(rows.shape[-1] * columns.shape[-1] - kept)
    return freed


def freed_share(gates: Gates) -> float:
    """Compute the share of all gated weights that lie under a closed gate."""
    if not gates:
        return 0.0
    sizes = [np.asarray(g["row"]).size * np.asarray(g["column"]).shape[-1] for g in gates.values()]
    return float(sum(int(f.sum()) for f in freed_weights(gates).values()) / sum(sizes))


def with_zeros(params: Any, gates: Gates) -> Any:
    """Write zeros where a gate is closed: what a reader that knows no gates is to find."""
    written = {}
    for name, (path, kernel) in kernels_named(params, gates).items():
        kept = open_cells(*(np.asarray(gates[name][side]) for side in ("row", "column")))
        if np.asarray(kernel)[~kept].any():
            written[path] = np.where(kept, np.asarray(kernel), np.float32(0))
    return with_leaves(params, written)


def save_gates(directory: str | Path, params: Any, gates: Gates) -> None:
    """Write raw gates and the values under closed ones to `gates.safetensors`.

    Args:
        directory: a model folder.
        params: parameters with the values that closed weights keep.
        gates: gates of some matrices.

    Raises:
        ValueError: gates that do not fit (`check_gate`), or of no kernel.
    """
    from safetensors.numpy import save

    check_mapping(gates)
    tensors = {}
    for name, (_, kernel) in kernels_named(params, gates).items():
        check_gate(name, gates[name], np.shape(kernel))
        sides = (gates[name][side] for side in ("row", "column"))
        row, column = (np.ascontiguousarray(side, np.float32) for side in sides)
        tensors[f"{name}.row"], tensors[f"{name}.column"] = row, column
        tensors[f"{name}.closed"] = np.asarray(kernel, np.float32)[~open_cells(row, column)]
    with whole_file(Path(directory) / FILE) as out:
        out.write(save(tensors))


def load_gates(
    directory: str | Path, params: Any
) -> tuple[Any, dict[str, dict[str, np.ndarray]] | None]:
    """Load the gates of a model folder, and put the values under closed gates back.

    Args:
        directory: a model folder, with or without `gates.safetensors`.
        params: the folder's parameters (`bert.convert.load`).

    Returns:
        Parameters, and the gates, or None where the folder has none.

    Raises:
        ValueError: a file cut short or garbled, or one that does not fit the weights (named).
    """
    directory = Path(directory)
    if not (directory / FILE).is_file():
        return params, None
    tensors = _read(directory / FILE)
    try:
        kernels = kernels_named(params, sorted({full.rpartition(".")[0] for full in tensors}))
    except ValueError as error:
        raise ValueError(f"{directory / FILE}: {error}") from None
    gates, whole = {}, {}
    for name, (path, leaf) in kernels.items():
        kernel = np.asarray(leaf).copy()
        row, column, closed = (
            tensors.get(f"{name}.{part}", np.zeros(0, np.float32))
            for part in ("row", "column", "closed")
        )
        fits = row.shape == kernel.shape[:-1] and column.shape == (
            *kernel.shape[:-2],
            kernel.shape[-1],
        )
        shut = ~open_cells(row, column) if fits else np.zeros(0, bool)
        if not fits or closed.size != shut.sum() or kernel[shut].any():
            raise ValueError(
                f"{directory / FILE}: gates of {name!r} do not fit the weights beside them: take "
                "both files from one training run"
            )
        kernel[shut] = closed
        gates[name] = {"row": row, "column": column}
        whole[path] = kernel
    return with_leaves(params, whole), gates


def gated_matrices(directory: Path) -> tuple[str, ...]:
    """Name the matrices that have gates, by the beginning of a folder's file alone.

    Raises:
        ValueError: a file cut short or garbled.
    """
    from safetensors import SafetensorError, safe_open

    file = directory / FILE
    if not file.is_file():
        return ()
    try:
        with safe_open(file, "np") as tensors:
            return tuple(sorted({name.rpartition(".")[0] for name in tensors.keys()}))  # noqa: SIM118
    except SafetensorError as error:
        raise _garbled(file, error) from None


def _garbled(file: Path, error: Exception) -> ValueError:
    return ValueError(f"{file} is cut short or garbled ({error}): fetch or write it again")


def _read(file: Path) -> dict[str, np.ndarray]:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        tensors = load_file(file)
    except SafetensorError as error:
        raise _garbled(file, error) from None
    for name, tensor in tensors.items():
        if tensor.dtype != np.float32 or not np.isfinite(tensor).all():
            raise ValueError(f"{file}: {name} must be finite float32: write it again")
    return tensors
