"""How a command is stopped: Ctrl-C and SIGTERM end it in order, and it says what is kept."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

SECONDS_TO_TRY_AGAIN = 0.05
KEEP_BLOCKS = ("sweep", "demo", "merge", "compact")


class StoppedError(Exception):
    """A command that was stopped and says itself what is kept."""


@dataclass
class Stop:
    """What has stopped a command.

    Attributes:
        code: its exit code: 130 after Ctrl-C, 143 after SIGTERM.
        lost: whether an interrupt has been lost and is given again.
        later: when.
    """

    code: int = 128 + signal.SIGINT
    lost: bool = False
    later: threading.Timer | None = None


@contextlib.contextmanager
def sigterm_stops() -> Iterator[Stop]:
    """Let SIGTERM do what Ctrl-C does, within a context; a caller's own handler stays.

    A second SIGTERM ends the process at once, as a kill would: whatever is half-written goes at the
    next opening.
    """
    stop = Stop()

    def interrupt(number: int, frame: Any) -> None:
        if stop.lost:
            stop.lost = False
            raise KeyboardInterrupt
        if stop.code == 128 + number:
            os._exit(stop.code)
        stop.code = 128 + number
        raise KeyboardInterrupt

    ours = threading.current_thread() is threading.main_thread()
    if not ours or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield stop
        return
    before, sys.unraisablehook = sys.unraisablehook, _again(stop, sys.unraisablehook)
    signal.signal(signal.SIGTERM, interrupt)
    try:
        yield stop
    finally:
        if stop.later is not None:  # or it would end a notebook that goes on
            stop.later.cancel()
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        sys.unraisablehook = before


def _again(stop: Stop, hook: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Make a hook that interrupts once more where an interrupt was lost.

    One that comes while a library's callback runs, as JAX's at a garbage collection, is dropped by
    Python with a word to this hook.
    """

    def told(lost: Any) -> None:
        if not issubclass(lost.exc_type, KeyboardInterrupt):
            hook(lost)
            return
        stop.lost = True
        main = threading.main_thread().ident
        again = (main, signal.SIGTERM)  # a true signal, which wakes what sleeps
        stop.later = threading.Timer(SECONDS_TO_TRY_AGAIN, signal.pthread_kill, again)
        stop.later.daemon = True
        stop.later.start()

    return told


@contextlib.contextmanager
def says_when_stopped(what: Callable[[], str]) -> Iterator[None]:
    """Say, where a command is stopped, what it knows to have kept.

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
    """Say what is kept of a command that does not say so itself."""
    if command in KEEP_BLOCKS:
        return "finished blocks are kept, the same command goes on from there"
    return "the same command starts anew"
