"""Tables that fit the terminal they are printed on."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import IO, Any

from rerax.values import printable

NARROWEST = 12
"""Letters that a column of words keeps when it is folded."""
LONGEST = 36
"""Letters of a name that is shown whole on a terminal."""
BETWEEN = 3
"""Letters between two columns."""


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        name: its heading.
        texts: what it shows, from the first line on.
        number: numbers stand at its right edge and are never folded; words may be.
        rank: where the table is too wide, columns of the highest rank are left out first; those
            of rank 0 never are.
    """

    name: str
    texts: Sequence[str]
    number: bool = True
    rank: int = 0

    @property
    def narrowest(self) -> int:
        """Letters that it needs at least."""
        widest = max(len(text) for text in (self.name, *map(printable, self.texts)))
        return widest if self.number else min(widest, max(NARROWEST, len(self.name)))


def print_columns(
    columns: Sequence[Column],
    notes: Sequence[str] = (),
    file: IO[str] | None = None,
    wide: bool = False,
) -> None:
    """Print a table and notes below it.

    On a terminal the table is as wide as that: long names are cut and numbered, words are folded,
    then columns are left out, and a note says so. Notes are folded between words. Files and pipes
    get it all.

    Args:
        columns: at least one, all of equal length.
        notes: lines to follow the table.
        file: where to; standard output by default.
        wide: whole on a terminal too.
    """
    console = _console(file)
    width = console.width
    fitted = console.is_terminal and not wide
    short = list(map(_short, columns))
    shown = _that_fit(short, console.width) if fitted else list(columns)
    table = _table(shown)
    if not fitted or _room(shown) > console.width:  # rather too wide than cut short
        console.width = max(console.width, _natural(console, table))
    console.print(table)
    names = [column.name for column in shown]
    left_out = [column.name for column in columns if column.name not in names]
    if left_out:
        notes = [*notes, f"left out to fit the terminal: {', '.join(left_out)}; --wide shows all"]
    elif fitted and any(
        list(one.texts) != two.texts for one, two in zip(columns, short, strict=True)
    ):
        notes = [*notes, "names are cut to fit the terminal; --wide shows them whole"]
    for text in map(printable, notes):
        if fitted:
            text = " ".join(_cut(word) for word in text.split(" "))
        console.print(text, highlight=False, markup=False, soft_wrap=not fitted, width=width)


def _cut(word: str) -> str:
    """Cut a word of a note; the text of a plan is one of hundreds of letters."""
    return word if len(word) <= 2 * LONGEST else f"{word[: LONGEST - 1]}…"


def _short(column: Column) -> Column:
    """Cut the long names of a column, and number them so that they stay apart."""
    long = list(dict.fromkeys(text for text in column.texts if len(text) > LONGEST))
    cut = {text: f"{text[: LONGEST - 6]}… #{k}" for k, text in enumerate(long, 1)}
    return replace(column, texts=[cut.get(text, text) for text in column.texts])


def _that_fit(columns: Sequence[Column], width: int) -> list[Column]:
    """Leave out columns of the highest ranks until the others have room."""
    shown = list(columns)
    while _room(shown) > width and (last := max(column.rank for column in shown)):
        shown.remove(next(column for column in reversed(shown) if column.rank == last))
    return shown


def _room(columns: Sequence[Column]) -> int:
    return sum(column.narrowest + BETWEEN for column in columns) - BETWEEN + 2  # and the edges


def _table(columns: Sequence[Column]) -> Any:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(
            column.name,
            justify="right" if column.number else "left",
            no_wrap=column.number,
            overflow="fold",
            min_width=column.narrowest,
        )
    for line in zip(*(column.texts for column in columns), strict=True):
        table.add_row(*(Text(printable(text)) for text in line))  # nothing in it is markup
    return table


def _console(file: IO[str] | None) -> Any:
    from rich.console import Console

    class Terminal(Console):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError  # rich itself would exit with 1; the command line knows better

    return Terminal(file=file)


def _natural(console: Any, table: Any) -> int:
    from rich.measure import Measurement

    options = console.options.update(max_width=10_000)
    return Measurement.get(console, options, table).maximum
