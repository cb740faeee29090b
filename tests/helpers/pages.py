"""The Markdown pages: what is on them, their examples, how these are run and written anew.

    python tests/helpers/pages.py    (or `make pages`)

runs every example of every page and puts what it prints where the page shows it. The platform on
which that was done is kept in `tests/helpers/made_on.json`.
"""

import contextlib
import importlib.util
import io
import json
import math
import re
import shlex
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from paths import HELPERS, ROOT

SITE = tuple(sorted(p.relative_to(ROOT).as_posix() for p in (ROOT / "docs").rglob("*.md")))
PAGES = ("README.md", *SITE)
"""Pages whose examples are run."""
QUOTING = (*PAGES, "experiments/README.md")
"""Pages whose numbers must come from committed rows."""
MADE_ON = HELPERS / "made_on.json"
"""The platform whose output the pages show."""
OPTIONAL = ("polars", "duckdb", "equinox")
"""Packages whose blocks are run where they are installed."""

RUNS = ("python", "console", "bash")
SENTENCE, MEAN = 0.4, 0.1
"""By how many points a chip, and the mean of 8 chips or more, may be off on another platform.

There a few predictions in a thousand may differ. One of the 256 sentences of the examples is 0.4
points of a chip, and two of them, in as many chips, 0.1 points of a mean of 8. Between the two
processors on which the pages have been made no figure differed.
"""
SLACK = {
    **dict.fromkeys(("mean", "SE"), MEAN),
    **dict.fromkeys(("95 % interval", "worst", "min", "SD"), SENTENCE),
    **dict.fromkeys(("skewness", "needs"), math.inf),  # too steep a function of the scores
}
"""The same for columns of tables; all other numbers are the same everywhere."""
SHARES = {"yield": 100, "(95 %)": 200}
"""Columns in which a chip more or less may pass; by how much that moves them, times the chips."""
_PROSE = {
    re.compile(r"(?<=score )\d+\.\d+"): SENTENCE,
    re.compile(r"^\d+(?= chips a point)"): math.inf,
}
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_RANGE = re.compile(r"(-?\d+(?:\.\d+)?) \.\. (-?\d+(?:\.\d+)?)")
_INTERVAL = re.compile(
    r"(?:([+−-]?\d+(?:\.\d+)?) )?\(([+−-]?\d+(?:\.\d+)?) to ([+−-]?\d+(?:\.\d+)?)\)"
)
_FENCE = re.compile(r"^(`{3,})(\w*)[ ]*(.*?)\n(.*?)^\1[ ]*$", re.MULTILINE | re.DOTALL)
_TITLE = re.compile(r'title="([^"]*)"')


@dataclass(frozen=True)
class Fence:
    """A fenced block.

    Attributes:
        language: what stands behind the back-ticks.
        title: its `title="..."`, "" where it has none.
        text: what is in it.
        line: of the page, counted from 1, on which it begins.
        start: character of the page at which its text begins.
        end: character of the page behind it.
    """

    language: str
    title: str
    text: str
    line: int
    start: int
    end: int

    @property
    def needs(self) -> bool:
        """Whether it asks for something that is not here, such as a network."""
        what = self.title.removeprefix("needs ")
        here = what in OPTIONAL and importlib.util.find_spec(what) is not None
        return self.title.startswith("needs ") and not here


@dataclass(frozen=True)
class Output:
    """What a page shows of an example, and what it printed.

    Attributes:
        line: of the page on which the block begins.
        start, end: characters of the page between which the output is shown.
        shown: the text there.
        printed: what came out, as it would be shown.
    """

    line: int
    start: int
    end: int
    shown: str
    printed: str


def read(page: str) -> str:
    """Text of a page."""
    return (ROOT / page).read_text(encoding="utf-8")


def fences(text: str) -> list[Fence]:
    """Fenced blocks of a page, in order."""
    found = []
    for match in _FENCE.finditer(text):
        title = _TITLE.search(match[3])
        line = text.count("\n", 0, match.start()) + 1
        place = match.start(4), match.end()
        found.append(Fence(match[2], title[1] if title else "", match[4], line, *place))
    return found


def output_of(text: str, block: Fence) -> tuple[int, int] | None:
    """Where a page shows what a Python block prints: in the block titled "prints" behind it."""
    after = next((b for b in fences(text) if b.start > block.end), None)
    if after is None or after.title != "prints" or text[block.end :].split("```")[0].strip():
        return None
    return after.start, after.start + len(after.text)


def commands(block: Fence) -> list[tuple[list[str], tuple[int, int] | None]]:
    """Commands of a block as argument lists, and where the page shows their output, if it does."""
    if block.language == "bash":
        lines = block.text.replace("\\\n", " ").splitlines()
        return [(shlex.split(line, comments=True), None) for line in lines if line.strip()]
    found = []
    for match in re.finditer(r"^\$ ((?:.*\\\n)*.*\n)((?:(?!\$ ).*\n)*)", block.text, re.MULTILINE):
        place = block.start + match.start(2), block.start + match.end(2)
        arguments = shlex.split(match[1].replace("\\\n", " "))
        found.append((arguments, place if match[2].strip() else None))
    return found


def as_shown(printed: str) -> str:
    """Output as pages show it: without blanks at ends of lines, nor empty lines around it."""
    lines = "\n".join(line.rstrip() for line in printed.splitlines()).strip("\n")
    return f"{lines}\n" if lines else ""


def lay_out(folder: Path) -> None:
    """What `rerax demo` leaves: model and data."""
    from rerax import demo

    demo.lay_out(folder)


def runnable(page: str) -> bool:
    """Whether a page has examples that run here."""
    return any(b.language in RUNS and not b.needs for b in fences(read(page)))


def run(text: str, name: str = "page") -> list[Output]:
    """Run the examples of a page in the current folder, top to bottom.

    The folder must hold `rerax-demo/model` and `data`. `python` blocks share their names;
    one titled with a file name is also written to that file. `console` blocks are commands behind
    `$` with what they print, `bash` blocks commands alone.

    Args:
        text: the page.
        name: what to call it in errors.

    Returns:
        What is shown and what was printed, in the order of the page.
    """
    names: dict[str, object] = {"__name__": "example"}
    found = []
    for block in fences(text):
        if block.title.endswith((".py", ".toml")):
            Path(block.title).write_text(block.text, encoding="utf-8")
        if block.language not in RUNS or block.needs:
            continue
        for place, printed in _run_block(text, block, name, names):
            if place is not None:
                shown = text[slice(*place)]
                found.append(Output(block.line, *place, shown, as_shown(printed)))
    return found


def _run_block(
    text: str, block: Fence, page: str, names: dict[str, object]
) -> Iterator[tuple[tuple[int, int] | None, str]]:
    """Where each output is shown, and what was printed."""
    from rerax.cli import main

    if block.language == "python":
        with contextlib.redirect_stdout(io.StringIO()) as out:
            exec(compile("\n" * block.line + block.text, page, "exec"), names)
        yield output_of(text, block), out.getvalue()
        return
    for arguments, place in commands(block):
        where = f"{page}:{block.line}"
        assert arguments[0] == "rerax", f"{where}: {arguments[0]} cannot run here: say needs .."
        quiet = [] if arguments[1] not in ("sweep", "train", "chip") else ["--quiet"]
        with contextlib.redirect_stdout(io.StringIO()) as out:
            assert main([*arguments[1:], *quiet]) == 0, f"{where}: {arguments}"
        yield place, out.getvalue()


def same_output(shown: str, printed: str, here: bool) -> bool:
    """Whether a page shows what was printed.

    Args:
        shown: text of the page.
        printed: what came out, as it would be shown.
        here: whether this platform made the page: then all is equal. On others what is computed
            from scores may differ a little (`SLACK`), and nothing else.
    """
    if here:
        return shown == printed
    wanted, got = list(_words(shown)), list(_words(printed))
    return len(wanted) == len(got) and all(
        _NUMBER.sub("#", a) == _NUMBER.sub("#", b)
        and all(
            x == y or abs(float(x) - float(y)) <= slack + 1e-9
            for x, y in zip(_NUMBER.findall(a), _NUMBER.findall(b), strict=True)
        )
        for (a, slack), (b, _) in zip(wanted, got, strict=True)
    )


def _words(text: str) -> Iterator[tuple[str, float]]:
    """Words of an output, each with how far its numbers may be off on another platform."""
    for line, cells in tables(text):
        loose = {m.start(): slack for form, slack in _PROSE.items() for m in form.finditer(line)}
        chips = next((int(cell) for head, _, cell in cells if head == "chips"), None)
        for head, start, cell in cells:
            for word in re.finditer(r"\S+", cell):
                slack = loose.get(start + word.start(), _slack(head, chips))
                if re.fullmatch(r"[01]\.\d{4}", word[0]):
                    slack /= 100  # a fraction, not a percentage
                if not set(word[0]) <= set("─━"):
                    yield word[0], slack


def _slack(head: str, chips: int | None) -> float:
    if head in SHARES:
        return SHARES[head] / (chips or 1) + 1  # and the rounding
    if head == "mean" and chips is not None and chips < 8:
        return SENTENCE
    return SLACK.get(head, 0.0)


def tables(text: str) -> Iterator[tuple[str, list[tuple[str, int, str]]]]:
    """Lines of an output, each with its cells: head of the column, first character, text.

    Numbers stand under the end of their head, in tables of rich and of pandas alike; a cell
    that does not, and what is in no table, has the head "".
    """
    heads: dict[int, str] = {}
    for line in text.splitlines():
        cells = list(re.finditer(r"\S+(?: \S+)*", line))
        named = {cell.end(): cell[0] for cell in cells}
        if {*SLACK, *SHARES} & set(named.values()):
            heads = named
            yield line, [("", cell.start(), cell[0]) for cell in cells]
            continue
        heads = heads if cells else {}
        yield line, [(heads.get(cell.end(), ""), cell.start(), cell[0]) for cell in cells]


def out_of_range(text: str) -> list[str]:
    """Scores and intervals of scores in the tables of a page that lie outside 0 to 100 %.

    Differences, which carry a sign, and their intervals lie within -100 to 100.
    """
    bad = []
    for line, cells in tables(text):
        scores = [c for h, _, c in cells if h in SHARES or 0 < SLACK.get(h, 0) < math.inf]
        bad += [c for c in scores if ".." not in c and not _possible(*_NUMBER.findall(c))]
        bad += [m[0] for m in _RANGE.finditer(line) if not _possible(m[1], m[2])]
        if line.startswith("|"):
            bad += [m[0] for m in _INTERVAL.finditer(line) if not _fits(m)]
    return bad


def _possible(*numbers: str) -> bool:
    values = [float(number) for number in numbers]
    return all(0 <= value <= 100 for value in values) and values == sorted(values)


def _fits(interval: re.Match[str]) -> bool:
    signed = interval[1] is not None and (interval[1][0] in "+-−" or not float(interval[1]))
    ends = [float(end.replace("−", "-")) for end in interval.group(2, 3)]
    return (-100 if signed else 0) <= ends[0] <= ends[1] <= 100


def rewritten(text: str, outputs: list[Output]) -> str:
    """A page that shows what its examples printed."""
    for output in reversed(outputs):
        text = text[: output.start] + output.printed + text[output.end :]
    return text


def main() -> None:
    """Write the examples of all pages anew."""
    from rerax.evaluate.engine import platform_name

    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "rerax-demo"
        lay_out(made)
        for k, page in enumerate(filter(runnable, PAGES)):
            here = Path(folder) / str(k)
            here.mkdir()
            (here / "rerax-demo").symlink_to(made)
            text = read(page)
            with contextlib.chdir(here):
                new = rewritten(text, run(text, page))
            (ROOT / page).write_text(new, encoding="utf-8")
            print(f"{page}: {'as it was' if new == text else 'written anew'}", flush=True)
    record = {"platform": platform_name(), "command": "make pages"}
    MADE_ON.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
