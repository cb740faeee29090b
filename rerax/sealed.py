"""Files that carry a hash of themselves: JSON objects, and Parquet files of rows. No JAX here.

A JSON object holds the hash of its other entries under `sha256`. A Parquet file has Parquet's own
checksum in every page, which other readers can verify, and in its footer, under `rerax.sha256`, a
hash of all bytes of the file, so that no flipped bit of the rows goes unseen.
"""

import base64
import functools
import hashlib
import json
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from rerax.io import Place, read_bytes, read_json, read_tail, whole_file, write_json

SEAL = "sha256"
_ENTRY = b"rerax.sha256\x18\x40"
"""The hash's name, and what Thrift's compact protocol puts between it and its 64 digits."""
_EMPTY = b"0" * 64
_FOOTER_BYTES = 1 << 16
"""Bytes at the end of a file, within which its hash lies."""
_MANY_ROWS = 1024
"""From here on smaller files are worth the longer decoding."""


class Damaged(ValueError):
    """A file that was read whole and does not hold what was written."""


def digest(value: Any) -> str:
    """SHA-256 of canonical JSON: sorted keys, no spaces, no NaN, shortest floats."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def write_sealed_json(file: Any, content: Mapping[str, Any]) -> None:
    """Write a JSON object with a hash of itself."""
    write_json(file, {**content, SEAL: digest(content)})


def read_sealed_json(file: Place, required: bool = True) -> dict[str, Any]:
    """Read a JSON object without its hash.

    Args:
        file: the file.
        required: whether an object without a hash is damaged.

    Raises:
        Damaged: it is not what was written.
        ValueError: it is no JSON object.
        FileNotFoundError, StorageError: see `io.read_bytes`.
    """
    found = read_json(file)
    content = {key: value for key, value in found.items() if key != SEAL}
    try:
        seal = digest(content)
    except ValueError:  # NaN and the like
        raise Damaged("is damaged or was edited") from None
    if found[SEAL] != seal if SEAL in found else required:
        raise Damaged("is damaged or was edited")
    return content


def write_sealed(file: Place, rows: pa.Table) -> None:
    """Write rows to a Parquet file, whole and with a hash of itself.

    Few rows are written so that thousands of files are read quickly: decoding one is mostly
    setting up a decoder for each column.

    Raises:
        StorageError: the file system refused; nothing half-written is left.
    """
    many = len(rows) >= _MANY_ROWS
    texts = [field.name for field in rows.schema if pa.types.is_string(field.type)]
    how = {"compression": "zstd" if many else "snappy", "write_statistics": many}
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(
        sink, rows.schema, write_page_checksum=True, use_dictionary=texts, **how
    ) as writer:
        writer.write_table(rows)
        writer.add_key_value_metadata({"rerax.sha256": _EMPTY.decode()})
    data = bytearray(sink.getvalue())
    at = data.rindex(_ENTRY + _EMPTY) + len(_ENTRY)
    data[at : at + len(_EMPTY)] = hashlib.sha256(data).hexdigest().encode()
    with whole_file(file) as out:
        out.write(data)


def read_sealed(file: Place) -> pa.Table:
    """Read the rows of a file, and check its bytes.

    Raises:
        Damaged: they were read whole and are not those that were written.
        FileNotFoundError: the file is gone.
        StorageError: it could not be read.
    """
    data = read_bytes(file)
    if _is_broken(data):
        raise Damaged("does not have the bytes that were written")
    try:
        with pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True) as opened:
            rows = opened.read(use_threads=False)
        rows.validate(full=True)
    except Exception:  # all bytes are here, so whatever the decoder says is about them
        raise Damaged("is cut short or garbled") from None
    return rows.replace_schema_metadata(None)


def read_footer(file: Place) -> tuple[int, pa.Schema]:
    """Number of rows and columns of a file, as its footer says.

    Raises:
        Damaged: it has no footer.
        FileNotFoundError: the file is gone.
        StorageError: it could not be read.
    """
    tail = read_tail(file, _FOOTER_BYTES)
    if int.from_bytes(tail[-8:-4], "little") + 8 > len(tail):
        tail = read_bytes(file)
    try:
        metadata = pq.read_metadata(pa.BufferReader(tail))
        kept = (metadata.metadata or {}).get(b"ARROW:schema")
        return metadata.num_rows, _schema(kept) if kept else metadata.schema.to_arrow_schema()
    except Exception:
        raise Damaged("is cut short or garbled") from None


@functools.lru_cache(maxsize=16)
def _schema(kept: bytes) -> pa.Schema:
    """Read the columns as Arrow keeps them in a footer, which thousands of files have alike."""
    return pa.ipc.read_schema(pa.py_buffer(base64.b64decode(kept))).remove_metadata()


def is_sealed(file: Place) -> bool:
    """Whether a Parquet file carries a hash of itself; those of early versions do not."""
    return _ENTRY in read_tail(file, _FOOTER_BYTES)


def _is_broken(data: bytes) -> bool:
    """Whether a sealed file has other bytes than were written."""
    at = data.rfind(_ENTRY)
    if at < 0:
        return False
    at += len(_ENTRY)
    end = at + len(_EMPTY)
    hasher = hashlib.sha256(data[:at])
    hasher.update(_EMPTY)
    hasher.update(data[end:])
    return data[at:end] != hasher.hexdigest().encode()
