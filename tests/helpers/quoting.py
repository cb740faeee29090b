"""Numbers on pages, written anew in place from committed rows.

    python tests/helpers/quoting.py    (or `make numbers`)

Pages mark numbers that `experiments/quoted.py` gives, `<!--=GROUP NAME-->..<!--/-->`, and those
that someone chose or took by hand, `<!--set: REASON-->..<!--/-->`. No browser shows the marks. But
GitHub shows raw what follows one at the beginning of a line, so those of tables stand alone there.
"""

import functools
import re
import sys
from collections.abc import Callable
from decimal import ROUND_HALF_UP, Decimal
from itertools import zip_longest
from unittest import mock

import pages

with mock.patch.object(sys, "path", [*sys.path, str(pages.ROOT / "experiments")]):
    import quoted

NUMBER = re.compile(r"(?<![\w.:/-])−?\d+(?:,\d{3})*(?:\.\d+)?(?![\w:]|\.\d)")
MARK = re.compile(r"<!--=(\w+) ([^>]*)-->((?:(?!<!--).)*)<!--/-->", re.DOTALL)
_KNOWN = (
    *(r"^(?P<fence>`{3,}).*?^(?P=fence) *$", r"`[^`\n]+`", r"\]\([^)]*\)"),  # code and links
    *(MARK.pattern, r"<!--set: [^>]*-->(?:(?!<!--).)*<!--/-->"),
    *(r"arXiv \d{4}\.\d{5}", r"Python 3\.\d+", r"Apache-2\.0", r"SA1 : SA0 = 9\.04 : 1\.75"),
    r"95 %(?= interval|\))",  # all intervals are of 95 %
)
_ASTRAY = re.compile(rf"<!--|(?:{NUMBER.pattern})(?: ?%)?")
_RAW = re.compile(r"^(?:[-*>] )?<!--.*?-->.+", re.MULTILINE)


@functools.cache
def computed(group: str) -> quoted.Quoted:
    """What rows say today, by name."""
    return getattr(quoted, group, dict)()


def written(value: float, like: str) -> str:
    """A number with as many decimals as another has, half up, for values rounded before."""
    step = Decimal(1).scaleb(-len(like.partition(".")[2]))
    number = Decimal(str(round(float(value), 9))).quantize(step, ROUND_HALF_UP)
    return f"{number:,}".replace("-", "−")


def rewritten(
    text: str, page: str = "page", say: Callable[[str], quoted.Quoted] = computed
) -> tuple[str, list[str]]:
    """A page with the numbers of today, and what changed: line, name, written and computed.

    Raises:
        ValueError: a name that is not known, or that has other numbers than the page.
    """
    changes = []

    def put(mark: re.Match[str]) -> str:
        group, name, old = mark.groups()
        where = f"{page}, line {text.count(chr(10), 0, mark.start()) + 1}: {group} {name}"
        new = say(group).get(name)
        if new is None:
            raise ValueError(f"{where} is not known: give it in experiments/quoted.py")
        if isinstance(new, str):
            new = f"\n{new}\n" if "\n" in new else new  # tables have lines of their own
        else:
            shown, values = NUMBER.findall(old), iter(new)
            if len(shown) != len(new):
                raise ValueError(f"{where} has {len(new)} numbers: mark as many, not {shown}")
            new = NUMBER.sub(lambda like: written(next(values), like[0]), old)
        lines = zip_longest(old.splitlines(), new.splitlines())
        changes.extend(f"{where}: {was!r}, by the rows {now!r}" for was, now in lines if was != now)
        return f"<!--={group} {name}-->{new}<!--/-->"

    return MARK.sub(put, text), changes


def astray(text: str) -> list[str]:
    """Decimals and percentages of a page without marks, marks without ends, and such as show."""
    known = re.compile("|".join(_KNOWN), re.MULTILINE | re.DOTALL)
    rest = known.sub(lambda part: re.sub(r"\S", " ", part[0]), text)
    found = [match for match in _ASTRAY.finditer(rest) if re.search("[.%<]", match[0])]
    found += _RAW.finditer(text)
    return [f"line {text.count(chr(10), 0, m.start()) + 1}: {m[0][:40]}" for m in found]


def main() -> None:
    """Write the numbers of all pages anew."""
    for page in pages.QUOTING:
        text, changes = rewritten(pages.read(page), page)
        (pages.ROOT / page).write_text(text, encoding="utf-8")
        for change in changes:
            print(change)


if __name__ == "__main__":
    main()
