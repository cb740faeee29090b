"""How quoted numbers are looked after; the numbers themselves are in `quoted.py`."""

import functools
import importlib.util
import json
import re
import sys
from collections.abc import Callable
from decimal import ROUND_HALF_UP, Decimal
from types import ModuleType
from typing import Any

import pages

from rerax.campaign import store

RESULTS = pages.ROOT / "experiments" / "results"
Says = Callable[[], str | list[str]]
QUOTES: list[tuple[str, Says]] = []


def says(*where: str) -> Callable[[Says], Says]:
    """What the function returns stands on these pages."""

    def enter(function: Says) -> Says:
        QUOTES.extend((page, function) for page in where)
        return function

    return enter


@functools.cache
def experiment(name: str) -> ModuleType:
    """The module `experiments/<name>.py`."""
    spec = importlib.util.spec_from_file_location(
        f"experiments_{name}", pages.ROOT / "experiments" / f"{name}.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look there
    spec.loader.exec_module(module)
    return module


@functools.cache
def result(name: str) -> Any:
    """A JSON file of results."""
    return json.loads((RESULTS / name).read_text(encoding="utf-8"))


@functools.cache
def rows_of(name: str) -> Any:
    """Rows of a campaign of results."""
    return store.read_rows(RESULTS / name)


def rounded(value: float, digits: int) -> str:
    """Half up in decimals, for values that were rounded before."""
    step = Decimal(1).scaleb(-digits)
    return str(Decimal(str(round(value, 9))).quantize(step, ROUND_HALF_UP))


PATTERNS = {
    r"arXiv \d{4}\.\d{5}": "a paper",
    r"Python 3\.\d+": "a version",
    r"Apache-2\.0": "a licence",
    r"95 % interval": "all intervals are of 95 %",
    r"\b95 %(?=[):,.]| \d| `|$)": "all intervals are of 95 %",
    r"SA1 : SA0 = 9\.04 : 1\.75": "the default split",
}
"""Numbers of any page that are no results, and why."""

_MADE_ELSEWHERE = re.compile(r"^<!-- (\w+) -->$.*?^<!-- end of \1 -->$", re.M | re.S)
"""Tables of the study, which `tests/experiments` makes again from their rows."""

_CODE = re.compile(r"^(`{3,}).*?^\1[ ]*$|`[^`\n]+`|\]\([^)]*\)|<!--.*?-->", re.M | re.S)
_NUMBERS = re.compile(r"(?<![\w.:/-])[-−]?\d[\d,]*(?:\.\d+|(?=(?:\.\d+)? ?%))(?:[ ]?%)?(?![\w:])")


@functools.cache
def fragments(page: str) -> list[str]:
    """Texts that a page must hold, numbers computed."""
    found = []
    for where, function in QUOTES:
        if where == page:
            text = function()
            found += [text] if isinstance(text, str) else text
    return found


def missing(text: str, known: list[str]) -> list[str]:
    """Those texts that a page does not hold; of longer ones the lines."""
    gone = [fragment for fragment in known if fragment not in text]
    lines = [[line for line in f.splitlines() if line not in text] or [f] for f in gone]
    return [line for some in lines for line in some]


def uncovered(text: str, known: list[str]) -> list[str]:
    """Decimals and percentages of a page that no known text covers, each with its line's number.

    Args:
        text: the page.
        known: fragments, settings and numbers without rows.
    """
    free = bytearray(len(text))
    for fragment in (part for whole in known for part in whole.splitlines()):
        for match in re.finditer(re.escape(fragment), text):
            free[match.start() : match.end()] = b"\1" * len(match[0])
    for pattern in (_CODE, _MADE_ELSEWHERE, *map(re.compile, PATTERNS)):
        for match in pattern.finditer(text):
            free[match.start() : match.end()] = b"\1" * len(match[0])
    return [
        f"{match[0]} in line {text.count(chr(10), 0, match.start()) + 1}"
        for match in _NUMBERS.finditer(text)
        if not free[match.start()]
    ]
