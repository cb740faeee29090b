"""What every competitor hands back: one row, folded from the chips it timed.

A chip's seconds are all that a user waits for once the tool is warm: draw the stuck cells, put
the faulty weights in place, answer every sentence, score, restore. Loading, quantising and
compiling are told apart as `first_call_seconds`. Counting the cells that are really stuck is the
benchmark's own check and is not timed.
"""

import importlib
import importlib.metadata
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np

SA1_SHARE = Fraction(904, 1079)
BITS = 8


@dataclass(frozen=True)
class Chip:
    """One timed chip.

    Attributes:
        stages: seconds by stage; their sum is what the chip took.
        score: share of sentences answered right.
        stuck: cells really stuck; None where the tool does not tell.
    """

    stages: Mapping[str, float]
    score: float
    stuck: int | None

    @property
    def seconds(self) -> float:
        """What the chip took."""
        return sum(self.stages.values())


@dataclass
class Watch:
    """Seconds of one chip by stage."""

    stages: dict[str, float] = field(default_factory=dict)

    def time(self, stage: str, work: Callable[[], Any]) -> Any:
        """Do the work and add its seconds to a stage."""
        start = time.perf_counter()
        result = work()
        self.stages[stage] = self.stages.get(stage, 0.0) + time.perf_counter() - start
        return result


def accuracy(logits: np.ndarray, labels: np.ndarray, order: Sequence[int]) -> float:
    """Share of sentences answered right; an answer that is not finite is wrong.

    Args:
        logits: [E, N] outputs.
        labels: [E] GLUE labels.
        order: GLUE label of each output.
    """
    answers = np.asarray(order)[logits.argmax(axis=-1)]
    return float(((answers == labels) & np.isfinite(logits).all(axis=-1)).mean())


def make_row(
    name: str,
    dtype: str,
    rate: float | None,
    chips: Sequence[Chip],
    *,
    cells: int,
    packages: Sequence[str],
    first_call_seconds: float | None = None,
    extrapolated: bool = False,
    note: str = "",
    **more: Any,
) -> dict[str, Any]:
    """The row of a tool at a rate.

    Args:
        name: what to call the tool in the table.
        dtype: of the products.
        rate: requested fraction of stuck cells; None where it has no say.
        chips: the chips timed, without the warm-up.
        cells: cells (or values) that could be stuck.
        packages: whose versions to note.
        first_call_seconds: loading, preparing and the first chip, where this call did them.
        extrapolated: whether the seconds were computed from smaller runs.
        note: how the tool differs in what it computes.
        **more: further fields.
    """
    stages = {
        stage: statistics.median(chip.stages[stage] for chip in chips) for stage in chips[0].stages
    }
    return {
        "name": name,
        "dtype": dtype,
        "rate": rate,
        "chips": len(chips),
        "seconds_a_chip": statistics.median(chip.seconds for chip in chips),
        "seconds": [chip.seconds for chip in chips],
        "stages": stages,
        "mean_score": statistics.fmean(chip.score for chip in chips),
        "scores": [chip.score for chip in chips],
        "stuck_cells": [chip.stuck for chip in chips],
        "cells": cells,
        "first_call_seconds": first_call_seconds,
        "extrapolated": extrapolated,
        "note": note,
        "versions": versions(packages),
        **more,
    }


def error_row(name: str, rate: float | None, reason: str) -> dict[str, Any]:
    """The row of a tool that could not be made to work."""
    return {"name": name, "rate": rate, "error": reason}


def versions(packages: Sequence[str]) -> dict[str, str]:
    """Installed versions of some packages."""
    return {package: _version(package) for package in packages}


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:  # run from a checkout
        return str(importlib.import_module(package).__version__)
