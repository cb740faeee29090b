"""A campaign folder: a Parquet dataset with one row per chip. No JAX here.

Rows lie in blocks, chips [32j, 32j + 32) of one point, named `<point>-<first>-<last>.parquet`
(both ends inclusive); `rerax compact` joins consecutive full blocks of a point into longer ones.
Whatever is not a block begins with `_`, so that a reader of Parquet datasets sees rows only. A
block appears whole or not at all.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from rerax.campaign.block import (
    BLOCK,
    SCHEMA,
    Block,
    block_of,
    blocks_of,
    compare_rows,
    missing,
    rank,
    superfluous,
)
from rerax.campaign.files import Place, entries, set_aside, source, whole_file
from rerax.campaign.manifest import (
    MANIFEST,
    add_provenance,
    check_folder,
    open_folder,
    read_references,
    write_references,
)

__all__ = [
    "BLOCK",
    "MANIFEST",
    "SCHEMA",
    "Block",
    "Survey",
    "add_provenance",
    "blocks_of",
    "check_folder",
    "finished_part",
    "missing",
    "once_each",
    "open_folder",
    "read_block",
    "read_references",
    "read_rows",
    "scan",
    "survey",
    "write_block",
    "write_references",
    "write_rows",
]

_TRIES = 5
"""Readings of a folder whose blocks another process keeps replacing."""


@dataclass(frozen=True)
class Survey:
    """What lies in a folder.

    Attributes:
        blocks: finished blocks that no other one makes superfluous.
        covered: superfluous blocks, with the one that holds their chips.
        troubles: files that are torn or no block, with what is wrong.
    """

    blocks: list[Block]
    covered: dict[Block, Block]
    troubles: list[tuple[Any, str]]


def survey(path: Place) -> Survey:
    """Look a folder over and change nothing."""
    blocks, troubles = [], []
    for file in entries(path):
        if file.name.startswith(("_", ".")):
            continue
        block, trouble = _check(file)
        if block is not None:
            blocks.append(block)
        elif trouble:
            troubles.append((file, trouble))
    covered = superfluous(blocks)
    return Survey([block for block in blocks if block not in covered], covered, troubles)


def scan(path: Place) -> list[Block]:
    """Finished blocks of a folder.

    Blocks of which a longer one holds every chip are deleted; files that are torn or no block
    are moved into `_aside` and named in a warning.

    Raises:
        ValueError: two blocks disagree about a chip.
    """
    found = survey(path)
    for file, trouble in found.troubles:
        set_aside(file, trouble)
    sound = True
    for block, cover in found.covered.items():
        try:
            rows, others = _sound(path, block), _sound(path, cover)
        except FileNotFoundError:  # another process has opened the folder and deleted it
            continue
        if others is None:
            sound = False
        elif rows is not None:
            compare_rows(f"{path / block.name}", rows, cover.name, others)
            (path / block.name).unlink(missing_ok=True)
    return found.blocks if sound else scan(path)  # what a garbled block covered counts again


def _check(file: Place) -> tuple[Block | None, str]:
    """The block that a file is, or what is wrong with it (nothing where it has just gone)."""
    block = block_of(file.name)
    if block is None:
        return None, "is not a block of this campaign"
    try:
        found = pq.ParquetFile(source(file))
        whole = found.schema_arrow.equals(SCHEMA) and found.metadata.num_rows == block.chips
        found.close()
    except FileNotFoundError:
        return None, ""
    except (pa.ArrowException, OSError):
        return None, "is cut short or garbled"
    return (block, "") if whole else (None, "has other columns or rows than its name says")


def write_block(path: Place, block: Block, rows: pa.Table) -> None:
    """Add a finished block; those of which it holds every chip go afterwards.

    Raises:
        ValueError: the rows disagree with a block that is there; nothing has been written.
        OSError: the file system refused (a full disk); nothing half-written is left.
    """
    rows = rows.cast(SCHEMA)
    cut = [
        other for other in _blocks_at(path, block.point) if other != block and block.covers(other)
    ]
    for other in cut:
        theirs = _sound(path, other)
        if theirs is not None:
            compare_rows(f"{path / other.name}", theirs, block.name, rows)
    write_rows(path / block.name, rows)
    for other in cut:
        (path / other.name).unlink(missing_ok=True)


def write_rows(file: Place, rows: pa.Table) -> None:
    """Write rows to a file, whole."""
    with whole_file(file) as out:
        pq.write_table(rows, out, compression="zstd")


def _blocks_at(path: Any, point: str) -> list[Block]:
    """Blocks of a point, by the names of the files."""
    named = (block_of(file.name) for file in path.glob(f"{point}-*.parquet"))
    return [block for block in named if block is not None]


def finished_part(path: Place, block: Block, platform: str) -> pa.Table:
    """Rows that a cut block has of the beginning of a longer one, computed on this platform."""
    begun = [b for b in _blocks_at(path, block.point) if b.first == block.first]
    longest = max(begun, key=lambda b: b.last, default=block)
    if longest.last >= block.last:
        return SCHEMA.empty_table()
    rows = _sound(path, longest)
    if rows is None or set(rows["platform"].to_pylist()) != {platform}:
        return SCHEMA.empty_table()
    return rows


def read_rows(
    path: Place, blocks: Iterable[Block] | None = None, points: Collection[str] | None = None
) -> pa.Table:
    """Rows of a folder, each chip of each point once, in the order of file names.

    Args:
        path: the folder.
        blocks: which blocks; all finished ones by default.
        points: beginnings of the hashes of the points to read (`Block.point`); all by default.

    Raises:
        ValueError: two blocks disagree about a chip.
    """
    for _ in range(_TRIES):
        chosen = list(scan(path) if blocks is None else blocks)
        try:
            return _read_blocks(path, [b for b in chosen if points is None or b.point in points])
        except FileNotFoundError:  # another process has put a longer block in its place
            if blocks is not None:
                raise
    raise OSError(f"{path} keeps changing while it is read: wait until other runs are done")


def _read_blocks(path: Place, blocks: list[Block]) -> pa.Table:
    found = {block: _sound(path, block) for block in sorted(blocks, key=lambda b: b.name)}
    tables = {(path, block): rows for block, rows in found.items() if rows is not None}
    return pa.concat_tables([SCHEMA.empty_table(), *once_each(tables).values()])


def once_each(tables: Mapping[tuple[Any, Block], pa.Table]) -> dict[tuple[Any, Block], pa.Table]:
    """Blocks without the rows that another one has.

    Args:
        tables: rows by folder and block; of blocks alike, the folder that comes first counts.

    Raises:
        ValueError: two blocks disagree about a chip.
    """
    owners: dict[tuple[str, int], tuple[Any, Block]] = {}
    kept = dict(tables)
    for key in sorted(tables, key=lambda k: rank(k[1])):  # stable: folders keep their order
        path, block = key
        chips = range(block.first, block.last + 1)
        whose = [owners.setdefault((block.point, chip), key) for chip in chips]
        others = {str(other): other for other in whose if other != key}
        for where, other in others.values():
            there = other.name if where == path else str(where / other.name)
            compare_rows(f"{path / block.name}", tables[key], there, tables[where, other])
        if others:
            mine = [row for row, owner in enumerate(whose) if owner == key]
            kept[key] = tables[key].take(pa.array(mine, pa.int64()))
    return kept


def read_block(path: Place, block: Block) -> pa.Table:
    """Rows of one block.

    Raises:
        pa.ArrowException, OSError: it is garbled, or gone.
    """
    with pq.ParquetFile(source(path / block.name)) as file:
        return file.read(use_threads=False)


def _sound(path: Place, block: Block) -> pa.Table | None:
    """Rows of a block; one that is garbled inside is set aside."""
    try:
        return read_block(path, block)
    except FileNotFoundError:
        raise
    except (pa.ArrowException, OSError):
        set_aside(path / block.name, "is garbled")
        return None
