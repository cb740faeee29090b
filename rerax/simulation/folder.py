"""A folder of `simulate`: rows in the columns of its score, in blocks as those of a campaign.

`_simulation.json` has seed, `SEMANTICS`, name and version of the score, and the columns. Other
rates, chips, hardware and weights are growth; each is part of a point's hash. No JAX here.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from rerax.campaign.block import Block, block_of, cut, gaps, superfluous
from rerax.campaign.folder import check_target
from rerax.campaign.manifest import MANIFEST
from rerax.crossbar.spec import SEMANTICS
from rerax.io import (
    Place,
    entries,
    is_empty,
    locked,
    make_folder,
    remove_leftovers,
    set_aside,
)
from rerax.sealed import Damaged, read_sealed, read_sealed_json, write_sealed, write_sealed_json

FILE = "_simulation.json"


@dataclass(frozen=True)
class SimulationFolder:
    """Where rows of one score go.

    Attributes:
        path: the folder.
        schema: columns of its rows.
        fixed: what the folder is about: seed, semantics, name, version, columns.
    """

    path: Place
    schema: pa.Schema
    fixed: dict[str, Any]

    @classmethod
    def open(
        cls, path: Place, name: str, version: str, seed: int, schema: pa.Schema
    ) -> "SimulationFolder":
        """Begin a folder, or go on with one.

        Raises:
            ValueError: a folder of something else, or of another score (what differs).
        """
        columns = [[field.name, str(field.type)] for field in schema]
        fixed = {
            "format": 1,
            "name": name,
            "version": version,
            "seed": seed,
            "semantics": SEMANTICS,
            "columns": columns,
        }
        check_target(path)
        if path.exists() and (not path.is_dir() or not is_empty(path)):
            there = _read(path)
            unlike = [
                f"{key} {there.get(key)!r} there and {value!r} here"
                for key, value in fixed.items()
                if there.get(key) != value and key != "columns"
            ]
            if there.get("columns") != columns:
                known = there.get("columns") if isinstance(there.get("columns"), list) else []
                names = [{str(c[0]) for c in found if c} for found in (known or [], columns)]
                which = ", ".join(sorted(names[0] ^ names[1]))
                unlike.append(f"other columns{f' ({which})' if which else ''}")
            if unlike:
                raise ValueError(
                    f"{path} holds another simulation ({'; '.join(unlike)}): give another out"
                )
        make_folder(path)
        remove_leftovers(path)
        with locked(path):
            if not (path / FILE).is_file():
                write_sealed_json(path / FILE, fixed)
        return cls(path, schema, fixed)

    def missing(self, point: str, chips: int) -> list[Block]:
        """List what no finished block holds of a point's first chips.

        Args:
            point: its hash.
            chips: how many.
        """
        here = self._blocks(point)
        return [gap for block in cut(point[:16], range(chips)) for gap in gaps(block, here)]

    def write(self, block: Block, rows: pa.Table) -> None:
        """Write the rows of a block; a sound one of the same name stays as it is.

        Raises:
            ValueError: the rows disagree with a block that is there; nothing has been written.
        """
        rows, point = rows.cast(self.schema), rows["point_hash"][0].as_py()
        is_there = False
        for other in self._blocks(point):
            theirs = self._sound(other, point) if block.overlaps(other) else None
            if theirs is not None:
                self._compare(rows, theirs, other)
                is_there = is_there or other == block
        if not is_there:
            write_sealed(self.path / block.name, rows)

    def _compare(self, rows: pa.Table, theirs: pa.Table, other: Block) -> None:
        """Refuse rows that say something else of a chip than a block does, on one platform."""
        known = {row["chip"]: row for row in theirs.to_pylist()}
        for row in rows.to_pylist():
            same = known.get(row["chip"], row)
            if same["platform"] == row["platform"] and repr(same) != repr(row):  # repr: NaN is NaN
                raise ValueError(
                    f"{self.path / other.name}: chip {row['chip']} disagrees with what is to be "
                    "written: give another name or version to another score, or remove the wrong "
                    "one"
                )

    def _sound(self, block: Block, point: str) -> pa.Table | None:
        """Read a block; None where it was damaged, and has been set aside."""
        try:
            rows = read_sealed(self.path / block.name)
            if not rows.schema.equals(self.schema):
                raise Damaged("has other columns than its folder")
            if rows["point_hash"].unique().to_pylist() != [point]:
                raise Damaged("holds rows of another point than its name says")
            if rows["chip"].to_pylist() != list(range(block.first, block.last + 1)):
                raise Damaged("holds other chips than its name says")
        except Damaged as trouble:
            set_aside(self.path / block.name, str(trouble))
            return None
        return rows

    def read(self, point: str, chips: int) -> pa.Table | None:
        """Read a point's first chips; None where a block was damaged, and has been set aside."""
        parts, here = [], self._blocks(point)
        for block in sorted(set(here) - set(superfluous(here))):
            rows = self._sound(block, point)
            if rows is None:
                return None
            parts.append(rows)
        whole = pa.concat_tables([self.schema.empty_table(), *parts]).sort_by("chip")
        _, once = np.unique(whole["chip"].to_numpy(), return_index=True)
        whole = whole.take(once)  # two runs at once may have left blocks that overlap
        return whole.filter(pa.compute.less(whole["chip"], chips))

    def _blocks(self, point: str) -> list[Block]:
        found = [block_of(entry.name) for entry in entries(self.path)]
        return [block for block in found if block is not None and block.point == point[:16]]


def _read(path: Place) -> dict[str, Any]:
    """Read what a folder is about.

    Raises:
        ValueError: no folder of `simulate`, or a damaged one.
    """
    if not path.is_dir() or not (path / FILE).is_file():
        what = "is a campaign" if (path / MANIFEST).is_file() else "is there and is no simulation"
        raise ValueError(f"{path} {what}: give a new folder as out")
    try:
        return read_sealed_json(path / FILE)
    except Damaged as trouble:
        raise ValueError(f"{path / FILE} {trouble}: give a new out") from None
