"""The Markdown pages: what is on them, their examples, and how these are run."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SITE = tuple(sorted(p.relative_to(ROOT).as_posix() for p in (ROOT / "docs").rglob("*.md")))
PAGES = ("README.md", *SITE)
"""Pages whose examples are run."""
QUOTING = (*PAGES, "experiments/README.md")
"""Pages whose numbers must come from committed rows."""

RUNS = ("python", "console", "bash")
_FENCE = re.compile(r"^(`{3,})(\w*)[ ]*(.*?)\n(.*?)^\1[ ]*$", re.MULTILINE | re.DOTALL)
_TITLE = re.compile(r'title="([^"]*)"')
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


@dataclass(frozen=True)
class Fence:
    """A fenced block.

    Attributes:
        language: what stands behind the back-ticks.
        title: its `title="..."`, "" where it has none.
        text: what is in it.
        line: of the page, counted from 1, on which it begins.
        end: character of the page behind it.
    """

    language: str
    title: str
    text: str
    line: int
    end: int

    @property
    def needs(self) -> bool:
        """Whether it asks for something that a test does not have, such as a network."""
        return self.title.startswith("needs ")


def read(page: str) -> str:
    """Text of a page."""
    return (ROOT / page).read_text(encoding="utf-8")


def fences(text: str) -> list[Fence]:
    """Fenced blocks of a page, in order."""
    found = []
    for match in _FENCE.finditer(text):
        title = _TITLE.search(match[3])
        line = text.count("\n", 0, match.start()) + 1
        found.append(Fence(match[2], title[1] if title else "", match[4], line, match.end()))
    return found


def output_of(text: str, block: Fence) -> str | None:
    """What a page says that a Python block prints: the block titled "prints" behind it."""
    after = next((b for b in fences(text[block.end :])), None)
    close = after is not None and not text[block.end :].split("```")[0].strip()
    return after.text if after and close and after.title == "prints" else None


def commands(block: Fence) -> list[tuple[list[str], str | None]]:
    """Commands of a block as argument lists, with the output shown under each, if any."""
    lines = block.text.replace("\\\n", " ").splitlines()
    if block.language == "bash":
        return [(shlex.split(line, comments=True), None) for line in lines if line.strip()]
    found: list[tuple[list[str], str | None]] = []
    for line in lines:
        if line.startswith("$ "):
            found.append((shlex.split(line[2:]), None))
        else:
            arguments, shown = found[-1]
            found[-1] = (arguments, line if shown is None else f"{shown}\n{line}")
    return found


def same_output(shown: str, printed: str, slack: float) -> bool:
    """Whether a page shows what was printed; a line `...` stands for any lines.

    Args:
        shown: text of the page.
        printed: what came out.
        slack: by how much a number may differ.
    """
    wanted = [_words(part) for part in re.split(r"^\.\.\.$", shown, flags=re.MULTILINE)]
    got, at = _words(printed), 0
    for k, part in enumerate(wanted):
        places = range(at, len(got) - len(part) + 1) if k else [at]
        fits = [p for p in places if _close(part, got[p : p + len(part)], slack)]
        if not fits:
            return False
        at = fits[-1 if k == len(wanted) - 1 else 0] + len(part)
    return at == len(got)


def _words(text: str) -> list[str]:
    return [word for word in text.split() if not set(word) <= set("─━")]


def _close(wanted: list[str], got: list[str], slack: float) -> bool:
    return len(wanted) == len(got) and all(
        _NUMBER.sub("#", a) == _NUMBER.sub("#", b)
        and all(
            abs(float(x) - float(y)) <= slack
            for x, y in zip(_NUMBER.findall(a), _NUMBER.findall(b), strict=True)
        )
        for a, b in zip(wanted, got, strict=True)
    )
