"""Compaction: fewer, larger files with the same rows. No JAX here."""

from dataclasses import dataclass
from itertools import groupby

from rerax.campaign.block import Block
from rerax.campaign.manifest import fixed_by, read_manifest
from rerax.campaign.store import named, read_rows, scan, write_checked
from rerax.io import Place, locked, remove_leftovers

MOST_CHIPS = 1 << 14
"""Chips of the longest block, so that the memory of compaction has a bound."""


@dataclass(frozen=True)
class Compacted:
    """What compaction did: number of blocks before and after, and of leftovers deleted."""

    before: int
    after: int
    leftovers: int


def compact(path: Place) -> Compacted:
    """Join consecutive blocks of each point into longer ones, in which each chip is once.

    The rows stay as they are. A longer block appears before those that it holds go: a kill at any
    moment leaves each chip in a file, and the next opening deletes what is there twice.
    Superfluous blocks, damaged ones and leftovers of killed runs are dealt with as on every
    opening.

    Raises:
        ValueError: no campaign folder, or blocks that disagree.
        OSError: no room for a longer block; nothing is lost.
    """
    read_manifest(path)  # raises
    with locked(path):
        leftovers = remove_leftovers(path)
        fixed, blocks = fixed_by(path), scan(path)
        for run in _runs(blocks):
            rows = read_rows(path, run, mend=True)
            joined = Block(run[0].point, run[0].first, max(block.last for block in run))
            if len(rows) == joined.chips:  # else one was damaged inside, and has been set aside
                write_checked(path, joined, rows, fixed)
                for block in (b for b in run if b != joined):
                    (path / block.name).unlink(missing_ok=True)
        return Compacted(len(blocks), len(named(path)), leftovers)


def _runs(blocks: list[Block]) -> list[list[Block]]:
    """Blocks to join: two or more that follow one another, or overlap as those of two runs may."""
    runs: list[list[Block]] = []
    for _, of_point in groupby(sorted(blocks), key=lambda b: b.point):
        for block in of_point:
            last = runs[-1] if runs else None
            if (
                last is not None
                and last[-1].point == block.point
                and block.first <= max(one.last for one in last) + 1
                and block.last - last[0].first < MOST_CHIPS
            ):
                last.append(block)
            else:
                runs.append([block])
    return [run for run in runs if len(run) > 1]
