"""Rows that no model has computed, for tests of the report."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa

from rerax.campaign.point import Point
from rerax.campaign.schema import SCHEMA

POINT = Point(task="sst2", model="minilm", rate=1e-3)


def make_rows(
    point: Point, scores: Iterable[float], chips: Sequence[int] | None = None, **changes
) -> pa.Table:
    """Rows of one point: one for each score."""
    scores = list(scores)
    common = {
        **point.identity(),
        "sa1_share": None if point.sa1_share is None else float(point.sa1_share),
        "seed": 0,
        "degenerate": False,
        "float_score": 0.9,
        "clean_score": 0.89,
        "examples": 872,
        "cells": 800,
        "cells_dense": 800,
        "sparsity": 0.0,
        "platform": "cpu",
        "point_hash": point.hash,
    }
    numbers = range(len(scores)) if chips is None else chips
    rows = [
        {**common, "chip": chip, "score": float(score), **changes}
        for chip, score in zip(numbers, scores, strict=True)
    ]
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def campaign(
    schemes: Sequence[dict] = ({}, {"encoding": "sign_magnitude"}),
    rates: Sequence[float] = (0.0, 1e-3, 1e-2),
    chips: int = 12,
    **changes,
) -> pa.Table:
    """Rows of a grid: every scheme at every rate, each chip worse at a higher rate."""
    noise = np.random.default_rng(0)
    tables = []
    for k, scheme in enumerate(schemes):
        for rate in rates:
            loss = rate**0.5 * (1 + noise.random(chips)) * (2 - k / len(schemes))
            scores = 0.89 - (loss if rate else np.zeros(chips))
            tables.append(make_rows(replace(POINT, rate=rate, **scheme), scores, **changes))
    return pa.concat_tables(tables)


def places(faulty: Iterable[str], rates: Sequence[float] = (1e-2,), chips: int = 6) -> pa.Table:
    """Rows of points whose faults act in some places only, and of the one without faults."""
    noise = np.random.default_rng(1)
    tables = [make_rows(replace(POINT, rate=0.0), [0.89] * chips)]
    for rate in rates:
        for place in faulty:
            scores = 0.89 - noise.random() * rate**0.5 * (1 + 0.1 * noise.random(chips))
            tables.append(make_rows(replace(POINT, rate=rate, faulty=place), scores))
    return pa.concat_tables(tables)
