"""Progress of a run: a bar with the time left, or plain lines where there is no terminal.

Whatever goes wrong here, a pipe that nobody reads any more or a full disk behind the log, ends
the reports and never the run.
"""

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from rerax.values import printable

SECONDS_BETWEEN_LINES = 10.0
SECONDS_BETWEEN_LOOKS = 0.5


@runtime_checkable
class ProgressLike(Protocol):
    """How far a run is: units done, to do in all (0: not known), and what it is at, in words."""

    @property
    def done(self) -> int: ...
    @property
    def total(self) -> int: ...
    @property
    def text(self) -> str: ...


@contextlib.contextmanager
def reporter(quiet: bool = False, unit: str = "chips") -> Iterator[Callable[[ProgressLike], None]]:
    """Give, as a context, a function that reports progress on standard error.

    Args:
        quiet: say nothing.
        unit: what is counted.
    """
    if quiet or sys.stderr is None:
        yield lambda progress: None
        return
    with (_bar_reporter if _is_terminal() else _line_reporter)(unit) as tell:
        yield _harmless(tell)


def say(text: str) -> None:
    """Write a line to standard error, where anybody still reads it."""
    with contextlib.suppress(OSError, ValueError):
        if sys.stderr is not None:  # or print would take standard output
            print(printable(text), file=sys.stderr, flush=True)


def _is_terminal() -> bool:
    try:
        return sys.stderr.isatty()
    except ValueError:  # closed
        return False


def _harmless(tell: Callable[[ProgressLike], None]) -> Callable[[ProgressLike], None]:
    """Make a function that tells until it fails, and then no more."""
    works = True

    def told(progress: ProgressLike) -> None:
        nonlocal works
        try:
            if works:
                tell(progress)
        except Exception:
            works = False

    return told


@contextlib.contextmanager
def _bar_reporter(unit: str) -> Iterator[Callable[[ProgressLike], None]]:
    from rich import progress as rich
    from rich.console import Console

    columns = (
        rich.TextColumn("{task.description}", markup=False),
        rich.BarColumn(),
        rich.MofNCompleteColumn(),
        rich.TextColumn(unit),
        rich.TimeRemainingColumn(elapsed_when_finished=True),
    )
    bar = rich.Progress(*columns, console=Console(stderr=True))
    task = bar.add_task("loading", total=None)
    with contextlib.suppress(Exception):
        bar.start()
    try:
        yield lambda p: bar.update(
            task, total=p.total or None, completed=p.done, description=printable(p.text)
        )
    finally:
        with contextlib.suppress(Exception):
            bar.stop()


@contextlib.contextmanager
def _line_reporter(unit: str) -> Iterator[Callable[[ProgressLike], None]]:
    """Report in plain lines; a thread writes them when they are due, also between two reports."""
    lines = LineReporter(unit)
    ended = threading.Event()

    def look() -> None:  # what takes long says nothing on its way
        with contextlib.suppress(Exception):
            while not ended.wait(SECONDS_BETWEEN_LOOKS):
                lines.look()

    threading.Thread(target=look, name="progress", daemon=True).start()
    try:
        yield lines.tell
        with contextlib.suppress(Exception):
            lines.close()
    finally:
        ended.set()


@dataclass
class LineReporter:
    """Plain lines, at most one in `SECONDS_BETWEEN_LINES` and each once, and the last one.

    Attributes:
        unit: what is counted.
        clock: seconds.
        write: takes a line.
    """

    unit: str
    clock: Callable[[], float] = time.monotonic
    write: Callable[[str], None] = lambda text: print(text, file=sys.stderr, flush=True)
    _latest: tuple[int, int, str] | None = None
    _written: tuple[int, int, str] | None = None
    _first: tuple[float, int] | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._start = self._last = self.clock()

    def tell(self, progress: ProgressLike) -> None:
        """Take notice of progress."""
        with self._lock:
            total = progress.total and max(progress.total, progress.done)
            self._latest = progress.done, total, progress.text
            self._first = self._first or (self.clock(), progress.done)
        self.look()

    def look(self) -> None:
        """Write a line if it is time for one."""
        with self._lock:
            if self.clock() - self._last >= SECONDS_BETWEEN_LINES:
                self._write()

    def close(self) -> None:
        """Write the last line if it has not been written."""
        with self._lock:
            self._write()

    def _write(self) -> None:
        if self._latest is not None and self._latest != self._written:
            self._last, self._written = self.clock(), self._latest
            done, total, text = self._latest
            when = self._time(done, total)
            many = f"{done} of {total}" if total or not done else str(done)
            self.write(f"{many} {self.unit}, {when} ({printable(text)})")

    def _time(self, done: int, total: int) -> str:
        """Time left from the pace since the first report; there is none before a unit is done."""
        began, first = self._first or (self._start, 0)
        if done and done >= total:
            return f"after {self._last - self._start:.0f} s"
        if done <= first:
            return "begun"
        return f"{(self._last - began) / (done - first) * (total - done):.0f} s left"
