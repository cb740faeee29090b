"""Run a campaign: find what is missing, evaluate it block by block, hand over the rows.

Importing this module costs nothing; JAX and the evaluator are imported once there is work.
"""

import dataclasses
import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from rerax.campaign import given, store
from rerax.campaign.allot import check_flags, with_allocations
from rerax.campaign.crew import Span, fill, spans
from rerax.campaign.devices import one_device_a_core
from rerax.campaign.grid import expand, spread
from rerax.campaign.lot import chips_of, is_measured, with_realised_rates
from rerax.campaign.manifest import add_plans
from rerax.campaign.point import Point, digest
from rerax.campaign.stopping import Rule, make_rule, settle
from rerax.campaign.store import Block
from rerax.campaign.subject import Inputs, Progress, Settings, Subject
from rerax.campaign.team import Chips, Team, current_team
from rerax.crossbar.spec import SEMANTICS
from rerax.faults import FAULTS, fault_model
from rerax.glue.tasks import find_task
from rerax.io import Place, place
from rerax.protection import PROTECTIONS

if TYPE_CHECKING:
    from rerax.campaign.worker import Worker
    from rerax.glue.data import Examples
    from rerax.models.bert.config import BertConfig
    from rerax.models.bert.scope import Scope


DEFAULT_RATES = (0.0, 1e-4, 1e-3, 1e-2)


def run(
    subject: Subject,
    points: Sequence[Point],
    settings: Settings,
    out: Place | None = None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    plans: Mapping[str, str] | None = None,
    rule: Rule | None = None,
) -> pa.Table:
    """Evaluate what a folder lacks of `points` and give the rows of all of them.

    Args:
        subject: the model and task of the points.
        points: what to evaluate.
        settings: chips, seed and pace.
        out: the campaign folder (`files.place`); None keeps rows in memory only.
        on_progress: told after every dispatch.
        plans: allocations to keep in the folder (`allot.with_allocations`).
        rule: decides the chips of each point, in place of the settings.

    Returns:
        Rows in the schema of `store.SCHEMA`, the requested chips of every point, in the order
        of the points.

    Raises:
        ValueError: bad input, or a folder of another campaign; nothing has been written.
        OSError: the disk is full; finished blocks stay readable.
    """
    pairs = {f"{p.task}/{p.model}": subject.pair(p.input_bits) for p in points}
    finished: list[Block] = []
    if out is not None:
        for point in points:
            FAULTS.check_registered(point.fault)
            PROTECTIONS.check_registered(point.protection)
        store.check_folder(out, settings.seed, SEMANTICS, pairs)
        finished = store.scan(out)
    job = _Job(subject, points, settings, out, on_progress, pairs, plans or {}, rule, finished)
    if rule is not None:
        return job.rows(points, settle(points, rule, job.scores))
    chips = chips_of(points, settings.chips)
    job.fill(points, chips)
    return job.rows(points, dict.fromkeys((point.hash for point in points), chips))


@dataclasses.dataclass
class _Job:
    """A run in progress: what is finished, and the worker once there is work."""

    subject: Subject
    points: Sequence[Point]
    settings: Settings
    out: Place | None
    on_progress: Callable[[Progress], None]
    pairs: Mapping[str, Any]
    plans: Mapping[str, str]
    rule: Rule | None
    finished: list[Block]
    fresh: list[pa.Table] = dataclasses.field(default_factory=list)
    crew: "list[Worker]" = dataclasses.field(default_factory=list)
    team: Team = dataclasses.field(default_factory=current_team)

    def fill(self, points: Sequence[Point], chips: Chips) -> None:
        """Evaluate what lacks of some points, or this process's share of it."""
        work = self.team.agree(self.finished, points, chips)
        if not work:
            return
        begun = bool(self.crew)
        self.crew = self.crew or self._start(work)
        todo, pace = self._share(work, self.crew[0]), self.crew[0].pace
        pace.total += _chips(todo) if begun else 0  # at the start they are counted already
        self.fresh += fill(self.crew, todo, self.out, self.finished)
        if self.out is not None:
            self.team.wait(self.out, points, chips, pace.others)
        self.finished = [*self.finished, *(block for _, block in work)]

    def _share(self, work: Sequence[tuple[Point, Block]], worker: "Worker") -> Sequence[Span]:
        return self.team.share(spans(work, worker.lanes))

    def _start(self, work: Sequence[tuple[Point, Block]]) -> "list[Worker]":
        subject = self.subject.complete()
        if self.settings.all_cores and self.team.count == 1:
            one_device_a_core(subject, work)
        from rerax.campaign.worker import Worker

        tell = self.team.watching(self.on_progress)
        worker = Worker.start(subject, self.settings, self.points, tell, 0)
        worker.pace.total = _chips(self._share(work, worker))
        references = store.read_references(self.out) if self.out is not None else {}
        worker.check_labels(self.points[0], references.get(worker.platform, {}))
        if self.out is not None:
            if self.team.leads:
                self._open(self.out, worker, subject.requests)
            self.team.follow((self.out / store.MANIFEST).is_file)
        elif self.team.count > 1:
            raise ValueError("out is missing: processes share a campaign through its folder")
        return worker.crew()

    def _open(self, out: Place, worker: "Worker", requests: Mapping[str, str]) -> None:
        store.open_folder(out, self.settings.seed, SEMANTICS, self.pairs, requests)
        add_plans(out, self.plans)
        stopping = {} if self.rule is None else {"stopping": self.rule.record()}
        team = {} if self.team.count == 1 else {"processes": self.team.count}
        store.add_provenance(out, {**worker.provenance(), **stopping, **team})

    def scores(self, points: Sequence[Point], chips: int) -> list[np.ndarray]:
        """Scores of the first chips of some points, evaluated where they lack."""
        self.fill(points, chips)
        rows = self.rows(points, dict.fromkeys((point.hash for point in points), chips))
        return list(rows["score"].to_numpy().reshape(len(points), chips))

    def rows(self, points: Sequence[Point], chips: Mapping[str, Chips]) -> pa.Table:
        """Rows of the chips asked of each point hash, in the order of the points."""
        picked = self._rows_of(points, chips)
        asked = (chips[point.hash] for point in points)
        if self.out is not None and len(picked) < sum(
            n if isinstance(n, int) else len(n) for n in asked
        ):  # a block that looked finished was garbled inside, and has been set aside
            self.finished = store.scan(self.out)
            for point in points:
                self.fill([point], chips[point.hash])
            picked = self._rows_of(points, chips)
        return picked

    def _rows_of(self, points: Sequence[Point], chips: Mapping[str, Chips]) -> pa.Table:
        if self.out is None:
            return _select(pa.concat_tables(self.fresh), points, chips)
        wanted = {point.hash[:16] for point in points}
        return _select(store.read_rows(self.out, points=wanted, mend=True), points, chips)


def _chips(todo: Sequence[Span]) -> int:
    return sum(block.chips for _, blocks in todo for block in blocks)


def _select(rows: pa.Table, points: Sequence[Point], chips: Mapping[str, Chips]) -> pa.Table:
    """Rows of the chips asked of each point hash, in the order of the points."""
    hashes = np.array(rows["point_hash"].to_pylist(), object)
    chip = rows["chip"].to_numpy()
    picked = []
    for point in points:
        asked = chips[point.hash]
        wanted = np.isin(chip, np.arange(asked) if isinstance(asked, int) else asked)
        mine = np.flatnonzero((hashes == point.hash) & wanted)
        picked.append(mine[np.argsort(chip[mine])])
    return rows.take(np.concatenate(picked))


def sweep(
    params: Any,
    config: "BertConfig",
    examples: "Examples | Sequence[Sequence[int]]",
    labels: Sequence[float] | np.ndarray,
    *,
    task: str = "sst2",
    name: str = "model",
    rates: Sequence[float] | None = None,
    chips: int | None = None,
    until_se: float | None = None,
    max_chips: int | None = None,
    seed: int = 0,
    chunk: int | None = None,
    lanes: int | None = None,
    faulty: "str | Scope | Sequence[str | Scope | None] | None" = None,
    gates: Any = None,
    order: Sequence[int] | None = None,
    plan_rate: float | None = None,
    sensitivity: str | None = None,
    out: str | Path | None = None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    spec: Any = None,
    **fields: Any,
) -> pa.Table:
    """Score thousands of faulty chips of a BERT: the Python form of `rerax sweep`.

    Args:
        params: float parameters in the tree of `rerax.models.bert.model`.
        config: the model's shape.
        examples: token ids of each example, or `rerax.glue.data.Examples` with segment ids.
        labels: GLUE label ids, or scores for stsb.
        task: the GLUE task whose score is taken.
        name: what to call the model in the rows.
        rates: fractions of stuck cells, 0 to 1; by default 0, 1e-4, 1e-3 and 1e-2.
        chips: chips for each point, 64 by default.
        until_se, max_chips: instead of `chips`: add chips to each point, looking at 64, 128,
            256, ... of them, until the standard error is so small or there are so many.
        seed: seed of all chips.
        chunk: chips a dispatch; changes no row.
        lanes: chips in one `vmap`; part of the platform.
        faulty: where faults act (`models.bert.scope`): "layers=0+3;matrices=query",
            "layers=each"; None: everywhere; several make a grid.
        gates: closed rows and columns, if any.
        order: GLUE label id of each output; by default what the names in `config.labels` say, or
            GLUE's own order where they are LABEL_0, LABEL_1, ..
        plan_rate, sensitivity: for protection `plan`: the rate it is made for (the highest below
            0.5 by default) and an .npz file of weights (`models.bert.sensitivity`).
        out: campaign folder to fill or grow; None keeps the rows in memory.
        on_progress: told after every dispatch.
        spec: encoding, bits, bits_per_cell, tile and layout together.
        **fields: the other fields of `Point`, objects or their texts, one value or several:
            encoding, bits, bits_per_cell, layout, tile, fault, protection, sa1_share, matrices,
            input_bits, dtype. Several make a grid. A fault `map:FILE` (measured chips) stands
            alone, without rates and chips.

    Returns:
        One row per chip, in the schema of `campaign.store.SCHEMA`.

    Raises:
        ValueError: bad input: the value, the rule, the fix.
    """
    what = find_task(task)
    given.check_config(config)
    scopes = given.several("faulty", faulty)
    given.check_others(out, sensitivity, on_progress, scopes)
    axes = given.axes_of(fields, spec)
    faults = axes.get("fault", ())
    measured = is_measured(faults)
    chips, max_chips, seed, chunk, lanes = map(given.plain, (chips, max_chips, seed, chunk, lanes))
    rule = make_rule(until_se, max_chips, chips)
    if measured and not (rates is None and chips is None and rule is None):
        name = fault_model(faults[0]).text
        raise ValueError(f"{name} brings its own chips and rate: leave out rates and chips")
    asked = given.several("rates", DEFAULT_RATES if rates is None else rates)
    axes["rate"] = (0.0,) if measured else asked
    points = expand(Point(task=task, model=name, rate=0.0), axes)
    check_flags(points, plan_rate, sensitivity)
    settings = Settings(64 if chips is None else chips, seed, chunk, lanes)
    examples = given.read_examples(examples, config)
    labels = given.read_labels(what, labels, len(examples))
    given.check_weights(params, config)
    given.check_gates(gates, config)
    inputs = Inputs(config, params, examples, gates)
    subject = Subject(
        task=task,
        model=name,
        model_hash=tree_hash((params, gates, dataclasses.asdict(config))),
        data_hash=tree_hash((list(examples.ids), list(examples.types), labels)),
        order=given.read_order(what, config, order),
        order_given=order is not None,
        labels=labels,
        parts=(("validation", len(labels)),),
        config=config,
        load=lambda: inputs,
    )
    points = with_realised_rates(points, config)
    points = spread(points, scopes, config.num_hidden_layers)
    folder = None if out is None else place(out)
    points, plans = with_allocations(points, subject, plan_rate, sensitivity, folder)
    return run(subject, points, settings, folder, on_progress, plans, rule)


def tree_hash(tree: Any) -> str:
    """SHA-256 of a nested structure of arrays and plain values."""
    if isinstance(tree, Mapping):
        return digest({str(key): tree_hash(tree[key]) for key in tree})
    if isinstance(tree, list | tuple):
        return digest([tree_hash(item) for item in tree])
    if tree is None or isinstance(tree, str | int | float):
        return digest(tree)
    array = np.ascontiguousarray(tree)
    hasher = hashlib.sha256(f"{array.dtype.str}{array.shape}".encode())
    hasher.update(array.tobytes())
    return hasher.hexdigest()
