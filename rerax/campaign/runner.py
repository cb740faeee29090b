"""A campaign's run: find what its folder lacks, evaluate it block by block, hand over the rows.

Importing this module costs nothing; JAX and the evaluator are imported once there is work.
"""

import contextlib
import datetime
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from rerax.campaign import store
from rerax.campaign.block import BLOCK, Block, missing
from rerax.campaign.distributed import Chips, Processes, current_processes
from rerax.campaign.folder import check_folder, open_folder
from rerax.campaign.grid import chips_of
from rerax.campaign.manifest import MANIFEST, Fixed, fixed_by
from rerax.campaign.point import Point
from rerax.campaign.sample_table import SampleTable
from rerax.campaign.sidecars import (
    add_plans,
    add_provenance,
    add_samples,
    read_references,
    write_references,
)
from rerax.campaign.workload import Progress, Settings, Workload
from rerax.crossbar.spec import SEMANTICS
from rerax.evaluate.devices import one_device_a_core
from rerax.faults import FAULTS
from rerax.io import Place
from rerax.protection import PROTECTIONS
from rerax.stats.stopping import Rule

if TYPE_CHECKING:
    from rerax.campaign.worker import Worker

LOG = logging.getLogger("rerax")

Part = tuple[Workload, Sequence[Point]]
"""A workload and its points."""


def run(
    workload: Workload,
    points: Sequence[Point],
    settings: Settings,
    out: Place | None = None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    plans: Mapping[str, str] | None = None,
    rule: Rule | None = None,
    samples: Mapping[str, Mapping[str, SampleTable]] | None = None,
) -> pa.Table:
    """Evaluate what a folder lacks of some points of one workload, and give the rows of all.

    Args:
        on_progress: told after every dispatch.
        workload, points, settings, out, plans, rule, samples: see `Runner`.

    Raises:
        ValueError, OSError: see `Runner`.
    """
    runner = Runner([(workload, points)], settings, out, plans or {}, samples or {}, rule)
    for progress in runner.run():
        on_progress(progress)
    return runner.rows


@dataclass
class Runner:
    """A run of a campaign, workload after workload.

    Attributes:
        parts: workloads and their points.
        settings: chips, seed and pace.
        out: the campaign folder (`io.place`); None keeps rows in memory only.
        plans: allocations to keep in the folder (`plans.with_allocations`).
        samples: tables by which chips draw examples, to keep there too (`sampling.with_samples`).
        rule: decides the chips of each point, in place of the settings.
        processes: those that share the campaign, joined before.
        rows: once it has run, the chips asked of every point, in the order of the points, in the
            schema of `schema.SCHEMA`.

    Raises:
        ValueError: bad input, or a folder of another campaign; nothing has been written.
    """

    parts: Sequence[Part]
    settings: Settings
    out: Place | None = None
    plans: Mapping[str, str] = field(default_factory=dict)
    samples: Mapping[str, Mapping[str, SampleTable]] = field(default_factory=dict)
    rule: Rule | None = None
    processes: Processes = field(default_factory=current_processes)
    rows: pa.Table = None
    _done: int = 0
    _total: int = 0
    _later: int = 0  # chips of the workloads that have not begun
    _finished: list[Block] = field(default_factory=list)
    _fresh: list[pa.Table] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        for _, points in self.parts:
            self._first_request(points)  # raises
        if self.out is None:
            return
        for _, points in self.parts:
            for point in points:
                FAULTS.check_registered(point.fault)
                PROTECTIONS.check_registered(point.protection)
        needed = columns_of(self.parts)
        check_folder(self.out, self.settings.seed, SEMANTICS, pairs_of(self.parts), needed)

    def run(self) -> Iterator[Progress]:
        """Evaluate what lacks.

        Yields:
            How far the whole run is, after every dispatch and where something takes long.

        Raises:
            ValueError: bad input; nothing has been written.
            OSError: the disk is full; finished blocks stay readable.
        """
        self._finished = [] if self.out is None else store.scan(self.out)
        requests = [self._first_request(points) for _, points in self.parts]
        lacking = [count_chips(missing(self._finished, *request)) for request in requests]
        self._total = self._later = sum(lacking)
        where = "memory" if self.out is None else self.out
        LOG.info("%d chips to evaluate for %s", self._total, where)
        tables: list[pa.Table] = []
        for (workload, points), request, told in zip(self.parts, requests, lacking, strict=True):
            if tables and self.out is not None:  # others may have worked on this one meanwhile
                self._finished = store.scan(self.out)
            self._later -= told
            self._total += count_chips(missing(self._finished, *request)) - told
            workers: list[Worker] = []
            found: dict[str, pa.Table] = {}  # rows of points that have chips enough
            going, chips = request
            tries = 0
            while going:
                work = self.processes.agree(self._finished, going, chips)
                if work:
                    workers = workers or self._start(workload, points, work)
                    todo = self._todo(workers[0], work)
                    try:
                        own = [self._work(worker, todo) for worker in workers]
                        for step in own[0] if len(own) == 1 else _side_by_side(own, todo):
                            yield self._told(step)
                    finally:
                        self._keep_pace(workers[0], todo)
                    if self.out is not None:
                        for point, left in self.processes.wait(self.out, going, chips):
                            yield self._waiting(point, left)
                    self._finished = [*self._finished, *(block for _, block in work)]
                rows = self._rows_of(going, chips)
                if rows is None:  # a block that looked finished was garbled inside: set aside
                    tries += 1
                    if self.out is None or self.processes.count > 1:
                        raise OSError(f"{self.out} has lost rows while it was filled: run again")
                    if tries == store.TRIES:
                        raise store.stuck(self.out)
                    self._finished = store.scan(self.out)
                    continue
                found |= rows
                going, chips, more = self._next_request(going, chips, found)
                self._total += more
            tables += [found[point.hash] for point in points]
        self.rows = pa.concat_tables(tables)
        LOG.info("%d rows are in %s", len(self.rows), where)

    def _first_request(self, points: Sequence[Point]) -> tuple[list[Point], Chips]:
        first = self.settings.chips if self.rule is None else self.rule.looks[0]
        return list(points), chips_of(points, first, self.rule)

    def _next_request(
        self, points: Sequence[Point], chips: Chips, found: Mapping[str, pa.Table]
    ) -> tuple[list[Point], Chips, int]:
        """Choose the points that need more chips by the rule, how many, and count what lacks."""
        if self.rule is None:
            return [], chips, 0
        looks = {p: self.rule.next_look(found[p.hash]["score"].to_numpy()) for p in points}
        going = [point for point, look in looks.items() if look is not None]
        more = max((look for look in looks.values() if look is not None), default=0)
        return going, more, count_chips(missing(self._finished, going, more))

    def _start(
        self, workload: Workload, points: Sequence[Point], work: Sequence[tuple[Point, Block]]
    ) -> "list[Worker]":
        """Load a workload on every device, and open the folder once that has succeeded."""
        workload = workload.complete()
        if self.settings.all_cores and self.processes.count == 1:
            spec = max((point.spec for point, _ in work), key=lambda spec: spec.cells_per_weight)
            chips = sum(block.chips for point, block in work if not point.is_clean)
            one_device_a_core(workload.config, workload.tokens, spec, chips, len(work))
        from rerax.campaign.worker import Worker

        tables = self.samples.get(workload.name, {}).values()
        worker = Worker.start(workload, self.settings, points, tables)
        references = {} if self.out is None else read_references(self.out)
        worker.check_labels(points[0], references.get(worker.platform, {}))
        if self.out is not None:
            if self.processes.leads:
                pair = pairs_of([(workload, points)])
                open_folder(self.out, self.settings.seed, SEMANTICS, pair, workload.requests)
                add_plans(self.out, self.plans)
                add_samples(self.out, self._kept_samples(workload))
                add_provenance(self.out, {**worker.provenance(), **self._provenance()})
            self.processes.follow((self.out / MANIFEST).is_file)
        elif self.processes.count > 1:
            raise ValueError("out is missing: processes share a campaign through its folder")
        return worker.on_each_device()

    def _kept_samples(self, workload: Workload) -> dict[str, dict[str, Any]]:
        """Give the tables of a workload as the folder keeps them."""
        tables = self.samples.get(workload.name, {})
        return {workload.name: {asked: t.content for asked, t in tables.items()}} if tables else {}

    def _provenance(self) -> dict[str, Any]:
        stopping = {} if self.rule is None else {"stopping": self.rule.record()}
        count = self.processes.count
        return {**stopping, **({} if count == 1 else {"processes": count})}

    def _todo(self, worker: "Worker", work: Sequence[tuple[Point, Block]]) -> "_Todo":
        """Deal out what this process is to evaluate of some blocks."""
        known = {} if self.out is None else read_references(self.out)
        return _Todo(
            list(reversed(self.processes.share(spans(work, worker.lanes)))),
            dict(known.get(worker.platform, {})),
            Fixed() if self.out is None else fixed_by(self.out),
            sampled=work[0][0].sampled or "",
        )

    def _keep_pace(self, worker: "Worker", todo: "_Todo") -> None:
        """Add a line to the folder's provenance: chips and seconds, by which runs are foretold."""
        if self.out is None or not todo.chips:
            return
        entry = {
            "pair": worker.workload.name,
            "platform": worker.platform,
            "chips": todo.chips,
            **({"sampled": todo.sampled} if todo.sampled else {}),
            "seconds": round(time.monotonic() - todo.begun, 3),
            "finished": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        }
        with contextlib.suppress(OSError):  # a full disk has been told of already
            add_provenance(self.out, entry)

    def _work(self, worker: "Worker", todo: "_Todo") -> Iterator[Progress]:
        """Evaluate span after span on one device until none is left."""
        while todo.spans:
            try:
                point, blocks = todo.spans.pop()
            except IndexError:  # another device was quicker
                return
            span = Block(blocks[0].point, blocks[0].first, blocks[-1].last)
            before = len(todo.known)
            rows = yield from worker.rows(point, span, todo.known)
            with self._lock:
                todo.chips += 0 if point.is_clean else span.chips
                if self.out is not None and len(todo.known) > before:
                    write_references(self.out, {worker.platform: dict(todo.known)})
            if self.out is None:
                self._fresh.append(rows)
                continue
            for block in blocks:
                part = rows.slice(block.first - span.first, block.chips)
                store.write_block(self.out, block, part, self._finished, todo.fixed)

    def _told(self, step: Progress) -> Progress:
        """Count a worker's dispatch as progress of the whole run."""
        self.processes.check()
        self._done += step.done
        self._total = max(self._total, self._done)
        return replace(step, done=self._done, total=self._total)

    def _waiting(self, point: Point, left: int) -> Progress:
        """Tell how far a run is when other processes still owe some chips."""
        self._total = max(self._total, self._done + left + self._later)
        self._done = self._total - self._later - left
        return Progress(self._done, self._total, point)

    def _rows_of(self, points: Sequence[Point], chips: Chips) -> dict[str, pa.Table] | None:
        """Collect the chips asked of each point, by its hash; None where some lack."""
        if self.out is None:
            rows = pa.concat_tables(self._fresh)
        else:
            wanted = {point.hash[:16] for point in points}
            rows = store.read_rows(self.out, points=wanted, mend=True)
        asked = np.arange(chips) if isinstance(chips, int) else np.array(chips)
        hashes, chip = np.array(rows["point_hash"].to_pylist(), object), rows["chip"].to_numpy()
        found, among = {}, np.isin(chip, asked)
        for point in points:
            mine = np.flatnonzero((hashes == point.hash) & among)
            if len(mine) < len(asked):
                return None
            found[point.hash] = rows.take(mine[np.argsort(chip[mine])])
        return found


@dataclass
class _Todo:
    """What the devices of one process share.

    Attributes:
        spans: consecutive blocks of a point that one device evaluates at a time, the next one last.
        known: reference scores by hash.
        fixed: what the folder fixes.
        chips: chips evaluated so far; those of rate 0 are one chip, and are not counted.
        sampled: by which table chips draw their examples; "": they answer all.
        begun: when, by the monotonic clock.
    """

    spans: list[tuple[Point, list[Block]]]
    known: dict[str, float]
    fixed: Fixed
    chips: int = 0
    sampled: str = ""
    begun: float = field(default_factory=time.monotonic)


def _side_by_side(workers: Sequence[Iterator[Progress]], todo: _Todo) -> Iterator[Progress]:
    """Drive each worker in a thread of its own, and yield what they tell.

    After an error or an interrupt the others end with the span that they are at.
    """
    told: SimpleQueue[Progress | None] = SimpleQueue()

    def drive(worker: Iterator[Progress]) -> None:
        try:
            for progress in worker:
                told.put(progress)
        except BaseException:
            todo.spans.clear()
            raise
        finally:
            told.put(None)

    with ThreadPoolExecutor(len(workers), "device") as pool:
        ends = [pool.submit(drive, worker) for worker in workers]
        try:
            for _ in ends:
                yield from iter(told.get, None)
        finally:
            todo.spans.clear()
    for end in ends:
        end.result()


def spans(work: Sequence[tuple[Point, Block]], lanes: int) -> list[tuple[Point, list[Block]]]:
    """Group blocks so that they fill the lanes of a device, where these are wider than a block.

    All blocks of a clean point are one group: their chips are one chip.

    Args:
        work: blocks in the order of their points.
        lanes: chips that a device evaluates side by side.
    """
    found: list[tuple[Point, list[Block]]] = []
    for point, block in work:
        if found:
            before, blocks = found[-1]
            chips = blocks[-1].last + 1 - blocks[0].first
            follows = before == point and blocks[-1].last + 1 == block.first
            if follows and (chips + BLOCK <= lanes or point.is_clean):
                blocks.append(block)
                continue
        found.append((point, [block]))
    return found


def columns_of(parts: Sequence[Part]) -> list[str]:
    """List the columns that the settings of some points and the metrics of their tasks fill."""
    found = dict.fromkeys(name for w, _ in parts for name in w.labelled_task.metrics)
    for _, points in parts:
        for point in points:
            found |= {name: None for name, value in point.identity().items() if value is not None}
    return list(found)


def pairs_of(parts: Sequence[Part]) -> dict[str, Any]:
    """List what a folder fixes for some workloads.

    Raises:
        ValueError: two kinds of inputs for one of them.
    """
    for workload, points in parts:
        kinds = {point.input_bits for point in points}
        if len(kinds) > 1:
            raise ValueError(
                f"input_bits of {workload.name} is {' and '.join(map(str, kinds))}: a folder has "
                "one for each task and model name, so give the model two names"
            )
    return {workload.name: workload.pair(points[0].input_bits) for workload, points in parts}


def count_chips(work: Sequence[tuple[Point, Block]]) -> int:
    """Count the chips of some blocks."""
    return sum(block.chips for _, block in work)
