"""Names of a BERT's matrices: groups, numbers, places in the parameters, ties. No JAX here."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rerax.crossbar.array_id import ArrayId

GROUPS: dict[str, tuple[str, ...]] = {
    "encoder": ("query", "key", "value", "attention_output", "ffn_in", "ffn_out"),
    "pooler": ("pooler",),
    "classifier": ("classifier",),
    "embeddings": ("word_embeddings", "position_embeddings", "token_type_embeddings"),
}
"""What can be put on crossbars, and the matrices of each group."""

DEFAULT_GROUPS = ("encoder", "pooler", "classifier")
"""What is on crossbars unless someone says otherwise."""

NUMBERS = {
    "query": 0,
    "key": 1,
    "value": 2,
    "attention_output": 3,
    "ffn_in": 4,
    "ffn_out": 5,
    "pooler": 6,
    "classifier": 7,
    "word_embeddings": 8,
    "position_embeddings": 9,
    "token_type_embeddings": 10,
}
"""What the key of each array is made from. Fixed for ever: a change would move every fault."""

IDS = {name: ArrayId(name, (number,)) for name, number in NUMBERS.items()}

MATRICES = tuple(NUMBERS)
"""All of them, in the order in which tables and texts name them."""

GATEABLE = ("encoder", "pooler", "classifier")
"""Groups of matrices that can have gates."""

SECTIONS = ("embeddings", "encoder", "head")
"""Sections of the parameters; the leaves of `encoder` carry a leading axis of layers."""

SECTION = {
    **dict.fromkeys(GROUPS["embeddings"], "embeddings"),
    **dict.fromkeys(GROUPS["encoder"], "encoder"),
    **dict.fromkeys(("pooler", "classifier"), "head"),
}
"""Section of the parameters that holds each matrix."""

READ_TOGETHER = ("query", "key", "value")
"""Matrices that read the same input and are multiplied as one."""

TIES: dict[str, dict[str, tuple[tuple[str, str], ...]]] = {
    "none": {},
    "ffn": {"ffn_hidden": (("ffn_in", "column"), ("ffn_out", "row"))},
    "all": {
        "ffn_hidden": (("ffn_in", "column"), ("ffn_out", "row")),
        "query_key": (("query", "column"), ("key", "column")),
        "value_output": (("value", "column"), ("attention_output", "row")),
    },
}
"""Pairs of (matrix, "row" or "column") that are one dimension of the network, and so may share one
unit (`pruning.ties`)."""


def matrix_named(name: str) -> str:
    """Find the matrix that a kernel's path or the end of it names, as gates may be called.

    Example:
        >>> matrix_named("encoder/query/kernel"), matrix_named("query")
        ('query', 'query')
    """
    return name.removesuffix("/kernel").removesuffix("/table").rpartition("/")[2]


def by_matrix(gates: Mapping[str, Any]) -> dict[str, Any]:
    """Call gates by their matrices (`matrix_named`).

    Raises:
        ValueError: two names of one matrix.
    """
    found: dict[str, str] = {}
    for name in gates:
        matrix = matrix_named(name) if isinstance(name, str) else name  # refused where it is used
        other = found.setdefault(matrix, name)
        if other != name:
            raise ValueError(f"gates of {other!r} and {name!r} are both of one: name it once")
    return {matrix: gates[name] for matrix, name in found.items()}


def leaf_of(matrix: str) -> str:
    """Name the leaf that holds a matrix."""
    return "table" if SECTION[matrix] == "embeddings" else "kernel"


def matrices_of(groups: Iterable[str]) -> tuple[str, ...]:
    """List the matrices of some groups, in the order of `MATRICES`."""
    chosen = {name for group in groups for name in GROUPS[group]}
    return tuple(name for name in MATRICES if name in chosen)


def check_groups(groups: Sequence[str]) -> None:
    """Refuse groups of matrices that there are not, and none at all.

    Raises:
        ValueError: which.
    """
    known = ", ".join(GROUPS)
    if not groups:
        raise ValueError(f"matrices is empty, so nothing is on crossbars: give some of {known}")
    for group in groups:
        if group not in GROUPS:
            raise ValueError(f"unknown matrices {group!r}: use some of {known}")


def check_gateable(groups: Sequence[str]) -> None:
    """Refuse groups of matrices that cannot be gated."""
    for group in groups:
        if group not in GATEABLE:
            raise ValueError(f"gates on {group!r}: use some of {', '.join(GATEABLE)}")


def gated_shapes(params: Mapping, groups: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """List the shapes [*L, R, C] of the matrices of some groups: encoder, pooler, classifier.

    Raises:
        ValueError: a group that is unknown or cannot be gated, or none.
    """
    check_gateable(groups or ("",))
    names = [name for group in GATEABLE if group in groups for name in GROUPS[group]]
    return {name: tuple(params[SECTION[name]][name]["kernel"].shape) for name in names}
