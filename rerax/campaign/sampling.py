"""Examples of a chip's own: with which chance each is drawn, found from a few pilot chips.

A table serves all protections and rates of a task and model, so that a chip answers the same
examples under each of them. The table's hash, not the wish, is what a point is made of. A folder
keeps its tables, so that a finished campaign is recognised without pilots. JAX starts only where
pilots run.
"""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np

from rerax.campaign.folder import check_folder
from rerax.campaign.manifest import MANIFEST, fixed_by
from rerax.campaign.point import Point
from rerax.campaign.runner import pairs_of
from rerax.campaign.sample_table import SampleTable, make_table
from rerax.campaign.sidecars import add_samples, read_samples
from rerax.campaign.workload import Progress, Settings, Workload
from rerax.crossbar.spec import SEMANTICS
from rerax.faults import Measured
from rerax.glue.tasks import find_task
from rerax.io import Place
from rerax.values import is_integer, is_whole, shown

PILOTS, FEWEST_PILOTS, PILOT_ANSWERS = 8, 4, 20_000
"""Most and fewest chips that say which examples flip, and how many answers of theirs are enough."""
FIRST_PILOT = 1 << 31
"""Number of the first pilot: none that is asked for."""


def pilots_of(examples: int) -> int:
    """Choose how many pilot chips answer a dev set: fewer where each gives many answers."""
    return min(PILOTS, max(FEWEST_PILOTS, -(-PILOT_ANSWERS // examples)))


def read_size(given: Any) -> int | str | None:
    """Read how many examples a chip is to answer: a whole number, `auto`, or None for all.

    Raises:
        ValueError: anything else.
    """
    if given is None or given == "auto":
        return given
    if isinstance(given, str) and is_whole(given):
        given = int(given)
    if isinstance(given, np.integer):
        given = int(given)
    if not is_integer(given) or given < 1:
        raise ValueError(
            f"examples-per-chip {shown(given)} is not understood: give a whole number from 1 on, "
            "or auto"
        )
    return int(given)


def check_task(name: str) -> None:
    """Refuse tasks whose score is no mean over examples.

    Raises:
        ValueError: with the reason.
    """
    task = find_task(name)
    if task.scored_by != ("accuracy",):
        raise ValueError(
            f"examples-per-chip is for tasks scored by accuracy, a mean over examples, and {name} "
            f"is scored by {' and '.join(task.scored_by)}: leave it out"
        )


def with_samples(
    parts: Sequence[tuple[Workload, Sequence[Point]]],
    given: Any,
    settings: Settings,
    out: Place | None = None,
    find: bool = True,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> tuple[list[tuple[Workload, Sequence[Point]]], dict[str, dict[str, SampleTable]]]:
    """Give points their table of chances, known from the folder or found by pilot chips.

    Args:
        parts: workloads and their points.
        given: examples a chip, `auto`, or None for all.
        settings: seed, lanes and chunk of the run.
        out: campaign folder that may know the table.
        find: run pilots where the folder knows none; else such points name no table.
        on_progress: told of pilots.

    Returns:
        The parts, and {"task/model": {what was asked: table}}.

    Raises:
        ValueError: a task that is not scored by accuracy, more examples than there are, or no
            point with faults.
    """
    size = read_size(given)
    if size is None:
        return list(parts), {}
    for workload, points in parts:
        check_task(workload.task)
        for point in points:
            if isinstance(point.fault, Measured):
                raise ValueError(
                    f"examples-per-chip with {point.fault.text}: leave it out, since measured "
                    "chips are few and pilots have no map"
                )
        _check_size(size, workload)
    if out is not None:  # before pilots run in vain
        check_folder(out, settings.seed, SEMANTICS, pairs_of(parts))
        if "sampled" not in fixed_by(out).schema.names:
            raise ValueError(
                f"{out} was begun without the column sampled: give a new --out, and bring both "
                "together with rerax merge"
            )
    known = {} if out is None else read_samples(out)
    found: dict[str, dict[str, SampleTable]] = {}
    done: list[tuple[Workload, Sequence[Point]]] = []
    for workload, points in parts:
        kept = known.get(workload.name, {}).get(str(size))
        if kept is not None:
            table = SampleTable(**kept)
            if len(workload.labels) not in (0, len(table.margins)):
                raise ValueError(
                    f"{out} draws among {len(table.margins)} examples, and {workload.name} has "
                    f"{len(workload.labels)}: restore its _sampling.json, or delete it"
                )
        elif find:
            table = _find_table(workload, points, size, settings, on_progress)
            if out is not None and (out / MANIFEST).is_file():  # its rows may all be there
                add_samples(out, {workload.name: {str(size): table.content}})
        else:
            _pilot_point(points)  # raises, as pilots would
            done.append((workload, [replace(p, sampled=f"{size}:unknown") for p in points]))
            continue
        found[workload.name] = {str(size): table}
        done.append((workload, [replace(point, sampled=table.text) for point in points]))
    return done, found


def _check_size(size: int | str, workload: Workload) -> None:
    examples = len(workload.labels)
    if not isinstance(size, str) and 0 < examples <= size:
        raise ValueError(
            f"examples-per-chip {size} is not below the {examples} examples of {workload.name}: "
            "give fewer, or rerax sweep without it, where every chip answers all"
        )


def _pilot_point(points: Sequence[Point]) -> Point:
    """Choose the point of the middle rate, the first of those that have it.

    Raises:
        ValueError: no point has faults.
    """
    rates = sorted({point.rate for point in points if point.rate})
    if not rates:
        raise ValueError(
            "examples-per-chip needs a rate above 0, at which pilot chips show which answers "
            "change: give one, or leave it out"
        )
    middle = rates[len(rates) // 2]
    return replace(next(p for p in points if p.rate == middle), faulty=None)


def _find_table(
    workload: Workload,
    points: Sequence[Point],
    size: int | str,
    settings: Settings,
    on_progress: Callable[[Progress], None],
) -> SampleTable:
    """Run the clean chip and the pilots on all examples, and choose chances by their answers."""
    from rerax.campaign.worker import Worker
    from rerax.evaluate.devices import one_device_a_core

    point, workload = _pilot_point(points), workload.complete()
    _check_size(size, workload)
    pilots = pilots_of(len(workload.labels))
    if settings.all_cores:
        chips = settings.chips * len(points)
        one_device_a_core(workload.config, workload.tokens, point.spec, chips, pilots)
    on_progress(Progress(0, pilots + 1, point, "pilots"))
    worker = Worker.start(workload, settings, [point])
    clean = worker.logits(point.clean, range(1))
    workers, lock = worker.on_each_device(), threading.Lock()
    parts = [range(FIRST_PILOT + i, FIRST_PILOT + i + 1) for i in range(pilots)]
    if len(workers) == 1:
        parts = [range(FIRST_PILOT, FIRST_PILOT + pilots)]
    answers: dict[int, np.ndarray] = {}

    def answer(own: Worker) -> None:
        while True:
            with lock:
                part = parts.pop() if parts else None
            if part is None:
                return
            answers[part.start] = own.logits(point, part)
            on_progress(Progress(pilots + 1 - len(parts), pilots + 1, point, "pilots"))

    with ThreadPoolExecutor(len(workers)) as pool:
        try:
            list(pool.map(answer, workers))
        finally:  # an interrupt waits for the pilots at work, not for all
            parts.clear()
    right = worker.right(np.concatenate([answers[start] for start in sorted(answers)]))
    changes = right.astype(float) - worker.right(clean)
    ordered = np.sort(clean[0], axis=-1)
    margins = np.round((ordered[:, -1] - ordered[:, -2]).astype(float), 4)
    sizes = [len(ids) for ids in worker.inputs.examples.ids]
    return make_table(margins, changes, sizes, size, {
        "first": FIRST_PILOT, "chips": pilots, "seed": settings.seed, "point": point.hash,
        "rate": point.rate, "platform": worker.platform,
    })  # fmt: skip
