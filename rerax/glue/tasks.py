"""Tasks: the nine of GLUE in the columns of `nyu-mll/glue`, and those of one's own. No JAX here."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from rerax.values import shown


@dataclass(frozen=True)
class Task:
    """What a model answers, and how its answers are scored.

    Attributes:
        name: GLUE's configuration name, or NAME:METRIC.
        fields: columns of its one or two sentences.
        labels: label names in the order of their ids; empty for regression.
        metrics: columns of results that it fills beside `score`.
        scored_by: those of them whose mean is the score.
        label: column of the labels.
        is_glue: whether it is one of the nine; labels of others are those of model and data.
    """

    name: str
    fields: tuple[str, ...]
    labels: tuple[str, ...]
    metrics: tuple[str, ...] = ("accuracy",)
    scored_by: tuple[str, ...] = ("accuracy",)
    label: str = "label"
    is_glue: bool = True

    @property
    def is_regression(self) -> bool:
        """Whether the label is a number (stsb)."""
        return "pearson" in self.metrics

    @property
    def num_labels(self) -> int:
        """Outputs that a model for the task needs."""
        return len(self.labels) or 1

    @property
    def lowest_score(self) -> float:
        """The worst score there can be: -1 for correlations, else 0."""
        return -1.0 if {"matthews", "pearson"} & set(self.metrics) else 0.0

    def parts(self, split: str) -> tuple[str, ...]:
        """List the files that a split is made of: mnli has a matched and a mismatched one."""
        if self.name == "mnli" and split in ("validation", "test"):
            return (f"{split}_matched", f"{split}_mismatched")
        return (split,)

    def with_labels(self, labels: Sequence[str]) -> "Task":
        """Give a task of one's own its labels; one of GLUE has them.

        Raises:
            ValueError: too few labels, one twice, or a metric that is not for so many.
        """
        if self.is_glue:
            return self
        metric, names = self.name.rpartition(":")[2], tuple(labels)
        if self.is_regression:
            if len(names) > 1:
                raise ValueError(
                    f"metric {metric} is for numbers, and there are {len(names)} labels "
                    f"({', '.join(names)}): use one of {', '.join(CLASS_METRICS)}"
                )
            return self
        if len(names) < 2:
            raise ValueError(
                f"metric {metric} is for two labels or more, and there is {len(names)}: use "
                "pearson_spearman for numbers"
            )
        if len(set(map(plain_name, names))) < len(names):
            raise ValueError(f"labels {', '.join(names)} are not told apart: name each otherwise")
        if metric == "f1" and len(names) > 2:
            raise ValueError(
                f"metric f1 is that of the second of two labels, and there are {len(names)}: use "
                "macro_f1"
            )
        return replace(self, labels=names)


def plain_name(label: str) -> str:
    """Write a label so that case, `-` and space do not count."""
    return label.strip().casefold().replace("-", "_").replace(" ", "_")


_PAIR = ("sentence1", "sentence2")
_ENTAILMENT = ("entailment", "not_entailment")
_ACCURACY_AND_F1 = (("accuracy", "f1"),) * 2
_CORRELATIONS = (("pearson", "spearman"),) * 2

TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        Task(
            "cola",
            ("sentence",),
            ("unacceptable", "acceptable"),
            ("accuracy", "matthews"),
            ("matthews",),
        ),
        Task("sst2", ("sentence",), ("negative", "positive")),
        Task("mrpc", _PAIR, ("not_equivalent", "equivalent"), *_ACCURACY_AND_F1),
        Task("stsb", _PAIR, (), *_CORRELATIONS),
        Task(
            "qqp",
            ("question1", "question2"),
            ("not_duplicate", "duplicate"),
            *_ACCURACY_AND_F1,
        ),
        Task(
            "mnli",
            ("premise", "hypothesis"),
            ("entailment", "neutral", "contradiction"),
            ("accuracy", "accuracy_mismatched"),
        ),
        Task("qnli", ("question", "sentence"), _ENTAILMENT),
        Task("rte", _PAIR, _ENTAILMENT),
        Task("wnli", _PAIR, ("not_entailment", "entailment")),
    )
}

METRICS = (
    *("accuracy", "f1", "matthews", "pearson", "spearman", "accuracy_mismatched"),
    "macro_f1",
)
"""All metric columns of all tasks."""

CLASS_METRICS = ("accuracy", "f1", "macro_f1", "matthews")
OWN_METRICS = (*CLASS_METRICS, "pearson_spearman")
"""Scores of tasks of one's own: of labels, and of numbers."""
_OWN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


def find_task(name: str, columns: tuple[str, ...] = ("text",), label: str = "label") -> Task:
    """Find the task of GLUE of that name, or make the one of one's own that NAME:METRIC says.

    Args:
        name: its name.
        columns: of a task of one's own, the columns of its one or two sentences.
        label: the column of its labels.

    Raises:
        ValueError: unknown name or metric; the known ones are listed.
    """
    if isinstance(name, str) and name in TASKS:
        return TASKS[name]
    own, colon, metric = name.partition(":") if isinstance(name, str) else ("", "", "")
    if colon and own in TASKS:
        raise ValueError(
            f"task {shown(name)}: {own} is GLUE's and has its own score: leave the metric out, or "
            "call the task otherwise"
        )
    if not colon or not _OWN.fullmatch(own):
        raise ValueError(
            f"unknown task {shown(name)}: use one of {', '.join(TASKS)}, or NAME with a metric "
            f"({', '.join(OWN_METRICS)}) for data of your own: NAME:METRIC"
        )
    if metric not in OWN_METRICS:
        raise ValueError(f"unknown metric {shown(metric)}: use one of {', '.join(OWN_METRICS)}")
    if metric == "pearson_spearman":
        return Task(name, columns, (), *_CORRELATIONS, label, is_glue=False)
    metrics = tuple(dict.fromkeys(("accuracy", metric)))
    return Task(name, columns, (), metrics, (metric,), label, is_glue=False)
