"""One row of a campaign folder, and what is needed to compute it again. No JAX here.

A folder's provenance records where model and data were read, and files of measured chips; where
that is missing or out of date they are given anew. Hashes tell whether they are the right ones.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from rerax.campaign import store
from rerax.campaign.manifest import read_manifest
from rerax.campaign.point import FIELDS, Point
from rerax.campaign.sidecars import read_provenance
from rerax.campaign.workload import Settings, Workload, read_workload
from rerax.crossbar.spec import SEMANTICS
from rerax.faults.chip_map import PREFIX
from rerax.glue import data as glue
from rerax.glue.selection import MOST_TOKENS, Selection
from rerax.glue.tasks import find_task
from rerax.io import Place

EARLIER = {
    **{field.name: field.default for field in fields(Selection) if field.name != "data"},
    "max_length": MOST_TOKENS,
}
"""What held for folders that do not say it of their examples."""
SHARES = 9  # decimal places of a denominator: no one writes a share with more


@dataclass(frozen=True)
class RecordedChip:
    """A row, and all that it was computed from.

    Attributes:
        row: its columns.
        point: its point.
        workload: its model and task, of the row's own hashes.
        settings: seed and lanes as they were.
        texts: one tuple of sentences for each of the task's fields.
    """

    row: dict[str, Any]
    point: Point
    workload: Workload
    settings: Settings
    texts: tuple[tuple[str, ...], ...]

    @property
    def chip(self) -> int:
        """Number of the chip."""
        return self.row["chip"]


def find_chip(
    folder: Place,
    prefix: str,
    chip: int,
    *,
    model: str | None = None,
    data: str | None = None,
    max_length: int | None = None,
    map_file: str | None = None,
) -> RecordedChip:
    """Find a row by the beginning of its point's hash and its chip, and what it was made from.

    Args:
        folder: campaign folder.
        prefix: beginning of `point_hash`, as long as it takes to tell it from others.
        chip: number of the chip.
        model, data, max_length: as `sweep` takes them; by default what the folder recorded.
        map_file: file of measured chips, if the point is about them and it has moved.

    Raises:
        ValueError: no such row, or model or data that are not the row's.
    """
    row = find_row(folder, prefix, chip)
    if row.get("sampled") is not None:
        raise ValueError(
            f"chip {chip} of point {row['point_hash'][:16]} has answered examples of its own, from "
            "which only means are told: sweep the point without --examples-per-chip to look at it"
        )
    if map_file is not None and not str(row["fault"]).startswith(PREFIX):
        raise ValueError(f"--map {map_file} with a row of {row['fault']} faults: leave it out")
    recorded = provenance(folder)
    name = f"{row['task']}/{row['model']}"
    source = {**EARLIER, **(recorded["sources"].get(name) or {})}
    given = {"model": model, "data": data, "max_length": max_length}
    source |= {key: value for key, value in given.items() if value is not None}
    for key in ("model", "data"):
        if not source.get(key):
            raise ValueError(f"{folder} does not say where {key} of {name} is: give --{key}")
    task = find_task(row["task"])
    if source["max_examples"] is None and len(task.parts(source["split"])) == 1:
        source["max_examples"] = row["examples"]  # the first so many, whatever was asked for
    order = manifest(folder)["pairs"].get(name, {}).get("labels")
    if order is not None and task.is_glue and sorted(order) != list(range(task.num_labels)):
        raise ValueError(
            f"{folder} has labels {order} for {name}, which are not {task.name}'s: restore its "
            "manifest, or give another folder"
        )
    if order is not None and task.labels:  # what the folder's rows were read by
        source["labels"] = [task.labels[label] for label in order]
    source["labels"] = tuple(source["labels"] or ()) or None
    selection = {field.name: source[field.name] for field in fields(Selection)}
    workload = read_workload(source["model"], row["task"], row["model"], **selection)
    for key, flag in (("model_hash", "--model"), ("data_hash", "--data or --max-length")):
        if getattr(workload, key) != row[key]:
            where = source["model" if key == "model_hash" else "data"]
            raise ValueError(
                f"{where} is not what the row was made from ({key} {getattr(workload, key)[:12]}.. "
                f"in place of {row[key][:12]}..): give {flag} as it was"
            )
    lanes = row["platform"].partition(":lanes-")[2]
    return RecordedChip(
        row,
        point_of(
            row, {**recorded["maps"], **({} if map_file is None else {row["fault"]: map_file})}
        ),
        workload,
        Settings(seed=row["seed"], lanes=int(lanes) if lanes else None, chunk=1),
        glue.read_split(
            Selection(**selection).task(row["task"]).with_labels(workload.labelled_task.labels),
            source["data"],
            source["split"],
            source["max_examples"],
        ).texts,
    )


def find_row(folder: Place, prefix: str, chip: int) -> dict[str, Any]:
    """Find the row of one chip of the point whose hash begins so.

    Raises:
        ValueError: no campaign folder, or no such row, or several points.
    """
    manifest(folder)
    here = {b.point for b in store.named(folder) if prefix and b.point.startswith(prefix[:16])}
    rows = [row for row in store.read_rows(folder, points=here).to_pylist()
            if row["point_hash"].startswith(prefix)]  # fmt: skip
    points = sorted({row["point_hash"] for row in rows})
    if len(points) != 1:
        found = f"{len(points)} points begin" if points else "no point begins"
        raise ValueError(
            f"{found} with {prefix!r} in {folder}: give more of a point_hash of its rows"
        )
    mine = [row for row in rows if row["chip"] == chip]
    if not mine:
        chips = sorted(row["chip"] for row in rows)
        raise ValueError(
            f"chip {chip} of point {points[0][:16]} is not in {folder}: give one of "
            f"{chips[0]}..{chips[-1]}"
        )
    return mine[0]


def manifest(folder: Place) -> dict[str, Any]:
    """Read what a campaign folder fixes for all its rows.

    Raises:
        ValueError: no campaign folder, or one of other semantics.
    """
    fixed = read_manifest(folder)
    if fixed.get("semantics") != SEMANTICS:
        raise ValueError(
            f"{folder} has semantics {fixed.get('semantics')}, this rerax {SEMANTICS}: use the "
            "version that made it"
        )
    return fixed


def provenance(folder: Place) -> dict[str, dict[str, Any]]:
    """Read where models, data and maps of measured chips were, as recorded last."""
    found: dict[str, dict[str, Any]] = {"sources": {}, "maps": {}}
    for entry in read_provenance(folder):
        for kind, known in found.items():
            known.update({k: v for k, v in (entry.get(kind) or {}).items() if v is not None})
    return found


def point_of(row: Mapping[str, Any], maps: Mapping[str, str]) -> Point:
    """Rebuild the point that a row belongs to.

    Args:
        row: its columns.
        maps: files of measured chips, by what names them in rows.

    Raises:
        ValueError: a map that is not at hand, or no share that gives the row's hash.
    """
    columns: dict[str, Any] = {name: row.get(name) for name in FIELDS}
    for name, field in FIELDS.items():
        if field.later and columns[name] is None:  # its default
            del columns[name]
    if columns["fault"].startswith(PREFIX):
        path = maps.get(columns["fault"])
        if path is None or not Path(path).is_file():
            raise ValueError(f"{columns['fault']} is not at hand: give its file by --map")
        columns["fault"] = PREFIX + path
    share = columns["sa1_share"]
    shares: list[Fraction | None] = [None]
    if share is not None:  # rows hold it as a float, and a point as the ratio that was meant
        exact = Fraction(share)
        shares = [exact.limit_denominator(10**places) for places in range(1, SHARES + 1)]
        shares += [Fraction(repr(share)), exact]
    for candidate in shares:
        point = Point(**{**columns, "sa1_share": candidate})
        if point.hash == row["point_hash"]:
            return point
    what = "another file" if columns["fault"].startswith(PREFIX) else "the version that made it"
    raise ValueError(f"point {row['point_hash'][:16]} cannot be rebuilt from its row: use {what}")


def lost_examples(
    workload: Workload, clean: Mapping[str, Any], now: Mapping[str, Any]
) -> np.ndarray:
    """Find examples that the clean chip gets right and this one wrong, by place in the split.

    Of a regression: those whose error has grown by a tenth of the labels' range or more (of stsb
    by half a point), worst first.

    Args:
        workload: for the labels.
        clean, now: columns `correct` and `prediction` of the two chips.
    """
    if now["correct"] is not None:
        n = len(workload.labels)
        right = [_bits(facts["correct"], n) for facts in (clean, now)]
        return np.flatnonzero(right[0] & ~right[1])
    error = [np.abs(np.float32(f["prediction"]) - workload.labels) for f in (clean, now)]
    grown = error[1] - error[0]
    worst = np.argsort(-grown, kind="stable")
    own = not find_task(workload.task).is_glue
    return worst[grown[worst] >= (0.1 * np.ptp(workload.labels) if own else 0.5)]


def _bits(packed: bytes, n: int) -> np.ndarray:
    return np.unpackbits(np.frombuffer(packed, np.uint8), bitorder="little")[:n].astype(bool)
