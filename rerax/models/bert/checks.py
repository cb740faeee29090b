"""What callers give as a BERT, checked: shape, parameters, gates. No JAX here."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from rerax.models.bert.config import BertConfig
from rerax.models.bert.convert import check_leaf
from rerax.models.bert.names import SECTION
from rerax.pruning.gates import check_values
from rerax.values import type_text


def check_config(config: Any) -> None:
    """Refuse a shape that is none."""
    if not isinstance(config, BertConfig):
        raise ValueError(f"config is {type_text(config)}: give a rerax.BertConfig")


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
        check_leaf(where, _floats(leaf, where), shape)


def _shapes(config: BertConfig) -> dict[tuple[str, ...], tuple[int, ...]]:
    """List the shape of every leaf of the parameters (`rerax.models.bert.model`)."""
    layers, d = config.layers, config.hidden_size
    found: dict[tuple[str, ...], tuple[int, ...]] = {}
    norms = {"embeddings": ((), ("norm",)), "encoder": ((layers,), ("attention_norm", "ffn_norm"))}
    for section, (lead, names) in norms.items():
        for name in names:
            width = config.table_width if section == "embeddings" else d
            found |= {(section, name, leaf): (*lead, width) for leaf in ("scale", "bias")}
    if config.projects:
        found["embeddings", "projection", "kernel"] = (config.table_width, d)
        found["embeddings", "projection", "bias"] = (d,)
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


def _floats(value: Any, where: str) -> np.ndarray:
    try:
        return np.asarray(value, np.float32)
    except (TypeError, ValueError):
        raise ValueError(f"{where} is {type_text(value)}: give an array of numbers") from None
