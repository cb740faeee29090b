"""Progress of a run: a bar with the time left, or plain lines where there is no terminal."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import Protocol

SECONDS_BETWEEN_LINES = 10.0


class Progress(Protocol):
    """How far a run is: units done, to do in all, and what it is at, in words."""

    @property
    def done(self) -> int: ...
    @property
    def total(self) -> int: ...
    @property
    def text(self) -> str: ...


@contextlib.contextmanager
def reporter(quiet: bool = False, unit: str = "chips") -> Iterator[Callable[[Progress], None]]:
    """Context that gives a function to be told of progress (on standard error).

    Args:
        quiet: say nothing.
        unit: what is counted.
    """
    if quiet:
        yield lambda progress: None
    elif sys.stderr.isatty():
        with _bar(unit) as tell:
            yield tell
    else:
        yield _lines(unit)


@contextlib.contextmanager
def _bar(unit: str) -> Iterator[Callable[[Progress], None]]:
    from rich import progress as rich
    from rich.console import Console

    columns = (
        rich.TextColumn("{task.description}"),
        rich.BarColumn(),
        rich.MofNCompleteColumn(),
        rich.TextColumn(unit),
        rich.TimeRemainingColumn(elapsed_when_finished=True),
    )
    with rich.Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("loading", total=None)
        yield lambda p: bar.update(task, total=p.total, completed=p.done, description=p.text)


def _lines(unit: str) -> Callable[[Progress], None]:
    start = last = time.monotonic()

    def tell(progress: Progress) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last < SECONDS_BETWEEN_LINES and progress.done < progress.total:
            return
        last = now
        left = (now - start) / progress.done * (progress.total - progress.done)
        print(
            f"{progress.done} of {progress.total} {unit}, {left:.0f} s left ({progress.text})",
            file=sys.stderr,
            flush=True,
        )

    return tell
