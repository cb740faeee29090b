"""What the report of a 5,000-row campaign costs: seconds and bytes.

    python experiments/report_size.py [--chips 125] [--out FILE]

A few seconds on two CPU cores. Expected: under 10 s for the page, reading the folder included,
and under 3 MB; a dot for each of 4,008 chips, as the 125 rows of a rate 0 are one chip.

The folder is synthetic: no chip in it was simulated. Its scores are those of chips of
`experiments/results/sst2_encodings`, drawn anew with replacement within a point, with a noise of
a tenth of a point so that few are equal; its schemes beyond the four encodings are those under
another number of bits, with the same scores. It has what costs a page its size: 8 schemes, 5
rates, 125 chips a point. Its statistics mean nothing.
"""

import argparse
import json
import re
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from rerax.campaign import store
from rerax.campaign.block import blocks_of
from rerax.campaign.manifest import MANIFEST
from rerax.campaign.point import Point
from rerax.campaign.sidecars import read_provenance
from rerax.report import draw_figures, write_page

SOURCE = Path("experiments/results/sst2_encodings")
CHIPS = 125
BITS = (8, 7)


def resampled(rows: pa.Table, point: Point, noise: np.random.Generator, chips: int) -> pa.Table:
    """Rows of a point from those of a real one: chips drawn with replacement, a little noise."""
    drawn = rows.take(pa.array(noise.integers(0, len(rows), chips)))
    scores = drawn["score"].to_numpy() + 0.001 * (point.rate > 0) * noise.standard_normal(chips)
    new: dict[str, Any] = {
        "bits": pa.array([point.bits] * chips, pa.int32()),
        "chip": pa.array(range(chips), pa.int64()),
        "score": pa.array(scores),
        "point_hash": pa.array([point.hash] * chips),
    }
    for name, column in new.items():
        drawn = drawn.set_column(drawn.schema.get_field_index(name), name, column)
    return drawn


def make_folder(folder: Path, chips: int) -> int:
    """Write the folder of so many chips a point; the number of its rows."""
    real, noise, count = store.read_rows(SOURCE), np.random.default_rng(0), 0
    (folder / MANIFEST).write_bytes((SOURCE / MANIFEST).read_bytes())
    for point_hash in pc.unique(real["point_hash"]).to_pylist():
        rows = real.filter(pc.equal(real["point_hash"], point_hash))
        first = rows.slice(0, 1).to_pylist()[0]
        point = Point(first["task"], first["model"], first["rate"], encoding=first["encoding"])
        for bits in BITS:
            made = resampled(rows, replace(point, bits=bits), noise, chips)
            for block in blocks_of(replace(point, bits=bits), chips):
                store.write_block(folder, block, made.slice(block.first, block.chips))
                count += block.chips
    return count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("experiments/results/report_size.json"))
    parser.add_argument("--chips", type=int, default=CHIPS, help="of each of 40 points")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder, page = Path(name) / "campaign", Path(name) / "report.html"
        folder.mkdir()
        count = make_folder(folder, given.chips)
        clock, work = time.perf_counter(), time.process_time()
        rows = store.read_rows(folder)
        write_page(rows, page, runs=read_provenance(folder))
        seconds, busy = time.perf_counter() - clock, time.process_time() - work
        size = page.stat().st_size
        dots = len(re.findall('h0[M"]', page.read_text())) // 2  # the page has two layouts
        clock = time.perf_counter()
        draw_figures(rows, Path(name) / "figures")
        figures = time.perf_counter() - clock
    found = {
        "rows": count,
        "dots": dots,
        "page_seconds": round(seconds, 2),
        "page_processor_seconds": round(busy, 2),
        "page_bytes": size,
        "figures_seconds": round(figures, 2),
        "machine": "two x86-64 CPU cores, busy with other work",
    }
    print(json.dumps(found, indent=1))
    given.out.write_text(json.dumps(found, indent=1) + "\n")
    assert count == 40 * given.chips
    assert dots == 32 * given.chips + 8
    assert seconds < 10
    assert size < 3_000_000


if __name__ == "__main__":
    main()
