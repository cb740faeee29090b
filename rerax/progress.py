"""Progress of a run: a bar with the time left, or plain lines where there is no terminal."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

from rerax.campaign.subject import Progress

SECONDS_BETWEEN_LINES = 10.0


@contextlib.contextmanager
def reporter(quiet: bool = False) -> Iterator[Callable[[Progress], None]]:
    """Context that gives a function to be told of progress (on standard error).

    Args:
        quiet: say nothing.
    """
    if quiet:
        yield lambda progress: None
    elif sys.stderr.isatty():
        with _bar() as tell:
            yield tell
    else:
        yield _lines()


@contextlib.contextmanager
def _bar() -> Iterator[Callable[[Progress], None]]:
    from rich import progress as rich
    from rich.console import Console

    columns = (
        rich.TextColumn("{task.description}"),
        rich.BarColumn(),
        rich.MofNCompleteColumn(),
        rich.TextColumn("chips"),
        rich.TimeRemainingColumn(elapsed_when_finished=True),
    )
    with rich.Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("loading", total=None)
        yield lambda p: bar.update(task, total=p.total, completed=p.done, description=_what(p))


def _lines() -> Callable[[Progress], None]:
    start = last = time.monotonic()

    def tell(progress: Progress) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last < SECONDS_BETWEEN_LINES and progress.done < progress.total:
            return
        last = now
        left = (now - start) / progress.done * (progress.total - progress.done)
        print(
            f"{progress.done} of {progress.total} chips, {left:.0f} s left ({_what(progress)})",
            file=sys.stderr,
            flush=True,
        )

    return tell


def _what(progress: Progress) -> str:
    point = progress.point
    return f"{point.task} {point.encoding} {point.fault} rate {point.rate:g}"
