"""Examples of one's own: any table with a column of text, perhaps a second, and one of labels."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from rerax.glue.tables import find_files, read_table
from rerax.glue.tasks import Task, plain_name
from rerax.models.bert.config import are_placeholders


def read_tables(task: Task, data: str, split: str, from_hub: Any) -> pa.Table:
    """Read the task's columns of a split, from files here or from the hub.

    Args:
        task: of one's own.
        data: file, folder or hub id.
        split: name of the split.
        from_hub: gives the table of a hub id's split.

    Raises:
        ValueError: no such data, or a column that is not there; says which are.
    """
    where = Path(data)
    files = find_files(where, split) if where.exists() else []
    tables = [(str(file), read_table(file)) for file in files] or [(data, from_hub(data, split))]
    parts = []
    for name, table in tables:
        wanted = (*task.fields, task.label)
        missing = [column for column in wanted if column not in table.column_names]
        if missing:
            raise ValueError(
                f"{name} has no column {', '.join(missing)} but {', '.join(table.column_names)}: "
                "name them with --text, --text-pair and --label"
            )
        twice = [column for column in wanted if table.column_names.count(column) > 1]
        if twice:
            raise ValueError(f"{name} has the column {twice[0]} twice: leave one of them")
        own = table.select(list(dict.fromkeys(wanted)))
        own = own.append_column("labels named", _named(own, task.label))
        parts.append(own.replace_schema_metadata(None))
    try:
        return pa.concat_tables(parts)
    except pa.ArrowException:
        raise ValueError(
            f"{files[0]} and the files beside it have columns of different kinds: write them alike"
        ) from None


def _named(table: pa.Table, label: str) -> pa.Array:
    """Name the labels: as the file does that has numbers for them, else as text."""
    column = table[label].combine_chunks()
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    names = file_names(table.schema.metadata or {}, label)
    if names and pa.types.is_integer(column.type) and not are_placeholders(names):
        ids = column.to_pylist()
        known = dict(enumerate(names))
        return pa.array([None if i is None else known.get(i, str(i)) for i in ids], pa.string())
    if pa.types.is_floating(column.type):
        return pa.array([None if x is None else repr(x) for x in column.to_pylist()], pa.string())
    return column.cast(pa.string())


def file_names(metadata: Mapping[bytes, bytes], label: str = "label") -> list[str]:
    """Read the names of label ids as `datasets` writes them; empty where there are none."""
    try:
        found: Any = json.loads(metadata[b"huggingface"])["info"]["features"][label]["names"]
    except (KeyError, TypeError, ValueError):
        return []
    return [str(name) for name in found] if isinstance(found, list) else []


def labels_in(table: pa.Table) -> tuple[str, ...]:
    """List the labels of a table: numbers by size, others by the alphabet."""
    found = {name for name in table["labels named"].to_pylist() if name is not None}
    whole = all(name.isdecimal() for name in found)
    return tuple(sorted(found, key=int if whole else None))


def read_numbers(task: Task, table: pa.Table, where: str) -> np.ndarray:
    """Read labels as the task counts them: ids, float32 for regression.

    Raises:
        ValueError: an empty label, one that is none of the task's, or no number.
    """
    named = table["labels named"].to_pylist()
    if None in named:
        raise ValueError(f"{where}: row {named.index(None) + 1} has no label: fill or drop it")
    if task.is_regression:
        return _floats(named, where)
    ids = {plain_name(name): i for i, name in enumerate(task.labels)}
    if are_placeholders(task.labels):  # LABEL_0, .. say nothing: then numbers are ids
        ids |= {str(i): i for i in range(task.num_labels)}
    unknown = sorted({name for name in named if plain_name(name) not in ids})
    if unknown:
        more = f" and {len(unknown) - 3} more" if len(unknown) > 3 else ""
        raise ValueError(
            f"{where}: label {', '.join(map(repr, unknown[:3]))}{more} is none of "
            f"{', '.join(task.labels)}: mend the data, or name the outputs with --labels"
        )
    return np.array([ids[plain_name(name)] for name in named], np.int32)


def _floats(named: Sequence[str], where: str) -> np.ndarray:
    numbers = np.full(len(named), np.nan)
    for i, name in enumerate(named):
        try:
            numbers[i] = float(name)
        except ValueError:
            break
    if not np.isfinite(numbers).all():
        i = int(np.flatnonzero(~np.isfinite(numbers))[0])
        raise ValueError(f"{where}: row {i + 1} has label {named[i]!r}: give a finite number")
    return numbers.astype(np.float32)
