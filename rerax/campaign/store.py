"""A campaign folder: a Parquet dataset with one row per chip. No JAX here.

Rows lie in blocks, chips [32j, 32j + 32) of one point, named `<point>-<first>-<last>.parquet`
(both ends inclusive). Growth adds what lacks and changes nothing that is there, so it may leave
ranges of a block; `rerax compact` joins consecutive blocks of a point into longer ones. Whatever is
not a block begins with `_`, so that a reader of Parquet datasets sees rows only. A block appears
whole or not at all.

A look at what is finished reads names and footers; whoever reads rows checks all of them. Only a
run, a merge or a compaction changes a folder: it sets damaged blocks aside, and deletes those of
which another one holds every chip, as a compaction leaves them that is cut off, and growth of
early versions. Files are read one by one and side by side: through `pyarrow.dataset` they take
longer, and an error does not say which file it is about.
"""

import contextlib
import warnings
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa

from rerax.campaign.block import Block, block_of, rank, superfluous
from rerax.campaign.manifest import Fixed, fixed_by
from rerax.campaign.schema import (
    IDENTITY,
    SCHEMA,
    compare_rows,
    has_known_columns,
    narrow,
    widen,
)
from rerax.io import Place, entries, set_aside
from rerax.sealed import Damaged, is_sealed, read_footer, read_sealed, write_sealed

TRIES = 5
"""Readings of a folder whose blocks another process keeps replacing."""
READERS, LOCAL_READERS = 16, 2
"""Files read side by side from an object store, which is slow to answer, and from a disk."""
T = TypeVar("T")
R = TypeVar("R")


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
        listed, foreign = _listed(path)
        listed = [block for block in listed if block.name not in leave_out]
        try:
            told = _each(lambda block: check_footer(path, block), listed, path, local=1)
        except FileNotFoundError:  # a longer one stands in its place: it is in the next listing
            continue
        blocks = [block for block, trouble in zip(listed, told, strict=True) if not trouble]
        troubles = [(path / b.name, what) for b, what in zip(listed, told, strict=True) if what]
        covered = superfluous(blocks)
        return Survey([b for b in blocks if b not in covered], covered, troubles, foreign)
    raise changing(path)


def _each(
    work: Callable[[T], R], items: Iterable[T], path: Place, local: int = LOCAL_READERS
) -> list[R]:
    """Do some work on files of a folder side by side; results come in their order."""
    readers = local if isinstance(path, Path) else READERS
    with ThreadPoolExecutor(readers, "read") as pool:
        return list(pool.map(work, items))


def named(path: Place) -> list[Block]:
    """List the blocks of a folder by the names of the files."""
    return _listed(path)[0]


def _listed(path: Place) -> tuple[list[Block], list[Any]]:
    """Tell the blocks of a folder, by the names of the files, from what is not the campaign's."""
    blocks, foreign = [], []
    for file in entries(path):
        block = block_of(file.name)
        if block is not None and not _is_special(file):
            blocks.append(block)
        elif not file.name.startswith(("_", ".")):
            foreign.append(file)
    return blocks, foreign


def _is_special(file: Any) -> bool:
    """Tell whether it is a folder, a pipe or a link into nothing, whatever its name.

    In an object store there are none.
    """
    if not isinstance(file, Path) or file.is_file():
        return False
    return file.is_symlink() or file.exists()


def changing(path: Place) -> OSError:
    """Make the error of a folder that does not hold still."""
    return OSError(f"{path} keeps changing while it is read: wait until other runs are done")


def stuck(path: Place) -> OSError:
    """Make the error of a damaged block that stays in the way."""
    return OSError(
        f"a damaged block of {path} cannot be set aside: give this user the right to the folder, "
        "or another --out"
    )


def scan(path: Place) -> list[Block]:
    """List the finished blocks of a folder that is to be worked on.

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
            _name_foreign(found.foreign)
        for file, trouble in found.troubles:
            set_aside(file, trouble)
        before = len(damaged)
        fixed = fixed_by(path) if found.covered else Fixed()
        for block, cover in found.covered.items():
            try:
                rows, others = sound_rows(path, (block, cover), fixed, mend=True)
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


def _name_foreign(foreign: Iterable[Any]) -> None:
    for file in foreign:  # told from one line, so that a second look says nothing new
        warnings.warn(
            f"{file} is not of this campaign: left alone, but other readers of the folder may "
            f"fail on it: move it elsewhere, or call it _{file.name}",
            stacklevel=1,
        )


def read_rows(
    path: Place,
    blocks: Iterable[Block] | None = None,
    points: Collection[str] | None = None,
    mend: bool = False,
) -> pa.Table:
    """Read the rows of a folder, each chip of each point once, in the order of points and chips.

    Every block is checked as a whole, against its name and the manifest. Damaged ones are left out
    and named in a warning.

    Args:
        path: the folder.
        blocks: which blocks; all by default.
        points: beginnings of the hashes of the points to read (`Block.point`); all by default.
        mend: set damaged blocks aside; else nothing in the folder is changed.

    Raises:
        ValueError: two blocks disagree about a chip.
        FileNotFoundError: one of `blocks` is gone.
        StorageError: a file could not be read.
    """
    for _ in range(TRIES):
        if blocks is not None:
            chosen = list(blocks)
        elif mend:
            chosen = scan(path)
        else:
            chosen, foreign = _listed(path)
            _name_foreign(foreign)
        chosen = sorted(block for block in chosen if points is None or block.point in points)
        fixed = fixed_by(path)  # after the listing: pairs come before their blocks
        try:
            read = sound_rows(path, chosen, fixed, mend)
        except FileNotFoundError:  # another process has put a longer block in its place
            if blocks is not None:
                raise
            continue
        found = {
            (path, block): rows
            for block, rows in zip(chosen, read, strict=True)
            if rows is not None
        }
        return pa.concat_tables([SCHEMA.empty_table(), *once_each(found).values()])
    raise changing(path)


def sound_rows(
    path: Place, blocks: Iterable[Block], fixed: Fixed, mend: bool
) -> list[pa.Table | None]:
    """Read the rows of blocks; None for a damaged one, which is set aside, or only named.

    Raises:
        FileNotFoundError: a block is gone.
        StorageError: one could not be read.
    """

    def read(block: Block) -> pa.Table | Damaged:
        try:
            return read_block(path, block, fixed)
        except Damaged as error:
            return error

    blocks, found = list(blocks), []
    for block, rows in zip(blocks, _each(read, blocks, path), strict=True):
        if isinstance(rows, Damaged) and mend:
            rows = read(block)  # another process may have made it again by now
            if isinstance(rows, Damaged):
                set_aside(path / block.name, str(rows))
        elif isinstance(rows, Damaged):
            warnings.warn(
                f"{block.name} {rows}: left out (rerax sweep sets it aside and makes it again)",
                stacklevel=1,
            )
        found.append(None if isinstance(rows, Damaged) else rows)
    return found


def once_each(tables: Mapping[tuple[Any, Block], pa.Table]) -> dict[tuple[Any, Block], pa.Table]:
    """Drop rows that another block has, so that each chip of a point is there once.

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
    """Count the blocks without checksums, as early versions wrote them."""
    count = 0
    for block in named(path):
        with contextlib.suppress(FileNotFoundError):  # a longer one stands in its place
            count += not is_sealed(path / block.name)
    return count


def write_block(
    path: Place,
    block: Block,
    rows: pa.Table,
    here: Iterable[Block] | None = None,
    fixed: Fixed | None = None,
) -> None:
    """Add a finished block.

    Two runs at once may write the same chips, which must then be equal; blocks of which the new
    one holds every chip go afterwards. A sound block of the same name stays as it is.

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
    others = [other for other in known if other != block and block.overlaps(other)]
    is_there = False
    for other in (block, *others):
        with contextlib.suppress(FileNotFoundError):  # another process was quicker
            (theirs,) = sound_rows(path, [other], fixed, True)
            if theirs is not None:
                compare_rows(f"{path / other.name}", theirs, "what is to be written", rows)
                is_there = is_there or other == block
    if not is_there:
        write_checked(path, block, rows.cast(SCHEMA), fixed)
    for other in others:
        if block.covers(other):
            _delete(path, other, block)


def write_checked(path: Place, block: Block, rows: pa.Table, fixed: Fixed) -> None:
    """Write the rows of a block, once they are what whoever reads them will ask for.

    Args:
        path: the folder.
        block: which chips.
        rows: in the columns of `SCHEMA`.
        fixed: what the folder fixes.

    Raises:
        ValueError: they are not, or the folder has no column for something that they say.
        StorageError: the file system refused; nothing half-written is left.
    """
    trouble = _trouble(rows, block, fixed)
    if trouble:
        raise ValueError(f"{path / block.name} {trouble}: it is not written, please report this")
    write_sealed(path / block.name, narrow(rows, fixed.schema))


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


def check_footer(path: Place, block: Block) -> str:
    """Say what is wrong with a block as far as its footer tells, "" if nothing.

    Raises:
        FileNotFoundError: the block is gone.
        StorageError: it could not be read.
    """
    try:
        rows, schema = read_footer(path / block.name)
    except Damaged as error:
        return str(error)
    if not has_known_columns(schema):
        return "has other columns than a block"
    return "" if rows == block.chips else "has other rows than its name says"


def _trouble(rows: pa.Table, block: Block, fixed: Fixed) -> str:
    """Say what is wrong with rows that are whole, "" if nothing."""
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
