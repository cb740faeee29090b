"""The nine GLUE tasks in the column layout of the hub's `nyu-mll/glue`. No JAX here."""

from dataclasses import dataclass

from rerax.values import shown


@dataclass(frozen=True)
class Task:
    """One GLUE task.

    Attributes:
        name: its configuration name.
        fields: columns of its one or two sentences.
        labels: label names in the order of GLUE's ids; empty for regression.
        metrics: columns of results that it fills beside `score`.
    """

    name: str
    fields: tuple[str, ...]
    labels: tuple[str, ...]
    metrics: tuple[str, ...] = ("accuracy",)

    @property
    def is_regression(self) -> bool:
        """Whether the label is a number (stsb)."""
        return not self.labels

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


_PAIR = ("sentence1", "sentence2")
_ENTAILMENT = ("entailment", "not_entailment")

TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        Task("cola", ("sentence",), ("unacceptable", "acceptable"), ("accuracy", "matthews")),
        Task("sst2", ("sentence",), ("negative", "positive")),
        Task("mrpc", _PAIR, ("not_equivalent", "equivalent"), ("accuracy", "f1")),
        Task("stsb", _PAIR, (), ("pearson", "spearman")),
        Task(
            "qqp",
            ("question1", "question2"),
            ("not_duplicate", "duplicate"),
            ("accuracy", "f1"),
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

METRICS = ("accuracy", "f1", "matthews", "pearson", "spearman", "accuracy_mismatched")
"""All metric columns of all tasks."""


def find_task(name: str) -> Task:
    """Find the task of that name.

    Raises:
        ValueError: unknown name; the known ones are listed.
    """
    if not isinstance(name, str) or name not in TASKS:
        raise ValueError(f"unknown task {shown(name)}: use one of {', '.join(TASKS)}")
    return TASKS[name]
