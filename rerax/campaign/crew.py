"""Blocks of a run, shared out over the devices of this process. No JAX here."""

import threading
from collections.abc import Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pyarrow as pa

from rerax.campaign import store
from rerax.campaign.pace import Pace
from rerax.campaign.point import Point
from rerax.campaign.store import BLOCK, Block
from rerax.io import Place

if TYPE_CHECKING:
    from rerax.campaign.worker import Worker

Span = tuple[Point, list[Block]]
"""Consecutive blocks of a point, evaluated together."""


def spans(work: Sequence[tuple[Point, Block]], lanes: int) -> list[Span]:
    """Blocks in groups that fill the lanes of a device, where these are wider than a block.

    All blocks of rate 0 are one group: their chips are one chip.

    Args:
        work: blocks in the order of their points.
        lanes: chips that a device evaluates side by side.
    """
    found: list[Span] = []
    for point, block in work:
        if found:
            before, blocks = found[-1]
            chips = blocks[-1].last + 1 - blocks[0].first
            follows = before == point and blocks[-1].last + 1 == block.first
            if follows and (chips + BLOCK <= lanes or point.rate == 0):
                blocks.append(block)
                continue
        found.append((point, [block]))
    return found


def fill(
    crew: "Sequence[Worker]", todo: Sequence[Span], out: Place | None, here: Sequence[Block] = ()
) -> list[pa.Table]:
    """Evaluate spans, each device taking the next one when it is free.

    Args:
        crew: a worker for each device.
        todo: what to evaluate.
        out: the campaign folder, to which finished blocks go; None: they are handed back.
        here: finished blocks of the folder, with which new ones must agree.

    Returns:
        Rows that are in no folder.
    """
    platform = crew[0].platform
    references = store.read_references(out) if out is not None else {}
    pace = Pace(crew[0].subject, platform)
    fixed = store.Fixed() if out is None else store.fixed_by(out)
    known = dict(references.get(platform, {}))
    shift = _Shift(list(reversed(todo)), known, out, pace, here, fixed)
    try:
        if len(crew) == 1:
            return shift.labour(crew[0])
        with ThreadPoolExecutor(len(crew), "device") as pool:
            hands = [pool.submit(shift.labour, worker) for worker in crew]
            try:
                wait(hands, return_when=FIRST_EXCEPTION)
            finally:  # an error or an interrupt: the others end with the span that they are at
                shift.todo.clear()
        return [rows for hand in hands for rows in hand.result()]
    finally:
        if out is not None:
            pace.keep(out)


@dataclass
class _Shift:
    """What the workers of one run of `fill` share."""

    todo: list[Span]
    known: dict[str, float]
    out: Place | None
    pace: Pace
    here: Sequence[Block]
    fixed: store.Fixed
    lock: threading.Lock = field(default_factory=threading.Lock)

    def labour(self, worker: "Worker") -> list[pa.Table]:
        """Take span after span until none is left."""
        kept: list[pa.Table] = []
        while True:
            try:
                point, blocks = self.todo.pop()
            except IndexError:
                return kept
            span = Block(point.hash[:16], blocks[0].first, blocks[-1].last)
            before = len(self.known)
            rows = worker.rows(point, span, self.known)
            with self.lock:
                self.pace.add(point, span)
                if self.out is not None and len(self.known) > before:
                    store.write_references(self.out, {worker.platform: dict(self.known)})
            if self.out is None:
                kept.append(rows)
                continue
            for block in blocks:
                part = rows.slice(block.first - span.first, block.chips)
                store.write_block(self.out, block, part, self.here, self.fixed)
