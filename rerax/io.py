"""Where a campaign lies: a local folder, or a prefix of an object store such as `s3://bucket/a`.

Locally a file appears whole under its name or not at all (temporary file, fsync, rename); in an
object store it is one put, which appears whole by itself. No JAX here.
"""

import contextlib
import errno
import json
import os
import secrets
import time
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any, Protocol, runtime_checkable

import pyarrow as pa

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None  # type: ignore[assignment]

ASIDE = "_aside"
WRITING = "_writing-"
"""How the name of a file begins that is being written."""
PART = ".part"
"""And how it ends, so that no reader takes it for a Parquet file."""
DAMAGED = ".damaged"
"""How the name of a file ends that was set aside."""
_EXTRAS = {"gs": "gcs", "gcs": "gcs", "s3": "s3"}
_NO_ROOM = "make room and run again"
_ADVICE = {
    errno.ENOSPC: _NO_ROOM,
    errno.EDQUOT: _NO_ROOM,
    errno.EIO: "the disk or the way to it fails, so check that first and run again",
    errno.ENOENT: "make its folder first",
    errno.ENOTDIR: "a file stands where a folder should be, so give another place",
    errno.EISDIR: "it is a folder, so give the name of a file",
    errno.EACCES: "give this user the right to it, or another place",
    errno.EPERM: "give this user the right to it, or another place",
    errno.EROFS: "nothing can be written there, so give another place",
    errno.ENAMETOOLONG: "give a shorter name",
}
_NO_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EBADF, errno.EACCES, errno.EISDIR)
"""What a file system says that cannot bring a folder to disk, as some network ones cannot."""


class StorageError(OSError):
    """A file that could not be read or written: which one, why, and what to do."""

    def __str__(self) -> str:
        return str(self.strerror)


def in_words(error: OSError) -> str:
    """Put what the system said in words, with the file and what to do."""
    if isinstance(error, StorageError) or error.errno is None or error.filename is None:
        return str(error)
    return str(storage_error(error.filename, error, "used"))


def storage_error(file: Any, error: OSError, done: str = "written") -> StorageError:
    """Make the error to raise in place of the system's own.

    Args:
        file: what it is about.
        error: what the system said.
        done: what could not be done with it: read, written, made, used.
    """
    if isinstance(error, StorageError):
        return error
    advice = _ADVICE.get(error.errno or 0, "run again, or give another place")
    reason = error.strerror or error
    return StorageError(error.errno, f"{file} could not be {done} ({reason}): {advice}")


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
    """Find the place that a path or URL means: a `pathlib.Path`, or one with the same methods.

    Args:
        text: a path, or `s3://bucket/folder`, `gs://bucket/folder` and the like.

    Raises:
        ValueError: an unknown kind of store, or one whose library is not installed.

    Example:
        >>> place("a/b").name
        'b'
    """
    scheme, found, rest = str(text).partition("://")
    if not found:
        kind, colon, rest = str(text).partition(":/")
        if colon and kind in _EXTRAS:
            raise ValueError(f"{text} has one slash behind {kind}: give {kind}://{rest.strip('/')}")
        return at_home(text)
    try:
        from upath import UPath

        # What another machine has added must be seen at once, so listings are never kept.
        where = UPath(str(text), use_listings_cache=False)
        _ = where.fs  # raises
    except ImportError as error:
        extra = _EXTRAS.get(scheme)
        needed = (
            f"rerax[{extra}] (pip install '.[{extra}]' in a checkout)"
            if extra
            else f"what {scheme}:// needs ({error})"
        )
        raise ValueError(f"{text} is in an object store: install {needed}") from None
    except ValueError:
        raise ValueError(
            f"{text} is in an unknown kind of store: give a folder, gs://... or s3://..."
        ) from None
    return where


def at_home(text: str | Path) -> Path:
    """Give the path, with `~` spelt out.

    Raises:
        ValueError: the home of a user that there is not.
    """
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise ValueError(f"{text} is in the home of nobody here: give the whole path") from None


def make_folder(path: Place) -> None:
    """Make a local folder; an object store has none.

    Raises:
        StorageError: the file system refused.
    """
    if isinstance(path, Path):
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise storage_error(path, error, "made") from error


def entries(path: Place) -> list[Any]:
    """List what lies in a folder, in the order of the names; nothing where it does not exist.

    Raises:
        StorageError: it may not be read.
    """
    try:
        return sorted(path.iterdir(), key=lambda entry: entry.name) if path.is_dir() else []
    except OSError as error:
        raise storage_error(path, error, "read") from error


@contextlib.contextmanager
def _reading(file: Place) -> Iterator[None]:
    """Let the system's errors, in a context, say what was read; a file that is gone stays one."""
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        raise storage_error(file, error, "read") from error


def read_bytes(file: Place) -> bytes:
    """Read the content of a file.

    Raises:
        FileNotFoundError: it is not there.
        StorageError: it could not be read, which says nothing about what is in it.
    """
    with _reading(file):
        return file.read_bytes()


def read_tail(file: Place, most: int) -> bytes:
    """Read the last so many bytes of a file, or all of a shorter one.

    Raises:
        FileNotFoundError, StorageError: see `read_bytes`.
    """
    if not isinstance(file, Path):
        return read_bytes(file)[-most:]
    with _reading(file), file.open("rb") as stream:
        stream.seek(max(0, os.fstat(stream.fileno()).st_size - most))
        return stream.read()


@contextlib.contextmanager
def whole_file(file: Any) -> Iterator[IO[bytes]]:
    """Open a file that appears under its name complete and on disk, or not at all.

    Behind a link it is the linked file that is replaced; a device or a pipe is written to.

    Raises:
        StorageError: the file system refused (a full disk); nothing half-written is left.
    """
    try:
        with _writing(file) as out:
            yield out
    except OSError as error:
        raise storage_error(file, error) from error


def _writing(file: Any) -> contextlib.AbstractContextManager[IO[bytes]]:
    if not isinstance(file, Path):
        return _put(file)
    file = Path(os.path.realpath(file))
    special = file.exists() and not file.is_file() and not file.is_dir()
    return file.open("wb") if special else _renamed(file)


@contextlib.contextmanager
def _renamed(file: Path) -> Iterator[IO[bytes]]:
    """Write a temporary file and rename it: readers see the old content or the whole new one."""
    temporary, out, owner = _begin(file.parent)
    try:
        with out:
            yield out
            out.flush()
            os.fsync(out.fileno())
        temporary.replace(file)
    finally:
        if owner is not None:
            os.close(owner)
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
    _sync(file.parent)


def _begin(folder: Path) -> tuple[Path, IO[bytes], int | None]:
    """Open a new file to write, and a descriptor that holds its lock until it has its name.

    The lock ends with the process, so others know whether its writer is still alive.
    """
    while True:
        path = folder / f"{WRITING}{os.getpid()}-{secrets.token_hex(4)}{PART}"
        out = path.open("xb")
        if not _lock(out.fileno()):
            return path, out, None
        if os.fstat(out.fileno()).st_nlink:
            return path, out, os.dup(out.fileno())
        out.close()  # taken for a leftover in the moment before it was locked


def _lock(descriptor: int, wait: bool = True) -> bool:
    """Lock a file for its writer; false where there are no locks, or without waiting, none free."""
    if fcntl is None:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:  # some network file systems have none
        return False
    return True


@contextlib.contextmanager
def _put(file: Any) -> Iterator[Any]:
    sink = pa.BufferOutputStream()
    yield sink
    file.fs.pipe_file(file.path, sink.getvalue().to_pybytes())


def _sync(folder: Path) -> None:
    """Write the names of a folder to disk, where the file system can."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise


def read_json(file: Place) -> dict[str, Any]:
    """Read a JSON object from a file.

    Raises:
        ValueError: it is none.
        FileNotFoundError, StorageError: see `read_bytes`.
    """
    try:
        found = json.loads(read_bytes(file).decode("utf-8"))
    except (ValueError, RecursionError) as error:  # also a number of too many digits
        raise ValueError(f"{file} is not JSON ({error}): restore it, or give a new --out") from None
    if not isinstance(found, dict):
        raise ValueError(f"{file} is no JSON object: restore it, or give a new --out")
    return found


def write_json(file: Any, value: Mapping[str, Any]) -> None:
    """Write a JSON object, whole."""
    with whole_file(file) as out:
        out.write(json.dumps(value, indent=1, sort_keys=True).encode())


def write_new_json(file: Path, value: Any) -> None:
    """Write numbers for the user as JSON, whole; missing folders are made."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(file) as out:
        out.write((json.dumps(value, indent=1) + "\n").encode())


def append_line(file: Any, line: str) -> None:
    """Add a line to a local log; objects cannot grow, so there each line is one of its own.

    A last line that a killed process has left unfinished is ended first.

    Raises:
        StorageError: the file system refused.
    """
    if isinstance(file, Path):
        try:
            with file.open("ab+") as log:
                log.seek(max(0, log.seek(0, os.SEEK_END) - 1))
                start = b"" if log.read() in (b"", b"\n") else b"\n"
                log.write(start + line.encode() + b"\n")
        except OSError as error:
            raise storage_error(file, error) from error
        return
    stem, _, suffix = file.name.rpartition(".")
    own = file.parent / f"{stem}-{time.time_ns()}-{secrets.token_hex(4)}.{suffix}"
    with whole_file(own) as out:
        out.write((line + "\n").encode())


def read_lines(file: Place) -> list[str]:
    """Read the lines of a log written by `append_line`, the oldest first."""
    stem, _, suffix = file.name.rpartition(".")
    logs = [
        entry
        for entry in entries(file.parent)
        if entry.name.startswith(stem) and entry.name.endswith(f".{suffix}")
    ]
    texts = (read_bytes(log).decode("utf-8", errors="replace") for log in logs)
    return [line for text in texts for line in text.split("\n") if line]


@contextlib.contextmanager
def locked(path: Place) -> Iterator[None]:
    """Lock a local folder, so that one process at a time reads its manifest and writes it anew.

    The lock is on the folder itself and ends with the process, so a kill leaves none behind.
    Object stores have none: there, two machines that open one campaign for the first time in the
    same second may forget each other's pairs.
    """
    if fcntl is None or not isinstance(path, Path):
        yield
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        _lock(descriptor)
        yield
    finally:
        os.close(descriptor)


def set_aside(file: Any, trouble: str) -> None:
    """Move a file out of the readers' way, and say so in a warning."""
    aside = file.parent / ASIDE
    try:
        make_folder(aside)
        target = aside / f"{file.name}{DAMAGED}"
        while target.exists():  # one of the same name was set aside before
            target = aside / f"{file.name}-{secrets.token_hex(2)}{DAMAGED}"
        if isinstance(file, Path):
            file.replace(target)
        else:
            with whole_file(target) as out:
                out.write(file.read_bytes())
            file.unlink(missing_ok=True)
        done = f"set aside in {aside}"
    except OSError as error:  # a folder that may only be read
        done = f"skipped, as it cannot be set aside ({error.strerror})"
    warnings.warn(f"{file.name} {trouble}: {done}", stacklevel=3)


def remove_leftovers(path: Place) -> int:
    """Delete unfinished files whose writer is no longer alive.

    Returns:
        How many files went.
    """
    gone = 0
    for entry in entries(path):
        if entry.name.startswith(WRITING) and isinstance(entry, Path):
            with contextlib.suppress(OSError), entry.open("rb") as unfinished:  # or it has its name
                if _lock(unfinished.fileno(), wait=False):
                    entry.unlink()
                    gone += 1
    return gone


def is_empty(path: Place) -> bool:
    """Whether nothing is there but hidden files and leftovers of a run killed at its start."""
    return all(entry.name.startswith((".", WRITING)) for entry in entries(path))
