"""A campaign folder: a Parquet dataset with one row per chip. No JAX here.

Rows lie in blocks, chips [32j, 32j + 32) of one point, named `<point>-<first>-<last>.parquet`
(both ends inclusive). Growth adds what lacks and changes nothing that is there, so it may leave
ranges of a block; `rerax compact` joins consecutive blocks of a point into longer ones. Whatever is
not a block begins with `_`, so that a reader of Parquet datasets sees rows only. A block appears
whole or not at all.

A look at what is finished reads names and footers; whoever reads rows checks all of them
(`block_file`). Only a run, a merge or a compaction changes a folder: it sets damaged blocks aside,
and deletes those of which another one holds every chip, as a compaction leaves them that is cut
off, and growth of earlier versions.
"""

import contextlib
import warnings
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
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
    write_checked,
    write_rows,
)
from rerax.campaign.manifest import (
    MANIFEST,
    add_provenance,
    check_folder,
    fixed_by,
    open_folder,
    read_references,
    write_references,
)
from rerax.io import Place, entries, set_aside

__all__ = [
    "BLOCK",
    "MANIFEST",
    "SCHEMA",
    "TRIES",
    "Block",
    "Survey",
    "add_provenance",
    "blocks_of",
    "changing",
    "check_folder",
    "fixed_by",
    "look",
    "missing",
    "named",
    "once_each",
    "open_folder",
    "read_block",
    "read_references",
    "read_rows",
    "scan",
    "sound_rows",
    "survey",
    "unsealed",
    "write_block",
    "write_checked",
    "write_references",
    "write_rows",
]

TRIES = 5
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


def survey(path: Place, leave_out: Collection[str] = ()) -> Survey:
    """Look a folder over, by names and footers, and change nothing.

    Args:
        path: the folder.
        leave_out: names of blocks that are known to be damaged.

    Raises:
        StorageError: a file could not be read, which says nothing about what is in it.
        OSError: other processes keep changing the folder.
    """
    for _ in range(TRIES):
        named, foreign = _listed(path)
        blocks, troubles = [], []
        try:
            for block in named:
                if block.name not in leave_out:
                    trouble = check_footer(path, block)
                    if trouble:
                        troubles.append((path / block.name, trouble))
                    else:
                        blocks.append(block)
        except FileNotFoundError:  # a longer one stands in its place: it is in the next listing
            continue
        covered = superfluous(blocks)
        return Survey([b for b in blocks if b not in covered], covered, troubles, foreign)
    raise changing(path)


def _listed(path: Place) -> tuple[list[Block], list[Any]]:
    """Blocks of a folder by the names of the files, and what is not the campaign's."""
    blocks, foreign = [], []
    for file in entries(path):
        block = block_of(file.name)
        if block is not None and not _is_special(file):
            blocks.append(block)
        elif not file.name.startswith(("_", ".")):
            foreign.append(file)
    return blocks, foreign


def _is_special(file: Any) -> bool:
    """Whether it is a folder, a pipe or a link into nothing, whatever its name.

    In an object store there are none.
    """
    if not isinstance(file, Path) or file.is_file():
        return False
    return file.is_symlink() or file.exists()


def changing(path: Place) -> OSError:
    """The error of a folder that does not hold still."""
    return OSError(f"{path} keeps changing while it is read: wait until other runs are done")


def scan(path: Place) -> list[Block]:
    """Finished blocks of a folder that is to be worked on.

    Blocks of which a longer one holds every chip are deleted; damaged ones are moved into `_aside`
    and named in a warning. Files that are not the campaign's are named and left alone.

    Raises:
        ValueError: two blocks disagree about a chip.
        StorageError: a file could not be read.
    """
    damaged: set[str] = set()
    while True:
        found = survey(path, damaged)
        if not damaged:
            _name_foreign(found)
        for file, trouble in found.troubles:
            set_aside(file, trouble)
        before = len(damaged)
        fixed = fixed_by(path) if found.covered else Fixed()
        for block, cover in found.covered.items():
            try:
                rows, others = (sound_rows(path, b, fixed, mend=True) for b in (block, cover))
            except FileNotFoundError:  # another process has opened the folder and deleted it
                continue
            if others is None:  # what it covered counts again, perhaps
                damaged.add(cover.name)
            elif rows is not None:
                compare_rows(f"{path / block.name}", rows, cover.name, others)
                _delete(path, block, cover)
        if len(damaged) == before:
            return found.blocks


def _delete(path: Place, block: Block, cover: Block) -> None:
    """Delete a block that another one holds."""
    try:
        (path / block.name).unlink(missing_ok=True)
    except OSError as error:
        warnings.warn(
            f"{block.name} cannot be deleted ({error.strerror}): {cover.name} holds its chips too, "
            "which pandas counts twice",
            stacklevel=1,
        )


def look(path: Place) -> list[Block]:
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
    """Add a finished block.

    Two runs at once may write the same chips, which must then be equal; blocks of which the new
    one holds every chip go afterwards.

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
    touched = [other for other in known if other != block and block.overlaps(other)]
    for other in touched:
        try:
            theirs = sound_rows(path, other, fixed, mend=True)
        except FileNotFoundError:  # another process was quicker
            continue
        if theirs is not None:
            compare_rows(f"{path / other.name}", theirs, block.name, rows)
    write_checked(path, block, rows.cast(SCHEMA), fixed)
    for other in touched:
        if block.covers(other):
            _delete(path, other, block)


def named(path: Place) -> list[Block]:
    """Blocks of a folder by the names of the files."""
    return _listed(path)[0]


def read_rows(
    path: Place,
    blocks: Iterable[Block] | None = None,
    points: Collection[str] | None = None,
    mend: bool = False,
) -> pa.Table:
    """Rows of a folder, each chip of each point once, in the order of points and chips.

    Every block is checked as a whole, against its name and the manifest. Damaged ones are left out
    and named in a warning.

    Args:
        path: the folder.
        blocks: which blocks; all finished ones by default.
        points: beginnings of the hashes of the points to read (`Block.point`); all by default.
        mend: set damaged blocks aside; else nothing in the folder is changed.

    Raises:
        ValueError: two blocks disagree about a chip.
        FileNotFoundError: one of `blocks` is gone.
        StorageError: a file could not be read.
    """
    for _ in range(TRIES):
        chosen = list((scan(path) if mend else look(path)) if blocks is None else blocks)
        chosen = [b for b in chosen if points is None or b.point in points]
        fixed = fixed_by(path)  # after the listing: pairs come before their blocks
        try:
            return _read_blocks(path, chosen, fixed, mend)
        except FileNotFoundError:  # another process has put a longer block in its place
            if blocks is not None:
                raise
    raise changing(path)


def _read_blocks(path: Place, blocks: list[Block], fixed: Fixed, mend: bool) -> pa.Table:
    found = {block: sound_rows(path, block, fixed, mend) for block in sorted(blocks)}
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
    count = 0
    for block in named(path):
        with contextlib.suppress(FileNotFoundError):  # a longer one stands in its place
            count += not is_sealed(path / block.name)
    return count


def sound_rows(path: Place, block: Block, fixed: Fixed, mend: bool) -> pa.Table | None:
    """Rows of a block; None where it is damaged, which sets it aside or names it."""
    try:
        return read_block(path, block, fixed)
    except Damaged as error:
        if mend:
            with contextlib.suppress(Damaged):  # another process may have made it again by now
                return read_block(path, block, fixed)
            set_aside(path / block.name, str(error))
        else:
            _name_damaged(block.name, str(error))
        return None
