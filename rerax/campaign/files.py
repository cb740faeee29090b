"""Where a campaign lies: a local folder, or a prefix of an object store such as `s3://bucket/a`.

Locally a file appears whole under its name or not at all (temporary file, fsync, rename); in an
object store it is one put, which appears whole by itself. No JAX here.
"""

import contextlib
import json
import os
import secrets
import time
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any, Protocol, runtime_checkable

import pyarrow as pa

ASIDE = "_aside"
WRITING = "_writing-"
"""How the name of a file begins that is being written."""
LEFTOVER_SECONDS = 3600
_EXTRAS = {"gs": "gcs", "gcs": "gcs", "s3": "s3"}


@runtime_checkable
class Place(Protocol):
    """A file or folder: what `pathlib.Path` and the paths of an object store have in common."""

    @property
    def name(self) -> str: ...
    @property
    def parent(self) -> Any: ...
    def __truediv__(self, name: str, /) -> Any: ...
    def exists(self) -> bool: ...
    def is_dir(self) -> bool: ...
    def is_file(self) -> bool: ...
    def iterdir(self) -> Iterator[Any]: ...
    def read_bytes(self) -> bytes: ...
    def unlink(self, missing_ok: bool = False) -> None: ...


def place(text: str | Path) -> Any:
    """The place that a path or URL means: a `pathlib.Path`, or one with the same methods.

    Args:
        text: a path, or `s3://bucket/folder`, `gs://bucket/folder` and the like.

    Raises:
        ValueError: an unknown kind of store, or one whose library is not installed.

    Example:
        >>> place("a/b").name
        'b'
    """
    scheme, found, _ = str(text).partition("://")
    if not found:
        return Path(text)
    try:
        from upath import UPath

        # What another machine has added must be seen at once, so listings are never kept.
        where = UPath(str(text), use_listings_cache=False)
        _ = where.fs  # raises
    except ImportError as error:
        extra = _EXTRAS.get(scheme)
        needed = f"rerax[{extra}]" if extra else f"what {scheme}:// needs ({error})"
        raise ValueError(f"{text} is in an object store: install {needed}") from None
    except ValueError:
        raise ValueError(
            f"{text} is in an unknown kind of store: give a folder, gs://... or s3://..."
        ) from None
    return where


def make_folder(path: Place) -> None:
    """Make a local folder; an object store has none."""
    if isinstance(path, Path):
        path.mkdir(parents=True, exist_ok=True)


def entries(path: Place) -> list[Any]:
    """What lies in a folder, in the order of the names; nothing where it does not exist."""
    return sorted(path.iterdir(), key=lambda entry: entry.name) if path.is_dir() else []


def source(file: Place) -> Any:
    """A file in the form that a reader of Parquet takes; an object is fetched in one go."""
    return file if isinstance(file, Path) else pa.BufferReader(file.read_bytes())


@contextlib.contextmanager
def whole_file(file: Any) -> Iterator[IO[bytes]]:
    """A file that appears under its name complete and on disk, or not at all.

    Raises:
        OSError: the file system refused (a full disk); nothing half-written is left.
    """
    writing = _renamed(file) if isinstance(file, Path) else _put(file)
    try:
        with writing as out:
            yield out
    except OSError as error:
        reason = error.strerror or error
        raise OSError(
            error.errno, f"{file} could not be written ({reason}): make room and run again"
        ) from error


@contextlib.contextmanager
def _renamed(file: Path) -> Iterator[IO[bytes]]:
    temporary = file.with_name(f"{WRITING}{os.getpid()}-{secrets.token_hex(4)}-{file.name}")
    try:
        with temporary.open("wb") as out:
            yield out
            out.flush()
            os.fsync(out.fileno())
        temporary.replace(file)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
    _sync(file.parent)


@contextlib.contextmanager
def _put(file: Any) -> Iterator[Any]:
    sink = pa.BufferOutputStream()
    yield sink
    file.fs.pipe_file(file.path, sink.getvalue().to_pybytes())


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_json(file: Place) -> dict[str, Any]:
    """A JSON object from a file.

    Raises:
        ValueError: it is none.
    """
    try:
        return json.loads(file.read_bytes().decode("utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"{file} is not JSON ({error}): restore it, or give a new --out") from None


def write_json(file: Any, value: Mapping[str, Any]) -> None:
    """Write a JSON object, whole."""
    with whole_file(file) as out:
        out.write(json.dumps(value, indent=1, sort_keys=True).encode())


def append_line(file: Any, line: str) -> None:
    """Add a line to a local log; objects cannot grow, so there each line is one of its own."""
    if isinstance(file, Path):
        with file.open("a", encoding="utf-8") as log:
            log.write(line + "\n")
        return
    stem, _, suffix = file.name.rpartition(".")
    own = file.parent / f"{stem}-{time.time_ns()}-{secrets.token_hex(4)}.{suffix}"
    with whole_file(own) as out:
        out.write((line + "\n").encode())


def read_lines(file: Place) -> list[str]:
    """Lines of a log written by `append_line`, the oldest first."""
    stem, _, suffix = file.name.rpartition(".")
    logs = [
        entry
        for entry in entries(file.parent)
        if entry.name.startswith(stem) and entry.name.endswith(f".{suffix}")
    ]
    return [line for log in logs for line in log.read_bytes().decode("utf-8").splitlines()]


@contextlib.contextmanager
def locked(path: Place) -> Iterator[None]:
    """One process at a time between reading a local folder's manifest and writing it anew.

    The lock is on the folder itself and ends with the process, so a kill leaves none behind.
    Object stores have none: there, two machines that open one campaign for the first time in the
    same second may forget each other's pairs.
    """
    try:
        import fcntl
    except ImportError:  # not on Windows
        yield
        return
    if not isinstance(path, Path):
        yield
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some network file systems have no locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def set_aside(file: Any, trouble: str) -> None:
    """Move a file out of the readers' way, and say so in a warning."""
    aside = file.parent / ASIDE
    try:
        make_folder(aside)
        if isinstance(file, Path):
            file.replace(aside / file.name)
        else:
            with whole_file(aside / file.name) as out:
                out.write(file.read_bytes())
            file.unlink(missing_ok=True)
        done = f"set aside in {aside}"
    except OSError as error:  # a folder that may only be read
        done = f"skipped, as it cannot be set aside ({error.strerror})"
    warnings.warn(f"{file.name} {trouble}: {done}", stacklevel=3)


def remove_leftovers(path: Place) -> int:
    """Delete what killed writers have left, unless it is young: another process may be at work.

    Returns:
        How many files went.
    """
    gone = 0
    for entry in entries(path):
        if entry.name.startswith(WRITING) and isinstance(entry, Path):
            with contextlib.suppress(FileNotFoundError):  # finished in this moment
                if time.time() - entry.stat().st_mtime > LEFTOVER_SECONDS:
                    entry.unlink(missing_ok=True)
                    gone += 1
    return gone


def is_empty(path: Place) -> bool:
    """Whether nothing is there but hidden files and leftovers of a run killed at its start."""
    return all(entry.name.startswith((".", WRITING)) for entry in entries(path))
