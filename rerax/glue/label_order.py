"""Which label each output of a model means: by its name, and by a look at its answers. No JAX."""

import math
import warnings
from collections.abc import Mapping, Sequence
from itertools import permutations

import numpy as np

from rerax.glue.own import file_names
from rerax.glue.tasks import Task, plain_name
from rerax.models.bert.config import are_placeholders

ALARM = 1e-6
"""Probability, by chance, of answers that are taken for those of permuted labels."""
MOST_CLASSES = 5
"""Up to so many, all orders of the labels are tried."""
ENOUGH = 50
"""Examples from which on it is told that all answers are the same."""


def named_order(task: Task, names: Sequence[str]) -> tuple[int, ...] | None:
    """Find the GLUE label id of each output by its name.

    Args:
        task: the task.
        names: names of the outputs in order; case does not count, and `-` and space are `_`.

    Returns:
        One id for each output; None where the names are not the task's labels, each once.
    """
    if task.is_regression:
        return (0,) if len(names) == 1 else None
    known = {plain_name(name): i for i, name in enumerate(task.labels)}
    given = list(map(plain_name, names))
    return tuple(known[name] for name in given) if sorted(given) == sorted(known) else None


def warn_of_f1(task: Task, named: str) -> None:
    """Say which label a task of one's own has the F1 of, where it has one."""
    if not task.is_glue and "f1" in task.metrics:
        warnings.warn(f"{named} is the F1 of label {task.labels[1]!r}", stacklevel=3)


def label_order(
    task: Task, names: Sequence[str], override: Sequence[str] | None = None
) -> tuple[tuple[int, ...], str | None]:
    """Find the GLUE label id that each output of a model means.

    Args:
        task: the task.
        names: the model's own output names.
        override: names given by the user for the outputs, in order; they win.

    Returns:
        One GLUE id for each output, and a warning where the outputs are called LABEL_0, LABEL_1,
        .. and GLUE's own order was taken.

    Raises:
        ValueError: a number of outputs, or names, that do not fit the task.
    """
    if len(names) != task.num_labels:
        raise ValueError(
            f"the model has {len(names)} outputs, {task.name} needs {task.num_labels}: give a "
            f"model fine-tuned on {task.name}"
        )
    check_override(task, override)
    order = named_order(task, override or names)
    if order is not None:
        return order, None
    known = ", ".join(task.labels)
    if not are_placeholders(names):
        raise ValueError(
            f"the model's outputs are named {', '.join(names)}, {task.name}'s labels {known}: give "
            f"--labels (order= in Python) with {task.name}'s names in the order of the outputs"
        )
    return tuple(range(task.num_labels)), (
        f"the model's outputs are named {', '.join(names)}, which says nothing: taken in GLUE's "
        f"order {known} (--labels overrides)"
    )


def check_override(task: Task, override: Sequence[str] | None) -> None:
    """Refuse names of outputs that are not the task's labels, each once.

    Raises:
        ValueError: which, and what to give.
    """
    if override and task.is_regression:
        raise ValueError(f"labels {','.join(override)}: {task.name} has none, leave them out")
    if override and named_order(task, override) is None:
        raise ValueError(
            f"labels {','.join(override)} are not {task.name}'s: give {','.join(task.labels)} in "
            "the order of the model's outputs"
        )


def check_file_names(task: Task, metadata: Mapping[bytes, bytes] | None, where: str) -> None:
    """Refuse a file whose own names of the label ids are not GLUE's in GLUE's order.

    Args:
        task: the task.
        metadata: of the Parquet schema, where Hugging Face's `datasets` keeps such names.
        where: name of the file.

    Raises:
        ValueError: other names, or the task's in another order.
    """
    names = file_names(metadata or {})
    numbers = [str(i) for i in range(len(names))]
    if not names or are_placeholders(names) or names == numbers:
        return
    order = None if task.is_regression else named_order(task, names)
    if order == tuple(range(task.num_labels)):
        return
    known = ", ".join(task.labels) or "none, but scores from 0 to 5"
    fix = "give a file of the task, or drop the names from it if the labels are right"
    if order is not None:
        fix = "bring them into GLUE's order (datasets: align_labels_with_mapping)"
    raise ValueError(
        f"{where}: labels are named {', '.join(names)} in the file, {task.name}'s are {known}: "
        f"{fix}"
    )


def check_answers(
    task: Task, order: Sequence[int], answers: np.ndarray, labels: np.ndarray
) -> str | None:
    """Refuse answers that tell of permuted labels.

    The answers of one class are taken for permuted where they hit that class so rarely that
    drawing as many examples at random would do so with a probability below `ALARM` (divided by
    the classes), and where another order of the labels agrees better. Classes are looked at one
    by one because two of three that are swapped still agree about as often as chance does.

    Args:
        task: the task.
        order: GLUE label id of each output.
        answers: the fault-free model's GLUE label of each example, -1 for none.
        labels: the right ones.

    Returns:
        A warning where the answers to `ENOUGH` examples are all the same, or None. For wnli the
        refusal too is only a warning: its validation split contradicts its training split, so
        that a model may well answer worse than chance; and for a task of one's own, whose labels
        go by name, so that a model which has learned little is the likelier reason.

    Raises:
        ValueError: permuted labels; names the order that agrees best.
    """
    if task.is_regression:
        return None
    classes, total = range(task.num_labels), len(labels)
    table = [[int(np.sum((answers == a) & (labels == b))) for b in classes] for a in classes]
    given, right = [sum(row) for row in table], [int(np.sum(labels == b)) for b in classes]
    if total >= ENOUGH and max(given) == total and max(right) < total:
        return (
            f"the model answers {task.labels[given.index(total)]} to all {total} examples without "
            "any fault: its scores tell little of faults"
        )
    if task.num_labels > MOST_CLASSES:
        return None
    agreed = {meant: sum(table[c][meant[c]] for c in classes) for meant in permutations(classes)}
    best = max(agreed, key=agreed.__getitem__)
    now, then = agreed[tuple(classes)], agreed[best]
    chance = min(_at_most(table[c][c], given[c], right[c], total) for c in classes)
    if chance * task.num_labels >= ALARM or then <= now:
        return None
    better = tuple(best[label] for label in order)
    names, kept = (",".join(task.labels[label] for label in ids) for ids in (better, order))
    message = (
        f"labels are probably permuted: {now} of {total} answers are right as they are read, "
        f"worse than by chance, and {then} with --labels {names} (order={better} in Python): give "
        f"that, or --labels {kept} (order={tuple(order)}) to keep them"
    )
    if task.name == "wnli" or not task.is_glue:
        return message
    raise ValueError(message)


def _at_most(hits: int, drawn: int, marked: int, total: int) -> float:
    """Compute P(at most so many hits) among examples drawn without looking (hypergeometric).

    1 where `hits` is no fewer than expected.
    """
    if hits * total >= drawn * marked:
        return 1.0

    def log_choose(n: int, k: int) -> float:
        return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)

    ways = log_choose(marked, hits) + log_choose(total - marked, drawn - hits)
    term, tail = math.exp(ways - log_choose(total, drawn)), 0.0
    for j in range(hits, -1, -1):  # term is 0 from where there is no way on
        tail += term
        term *= j * (total - marked - drawn + j) / ((marked - j + 1) * (drawn - j + 1))
    return tail
