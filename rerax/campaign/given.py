"""What callers give to `rerax.sweep`, checked before anything is made of it. No JAX here."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rerax.campaign.point import FIELDS
from rerax.crossbar.spec import ChipSpec
from rerax.faults import FaultModel
from rerax.glue.label_order import label_order
from rerax.glue.tasks import Task
from rerax.models.bert.config import BertConfig
from rerax.models.bert.names import SECTION
from rerax.models.bert.scope import Scope
from rerax.protection import Protection
from rerax.pruning.gates import check_values
from rerax.values import is_integer, shown

if TYPE_CHECKING:
    from rerax.glue.data import Examples


def check_config(config: Any) -> None:
    """Refuse a shape that is none."""
    if not isinstance(config, BertConfig):
        raise ValueError(f"config is {_kind(config)}: give a rerax.BertConfig")


def check_weights(params: Any, config: BertConfig) -> None:
    """Refuse parameters that are no tree of that shape, or not finite.

    Raises:
        ValueError: the leaf, and what it has to be.
    """
    for path, shape in _shapes(config).items():
        leaf = params
        for i, key in enumerate(path, 1):
            where = "/".join(("params", *path[:i]))
            if not isinstance(leaf, Mapping) or key not in leaf:
                raise ValueError(f"{where} is missing: give parameters as rerax.load does")
            leaf = leaf[key]
        where = "/".join(("params", *path))
        array = _floats(leaf, where)
        if array.shape != shape:
            raise ValueError(
                f"{where} has shape {array.shape}, the config asks for {shape}: give the two that "
                "belong together"
            )
        if not np.isfinite(array).all():
            raise ValueError(
                f"{where} has NaN or infinite weights: retrain, or check how it was made"
            )


def _shapes(config: BertConfig) -> dict[tuple[str, ...], tuple[int, ...]]:
    """Shape of every leaf of the parameters (`rerax.models.bert.model`)."""
    layers, d = config.num_hidden_layers, config.hidden_size
    found: dict[tuple[str, ...], tuple[int, ...]] = {}
    norms = {"embeddings": ((), ("norm",)), "encoder": ((layers,), ("attention_norm", "ffn_norm"))}
    for section, (lead, names) in norms.items():
        for name in names:
            found |= {(section, name, leaf): (*lead, d) for leaf in ("scale", "bias")}
    for name, (count, rows, columns) in config.matrix_shapes.items():
        section = SECTION[name]
        lead = (count,) if section == "encoder" else ()
        if section == "embeddings":
            found[section, name, "table"] = (rows, columns)
            continue
        found[section, name, "kernel"] = (*lead, rows, columns)
        found[section, name, "bias"] = (*lead, columns)
    return found


def check_gates(gates: Any, config: BertConfig) -> None:
    """Refuse gates that do not fit the matrices.

    Raises:
        ValueError: the matrix.
    """
    if gates is None:
        return
    shapes = _shapes(config)
    for name in gates if isinstance(gates, Mapping) else ("",):
        shape = shapes.get((SECTION.get(name, ""), name, "kernel"), (0, 0))
        gate = gates[name] if isinstance(gates, Mapping) else None
        fits = {"row": shape[:-1], "column": (*shape[:-2], shape[-1])}
        if not isinstance(gate, Mapping) or any(
            side not in gate or _floats(gate[side], f"gates/{name}/{side}").shape != fits[side]
            for side in fits
        ):
            raise ValueError(
                f"gates of {name!r} do not fit the model: give {{matrix: {{'row': .., 'column': "
                "..}}, one number for each line, as rerax.load_gates does"
            )
        for side in fits:
            check_values(f"gates/{name}/{side}", gate[side])


def read_examples(examples: Any, config: BertConfig) -> "Examples":
    """Token ids with segment ids, zeros where none are given.

    Raises:
        ValueError: the first example that is no list of token ids of the model.
    """
    from rerax.glue.data import Examples, check_ids

    if isinstance(examples, Examples):
        ids = [_tokens(i, row) for i, row in enumerate(examples.ids)]
        check_ids(ids, config.vocab_size)
        return examples
    ids = [_tokens(i, row) for i, row in enumerate(several("examples", examples))]
    check_ids(ids, config.vocab_size)
    plain = [row.astype(np.int32) for row in ids]
    return Examples(plain, [np.zeros_like(row) for row in plain])


def _tokens(i: int, row: Any) -> np.ndarray:
    try:
        found = np.asarray(row)
    except ValueError:  # lists of unlike lengths
        found = np.zeros((0, 0))
    if found.ndim != 1 or (found.size and found.dtype.kind not in "iu"):
        raise ValueError(f"example {i} is no list of token ids: give whole numbers")
    return found


def read_labels(task: Task, labels: Any, examples: int) -> np.ndarray:
    """Labels as an array.

    Raises:
        ValueError: not one for each example, or none of the task's.
    """
    try:
        found = np.asarray(labels)
    except ValueError:  # lists of unlike lengths
        found = np.zeros((0, 0))
    if found.ndim != 1 or found.dtype.kind not in "biuf":
        raise ValueError("labels are no list of numbers: give one for each example")
    if len(found) != examples:
        raise ValueError(f"{len(found)} labels for {examples} examples: give one for each")
    if task.is_regression:
        right, rule = (found >= 0) & (found <= 5), "scores from 0 to 5"
    else:
        right, rule = np.isin(found, np.arange(task.num_labels)), f"0 to {task.num_labels - 1}"
    if not right.all():
        raise ValueError(f"label {found[~right][0]} is not one of {task.name}'s: give {rule}")
    return found


def read_order(task: Task, config: BertConfig, order: Any) -> tuple[int, ...]:
    """GLUE label id of each output, as given or by the names in the config.

    Raises:
        ValueError: no such order, or another number of outputs than the task's.
    """
    if order is None:
        return label_order(task, config.labels)[0]
    ids = tuple(several("order", order))
    known = list(map(repr, range(task.num_labels)))
    if config.num_labels != task.num_labels or sorted(map(repr, ids)) != known:
        raise ValueError(
            f"order {ids} is not one of {task.name}'s labels for each of {config.num_labels} "
            f"outputs: give 0 to {task.num_labels - 1}, each once"
        )
    return ids


def plain(value: Any) -> Any:
    """The same as numbers and lists of Python, where it is an array or a number of a library."""
    return value.tolist() if hasattr(value, "tolist") else value


def several(name: str, value: Any) -> Sequence[Any]:
    """One value or several as plain values of Python.

    Raises:
        ValueError: nothing to go through, or nothing in it.
    """
    value = plain(value)
    single = isinstance(value, str | int | float | Fraction | FaultModel | Protection | Scope)
    if value is None or single or (name == "tile" and _is_pair(value)):
        return (value,)
    try:
        found = tuple(map(plain, value))
    except TypeError:
        raise ValueError(f"{name} is {_kind(value)}: give one value, or a list") from None
    if not found:
        raise ValueError(f"{name} is empty: give at least one")
    return found


def _is_pair(value: Any) -> bool:
    return isinstance(value, tuple | list) and len(value) == 2 and all(map(is_integer, value))


def axes_of(fields: Mapping[str, Any], spec: Any) -> dict[str, Sequence[Any]]:
    """Values of each field of a point, one or several, a spec taken apart into its own.

    Args:
        fields: by name.
        spec: a `ChipSpec`, or None.

    Raises:
        ValueError: a field that there is not, or one that the spec has as well.
    """
    known = [name for name in FIELDS if name not in ("task", "model", "rate", "faulty")]
    for name in fields:
        if name not in known:
            raise ValueError(f"sweep takes no {name!r}: give some of {', '.join(known)}")
    found = {name: several(name, value) for name, value in fields.items()}
    if spec is None:
        return found
    if not isinstance(spec, ChipSpec):
        raise ValueError(f"spec {shown(spec)} is none: give a rerax.ChipSpec")
    for field in dataclasses.fields(spec):
        if field.name in found:
            raise ValueError(f"{field.name} is given twice: leave it out, or the spec")
        found[field.name] = (getattr(spec, field.name),)
    return found


def check_others(
    out: Any, sensitivity: Any, on_progress: Callable[..., None], faulty: Sequence[Any]
) -> None:
    """Refuse what is no path, no text or nothing to call."""
    for name, value in (("out", out), ("sensitivity", sensitivity)):
        if not isinstance(value, str | Path | None):
            raise ValueError(f"{name} is {_kind(value)}: give a path")
    for place in faulty:
        if not isinstance(place, str | Scope | None):
            raise ValueError(f"faulty {shown(place)} is no text: give one such as 'layers=0'")
    if not callable(on_progress):
        raise ValueError(f"on_progress is {_kind(on_progress)}: give a function")


def _floats(value: Any, where: str) -> np.ndarray:
    try:
        return np.asarray(value, np.float32)
    except (TypeError, ValueError):
        raise ValueError(f"{where} is {_kind(value)}: give an array of numbers") from None


def _kind(value: Any) -> str:
    return f"of type {type(value).__name__}"
