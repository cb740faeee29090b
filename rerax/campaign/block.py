"""Blocks: which chips of which point a file holds, and what its rows look like. No JAX here."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pyarrow as pa

from rerax.campaign.point import FIELDS, Point

BLOCK = 32
"""Chips of a full block, which begins at a multiple of it; growth may cut it into ranges."""
_NAME = re.compile(r"([0-9a-f]{16})-(\d{6,})-(\d{6,})\.parquet")

_TEXT, _REAL, _WHOLE = pa.string(), pa.float64(), pa.int64()
_POINT = {name: pa.type_for_alias(field.column) for name, field in FIELDS.items()}
_LAST = ("rate", "sa1_share", "faulty", "polarity", "tested")  # of the columns of a point
SCHEMA = pa.schema(
    [
        *((name, kind) for name, kind in _POINT.items() if name not in _LAST),
        *((name, _POINT[name]) for name in ("rate", "sa1_share")),
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
        ("faulty", _POINT["faulty"]),
        ("correct", pa.binary()),
        ("prediction", pa.list_(pa.float16())),
        ("platform", _TEXT),
        ("point_hash", _TEXT),
        ("model_hash", _TEXT),
        ("data_hash", _TEXT),
        ("knows", _TEXT),
        ("metadata_bits", _WHOLE),
        ("polarity", _POINT["polarity"]),
        ("tested", _POINT["tested"]),
    ]
)
"""The schema of all rows. Columns are only ever added to it, each of them nullable."""
FIRST_COLUMNS = tuple(SCHEMA.names[:42])
"""Columns of a folder whose manifest does not name them."""
IDENTITY = (
    *("task", "model", "rate", "seed", "chip", "score", "float_score", "clean_score"),
    *("platform", "point_hash"),
)
"""Columns that every block has, null for no chip."""

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


@dataclass(frozen=True, order=True)
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

    def overlaps(self, other: "Block") -> bool:
        """Whether both hold some chip."""
        return self.point == other.point and self.first <= other.last and other.first <= self.last

    def covers(self, other: "Block") -> bool:
        """Whether it holds all of another block's chips."""
        return self.point == other.point and self.first <= other.first and other.last <= self.last


def block_of(name: str) -> Block | None:
    """The block that a file name means."""
    match = _NAME.fullmatch(name)
    return Block(match[1], int(match[2]), int(match[3])) if match else None


def blocks_of(point: Point, chips: int | Sequence[int]) -> list[Block]:
    """Blocks of a request for chips 0..chips-1, or for those numbers in ascending order."""
    return cut(point.hash[:16], range(chips) if isinstance(chips, int) else chips)


def cut(point: str, chips: Sequence[int]) -> list[Block]:
    """Blocks of certain chips of a point, cut where a number is left out.

    Args:
        point: beginning of the point's hash.
        chips: numbers in ascending order.
    """
    if isinstance(chips, range) and chips.start == 0 and chips.step == 1:
        firsts = range(0, len(chips), BLOCK)
        return [Block(point, first, min(first + BLOCK, len(chips)) - 1) for first in firsts]
    blocks: list[Block] = []
    for number in chips:
        last = blocks[-1] if blocks else None
        if last is not None and number == last.last + 1 and number % BLOCK:
            blocks[-1] = Block(point, last.first, number)
        else:
            blocks.append(Block(point, number, number))
    return blocks


def missing(
    here: Iterable[Block], points: Iterable[Point], chips: int | Sequence[int]
) -> list[tuple[Point, Block]]:
    """What no finished block holds of a request, in the order of the points."""
    at: dict[tuple[str, int], list[Block]] = {}
    for block in here:
        for slot in range(block.first // BLOCK, block.last // BLOCK + 1):
            at.setdefault((block.point, slot), []).append(block)
    return [
        (point, gap)
        for point in points
        for block in blocks_of(point, chips)
        for gap in gaps(block, at.get((block.point, block.first // BLOCK), ()))
    ]


def gaps(block: Block, here: Iterable[Block]) -> list[Block]:
    """Ranges of a block's chips that other blocks of its point do not hold, ascending.

    Example:
        >>> [gap.first for gap in gaps(Block("p", 0, 31), [Block("p", 0, 7), Block("p", 12, 15)])]
        [8, 16]
    """
    found, first = [], block.first
    for other in sorted(here):
        if other.first > first:
            found.append(Block(block.point, first, min(other.first - 1, block.last)))
        first = max(first, other.last + 1)
        if first > block.last:
            return found
    return [*found, Block(block.point, first, block.last)]


def superfluous(blocks: Iterable[Block]) -> dict[Block, Block]:
    """Blocks of which another one holds every chip, and that other one."""
    found: dict[Block, Block] = {}
    reach: Block | None = None  # of those so far, the one that goes furthest
    for block in sorted(blocks, key=lambda b: (b.point, b.first, -b.last)):
        if reach is not None and reach.covers(block):
            found[block] = reach
        elif reach is None or reach.point != block.point or reach.last < block.last:
            reach = block
    return found


def rank(block: Block) -> tuple[bool, str, int, int]:
    """Whose row counts where two blocks hold a chip: that of the block of the lower rank.

    A full (or longer) block comes before a cut one, and then the one that begins and ends sooner.
    """
    return block.chips < BLOCK, block.point, block.first, block.last


def has_known_columns(schema: pa.Schema) -> bool:
    """Whether the columns are some of `SCHEMA`'s, as those of an older folder are."""
    if schema.equals(SCHEMA):
        return True
    known = all(
        field.name in SCHEMA.names and field.type.equals(SCHEMA.field(field.name).type)
        for field in schema
    )
    once = len(set(schema.names)) == len(schema.names)
    return known and once and set(IDENTITY) <= set(schema.names)


def widen(rows: pa.Table) -> pa.Table:
    """Rows in all columns of `SCHEMA`, null in those that their folder does not have."""
    if rows.schema.equals(SCHEMA):
        return pa.Table.from_arrays(rows.columns, schema=SCHEMA)  # without the file's metadata
    columns = [
        rows[field.name] if field.name in rows.column_names else pa.nulls(len(rows), field.type)
        for field in SCHEMA
    ]
    return pa.Table.from_arrays(columns, schema=SCHEMA)


def narrow(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """Rows in the columns of their folder.

    Raises:
        ValueError: the folder has no column for something that they say.
    """
    for name in rows.column_names:
        if name not in schema.names and rows[name].null_count < len(rows):
            raise ValueError(
                f"the folder was begun without the column {name}, which these rows need: give a "
                "new --out"
            )
    return rows.select(schema.names).cast(schema)


def compare_rows(here: str, rows: pa.Table, there: str, others: pa.Table) -> None:
    """Refuse two blocks that say different things about a chip of both.

    Args:
        here, there: names of the two, for the error.
        rows, others: their rows.

    Raises:
        ValueError: identity or cell counts differ, or scores do on one platform.
    """
    if rows.equals(others):  # most are, and this is quick
        return
    theirs = {row["chip"]: row for row in others.to_pylist()}
    for mine in rows.to_pylist():
        row = theirs.get(mine["chip"], mine)
        skip = _MAY_DIFFER | (_SCORES if row["platform"] != mine["platform"] else set())
        # repr, since a prediction may be NaN and NaN equals nothing
        wrong = [n for n in mine if n not in skip and repr(row[n]) != repr(mine[n])]
        if wrong:
            raise ValueError(
                f"{here}: chip {mine['chip']} disagrees with {there} in {', '.join(wrong)}: "
                "remove the wrong one"
            )
