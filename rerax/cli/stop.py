"""How a command is stopped: Ctrl-C and SIGTERM end it in order, and it says what is kept."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

KEEP_BLOCKS = ("sweep", "demo", "merge", "compact")


class StoppedError(Exception):
    """A command that was stopped and says itself what is kept."""


@dataclass
class Stop:
    """What has stopped a command.

    Attributes:
        code: its exit code: 130 after Ctrl-C, 143 after SIGTERM.
    """

    code: int = 128 + signal.SIGINT


@contextlib.contextmanager
def sigterm_stops() -> Iterator[Stop]:
    """Context in which SIGTERM does what Ctrl-C does, once; a caller's own handler stays."""
    stop = Stop()

    def interrupt(number: int, frame: Any) -> None:
        signal.signal(number, signal.SIG_IGN)  # it is on its way out, let it finish
        stop.code = 128 + number
        raise KeyboardInterrupt

    ours = threading.current_thread() is threading.main_thread()
    if not ours or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield stop
        return
    signal.signal(signal.SIGTERM, interrupt)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


@contextlib.contextmanager
def says_when_stopped(what: Callable[[], str]) -> Iterator[None]:
    """Context for a command that knows what it has kept.

    Args:
        what: asked for that when the user stops it.

    Raises:
        StoppedError: he did.
    """
    try:
        yield
    except KeyboardInterrupt:
        raise StoppedError(what()) from None


def kept(command: str) -> str:
    """What is kept of a command that does not say so itself."""
    if command in KEEP_BLOCKS:
        return "finished blocks are kept, the same command goes on from there"
    return "the same command starts anew"
