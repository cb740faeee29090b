"""What callers give as examples, labels and their order, checked. No JAX here."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from rerax.glue.data import Examples, check_ids
from rerax.glue.label_order import label_order
from rerax.glue.tasks import Task
from rerax.models.bert.config import BertConfig
from rerax.values import plain, type_text


def read_examples(examples: Any, vocab_size: int) -> Examples:
    """Read token ids with segment ids, zeros where none are given.

    Raises:
        ValueError: the first example that is no list of token ids of the model, or whose segment
            ids are not as many.
    """
    if isinstance(examples, Examples):
        check_ids([_tokens(i, row) for i, row in enumerate(examples.ids)], vocab_size)
        if len(examples.types) != len(examples.ids):
            raise ValueError(
                f"{len(examples.ids)} examples have {len(examples.types)} rows of segment ids: "
                "give one for each"
            )
        for i, (tokens, types) in enumerate(zip(examples.ids, examples.types, strict=True)):
            if np.shape(types) != np.shape(tokens):
                raise ValueError(
                    f"example {i} has {len(tokens)} tokens and segment ids of shape "
                    f"{np.shape(types)}: give one for each"
                )
        return examples
    ids = [_tokens(i, row) for i, row in enumerate(_as_tuple("examples", examples))]
    check_ids(ids, vocab_size)
    rows = [row.astype(np.int32) for row in ids]
    return Examples(rows, [np.zeros_like(row) for row in rows])


def check_tokens(examples: Examples, config: BertConfig, whose: str = "the model") -> None:
    """Refuse tokens that a model has no embeddings for, which look-ups would silently clamp.

    Raises:
        ValueError: too many tokens, or an id or segment id beyond the model's.
    """
    longest = max(len(row) for row in examples.ids)
    if longest > config.positions:
        raise ValueError(
            f"an example has {longest} tokens, {whose} has positions for {config.positions}: give "
            f"--max-length {config.positions}, or a model with more"
        )
    check_ids(examples.ids, config.vocab_size)
    check_segments(examples, config, whose)


def check_segments(examples: Examples, config: BertConfig, whose: str = "the model") -> None:
    """Refuse segment ids beyond the model's.

    Raises:
        ValueError: which.
    """
    most = max(int(row.max(initial=0)) for row in examples.types)
    if config.family.segments and most >= config.type_vocab_size:
        raise ValueError(
            f"segment id {most} is beyond {whose}'s {config.type_vocab_size} segment types: use a "
            "tokenizer that fits the model"
        )


def _as_tuple(name: str, value: Any) -> Sequence[Any]:
    try:
        found = tuple(map(plain, plain(value)))
    except TypeError:
        raise ValueError(f"{name} is {type_text(value)}: give a list") from None
    if not found:
        raise ValueError(f"{name} is empty: give at least one")
    return found


def _tokens(i: int, row: Any) -> np.ndarray:
    try:
        found = np.asarray(row)
    except ValueError:  # lists of unlike lengths
        found = np.zeros((0, 0))
    if found.ndim != 1 or (found.size and found.dtype.kind not in "iu"):
        raise ValueError(f"example {i} is no list of token ids: give whole numbers")
    return found


def read_labels(task: Task, labels: Any, examples: int) -> np.ndarray:
    """Read labels as an array.

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
    if task.is_regression and not task.is_glue:
        right, rule = np.isfinite(found), "finite numbers"
    elif task.is_regression:
        right, rule = (found >= 0) & (found <= 5), "scores from 0 to 5"
    else:
        right, rule = np.isin(found, np.arange(task.num_labels)), f"0 to {task.num_labels - 1}"
    if not right.all():
        raise ValueError(f"label {found[~right][0]} is not one of {task.name}'s: give {rule}")
    return found


def read_order(task: Task, names: Sequence[str], order: Any) -> tuple[int, ...]:
    """Read the GLUE label id of each output, as given or by the names in the config.

    Raises:
        ValueError: no such order, or another number of outputs than the task's.
    """
    if order is None:
        return label_order(task, names)[0]
    ids = tuple(_as_tuple("order", order))
    known = list(map(repr, range(task.num_labels)))
    if len(names) != task.num_labels or sorted(map(repr, ids)) != known:
        raise ValueError(
            f"order {ids} is not one of {task.name}'s labels for each of {len(names)} "
            f"outputs: give 0 to {task.num_labels - 1}, each once"
        )
    return ids
