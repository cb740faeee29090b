"""Export of a campaign's rows to formats for other programs. No JAX here."""

import itertools
from typing import Any

import pyarrow as pa

from rerax.campaign.block import SCHEMA
from rerax.campaign.manifest import check_target, read_manifest
from rerax.campaign.store import look, read_rows
from rerax.io import Place, whole_file


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
    blocks = sorted(look(path))
    if not blocks:
        raise ValueError(f"{path} has no finished rows: run rerax sweep first")
    written = 0
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
    return written


def _plain(rows: pa.Table) -> pa.Table:
    """Rows with text in place of bytes and lists, which CSV does not have."""
    texts: dict[str, Any] = {
        "correct": lambda bits: bits.hex(),
        "prediction": lambda scores: " ".join(str(score) for score in scores),
    }
    for name, text in texts.items():
        values = [None if v is None else text(v) for v in rows[name].to_pylist()]
        at = SCHEMA.get_field_index(name)
        rows = rows.set_column(at, name, pa.array(values, pa.string()))
    return rows
