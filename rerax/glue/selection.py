"""Which examples of a data set a model sees. No JAX here."""

import json
import re
import warnings
from dataclasses import dataclass

from rerax.glue.tasks import Task, find_task
from rerax.io import at_home

HUB = "nyu-mll/glue"
FEWEST_TOKENS = 4
MOST_TOKENS = 128
"""Of an example, unless more or fewer are asked for or the model has fewer positions."""
_SPLIT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


@dataclass(frozen=True)
class Selection:
    """Which examples a model sees, and what its outputs are called.

    Attributes:
        data: folder with <task>/<split>.parquet, or hub id; of a task of one's own a folder with
            <split>.csv, .tsv, .jsonl or .parquet, a file, or a hub id.
        split: name of the split.
        max_examples: use only the first so many; None for all.
        max_length: most tokens of an example; None as `length` says.
        labels: names of the outputs in order, where the model's config.json has others.
        text, text_pair, label: columns of a task of one's own; None: `text`, none and `label`.

    Raises:
        ValueError: no name of a split, or numbers that no data set and no model can meet.
    """

    data: str = HUB
    split: str = "validation"
    max_examples: int | None = None
    max_length: int | None = None
    labels: tuple[str, ...] | None = None
    text: str | None = None
    text_pair: str | None = None
    label: str | None = None

    def __post_init__(self) -> None:
        if str(self.data).startswith("~"):
            object.__setattr__(self, "data", str(at_home(self.data)))
        if not _SPLIT.fullmatch(self.split):
            raise ValueError(
                f"split {self.split!r} is no name of a split: give one such as validation, and "
                "--max-examples for a part of it"
            )
        for name, value, least in (
            ("max-examples", self.max_examples, 1),
            ("max-length", self.max_length, FEWEST_TOKENS),
        ):
            if value is not None and value < least:
                raise ValueError(f"{name} {value} is too few: give at least {least}")

    def task(self, name: str) -> Task:
        """Find the task of that name, with the columns that were asked for.

        Raises:
            ValueError: unknown name, or columns for a task of GLUE, which has its own.
        """
        pair = [] if self.text_pair is None else [self.text_pair]
        columns = ("text" if self.text is None else self.text, *pair)
        found = find_task(name, columns, "label" if self.label is None else self.label)
        for flag in ("text", "text_pair", "label"):
            given = getattr(self, flag)
            if found.is_glue and given is not None:
                said = flag.replace("_", "-")
                raise ValueError(
                    f"{said} {given!r} with {name}, which has its own columns: leave it out, or "
                    "give a task NAME:METRIC"
                )
        read = [*found.fields, found.label]
        if not found.is_glue and len(set(read)) < len(read):
            raise ValueError(
                f"columns {', '.join(read)} are not all different: give --text, --text-pair and "
                "--label a column each"
            )
        if not found.is_glue and self.data == HUB:
            raise ValueError(f"{name} has no data: give --data FILE, FOLDER or hub id")
        return found

    def length(self, positions: int) -> int:
        """Find the most tokens of an example: as asked, else 128 or as many as there are positions.

        The lesser of the two is said, since sentences may be cut there.

        Args:
            positions: of the model.

        Raises:
            ValueError: more than the model has, or too few for a sentence.
        """
        max_length = min(MOST_TOKENS, positions) if self.max_length is None else self.max_length
        if self.max_length is None and max_length < MOST_TOKENS:
            warnings.warn(
                f"max-length is {max_length}, all positions of the model: longer sentences are cut",
                stacklevel=3,
            )
        check_length(max_length, positions)
        return max_length

    def request(self, task: Task) -> str:
        """Name the examples of a task, as folders do that keep the hash of what the hub had."""
        most = f"max-examples={self.max_examples} max-length={self.max_length}"
        said = f"{self.data} {task.name} {self.split} {most}"
        # labels of one's own are counted by the model's names for them
        own = {"fields": task.fields, "label": task.label, "labels": task.labels}
        return said if task.is_glue else f"{said} {json.dumps(own)}"


def check_length(max_length: int, positions: int) -> None:
    """Refuse a sequence length that the model has no positions for."""
    if not FEWEST_TOKENS <= max_length <= positions:
        raise ValueError(
            f"max-length {max_length} is outside {FEWEST_TOKENS}..{positions}, the model's "
            "positions: give one in the range"
        )
