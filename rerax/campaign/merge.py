"""Merging: the rows of several campaign folders in one. No JAX here."""

import json
import warnings
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from rerax.campaign.block import SCHEMA, Block, cut
from rerax.campaign.block_file import Damaged
from rerax.campaign.files import Place, is_empty, locked, make_folder
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
from rerax.campaign.store import once_each, read_block, scan, survey, write_block


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
    sources = [folder for folder in folders if str(folder) != str(out)]
    if (out / MANIFEST).is_file():
        scan(out)
        sources.insert(0, out)
    elif out.exists() and not (out.is_dir() and is_empty(out)):
        raise ValueError(f"{out} is there and is no campaign folder: give a new --out")
    manifest = _merged_manifest(sources)
    points = _points_of(sources)
    for lots in points.values():
        if len({str(folder) for folder, _ in lots}) > 1:
            _rows(lots)  # raises where they disagree
    check_target(out)
    make_folder(out)
    with locked(out):
        write_manifest(out, manifest)
    written = sum(_write(point, lots, out) for point, lots in points.items())
    _merge_notes(sources, out)
    return written


def _merged_manifest(sources: Sequence[Place]) -> dict[str, Any]:
    """One manifest for all.

    Raises:
        ValueError: they are not of one campaign.
    """
    merged: dict[str, Any] = {}
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
    columns = {name for source in sources for name in fixed_by(source).schema.names}
    return {**merged, "columns": [name for name in SCHEMA.names if name in columns]}


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


def _rows(lots: Sequence[tuple[Place, Block]]) -> pa.Table:
    """Rows of one point, each chip once, in the order of the chips.

    Raises:
        ValueError: they disagree.
    """
    tables, fixed = {}, {str(folder): fixed_by(folder) for folder, _ in lots}
    for folder, block in lots:
        try:
            tables[folder, block] = read_block(folder, block, fixed[str(folder)])
        except Damaged as error:
            warnings.warn(f"{folder / block.name} {error}: left out", stacklevel=4)
    rows = pa.concat_tables([SCHEMA.empty_table(), *once_each(tables).values()])
    return rows.sort_by("chip")


def _write(point: str, lots: Sequence[tuple[Place, Block]], out: Place) -> int:
    """Write what `out` lacks of a point; gives the number of blocks."""
    there = [block for folder, block in lots if str(folder) == str(out)]
    if len(there) == len(lots):
        return 0
    rows, fixed = _rows(lots), fixed_by(out)
    written = start = 0
    for block in cut(point, rows["chip"].to_pylist()):
        if not any(old.covers(block) for old in there):
            write_block(out, block, rows.slice(start, block.chips), there, fixed)
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
            if json.dumps(entry, sort_keys=True) not in told:
                add_provenance(out, entry)
