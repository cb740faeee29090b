"""Merging: the rows of several campaign folders in one. No JAX here."""

import contextlib
import itertools
import json
import warnings
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from rerax.campaign.block import SCHEMA, Block, cut, gaps
from rerax.campaign.manifest import (
    MANIFEST,
    add_provenance,
    check_target,
    differences,
    fixed_by,
    read_manifest,
    read_provenance,
    read_references,
    write_manifest,
    write_references,
)
from rerax.campaign.store import (
    TRIES,
    changing,
    once_each,
    scan,
    sound_rows,
    survey,
    write_block,
)
from rerax.io import Place, is_empty, locked, make_folder


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
    points = _points_of(folders)
    for lots in points.values():
        if _share_chips(lots):
            once_each(_tables(lots, out))  # raises where they disagree
    make_folder(out)
    with locked(out):  # pairs that another process has added meanwhile stay
        write_manifest(out, _merged_manifest([*_own(out), *sources], out))
    written = sum(_write(point, lots, out) for point, lots in points.items())
    _merge_notes(sources, out)
    return written


def _own(out: Place) -> list[Place]:
    """The folder to fill, where it is a campaign already."""
    return [out] if (out / MANIFEST).is_file() else []


def _merged_manifest(sources: Sequence[Place], out: Place) -> dict[str, Any]:
    """One manifest for all; the folder to fill keeps its columns.

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
    """Finished blocks by point, the sources in their order; damaged files are named."""
    points: dict[str, list[tuple[Place, Block]]] = {}
    for source in sources:
        found = survey(source)
        for file, trouble in found.troubles:
            warnings.warn(f"{file} {trouble}: left out", stacklevel=3)
        for block in (*found.blocks, *found.covered):
            points.setdefault(block.point, []).append((source, block))
    return points


def _share_chips(lots: Sequence[tuple[Place, Block]]) -> bool:
    """Whether some chip is in two of the blocks of one point."""
    blocks = sorted(block for _, block in lots)
    return any(one.overlaps(other) for one, other in itertools.pairwise(blocks))


def _tables(lots: Sequence[tuple[Place, Block]], out: Place) -> dict[tuple[Place, Block], pa.Table]:
    """Rows of the blocks of one point; damaged ones are named, and in `out` set aside."""
    tables, fixed = {}, {str(folder): fixed_by(folder) for folder, _ in lots}
    for folder, block in lots:
        mend = str(folder) == str(out)
        rows = sound_rows(folder, block, fixed[str(folder)], mend)
        if rows is not None:
            tables[folder, block] = rows
    return tables


def _write(point: str, lots: Sequence[tuple[Place, Block]], out: Place) -> int:
    """Write what `out` lacks of a point; gives the number of blocks."""
    if all(str(folder) == str(out) for folder, _ in lots):
        return 0
    tables, fixed = _tables(lots, out), fixed_by(out)
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
    """Bring references and provenance together; a merge run twice adds nothing."""
    for source in sources:
        write_references(out, read_references(source))
    told = [json.dumps(entry, sort_keys=True) for entry in read_provenance(out)]
    for source in sources:
        for entry in read_provenance(source):
            line = json.dumps(entry, sort_keys=True)
            if line not in told:
                told.append(line)
                add_provenance(out, entry)
