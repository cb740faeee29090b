"""GLUE examples: from Parquet or the hub, through the tokenizer."""

import hashlib
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from rerax.glue import own
from rerax.glue.label_order import check_file_names
from rerax.glue.selection import HUB, Selection, check_length
from rerax.glue.tables import is_text, without_categories
from rerax.glue.tasks import Task, find_task
from rerax.glue.tokenizer_fit import case_warning, check_files


@dataclass(frozen=True)
class Split:
    """Sentences and labels of a split, in its own order.

    Attributes:
        texts: one tuple of sentences for each of the task's fields.
        labels: int32 GLUE ids, float32 for regression.
        parts: (name, examples) of the files it is made of.
    """

    texts: tuple[tuple[str, ...], ...]
    labels: np.ndarray
    parts: tuple[tuple[str, int], ...]

    @property
    def words(self) -> int:
        """Words of all sentences, as spaces part them."""
        return sum(len(text.split()) for field in self.texts for text in field)

    def digest(self, max_length: int) -> str:
        """Hash of all that decides which examples a model sees."""
        hasher = hashlib.sha256(repr((self.parts, max_length)).encode())
        hasher.update(repr(self.texts).encode())
        hasher.update(self.labels.tobytes())
        return hasher.hexdigest()


@dataclass(frozen=True)
class Examples:
    """Tokenised examples.

    Attributes:
        ids: token ids of each example, special tokens included.
        types: segment ids of each example, as long as its ids.
    """

    ids: Sequence[np.ndarray]
    types: Sequence[np.ndarray]

    def __len__(self) -> int:
        return len(self.ids)


def read_split(
    task: Task | str,
    data: str | Path = HUB,
    split: str = "validation",
    max_examples: int | None = None,
) -> Split:
    """Read the sentences and labels of one split.

    Args:
        task: the task, or its name.
        data: a folder that holds <task>/<split>.parquet, or a hub id.
        split: name of the split; mnli's `validation` is both its dev sets, the mismatched one
            only where the folder has it.
        max_examples: keep this many from the beginning of each part.

    Raises:
        ValueError: no such folder, split or column; labels outside the task's, or none; the hub
            out of reach. Each says what to do.
    """
    task = task if isinstance(task, Task) else find_task(task)
    Selection(str(data), split, max_examples)  # raises
    if not task.is_glue:
        return _read_own(task, str(data), split, max_examples)
    tables = {}
    for i, part in enumerate(task.parts(split)):
        table = _read_part(task, data, part, optional=i > 0)
        if table is not None:
            tables[part] = table.slice(0, min(max_examples or len(table), len(table)))
    texts: list[list[str]] = [[] for _ in task.fields]
    labels, parts = [], []
    for part, table in tables.items():
        labels.append(_checked_labels(task, table, f"{data} {task.name}/{part}"))
        for column, field in zip(texts, task.fields, strict=True):
            column += table[field].to_pylist()
        parts.append((part, table.num_rows))
    return Split(tuple(map(tuple, texts)), np.concatenate(labels), tuple(parts))


def own_labels(task: Task, data: str | Path, split: str) -> tuple[str, ...]:
    """List the labels that a split of a task of one's own has.

    Raises:
        ValueError: as `read_split` does.
    """
    return own.labels_of(own.read_own(task, str(data), split, _table_of_hub))


def _read_own(task: Task, data: str, split: str, max_examples: int | None) -> Split:
    """Read a split of a task of one's own, whose labels are known."""
    found = own.read_own(task, data, split, _table_of_hub)
    most = slice(0, max_examples)
    labels = own.label_numbers(task, found._replace(labels=found.labels[most]))
    part = Path(data).stem if Path(data).is_file() else split
    return Split(tuple(texts[most] for texts in found.texts), labels, ((part, len(labels)),))


def _read_part(task: Task, data: str | Path, part: str, optional: bool) -> pa.Table | None:
    where = f"{data} {task.name}/{part}"
    table = _from_folder(task, Path(data), part) if Path(data).is_dir() else None
    if table is None and Path(data).is_dir():
        if optional:
            return None
        here = sorted(p.stem for p in (Path(data) / task.name).glob("*.parquet"))
        raise ValueError(
            f"{where}: no such split, the folder has {', '.join(here) or 'none'}: put "
            f"{task.name}/{part}.parquet there, or choose another split"
        )
    if table is None:
        table = _from_hub(task, str(data), part)
        check_columns(task, table.column_names, where)
    table = _task_columns(task, table)
    if not table.num_rows:
        raise ValueError(f"{where} has no examples: give a split with at least one")
    for field in task.fields:
        if table[field].type != pa.large_string():
            raise ValueError(f"{where}: column {field} is {table[field].type}: it must be text")
        if table[field].null_count:
            raise ValueError(f"{where}: column {field} has empty entries: fill or drop those rows")
    return table


def check_columns(task: Task, columns: Sequence[str], where: str) -> None:
    """Refuse a table that lacks a column of the task, or has one twice.

    Raises:
        ValueError: which, and what to do.
    """
    wanted = (*task.fields, "label")
    missing = [name for name in wanted if name not in columns]
    if missing:
        raise ValueError(
            f"{where}: no column {', '.join(missing)} among {', '.join(columns)}: use the columns "
            f"of {HUB}"
        )
    twice = [name for name in wanted if columns.count(name) > 1]
    if twice:
        raise ValueError(f"{where}: column {twice[0]} is there twice: leave one of them")


def _task_columns(task: Task, table: pa.Table) -> pa.Table:
    """Take the task's columns without categories, text as large strings however Arrow holds it."""
    found = {}
    for name in (*task.fields, "label"):
        column = without_categories(table[name])
        text = name != "label" and is_text(column.type)
        found[name] = column.cast(pa.large_string()) if text else column
    return pa.table(found)


def _from_folder(task: Task, data: Path, part: str) -> pa.Table | None:
    folder = data / task.name
    files = sorted(folder.glob(f"{part}.parquet")) or sorted(folder.glob(f"{part}-*.parquet"))
    if not files:
        return None
    try:
        tables = [_read_file(task, file) for file in files]
    except (pa.ArrowException, OSError) as error:
        line = str(error).splitlines()[0]
        raise ValueError(f"{files[0]} is no readable Parquet ({line}): fetch it again") from None
    try:
        return pa.concat_tables(tables)
    except pa.ArrowException:
        kinds = sorted({str(table["label"].type) for table in tables})
        raise ValueError(
            f"{files[0]} and the files beside it have labels of different kinds "
            f"({', '.join(kinds)}): write them alike"
        ) from None


def _read_file(task: Task, file: Path) -> pa.Table:
    """Read the task's columns of one file; what else is in it may be anything."""
    parquet = pq.ParquetFile(file)
    check_columns(task, parquet.schema_arrow.names, str(file))
    table = parquet.read(columns=[*task.fields, "label"])
    check_file_names(task, parquet.schema_arrow.metadata, str(file))
    return _task_columns(task, table)


def _from_hub(task: Task, data: str, part: str) -> pa.Table:
    if data.startswith((".", "/", "~")) or data.count("/") > 1:
        raise ValueError(f"data {data!r} is not a folder: give one with {task.name}/{part}.parquet")
    table = _table_of_hub(data, part, task.name)
    check_file_names(task, table.schema.metadata, f"{data} {task.name}/{part}")
    return table


def _table_of_hub(data: str, part: str, config: str | None = None) -> pa.Table:
    """Fetch a split of a data set of the hub, of one of its configurations where it has several.

    Raises:
        ValueError: it could not be had.
    """
    what, there = part, "FILE, or a folder with such files"
    if config is not None:
        what, there = f"{config}/{part}", f"DIR with {config}/{part}.parquet"
    from huggingface_hub.utils import logging as hub_logging

    verbosity = hub_logging.get_verbosity()
    hub_logging.set_verbosity_error()  # it would tell of every retry, and we of the outcome
    try:
        import datasets

        dataset = datasets.load_dataset(data, config, split=part)
    except Exception as error:
        raise ValueError(
            f"data {data!r} is no folder here and {what} could not be had from the hub "
            f"({type(error).__name__}): give --data {there}"
        ) from error
    finally:
        hub_logging.set_verbosity(verbosity)
    table = dataset.data.table.combine_chunks()
    return table.replace_schema_metadata(dataset.features.arrow_schema.metadata)


def _checked_labels(task: Task, table: pa.Table, where: str) -> np.ndarray:
    try:
        if pa.types.is_temporal(table["label"].type):  # which NumPy would count in days or seconds
            raise TypeError
        labels = table["label"].to_numpy().astype(np.float64)
    except (pa.ArrowException, ValueError, TypeError):
        raise ValueError(
            f"{where}: labels are {table['label'].type}: they must be numbers"
        ) from None
    if np.isnan(labels).any() or (labels == -1).all():
        raise ValueError(f"{where} has no labels: choose a split with labels, such as validation")
    if task.is_regression:
        wrong = labels[(labels < 0) | (labels > 5)]
        rule = "scores from 0 to 5"
    else:
        wrong = labels[~np.isin(labels, np.arange(task.num_labels))]
        rule = ", ".join(f"{i} ({name})" for i, name in enumerate(task.labels))
    if wrong.size:
        raise ValueError(f"{where}: label {wrong[0]:g} is not one of the task's: use {rule}")
    return labels.astype(np.float32 if task.is_regression else np.int32)


def has_tokenizer(directory: Path) -> bool:
    """Whether a directory holds a tokenizer, or the vocabulary of one."""
    names = ("tokenizer.json", "vocab.txt", "vocab.json")
    return any((directory / name).is_file() for name in names)


def load_tokenizer(directory: str | Path) -> Any:
    """Load the Hugging Face tokenizer of a model directory.

    Raises:
        ValueError: the directory holds none, or one that cannot be read.
    """
    directory = Path(directory)
    if not has_tokenizer(directory):
        raise ValueError(
            f"{directory} has no tokenizer: put its tokenizer.json there, or its vocabulary"
        )
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(str(directory))
    except Exception as error:
        raise ValueError(
            f"{directory} has a tokenizer that cannot be read ({type(error).__name__}): fetch its "
            "tokenizer.json or its vocabulary again"
        ) from error
    if not hasattr(tokenizer, "backend_tokenizer"):
        raise ValueError(
            f"{directory} has a tokenizer that transformers runs in Python "
            f"({type(tokenizer).__name__}): only those of a tokenizer.json are supported"
        )
    check_files(directory, tokenizer)
    warning = case_warning(directory, tokenizer)
    if warning:
        warnings.warn(warning, stacklevel=2)
    return tokenizer


def tokenise(
    split: Split, tokenizer: Any, *, max_length: int, positions: int, vocab_size: int
) -> Examples:
    """Tokenise a split, cut to `max_length` by shortening the longer sentence first.

    Args:
        split: the sentences.
        tokenizer: a Hugging Face tokenizer.
        max_length: most tokens an example may have, special ones included.
        positions: position embeddings of the model, which bound `max_length`.
        vocab_size: word embeddings of the model, which bound the token ids.

    Raises:
        ValueError: `max_length` out of range, or a token id beyond the vocabulary.
    """
    check_length(max_length, positions)
    encoded = tokenizer(
        *map(list, split.texts),
        truncation="longest_first" if len(split.texts) > 1 else True,
        max_length=max_length,
        return_token_type_ids=True,
    )
    ids = [np.array(row, np.int32) for row in encoded["input_ids"]]
    check_ids(ids, vocab_size)
    types = [np.array(row, np.int32) for row in encoded["token_type_ids"]]
    if "token_type_ids" not in tokenizer.model_input_names:  # then transformers passes none
        if "model_input_names" not in tokenizer.init_kwargs and any(row.any() for row in types):
            warnings.warn(
                "the tokenizer passes no segment ids, as transformers has it for its class: if the "
                'model was trained with them, put "model_input_names": ["input_ids", '
                '"token_type_ids", "attention_mask"] into its tokenizer_config.json',
                stacklevel=2,
            )
        types = [np.zeros_like(row) for row in ids]
    return Examples(ids, types)


def check_ids(ids: Sequence[np.ndarray], vocab_size: int) -> None:
    """Refuse token ids beyond the vocabulary, which a look-up would silently clamp."""
    for i, row in enumerate(ids):
        if len(row) == 0:
            raise ValueError(f"example {i} has no tokens: give at least one")
        wrong = row[(row < 0) | (row >= vocab_size)]
        if wrong.size:
            raise ValueError(
                f"example {i} has token id {wrong[0]}, beyond the vocabulary of {vocab_size}: "
                "use the model's own tokenizer"
            )
