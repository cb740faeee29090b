"""Blocks: which chips of which point a file holds. No JAX here."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rerax.campaign.point import Point

BLOCK = 32
"""Chips of a full block, which begins at a multiple of it; growth may cut it into ranges."""
_NAME = re.compile(r"([0-9a-f]{16})-(\d{6,})-(\d{6,})\.parquet")


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
        """Tell whether both hold some chip."""
        return self.point == other.point and self.first <= other.last and other.first <= self.last

    def covers(self, other: "Block") -> bool:
        """Tell whether it holds all of another block's chips."""
        return self.point == other.point and self.first <= other.first and other.last <= self.last


def block_of(name: str) -> Block | None:
    """Read the block that a file name means; None where it means none."""
    match = _NAME.fullmatch(name)
    return Block(match[1], int(match[2]), int(match[3])) if match else None


def blocks_of(point: Point, chips: int | Sequence[int]) -> list[Block]:
    """Cut a request for chips 0..chips-1, or for those numbers in ascending order, into blocks."""
    return cut(point.hash[:16], range(chips) if isinstance(chips, int) else chips)


def cut(point: str, chips: Sequence[int]) -> list[Block]:
    """Cut chips of a point into blocks, also where a number is left out.

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
    """List what no finished block holds of a request, in the order of the points."""
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
    """List the ranges of a block's chips that other blocks of its point do not hold, ascending.

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
    """Find blocks of which another one holds every chip, and that other one."""
    found: dict[Block, Block] = {}
    reach: Block | None = None  # of those so far, the one that goes furthest
    for block in sorted(blocks, key=lambda b: (b.point, b.first, -b.last)):
        if reach is not None and reach.covers(block):
            found[block] = reach
        elif reach is None or reach.point != block.point or reach.last < block.last:
            reach = block
    return found


def rank(block: Block) -> tuple[bool, str, int, int]:
    """Order blocks that hold the same chip: the row of the one that comes first counts.

    A full (or longer) block comes before a cut one, and then the one that begins and ends sooner.
    """
    return block.chips < BLOCK, block.point, block.first, block.last
