"""Examples of one's own: any table with a column of text, perhaps a second, and one of labels."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from rerax.glue.tables import find_files, is_text, read_table, without_categories
from rerax.glue.tasks import Task, plain_name
from rerax.models.bert.config import are_placeholders

EXACT = 2.0**53
"""Whole floats below it are whole numbers, as pandas has them beside an empty entry."""
NUMBER = re.compile(r"\s*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?\s*")
"""How a label is a number: no underscores, and no digits of other scripts."""


class OwnTable(NamedTuple):
    """A split as its files hold it.

    Attributes:
        texts: of each of the task's fields, a text a row.
        labels: a row's label by name, or the number as text; None where there is none.
        names: names of the label ids in their order where the file has them, else empty.
        where: what to call it in errors.
    """

    texts: tuple[tuple[str, ...], ...]
    labels: list[str | None]
    names: tuple[str, ...]
    where: str


def read_own(
    task: Task, data: str, split: str, from_hub: Callable[[str, str], pa.Table]
) -> OwnTable:
    """Read the task's columns of a split, from files here or from the hub.

    Args:
        task: of one's own.
        data: file, folder or hub id.
        split: name of the split.
        from_hub: gives the table of a hub id's split.

    Raises:
        ValueError: no such data, a column that is not there (says which are), a text that is
            empty or none, labels of an odd kind, or no rows.
    """
    where = Path(data)
    files = find_files(where, split) if where.exists() else []
    tables = [(str(file), read_table(file)) for file in files] or [
        (f"{data} {split}", from_hub(data, split))
    ]
    texts: list[list[str]] = [[] for _ in task.fields]
    labels: list[str | None] = []
    names: list[tuple[str, ...]] = []
    for name, table in tables:
        _check_columns((*task.fields, task.label), table.column_names, name)
        for column, field in zip(texts, task.fields, strict=True):
            column += _texts(table[field], field, name)
        own = file_names(table.schema.metadata or {}, task.label)
        names.append(() if are_placeholders(own) else tuple(own))
        labels += _labels(table[task.label], names[-1], task.label, name)
    if len(set(names)) > 1:
        raise ValueError(
            f"{tables[0][0]} and the files beside it name their labels differently: write them "
            "alike"
        )
    whole = tables[0][0] if len(tables) == 1 else f"{data} {split}"
    if not labels:
        raise ValueError(f"{whole} has no examples: give a split with at least one")
    return OwnTable(tuple(map(tuple, texts)), labels, names[0], whole)


def _check_columns(wanted: Sequence[str], columns: Sequence[str], where: str) -> None:
    missing = [column for column in wanted if column not in columns]
    if missing:
        raise ValueError(
            f"{where} has no column {', '.join(missing)} but {', '.join(columns)}: name them with "
            "--text, --text-pair and --label"
        )
    twice = [column for column in wanted if columns.count(column) > 1]
    if twice:
        raise ValueError(f"{where} has the column {twice[0]} twice: leave one of them")


def _texts(column: pa.ChunkedArray, name: str, where: str) -> list[str]:
    column = without_categories(column)
    found: list[Any] = column.to_pylist()
    if found and not is_text(column.type):
        raise ValueError(f"{where}: column {name} is {column.type}: it must be text")
    for row, text in enumerate(found, 1):
        if text is None or not text.strip():
            raise ValueError(f"{where}: row {row} has no {name}: fill or drop it")
    return found


def _labels(
    column: pa.ChunkedArray, names: tuple[str, ...], name: str, where: str
) -> list[str | None]:
    """Name the labels: as the file does that has numbers for them, else by their text."""
    column = without_categories(column)
    values, kind = column.to_pylist(), column.type
    if names and pa.types.is_integer(kind):
        outside = [i for i in values if i is not None and not -1 <= i < len(names)]
        if outside:
            raise ValueError(
                f"{where}: label {outside[0]} is none of the {len(names)} that the file names "
                f"({', '.join(names)}): mend the file"
            )
        return [None if i is None or i < 0 else names[i] for i in values]  # -1: not labelled
    if pa.types.is_floating(kind):
        return [None if x is None or np.isnan(x) else _number(x) for x in values]
    if not (is_text(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind)):
        if pa.types.is_null(kind):
            return values
        raise ValueError(f"{where}: column {name} is {kind}: labels must be text or numbers")
    return [None if x is None or not str(x).strip() else str(x) for x in values]


def _number(x: float) -> str:
    return str(int(x)) if abs(x) < EXACT and x == int(x) else repr(x)


def file_names(metadata: Mapping[bytes, bytes], label: str = "label") -> list[str]:
    """Read the names of label ids as `datasets` writes them; empty where there are none."""
    try:
        found: Any = json.loads(metadata[b"huggingface"])["info"]["features"][label]["names"]
    except (KeyError, TypeError, ValueError):
        return []
    return [str(name) for name in found] if isinstance(found, list) else []


def labels_of(found: OwnTable) -> tuple[str, ...]:
    """List the labels of a table: in the file's own order, else numbers by size and then texts.

    Of labels that differ in case, `-` or space alone the first is taken.

    Raises:
        ValueError: a row without a label.
    """
    _check_labelled(found)
    if found.names:
        return found.names
    known: dict[str, str] = {}
    for name in sorted({name for name in found.labels if name is not None}, key=_rank):
        known.setdefault(plain_name(name), name)
    return tuple(known.values())


def _rank(name: str) -> tuple[int, Decimal, str]:
    """Order numbers by size, then texts by the alphabet."""
    try:
        return (0, Decimal(name.strip()), name) if NUMBER.fullmatch(name) else (1, Decimal(0), name)
    except InvalidOperation:  # an exponent beyond all that is counted
        return 1, Decimal(0), name


def _check_labelled(found: OwnTable) -> None:
    if None in found.labels:
        row = found.labels.index(None) + 1
        raise ValueError(f"{found.where}: row {row} has no label: fill or drop it")


def label_numbers(task: Task, found: OwnTable) -> np.ndarray:
    """Make numbers of the labels as the task counts them: ids, float32 for regression.

    Raises:
        ValueError: no label, one that is none of the task's, or no number.
    """
    _check_labelled(found)
    named = [str(name) for name in found.labels]
    if task.is_regression:
        return _floats(named, found.where)
    ids = {plain_name(name): i for i, name in enumerate(task.labels)}
    if are_placeholders(task.labels):  # LABEL_0, .. say nothing: then numbers are ids
        ids |= {str(i): i for i in range(task.num_labels)}
        ids |= {plain_name(name): i for i, name in enumerate(found.names[: task.num_labels])}
    unknown = sorted({name for name in named if plain_name(name) not in ids})
    if unknown:
        more = f" and {len(unknown) - 3} more" if len(unknown) > 3 else ""
        raise ValueError(
            f"{found.where}: label {', '.join(map(repr, unknown[:3]))}{more} is none of "
            f"{', '.join(task.labels)}: mend the data, or name the outputs with --labels"
        )
    return np.array([ids[plain_name(name)] for name in named], np.int32)


def _floats(named: Sequence[str], where: str) -> np.ndarray:
    numbers = np.full(len(named), np.nan)
    for i, name in enumerate(named):
        if not NUMBER.fullmatch(name):
            break
        numbers[i] = float(name)
    with np.errstate(over="ignore"):
        single = numbers.astype(np.float32)
    if not np.isfinite(single).all():
        i = int(np.flatnonzero(~np.isfinite(single))[0])
        raise ValueError(f"{where}: row {i + 1} has label {named[i]!r}: give a finite number")
    distinct = len(np.unique(numbers))
    if len(np.unique(single)) < distinct:
        raise ValueError(
            f"{where}: some labels differ by less than 32-bit numbers can tell: take their mean "
            "away, or scale them"
        )
    if distinct == 1 and len(named) > 1:
        raise ValueError(f"{where}: all labels are {named[0]}: nothing can be correlated with them")
    return single
