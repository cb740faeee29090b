"""Scores of chips that have answered examples of their own."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool

from rerax.campaign.sample_table import SampleTable
from rerax.campaign.workload import Workload
from rerax.evaluate.sampled import SampledOutcome
from rerax.glue.metrics import predictions_of
from rerax.stats.inclusion import estimate

DIFFERENCE = "difference"
"""What rows call the estimator: the clean chip's score and the drawn examples' changes."""


def changed(
    workload: Workload, clean: Bool[np.ndarray, " E"], outcome: SampledOutcome
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Give, chip by chip, its examples, its answers, and how each differs from the clean chip's.

    Args:
        workload: the task and its labels.
        clean: which examples the clean chip gets right, in the same rows.
        outcome: what the chips have answered.
    """
    labels = workload.labels
    for examples, logits in zip(outcome.examples, outcome.logits, strict=True):
        (answers,) = predictions_of(workload.labelled_task, logits[None], workload.order)
        yield examples, answers, (answers == labels[examples]) - clean[examples].astype(float)


def estimated_scores(
    workload: Workload,
    table: SampleTable,
    clean: Bool[np.ndarray, " E"],
    outcomes: Sequence[SampledOutcome],
) -> dict[str, Any]:
    """Estimate each chip's scores (`stats.inclusion.estimate`), as columns of its row.

    Args:
        workload: the task, its labels and the parts of its split.
        table: by which the chips have drawn.
        clean: which examples the clean chip gets right, in the same rows.
        outcomes: what the chips have answered.
    """
    task, labels, chances = workload.labelled_task, workload.labels, table.by_example()
    matched = workload.parts[0][1]
    parts = {"accuracy": slice(0, matched), "accuracy_mismatched": slice(matched, None)}
    found: dict[str, list[Any]] = {
        name: [] for name in (*task.metrics, "degenerate", "examples_drawn")
    }
    for outcome in outcomes:
        for examples, answers, change in changed(workload, clean, outcome):
            changes = np.zeros(len(labels))
            changes[examples] = change
            for name in task.metrics:
                own = parts[name]
                n = len(labels[own])
                score = estimate(clean[own].mean(), changes[own], chances[own], n) if n else np.nan
                found[name].append(score)
            found["degenerate"].append(bool((answers < 0).any()))  # a few may agree by chance
            found["examples_drawn"].append(len(examples))
    columns: dict[str, Any] = {name: np.array(values) for name, values in found.items()}
    return {
        **columns,
        "score": columns["accuracy"],
        "correct": None,
        "prediction": None,
        "estimator": DIFFERENCE,
    }
