"""A campaign folder: a Parquet dataset with one row per chip. No JAX here.

Rows lie in blocks, chips [32j, 32j + 32) of one point, named `<point>-<first>-<last>.parquet`
(both ends inclusive). Whatever is not a block begins with `_`, so that a reader of Parquet
datasets sees rows only. A block appears whole or not at all: temporary file, fsync, rename.
"""

import contextlib
import json
import os
import re
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from rerax.campaign.point import Point

BLOCK = 32
FORMAT = 1
LEFTOVER_SECONDS = 3600
MANIFEST, REFERENCES, PLANS, PROVENANCE, ASIDE = (
    "_campaign.json",
    "_references.json",
    "_plans.json",
    "_provenance.jsonl",
    "_aside",
)
_WRITING = "_writing-"
_NAME = re.compile(r"([0-9a-f]{16})-(\d{6,})-(\d{6,})\.parquet")

_TEXT, _REAL, _WHOLE = pa.string(), pa.float64(), pa.int64()
SCHEMA = pa.schema(
    [
        ("task", _TEXT),
        ("model", _TEXT),
        ("encoding", _TEXT),
        ("bits", pa.int32()),
        ("bits_per_cell", pa.int32()),
        ("input_bits", pa.int32()),
        ("dtype", _TEXT),
        ("layout", _TEXT),
        ("tile", _TEXT),
        ("matrices", _TEXT),
        ("protection", _TEXT),
        ("fault", _TEXT),
        ("rate", _REAL),
        ("sa1_share", _REAL),
        ("seed", _WHOLE),
        ("chip", _WHOLE),
        ("score", _REAL),
        ("accuracy", _REAL),
        ("f1", _REAL),
        ("matthews", _REAL),
        ("pearson", _REAL),
        ("spearman", _REAL),
        ("accuracy_mismatched", _REAL),
        ("degenerate", pa.bool_()),
        ("float_score", _REAL),
        ("clean_score", _REAL),
        ("examples", _WHOLE),
        ("cells", _WHOLE),
        ("cells_dense", _WHOLE),
        ("stuck_at_0", _WHOLE),
        ("stuck_at_1", _WHOLE),
        ("stuck_other", _WHOLE),
        ("shorted", _WHOLE),
        ("flipped", _WHOLE),
        ("sparsity", _REAL),
        ("faulty", _TEXT),
        ("correct", pa.binary()),
        ("prediction", pa.list_(pa.float16())),
        ("platform", _TEXT),
        ("point_hash", _TEXT),
        ("model_hash", _TEXT),
        ("data_hash", _TEXT),
    ]
)
"""The schema of every block of every campaign."""

_MAY_DIFFER = {"platform", "float_score", "clean_score"}
_SCORES = {
    "score",
    "accuracy",
    "f1",
    "matthews",
    "pearson",
    "spearman",
    "accuracy_mismatched",
    "degenerate",
    "correct",
    "prediction",
}


@dataclass(frozen=True)
class Block:
    """Chips first..last (inclusive) of the point whose hash begins with `point`."""

    point: str
    first: int
    last: int

    @property
    def name(self) -> str:
        """File name."""
        return f"{self.point}-{self.first:06d}-{self.last:06d}.parquet"

    @property
    def chips(self) -> int:
        """Number of chips."""
        return self.last - self.first + 1

    def covers(self, other: "Block") -> bool:
        """Whether it holds all of another block's chips."""
        return self.point == other.point and self.first <= other.first and other.last <= self.last


def blocks_of(point: Point, chips: int | Sequence[int]) -> list[Block]:
    """Blocks of a request for chips 0..chips-1, or for those numbers in ascending order.

    A block is cut where the request ends, or leaves out a number.
    """
    numbers = range(chips) if isinstance(chips, int) else chips
    blocks: list[Block] = []
    for number in numbers:
        last = blocks[-1] if blocks else None
        if last is not None and number == last.last + 1 and number % BLOCK:
            blocks[-1] = Block(last.point, last.first, number)
        else:
            blocks.append(Block(point.hash[:16], number, number))
    return blocks


def missing(
    here: Iterable[Block], points: Iterable[Point], chips: int | Sequence[int]
) -> list[tuple[Point, Block]]:
    """Blocks of a request that no finished block covers, in the order of the points."""
    by_point: dict[str, list[Block]] = {}
    for block in here:
        by_point.setdefault(block.point, []).append(block)
    return [
        (point, block)
        for point in points
        for block in blocks_of(point, chips)
        if not any(done.covers(block) for done in by_point.get(block.point, ()))
    ]


def check_folder(path: Path, seed: int, semantics: int, pairs: Mapping[str, Any]) -> None:
    """Refuse an output folder that is not this campaign's. Writes nothing.

    Args:
        path: the folder, which need not exist.
        seed: the campaign's seed.
        semantics: `spec.SEMANTICS` of this program.
        pairs: {"task/model name": its model hash, data hash, label order and input bits}.

    Raises:
        ValueError: a folder with other content, or of another campaign (the fields that differ).
    """
    if not path.exists() or (path.is_dir() and _is_empty(path)):
        return
    if not path.is_dir() or not (path / MANIFEST).is_file():
        raise ValueError(f"{path} is there and is no campaign folder: give a new --out")
    manifest = _read_json(path / MANIFEST)
    known = manifest.get("pairs", {})
    expected = {"format": FORMAT, "seed": seed, "semantics": semantics}
    differences = [
        f"{field} is {manifest.get(field)} there and {value} now"
        for field, value in expected.items()
        if manifest.get(field) != value
    ]
    for pair in sorted(pairs.keys() & known.keys()):
        differences += [
            f"{field} of {pair} is {_short(known[pair].get(field))} there and {_short(value)} now"
            for field, value in pairs[pair].items()
            if known[pair].get(field) != value
        ]
    if differences:
        raise ValueError(
            f"{path} holds another campaign ({'; '.join(differences)}): "
            "give another --out or --name"
        )


def open_folder(path: Path, seed: int, semantics: int, pairs: Mapping[str, Any]) -> None:
    """Make the folder, or add new pairs to its manifest.

    Raises:
        ValueError: see `check_folder`.
    """
    check_folder(path, seed, semantics, pairs)
    path.mkdir(parents=True, exist_ok=True)
    for leftover in path.glob(f"{_WRITING}*"):  # of a killed run, unless another is at work
        if time.time() - leftover.stat().st_mtime > LEFTOVER_SECONDS:
            leftover.unlink(missing_ok=True)
    file = path / MANIFEST
    known = _read_json(file)["pairs"] if file.is_file() else {}
    manifest = {"format": FORMAT, "seed": seed, "semantics": semantics}
    if not file.is_file() or pairs.keys() - known.keys():
        _write_json(file, {**manifest, "pairs": {**known, **pairs}})


def scan(path: Path) -> list[Block]:
    """Finished blocks of a folder.

    Cut blocks that a longer one covers are deleted; files that are torn or no block are moved
    into `_aside` and named in a warning.
    """
    if not path.is_dir():
        return []
    blocks = []
    for file in sorted(path.iterdir()):
        if file.name.startswith(("_", ".")):
            continue
        block, trouble = _check(file)
        if block is not None:
            blocks.append(block)
        else:
            _set_aside(file, trouble)
    covered = _covered(blocks)
    for block, cover in covered.items():
        _compare(path, block, _read(path, block), cover, _read(path, cover))
        (path / block.name).unlink(missing_ok=True)
    return [block for block in blocks if block not in covered]


def _covered(blocks: Iterable[Block]) -> dict[Block, Block]:
    """Blocks that a longer one makes superfluous, and that longer one."""
    groups: dict[tuple[str, int], list[Block]] = {}
    for block in blocks:
        groups.setdefault((block.point, block.first // BLOCK), []).append(block)
    longest = {key: max(group, key=lambda b: b.chips) for key, group in groups.items()}
    return {
        block: longest[key]
        for key, group in groups.items()
        for block in group
        if block != longest[key] and longest[key].covers(block)
    }


def _set_aside(file: Path, trouble: str) -> None:
    aside = file.parent / ASIDE
    try:
        aside.mkdir(exist_ok=True)
        file.replace(aside / file.name)
        done = f"set aside in {aside}"
    except OSError as error:  # a folder that may only be read
        done = f"skipped, as it cannot be set aside ({error.strerror})"
    warnings.warn(f"{file.name} {trouble}: {done}", stacklevel=3)


def _check(file: Path) -> tuple[Block | None, str]:
    """The block that a file is, or what is wrong with it."""
    block = _block_of(file)
    if block is None:
        return None, "is not a block of this campaign"
    try:
        found = pq.ParquetFile(file)
        whole = found.schema_arrow.equals(SCHEMA) and found.metadata.num_rows == block.chips
        found.close()
    except (pa.ArrowException, OSError):
        return None, "is cut short or garbled"
    return (block, "") if whole else (None, "has other columns or rows than its name says")


def write_block(path: Path, block: Block, rows: pa.Table) -> None:
    """Add a finished block; cut blocks that it covers go afterwards.

    Raises:
        ValueError: the rows disagree with a block that is there; nothing has been written.
        OSError: the file system refused (a full disk); nothing half-written is left.
    """
    rows = rows.cast(SCHEMA)
    there = [_block_of(file) for file in path.glob(f"{block.point}-*.parquet")]
    cut = [other for other in there if other and other != block and block.covers(other)]
    for other in cut:
        _compare(path, other, _read(path, other), block, rows)
    with _whole_file(path / block.name) as file:
        pq.write_table(rows, file, compression="zstd")
    for other in cut:
        (path / other.name).unlink(missing_ok=True)


def _block_of(file: Path) -> Block | None:
    """The block that a file name means."""
    match = _NAME.fullmatch(file.name)
    return Block(match[1], int(match[2]), int(match[3])) if match else None


@contextlib.contextmanager
def _whole_file(file: Path) -> Iterator[IO[bytes]]:
    """A file that appears under its name complete and on disk, or not at all."""
    temporary = file.with_name(f"{_WRITING}{os.getpid()}-{file.name}")
    try:
        with temporary.open("wb") as out:
            yield out
            out.flush()
            os.fsync(out.fileno())
        temporary.replace(file)
    except OSError as error:
        reason = error.strerror or error
        raise OSError(
            error.errno, f"{file} could not be written ({reason}): make room and run again"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
    _sync(file.parent)


def read_rows(path: Path, blocks: Iterable[Block] | None = None) -> pa.Table:
    """Rows of a folder, each chip of each point once, in the order of file names.

    Args:
        path: the folder.
        blocks: which blocks; all finished ones by default.

    Raises:
        ValueError: two blocks disagree about a chip.
    """
    chosen = sorted(scan(path) if blocks is None else blocks, key=lambda b: b.name)
    tables: dict[Block, pa.Table] = {}
    for block in chosen:
        try:
            tables[block] = _read(path, block)
        except (pa.ArrowException, OSError):
            _set_aside(path / block.name, "is garbled")
    seen: dict[tuple[str, int], Block] = {}
    keep: dict[Block, list[int]] = {block: [] for block in tables}
    for block in sorted(tables, key=lambda b: (b.chips != BLOCK, b.name)):
        for row, chip in enumerate(range(block.first, block.last + 1)):
            owner = seen.setdefault((block.point, chip), block)
            if owner == block:
                keep[block].append(row)
            else:
                _compare(path, block, tables[block], owner, tables[owner])
    parts = [table.take(pa.array(keep[block], pa.int64())) for block, table in tables.items()]
    return pa.concat_tables([SCHEMA.empty_table(), *parts])


def _read(path: Path, block: Block) -> pa.Table:
    with pq.ParquetFile(path / block.name) as file:
        return file.read(use_threads=False)


def _compare(path: Path, one: Block, rows: pa.Table, other: Block, others: pa.Table) -> None:
    """Refuse two blocks that say different things about a chip of both."""
    theirs = {row["chip"]: row for row in others.to_pylist()}
    for mine in rows.to_pylist():
        row = theirs.get(mine["chip"], mine)
        skip = _MAY_DIFFER | (_SCORES if row["platform"] != mine["platform"] else set())
        # repr, since a prediction may be NaN and NaN equals nothing
        wrong = [n for n in mine if n not in skip and repr(row[n]) != repr(mine[n])]
        if wrong:
            raise ValueError(
                f"{path / one.name}: chip {mine['chip']} disagrees with {other.name} in "
                f"{', '.join(wrong)}: remove the wrong one"
            )


def read_references(path: Path) -> dict[str, Any]:
    """Float and clean scores kept so far, {platform: {hash: score}}."""
    file = path / REFERENCES
    return _read_json(file) if file.is_file() else {}


def write_references(path: Path, references: Mapping[str, Any]) -> None:
    """Replace the kept reference scores."""
    _write_json(path / REFERENCES, references)


def read_plans(path: Path) -> dict[str, str]:
    """Allocations found so far, {hash of what was asked: allocation}."""
    file = path / PLANS
    return _read_json(file) if file.is_file() else {}


def add_plans(path: Path, plans: Mapping[str, str]) -> None:
    """Keep allocations for the next run."""
    known = read_plans(path)
    if plans.keys() - known.keys():
        _write_json(path / PLANS, {**known, **plans})


def add_provenance(path: Path, entry: Mapping[str, Any]) -> None:
    """Append one line about a run: when, where, with which versions. Never part of an identity."""
    with (path / PROVENANCE).open("a", encoding="utf-8") as file:
        file.write(json.dumps(entry, sort_keys=True) + "\n")


def _read_json(file: Path) -> dict[str, Any]:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"{file} is not JSON ({error}): restore it, or give a new --out") from None


def _write_json(file: Path, value: Mapping[str, Any]) -> None:
    with _whole_file(file) as out:
        out.write(json.dumps(value, indent=1, sort_keys=True).encode())


def _is_empty(folder: Path) -> bool:
    """Whether nothing is there but hidden files and leftovers of a run killed at its start."""
    return all(entry.name.startswith((".", _WRITING)) for entry in folder.iterdir())


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return f"{text[:12]}.." if len(text) == 64 else text
