"""Commands of the command line in this process: refused ones, and arguments to vary."""

from rerax.cli import main


def refused(capsys, arguments, out=None):
    """The one line that a refused command prints; nothing may have been written."""
    assert main(arguments) == 2
    captured = capsys.readouterr()
    lines = captured.err.strip().splitlines()
    assert len(lines) == 1, captured.err
    assert lines[0].startswith("error: ")
    assert not captured.out
    assert out is None or not out.exists()
    return lines[0]


def without(arguments, *flags):
    """Arguments without some flags and their values."""
    at = [i for flag in flags for i in (arguments.index(flag), arguments.index(flag) + 1)]
    return [argument for i, argument in enumerate(arguments) if i not in at]
