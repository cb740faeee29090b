"""One chip of a campaign computed again: its row, its worst matrices, the answers it loses."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from rerax.campaign.worker import Worker
from rerax.campaign.workload import Progress
from rerax.faults.read_out import Counts
from rerax.glue.tasks import METRICS
from rerax.inspect.read import read_chip
from rerax.inspect.recorded import RecordedChip, lost_examples
from rerax.models.bert.crossbars import crossbars_by_section
from rerax.models.bert.names import GROUPS
from rerax.models.bert.scope import Scope

_CELLS = ("cells", "cells_dense", "sparsity", *Counts._fields)
_SCORES = ("score", *METRICS, "degenerate", "correct", "prediction")


@dataclass(frozen=True)
class MatrixErrors:
    """One matrix of a chip.

    Attributes:
        name, layer: which (layer 0 outside the encoder).
        faulty: its faulty cells (flips: bits), spare arrays included.
        error: squared error of its weights as read, over the sum of their squares.
        alone: the score of the chip when only this matrix is faulty; None where not measured.
    """

    name: str
    layer: int
    faulty: int
    error: float
    alone: float | None = None


@dataclass(frozen=True)
class Reproduction:
    """A chip evaluated again, beside its row and the clean chip.

    Attributes:
        score: the chip's score now.
        clean_score: that of the clean chip now.
        platform: on what they were computed.
        same_platform: whether that is the row's, so that the score had to be its.
        worst: matrices, the worst first.
        lost: examples that the clean chip gets right and this one wrong (`lost_examples`).
    """

    score: float
    clean_score: float
    platform: str
    same_platform: bool
    worst: tuple[MatrixErrors, ...]
    lost: np.ndarray


def reproduce(
    worker: Worker,
    recorded: RecordedChip,
    worst: int = 5,
    tell: Callable[[Progress], None] = lambda progress: None,
) -> Reproduction:
    """Compute a row again and see where it comes from.

    The matrices with the largest relative squared error of their weights are each evaluated
    alone: all other matrices of the chip read clean. They are ranked by the score that is left.

    Args:
        worker: evaluates the row's workload (`Worker.start`).
        recorded: the row.
        worst: how many to evaluate.
        tell: told of progress, in passes over the examples.

    Raises:
        ValueError: the row is not reproduced: other cells, or on the same platform another score.
    """
    point, row = recorded.point, recorded.row
    chips = range(recorded.chip, recorded.chip + 1)
    tell(Progress(0, worst + 2, point, "compiling"))
    now = _first(worker.facts(point, chips))
    tell(Progress(1, worst + 2, point))
    same = worker.platform == row["platform"]
    _check(row, now, same)
    clean = _first(worker.facts(point.clean, chips))
    ranked = sorted(matrix_errors(worker, recorded), key=lambda m: -m.error)
    chosen = [m for m in ranked if m.error > 0][:worst]
    tell(Progress(2, 2 + len(chosen), point))
    measured = []
    for matrix in sorted(chosen, key=lambda m: _start(m, worker.inputs.config.layers)):
        alone = replace(point, faulty=_alone(point.faulty, matrix))
        measured.append(replace(matrix, alone=_first(worker.facts(alone, chips))["score"]))
        tell(Progress(2 + len(measured), 2 + len(chosen), point))
    return Reproduction(
        now["score"],
        clean["score"],
        worker.platform,
        same,
        tuple(sorted(measured, key=lambda m: (m.alone, -m.error))),
        lost_examples(recorded.workload, clean, now),
    )


def _first(facts: dict[str, Any]) -> dict[str, Any]:
    """Take the first chip's facts as plain values."""
    values = {k: v[0] if isinstance(v, list | np.ndarray) else v for k, v in facts.items()}
    return {k: v.item() if isinstance(v, np.generic) else v for k, v in values.items()}


def _check(row: dict[str, Any], now: dict[str, Any], same_platform: bool) -> None:
    names = _CELLS + (_SCORES if same_platform else ())
    for name in names:
        there, here = row[name], now.get(name)
        if isinstance(here, np.ndarray):
            there, here = np.asarray(there, here.dtype).tolist(), here.tolist()
        if repr(there) != repr(here):  # a prediction may be NaN
            raise ValueError(
                f"chip {row['chip']} of point {row['point_hash'][:16]} is not reproduced: "
                f"{name} is {str(there)[:40]} in its row and {str(here)[:40]} now: the row was "
                "made by other code, or has been changed"
            )


def _start(matrix: MatrixErrors, layers: int) -> int:
    return matrix.layer if matrix.name in GROUPS["encoder"] else layers


def _alone(scope: Scope | None, matrix: MatrixErrors) -> Scope:
    """Narrow the chip's own scope to one matrix."""
    layers = (matrix.layer,) if matrix.name in GROUPS["encoder"] else None
    return Scope(layers, (matrix.name,), None if scope is None else scope.bits)


def matrix_errors(worker: Worker, recorded: RecordedChip) -> list[MatrixErrors]:
    """List every matrix on crossbars, with its faulty cells and the error of its weights."""
    sections = crossbars_by_section(worker.prepared(recorded.point).stored)
    clean, _ = read_chip(worker, replace(recorded, point=recorded.point.clean))
    found, counts = read_chip(worker, recorded)
    listed = []
    for section, there in found.items():
        for name, codes in there.items():
            scales = np.asarray(sections[section][name].scale, np.float64)
            scales = scales.reshape(len(codes), 1, -1)
            moved = (codes.astype(np.float64) - clean[section][name]) * scales
            size = ((clean[section][name] * scales) ** 2).sum(axis=(1, 2))
            error = (moved**2).sum(axis=(1, 2)) / np.maximum(size, np.finfo(np.float64).tiny)
            cells = np.sum([np.asarray(n, np.int64) for n in counts[section][name]], axis=0)
            listed += [
                MatrixErrors(name, layer, int(cells[layer]), float(error[layer]))
                for layer in range(len(codes))
            ]
    return listed
