"""Processes that begin with everything imported (`imported`), so that dozens of them cost little.

Each is forked from one process that has imported JAX and never started it: its devices, threads
and signals are its own.
"""

import atexit
import multiprocessing
import os
import signal
import sys
import traceback
from collections.abc import Mapping, Sequence
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from typing import Any

from paths import PYTHONPATH

_CONTEXT = multiprocessing.get_context("forkserver")


def _run(code: str, arguments: Sequence[str], pipes: Sequence[Connection], environ: Any) -> None:
    """What the new process does: it ends as one that was started by itself would end."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have had it ignored
    for number, pipe in enumerate(pipes, start=1):
        os.dup2(pipe.fileno(), number)
        pipe.close()
    os.environ.clear()
    os.environ.update(environ)
    sys.argv = ["-c", *arguments]
    try:
        exec(compile(code, "<program>", "exec"), {"__name__": "__main__"})
    except Exception:
        traceback.print_exc()
        sys.exit(1)
    finally:
        atexit._run_exitfuncs()


class Forked:
    """A process and the pipes of its standard output and errors, as `subprocess.Popen` has them."""

    def __init__(self, code: str, arguments: Sequence[Any], environ: Mapping[str, str]) -> None:
        _ensure_server()
        ends = [_CONTEXT.Pipe(duplex=False) for _ in range(2)]
        given = (code, [str(argument) for argument in arguments], [w for _, w in ends], environ)
        self._process = _CONTEXT.Process(target=_run, args=given, daemon=True)
        self._process.start()
        for _, writer in ends:
            writer.close()
        self.stdout, self.stderr = (os.fdopen(os.dup(reader.fileno())) for reader, _ in ends)

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    poll = returncode.fget

    def send_signal(self, number: int) -> None:
        os.kill(self._process.pid, number)

    def kill(self) -> None:
        self._process.kill()

    def end(self) -> None:
        """Kill it, if it has not ended, and close its pipes."""
        self._process.kill()
        self._process.join()
        self.stdout.close()
        self.stderr.close()

    def communicate(self, timeout: float) -> tuple[str, str]:
        """What it still prints, up to its end; it must be less than a pipe holds."""
        self._process.join(timeout)
        assert self.returncode is not None, "it has not ended"
        with self.stdout, self.stderr:
            return self.stdout.read(), self.stderr.read()


def _ensure_server() -> None:
    """Start the process from which others are forked, unless it runs."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = PYTHONPATH
    _CONTEXT.set_forkserver_preload(["imported"])
    try:
        forkserver.ensure_running()
    finally:
        del os.environ["PYTHONPATH"]
        if before is not None:
            os.environ["PYTHONPATH"] = before


def fork(code: str, arguments: Sequence[Any] = (), *, devices: int = 1, **environ: Any) -> Forked:
    """Start a process.

    Args:
        code: its program, to which `sys.argv` gives the arguments.
        arguments: these.
        devices: virtual devices of the processor that it sees; 0 leaves it to the program.
        environ: further variables.
    """
    flags = f"--xla_force_host_platform_device_count={devices}" if devices else ""
    own = {"PYTHONPATH": PYTHONPATH, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags, **environ}
    return Forked(code, arguments, {**os.environ, **own})
