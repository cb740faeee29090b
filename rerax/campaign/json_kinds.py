"""Kinds of values in JSON files: whether what was read is what its readers take."""

import math
from collections.abc import Mapping
from typing import Any


def fits(value: Any, kind: Any) -> bool:
    """Tell whether a value of a JSON file is of the kind that its readers take.

    Args:
        value: the value.
        kind: a type or predicate; None; a tuple of kinds, of which one fits; [kind of entries];
            {str: kind of all values}, or {name: kind} with `?` behind what may be missing.
    """
    if isinstance(kind, tuple):
        return any(fits(value, one) for one in kind)
    if isinstance(kind, list):
        return type(value) is list and all(fits(entry, kind[0]) for entry in value)
    if isinstance(kind, Mapping):
        if type(value) is not dict:
            return False
        if str in kind:
            return all(fits(entry, kind[str]) for entry in value.values())
        return all(
            fits(value[key], one) if (key := name.rstrip("?")) in value else name != key
            for name, one in kind.items()
        )
    if kind is None or isinstance(kind, type):
        return value is None if kind is None else type(value) is kind
    return kind(value)


def is_count(value: Any) -> bool:
    return type(value) is int and value >= 0


def is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def is_amount(value: Any) -> bool:
    return is_number(value) and value >= 0


def is_positive(value: Any) -> bool:
    return is_number(value) and float(str(value)) > 0
