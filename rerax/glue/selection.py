"""Which examples of a data set a model sees. No JAX here."""

import re
import warnings
from dataclasses import dataclass

HUB = "nyu-mll/glue"
FEWEST_TOKENS = 4
MOST_TOKENS = 128
"""Of an example, unless more or fewer are asked for or the model has fewer positions."""
_SPLIT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


@dataclass(frozen=True)
class Selection:
    """Which examples a model sees, and what its outputs are called.

    Attributes:
        data: folder with <task>/<split>.parquet, or hub id.
        split: name of the split.
        max_examples: use only the first so many; None for all.
        max_length: most tokens of an example; None as `length` says.
        labels: names of the outputs in order, where the model's config.json has others.

    Raises:
        ValueError: no name of a split, or numbers that no data set and no model can meet.
    """

    data: str = HUB
    split: str = "validation"
    max_examples: int | None = None
    max_length: int | None = None
    labels: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
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

    def request(self, task: str) -> str:
        """Name the examples of a task, as folders do that keep the hash of what the hub had."""
        most = f"max-examples={self.max_examples} max-length={self.max_length}"
        return f"{self.data} {task} {self.split} {most}"


def check_length(max_length: int, positions: int) -> None:
    """Refuse a sequence length that the model has no positions for."""
    if not FEWEST_TOKENS <= max_length <= positions:
        raise ValueError(
            f"max-length {max_length} is outside {FEWEST_TOKENS}..{positions}, the model's "
            "positions: give one in the range"
        )
