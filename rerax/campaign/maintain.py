"""A campaign folder as a whole: merged with others, compacted, exported. No JAX here."""

import contextlib
import itertools
import json
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from rerax.campaign.block import Block, cut, gaps
from rerax.campaign.folder import check_target, write_manifest
from rerax.campaign.manifest import MANIFEST, differences, fixed_by, read_manifest
from rerax.campaign.schema import SCHEMA, narrow
from rerax.campaign.sidecars import (
    add_plans,
    add_provenance,
    add_samples,
    check_samples,
    read_plans,
    read_provenance,
    read_references,
    read_samples,
    write_references,
)
from rerax.campaign.store import (
    TRIES,
    changing,
    named,
    once_each,
    read_rows,
    scan,
    sound_rows,
    survey,
    write_block,
    write_checked,
)
from rerax.io import Place, is_empty, locked, make_folder, remove_leftovers, whole_file

MOST_CHIPS = 1 << 14
"""Chips of the longest block, so that the memory of compaction has a bound."""
Found = Sequence[tuple[Place, Block]]
"""Blocks of one point, with the folders that they lie in."""


def merge(folders: Sequence[Place], out: Place) -> int:
    """Bring the rows of several folders of one campaign together.

    Sources are only read. Where they hold the same chip, the rows must agree (identity and cell
    counts always, scores on one platform), and the row of the full block counts, else of the
    block whose name sorts first, else of the folder that was named first. Everything is compared
    before the first file is written; a merge that was killed goes on when it is run again, and
    a merge into a campaign that is there already grows it.

    Args:
        folders: the sources.
        out: the folder to fill or grow.

    Returns:
        Blocks written.

    Raises:
        ValueError: a source that is no campaign folder; seed, `SEMANTICS` or a pair that differ
            (each difference is named); rows that disagree. Nothing has been written.
    """
    check_target(out)
    sources = [folder for folder in folders if str(folder) != str(out)]
    campaign = (out / MANIFEST).is_file()
    if not campaign and out.exists() and not (out.is_dir() and is_empty(out)):
        raise ValueError(f"{out} is there and is no campaign folder: give a new --out")
    if len(sources) < len(folders):
        read_manifest(out)  # raises: it is a source as well
    for _ in range(TRIES):
        with contextlib.suppress(FileNotFoundError):  # a source is at work, so look again
            return _merge(sources, out)
    raise changing(out)


def _merge(sources: Sequence[Place], out: Place) -> int:
    """Merge once.

    Raises:
        FileNotFoundError: a block went while it was to be read.
    """
    folders = [*_own(out), *sources]
    for _ in _own(out):
        scan(out)
    _merged_manifest(folders, out)  # raises
    for folder, other in itertools.combinations(folders, 2):
        check_samples(read_samples(folder), read_samples(other), str(folder), str(other))
    points = _points_of(folders)
    for found in points.values():
        if _overlap(found):
            once_each(_tables(found, out))  # raises where they disagree
    _check_columns(points, out)
    make_folder(out)
    with locked(out):  # pairs that another process has added meanwhile stay
        write_manifest(out, _merged_manifest([*_own(out), *sources], out))
    written = sum(_write(point, found, out) for point, found in points.items())
    _merge_notes(sources, out)
    return written


def _check_columns(points: Mapping[str, Found], out: Place) -> None:
    """Refuse rows that say what the folder to fill has no column for."""
    for _ in _own(out):
        room = fixed_by(out).schema
        folders = {str(folder): folder for found in points.values() for folder, _ in found}
        wide = {n for n, one in folders.items() if {*fixed_by(one).schema.names} - {*room.names}}
        for found in points.values():
            for rows in _tables([one for one in found if str(one[0]) in wide], out).values():
                narrow(rows, room)


def _own(out: Place) -> list[Place]:
    """List the folder to fill, where it is a campaign already."""
    return [out] if (out / MANIFEST).is_file() else []


def _merged_manifest(sources: Sequence[Place], out: Place) -> dict[str, Any]:
    """Merge the manifests into one; the folder to fill keeps its columns.

    Raises:
        ValueError: they are not of one campaign.
    """
    merged: dict[str, Any] = {}
    pairs: dict[str, Any] = {}
    for source in sources:
        manifest = read_manifest(source)
        for other in sources[: sources.index(source)]:
            unlike = differences(read_manifest(other), manifest, f"in {other}", f"in {source}")
            if unlike:
                raise ValueError(
                    f"{other} and {source} are of two campaigns ({'; '.join(unlike)}): merge "
                    "folders of one seed, one model and one data set for each name"
                )
        for key, value in manifest.items():
            merged[key] = {**merged.get(key, {}), **value} if isinstance(value, dict) else value
        for pair, known in manifest["pairs"].items():
            pairs[pair] = {**pairs.get(pair, {}), **known}
    own = [source for source in sources if str(source) == str(out)]  # which keeps its columns
    columns = {name for source in own or sources for name in fixed_by(source).schema.names}
    named = [name for name in SCHEMA.names if name in columns]
    return {**merged, "pairs": pairs, "columns": named}


def _points_of(sources: Sequence[Place]) -> dict[str, list[tuple[Place, Block]]]:
    """List finished blocks by point, the sources in their order; damaged files are named."""
    points: dict[str, list[tuple[Place, Block]]] = {}
    for source in sources:
        here = survey(source)
        for file, trouble in here.troubles:
            warnings.warn(f"{file} {trouble}: left out", stacklevel=3)
        for block in (*here.blocks, *here.covered):
            points.setdefault(block.point, []).append((source, block))
    return points


def _overlap(found: Found) -> bool:
    """Tell whether some chip is in two of the blocks of one point."""
    blocks = sorted(block for _, block in found)
    return any(one.overlaps(other) for one, other in itertools.pairwise(blocks))


def _tables(found: Found, out: Place) -> dict[tuple[Place, Block], pa.Table]:
    """Read the blocks of one point; damaged ones are named, and in `out` set aside."""
    tables: dict[tuple[Place, Block], pa.Table] = {}
    for folder, own in itertools.groupby(found, key=lambda one: one[0]):
        blocks = [block for _, block in own]
        read = sound_rows(folder, blocks, fixed_by(folder), mend=str(folder) == str(out))
        pairs = zip(blocks, read, strict=True)
        tables |= {(folder, block): rows for block, rows in pairs if rows is not None}
    return tables


def _write(point: str, found: Found, out: Place) -> int:
    """Write what `out` lacks of a point, and count the blocks."""
    if all(str(folder) == str(out) for folder, _ in found):
        return 0
    tables, fixed = _tables(found, out), fixed_by(out)
    there = [block for folder, block in tables if str(folder) == str(out)]
    rows = pa.concat_tables([SCHEMA.empty_table(), *once_each(tables).values()]).sort_by("chip")
    written = start = 0
    for block in cut(point, rows["chip"].to_pylist()):
        for gap in gaps(block, there):
            part = rows.slice(start + gap.first - block.first, gap.chips)
            write_block(out, gap, part, there, fixed)
            written += 1
        start += block.chips
    return written


def _merge_notes(sources: Sequence[Place], out: Place) -> None:
    """Bring references, plans and provenance together; a merge run twice adds nothing."""
    for source in sources:
        write_references(out, read_references(source))
        add_plans(out, read_plans(source))
        add_samples(out, read_samples(source))
    told = [json.dumps(entry, sort_keys=True) for entry in read_provenance(out)]
    for source in sources:
        for entry in read_provenance(source):
            line = json.dumps(entry, sort_keys=True)
            if line not in told:
                told.append(line)
                add_provenance(out, entry)


def compact(path: Place) -> tuple[int, int]:
    """Join consecutive blocks of each point into longer ones, in which each chip is once.

    The rows stay as they are. A longer block appears before those that it holds go: a kill at any
    moment leaves each chip in a file, and the next opening deletes what is there twice.
    Superfluous blocks, damaged ones and leftovers of killed runs are dealt with as on every
    opening.

    Returns:
        Number of blocks before and after.

    Raises:
        ValueError: no campaign folder, or blocks that disagree.
        OSError: no room for a longer block; nothing is lost.
    """
    read_manifest(path)  # raises
    with locked(path):
        remove_leftovers(path)
        fixed, blocks = fixed_by(path), scan(path)
        for joined, parts in _joined(blocks).items():
            rows = read_rows(path, parts, mend=True)
            if len(rows) == joined.chips:  # else one was damaged inside, and has been set aside
                write_checked(path, joined, rows, fixed)
                for block in (b for b in parts if b != joined):
                    (path / block.name).unlink(missing_ok=True)
        return len(blocks), len(named(path))


def _joined(blocks: Sequence[Block]) -> Mapping[Block, list[Block]]:
    """Choose the longer blocks, each with two or more that it is to hold.

    These follow one another, or overlap as those of two runs at once may.
    """
    found: dict[Block, list[Block]] = {}
    for block in sorted(blocks):
        long = next(reversed(found), None)
        if (
            long is not None
            and long.point == block.point
            and block.first <= long.last + 1
            and block.last - long.first < MOST_CHIPS
        ):
            parts = found.pop(long)
            parts.append(block)
            found[Block(long.point, long.first, max(long.last, block.last))] = parts
        else:
            found[block] = [block]
    return {long: parts for long, parts in found.items() if len(parts) > 1}


def export_csv(path: Place, file: Place) -> int:
    """Write all rows of a campaign as CSV, point by point, so that memory is that of one point.

    Numbers are written so that they read back exactly; null is an empty entry; `correct` is in
    hexadecimal digits, and the numbers of `prediction` are parted by spaces.

    Args:
        path: the campaign folder.
        file: the CSV file, which is replaced; it appears whole or not at all.

    Returns:
        Rows written.

    Raises:
        ValueError: no campaign folder, or one without finished rows.
        OSError: the file cannot be written.
    """
    from pyarrow import csv

    check_target(file)
    read_manifest(path)  # raises
    blocks, written = sorted(named(path)), 0
    with whole_file(file) as out:
        writer = None
        for point, own in itertools.groupby(blocks, key=lambda block: block.point):
            try:
                found = read_rows(path, list(own))
            except FileNotFoundError:  # another process has put a longer block in its place
                found = read_rows(path, points={point})
            rows = _plain(found)
            writer = writer or csv.CSVWriter(out, rows.schema)
            writer.write_table(rows)
            written += len(rows)
        if writer is not None:
            writer.close()
        if not written:  # nothing is replaced then
            raise ValueError(f"{path} has no finished rows: run rerax sweep first")
    return written


def _plain(rows: pa.Table) -> pa.Table:
    """Write bytes and lists as text, since CSV has neither."""
    texts: dict[str, Any] = {
        "correct": lambda bits: bits.hex(),
        "prediction": lambda scores: " ".join(str(score) for score in scores),
    }
    for name, text in texts.items():
        values = [None if v is None else text(v) for v in rows[name].to_pylist()]
        at = SCHEMA.get_field_index(name)
        rows = rows.set_column(at, name, pa.array(values, pa.string()))
    return rows
