"""The command line: a thin caller of the Python API. Heavy imports wait until they are needed.

One module for each command; `flags` holds what they share.
"""

import os
import sys
import warnings
from collections.abc import Sequence
from typing import Annotated, Any

import typer

import rerax
from rerax.cli import (  # noqa: F401 (they add commands)
    bench,
    chip,
    folders,
    map,
    plan,
    rare,
    report,
    size,
    sweep,
    train,
    yields,
)
from rerax.cli.flags import Grouped, app, spread
from rerax.cli.programs import keep_programs, multiply_by_library, quieten
from rerax.cli.stop import StoppedError, kept, sigterm_stops
from rerax.progress import say

for _command in app.registered_commands:
    _command.callback, _command.cls = spread(_command.callback), Grouped


def _version(asked: bool | None) -> None:
    if asked:
        print(rerax.__version__)
        raise typer.Exit


@app.callback()
def _top(
    version: Annotated[
        bool | None,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = None,
) -> None:
    pass


def entry() -> None:
    """Console script."""
    sys.exit(main())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Returns:
        0 done, 2 bad input (one line on standard error), 130 interrupted, 143 terminated.
    """
    told: set[str] = set()
    before = warnings.showwarning
    warnings.showwarning = lambda message, *_, **__: _warn(str(message), told)
    try:
        return _run(arguments)
    finally:
        warnings.showwarning = before  # the caller's, where there is one


def _run(arguments: Sequence[str] | None) -> int:
    keep_programs(os.environ)
    multiply_by_library(os.environ)
    quieten(os.environ)
    given = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    with sigterm_stops() as stop:
        try:
            command = typer.main.get_command(app)
            result = command.main(args=given, prog_name="rerax", standalone_mode=False)
            if result != _INTERRUPTED:
                sys.stdout.flush()  # what cannot be written is told here, not on the way out
                return 0
            text = kept(given[0])
        except (BrokenPipeError, SystemExit) as end:
            # The parser makes an exit of a broken pipe: whoever read the table has seen enough.
            if isinstance(end, SystemExit) and not isinstance(end.__context__, BrokenPipeError):
                raise
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            return 0
        except OSError as error:
            from rerax.io import in_words

            return _fail(in_words(error))
        except ValueError as error:
            return _fail(str(error))
        except KeyboardInterrupt:
            text = kept(given[0])
        except StoppedError as stopped:
            text = str(stopped)
        except Exception as error:
            if hasattr(error, "format_message"):  # a flag that does not exist or a wrong value
                return _fail(f"{error.format_message()}{_value(error, given)} (see rerax --help)")
            raise
        say(f"interrupted: {text}")
        return stop.code


LONGEST = 800
"""Characters of a line of error."""
_INTERRUPTED = 130  # what the parser makes of a KeyboardInterrupt


def _value(error: Any, given: Sequence[str]) -> str:
    """Find the value that a refused flag was given, where the parser's message leaves it out."""
    opts = getattr(getattr(error, "param", None), "opts", ())
    places = [i for i, word in enumerate(given) if word in opts]  # of a flag given twice, the last
    if not places or places[-1] + 1 == len(given) or type(error).__name__ == "MissingParameter":
        return ""
    value = repr(given[places[-1] + 1])
    return "" if value in error.format_message() else f", not {value}"


def _warn(message: str, told: set[str]) -> None:
    """Say a warning, each of them once a command."""
    if message not in told:
        told.add(message)
        say(f"warning: {' '.join(message.split())}")


def _fail(message: str) -> int:
    line = " ".join(message.split())
    if len(line) > LONGEST:  # a file's content may be of any length: what is wrong, and the fix
        line = f"{line[: LONGEST // 2]} .. {line[-LONGEST // 2 :]}"
    say(f"error: {line}")
    return 2
