"""A campaign folder: a Parquet dataset with one row per chip. No JAX here.

Rows lie in blocks, chips [32j, 32j + 32) of one point, named `<point>-<first>-<last>.parquet`
(both ends inclusive); `rerax compact` joins consecutive full blocks of a point into longer ones.
Whatever is not a block begins with `_`, so that a reader of Parquet datasets sees rows only. A
block appears whole or not at all.

A look at what is finished reads names and footers; whoever reads rows checks all of them
(`block_file`). Only a run, a merge or a compaction changes a folder: it sets damaged blocks aside,
and deletes those of which another one holds every chip.
"""

import warnings
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

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
from rerax.campaign.block_file import (
    Damaged,
    Fixed,
    check_footer,
    is_sealed,
    read_block,
    write_rows,
)
from rerax.campaign.files import Place, entries, set_aside
from rerax.campaign.manifest import (
    MANIFEST,
    add_provenance,
    check_folder,
    fixed_by,
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
    "fixed_by",
    "missing",
    "named",
    "once_each",
    "open_folder",
    "read_block",
    "read_references",
    "read_rows",
    "scan",
    "survey",
    "unsealed",
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
        troubles: files that have a block's name and are none, with what is wrong.
        foreign: files and folders that are not the campaign's.
    """

    blocks: list[Block]
    covered: dict[Block, Block]
    troubles: list[tuple[Any, str]]
    foreign: list[Any]


def survey(path: Place) -> Survey:
    """Look a folder over, by names and footers, and change nothing.

    Raises:
        StorageError: a file could not be read, which says nothing about what is in it.
    """
    blocks, troubles, foreign = [], [], []
    for file in entries(path):
        if file.name.startswith(("_", ".")):
            continue
        block = block_of(file.name)
        if block is None or file.is_dir():
            foreign.append(file)
            continue
        try:
            trouble = check_footer(path, block)
        except FileNotFoundError:  # another process has put a longer one in its place
            continue
        if trouble:
            troubles.append((file, trouble))
        else:
            blocks.append(block)
    covered = superfluous(blocks)
    return Survey([b for b in blocks if b not in covered], covered, troubles, foreign)


def scan(path: Place) -> list[Block]:
    """Finished blocks of a folder that is to be worked on.

    Blocks of which a longer one holds every chip are deleted; damaged ones are moved into `_aside`
    and named in a warning. Files that are not the campaign's are named and left alone.

    Raises:
        ValueError: two blocks disagree about a chip.
        StorageError: a file could not be read.
    """
    found = survey(path)
    _name_foreign(found)
    for file, trouble in found.troubles:
        set_aside(file, trouble)
    sound, fixed = True, fixed_by(path) if found.covered else Fixed()
    for block, cover in found.covered.items():
        try:
            rows, others = (_sound(path, b, fixed, mend=True) for b in (block, cover))
        except FileNotFoundError:  # another process has opened the folder and deleted it
            continue
        if others is None:
            sound = False
        elif rows is not None:
            compare_rows(f"{path / block.name}", rows, cover.name, others)
            (path / block.name).unlink(missing_ok=True)
    return found.blocks if sound else scan(path)  # what a garbled block covered counts again


def _look(path: Place) -> list[Block]:
    """Finished blocks of a folder that is only read, covered ones too; the others are named."""
    found = survey(path)
    _name_foreign(found)
    for file, trouble in found.troubles:
        _name_damaged(file.name, trouble)
    return [*found.blocks, *found.covered]


def _name_foreign(found: Survey) -> None:
    for file in found.foreign:  # told from one line, so that a second look says nothing new
        warnings.warn(
            f"{file} is not of this campaign: left alone, but other readers of the folder may "
            f"fail on it: move it elsewhere, or call it _{file.name}",
            stacklevel=1,
        )


def _name_damaged(name: str, trouble: str) -> None:
    warnings.warn(
        f"{name} {trouble}: left out (rerax sweep sets it aside and makes it again)", stacklevel=1
    )


def write_block(
    path: Place,
    block: Block,
    rows: pa.Table,
    here: Iterable[Block] | None = None,
    fixed: Fixed | None = None,
) -> None:
    """Add a finished block; those of which it holds every chip go afterwards.

    Args:
        path: the folder.
        block: which chips.
        rows: their rows, in the columns of `SCHEMA`.
        here: finished blocks, where the caller knows them.
        fixed: what the folder fixes, where the caller knows it.

    Raises:
        ValueError: the rows disagree with a block that is there; nothing has been written.
        StorageError: the file system refused (a full disk); nothing half-written is left.
    """
    fixed = fixed or fixed_by(path)
    known = named(path) if here is None else here
    cut = [other for other in known if other != block and block.covers(other)]
    for other in cut:
        try:
            theirs = _sound(path, other, fixed, mend=True)
        except FileNotFoundError:  # another process was quicker
            continue
        if theirs is not None:
            compare_rows(f"{path / other.name}", theirs, block.name, rows)
    write_rows(path / block.name, rows.cast(SCHEMA), fixed.schema)
    for other in cut:
        (path / other.name).unlink(missing_ok=True)


def named(path: Any) -> list[Block]:
    """Blocks of a folder by the names of the files."""
    named = (block_of(file.name) for file in entries(path))
    return [block for block in named if block is not None]


def finished_part(
    path: Place, block: Block, platform: str, here: Iterable[Block], fixed: Fixed
) -> pa.Table:
    """Rows that a cut block has of the beginning of a longer one, computed on this platform.

    Args:
        path: the folder.
        block: the longer one.
        platform: on what it is computed.
        here: finished blocks.
        fixed: what the folder fixes.
    """
    begun = [b for b in here if b.point == block.point and b.first == block.first]
    longest = max(begun, key=lambda b: b.last, default=block)
    if longest.last >= block.last:
        return SCHEMA.empty_table()
    try:
        rows = _sound(path, longest, fixed, mend=True)
    except FileNotFoundError:  # another process has put a longer one in its place
        rows = None
    if rows is None or set(rows["platform"].to_pylist()) != {platform}:
        return SCHEMA.empty_table()
    return rows


def read_rows(
    path: Place,
    blocks: Iterable[Block] | None = None,
    points: Collection[str] | None = None,
    mend: bool = False,
) -> pa.Table:
    """Rows of a folder, each chip of each point once, in the order of file names.

    Every block is checked as a whole, against its name and the manifest. Damaged ones are left out
    and named in a warning.

    Args:
        path: the folder.
        blocks: which blocks; all finished ones by default.
        points: beginnings of the hashes of the points to read (`Block.point`); all by default.
        mend: set damaged blocks aside; else nothing in the folder is changed.

    Raises:
        ValueError: two blocks disagree about a chip.
        StorageError: a file could not be read.
    """
    fixed = fixed_by(path)
    for _ in range(_TRIES):
        chosen = list((scan(path) if mend else _look(path)) if blocks is None else blocks)
        chosen = [b for b in chosen if points is None or b.point in points]
        try:
            return _read_blocks(path, chosen, fixed, mend)
        except FileNotFoundError:  # another process has put a longer block in its place
            if blocks is not None:
                raise
    raise OSError(f"{path} keeps changing while it is read: wait until other runs are done")


def _read_blocks(path: Place, blocks: list[Block], fixed: Fixed, mend: bool) -> pa.Table:
    ordered = sorted(blocks, key=lambda b: b.name)
    found = {block: _sound(path, block, fixed, mend) for block in ordered}
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


def unsealed(path: Place) -> int:
    """Number of blocks without checksums, as earlier versions wrote them."""
    return sum(not is_sealed(path / block.name) for block in named(path))


def _sound(path: Place, block: Block, fixed: Fixed, mend: bool) -> pa.Table | None:
    """Rows of a block; None where it is damaged, which sets it aside or names it."""
    try:
        return read_block(path, block, fixed)
    except Damaged as error:
        if mend:
            set_aside(path / block.name, str(error))
        else:
            _name_damaged(block.name, str(error))
        return None
