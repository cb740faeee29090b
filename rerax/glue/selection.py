"""Which examples of a data set a model sees. No JAX here."""

import re
import warnings

HUB = "nyu-mll/glue"
FEWEST_TOKENS = 4
MOST_TOKENS = 128
"""Of an example, unless more or fewer are asked for or the model has fewer positions."""
_SPLIT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


def check_request(split: str, max_examples: int | None, max_length: int | None = None) -> None:
    """Refuse what no data set and no model can give, before either is read.

    Raises:
        ValueError: no name of a split, or numbers that are too small.
    """
    if not _SPLIT.fullmatch(split):
        raise ValueError(
            f"split {split!r} is no name of a split: give one such as validation, and "
            "--max-examples for a part of it"
        )
    for name, value, least in (
        ("max-examples", max_examples, 1),
        ("max-length", max_length, FEWEST_TOKENS),
    ):
        if value is not None and value < least:
            raise ValueError(f"{name} {value} is too few: give at least {least}")


def length_limit(max_length: int | None, positions: int) -> int:
    """Most tokens of an example: as asked, else 128 or as many as the model has positions.

    The lesser of the two is said, since sentences may be cut there.

    Args:
        max_length: what was asked; None if nothing was.
        positions: the model's.

    Raises:
        ValueError: more than the model has, or too few for a sentence.
    """
    if max_length is None:
        max_length = min(MOST_TOKENS, positions)
        if max_length < MOST_TOKENS:
            warnings.warn(
                f"max-length is {max_length}, all positions of the model: longer sentences are cut",
                stacklevel=3,
            )
    check_length(max_length, positions)
    return max_length


def check_length(max_length: int, positions: int) -> None:
    """Refuse a sequence length that the model has no positions for."""
    if not FEWEST_TOKENS <= max_length <= positions:
        raise ValueError(
            f"max-length {max_length} is outside {FEWEST_TOKENS}..{positions}, the model's "
            "positions: give one in the range"
        )
