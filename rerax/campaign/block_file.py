"""A block as a file: written with checksums, checked when it is read. No JAX here.

Every page carries Parquet's own checksum, which other readers can verify. The footer holds one
more of all bytes of the file, under `rerax.sha256`, so that no flipped bit goes unseen.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from rerax.campaign.block import IDENTITY, SCHEMA, Block, has_known_columns, narrow, widen
from rerax.io import Place, read_bytes, read_tail, whole_file

SEAL = b"rerax.sha256"
_ENTRY = SEAL + b"\x18\x40"
"""The seal's name and what Thrift's compact protocol puts between it and its 64 digits."""
_EMPTY = b"0" * 64
_FOOTER_BYTES = 1 << 16
"""Bytes at the end of a file, within which its seal lies."""


class Damaged(ValueError):
    """A file that was read whole and is not the block that its name says."""


@dataclass(frozen=True)
class Fixed:
    """What a campaign folder fixes for all its rows.

    Attributes:
        seed: the campaign's seed; None where there is no manifest to say it.
        pairs: for each "task/model", hashes of model and data; None likewise.
        schema: the columns that the folder was begun with.
    """

    seed: int | None = None
    pairs: Mapping[str, Mapping[str, Any]] | None = None
    schema: pa.Schema = SCHEMA


def write_rows(file: Place, rows: pa.Table, schema: pa.Schema = SCHEMA) -> None:
    """Write rows to a file, whole and sealed.

    Args:
        file: the file, which is replaced.
        rows: in the columns of `SCHEMA`.
        schema: the columns of the folder.

    Raises:
        ValueError: the folder has no column for something that the rows say.
        StorageError: the file system refused; nothing half-written is left.
    """
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(sink, schema, compression="zstd", write_page_checksum=True) as writer:
        writer.write_table(narrow(rows, schema))
        writer.add_key_value_metadata({SEAL: _EMPTY})
    data = bytearray(sink.getvalue())
    at = data.rindex(_ENTRY + _EMPTY) + len(_ENTRY)
    data[at : at + len(_EMPTY)] = hashlib.sha256(data).hexdigest().encode()
    with whole_file(file) as out:
        out.write(data)


def write_checked(path: Place, block: Block, rows: pa.Table, fixed: Fixed) -> None:
    """Write the rows of a block, once they are what whoever reads them will ask for.

    Args:
        path: the folder.
        block: which chips.
        rows: in the columns of `SCHEMA`.
        fixed: what the folder fixes.

    Raises:
        ValueError: they are not; or see `write_rows`.
    """
    trouble = _trouble(rows, block, fixed)
    if trouble:
        raise ValueError(f"{path / block.name} {trouble}: it is not written, please report this")
    write_rows(path / block.name, rows, fixed.schema)


def read_block(path: Place, block: Block, fixed: Fixed) -> pa.Table:
    """Read the rows of a block, and check them.

    Returns:
        The rows in the columns of `SCHEMA`.

    Raises:
        Damaged: they were read whole and are not right; says what is wrong.
        FileNotFoundError: the block is gone.
        StorageError: it could not be read.
    """
    rows = read_sealed(path / block.name)
    if not has_known_columns(rows.schema):
        raise Damaged("has other columns than a block")
    trouble = _trouble(rows, block, fixed)
    if trouble:
        raise Damaged(trouble)
    return widen(rows)


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
            schema = opened.schema_arrow
            rows = opened.read(use_threads=False)
        rows.validate(full=True)
    except Exception:  # all bytes are here, so whatever the decoder says is about them
        raise Damaged("is cut short or garbled") from None
    return rows.cast(schema.remove_metadata())


def check_footer(path: Place, block: Block) -> str:
    """What is wrong with a block as far as its footer says, "" if nothing.

    Raises:
        FileNotFoundError: the block is gone.
        StorageError: it could not be read.
    """
    file = path / block.name
    tail = read_tail(file, _FOOTER_BYTES)
    if int.from_bytes(tail[-8:-4], "little") + 8 > len(tail):
        tail = read_bytes(file)
    try:
        metadata = pq.read_metadata(pa.BufferReader(tail))
        schema = metadata.schema.to_arrow_schema()
    except Exception:
        return "is cut short or garbled"
    if not has_known_columns(schema):
        return "has other columns than a block"
    if metadata.num_rows != block.chips:
        return "has other rows than its name says"
    return ""


def is_sealed(file: Place) -> bool:
    """Whether a block carries checksums; those of earlier versions do not."""
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


def _trouble(rows: pa.Table, block: Block, fixed: Fixed) -> str:
    """What is wrong with rows that are whole, "" if nothing."""
    empty = [name for name in IDENTITY if rows[name].null_count]
    if empty:
        return f"has no {empty[0]} for some chip"
    points = rows["point_hash"].unique().to_pylist()
    if len(points) != 1 or not str(points[0]).startswith(block.point):
        return "holds rows of another point than its name says"
    if rows["chip"].to_pylist() != list(range(block.first, block.last + 1)):
        return "holds other chips than its name says"
    if fixed.seed is not None and rows["seed"].unique().to_pylist() != [fixed.seed]:
        return f"is of another seed than the campaign's {fixed.seed}"
    if fixed.pairs is None:
        return ""
    tasks, models = (rows[name].unique().to_pylist() for name in ("task", "model"))
    name = f"{tasks[0]}/{models[0]}"
    if len(tasks) != 1 or len(models) != 1 or name not in fixed.pairs:
        return f"is of {name}, which this campaign does not have"
    for key in ("model_hash", "data_hash"):
        if rows[key].unique().to_pylist() != [fixed.pairs[name].get(key)]:
            return f"is of another campaign ({key} of {name})"
    return ""
