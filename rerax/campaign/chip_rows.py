"""Rows of chips: a point's identity beside what came out of each chip. No JAX here."""

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from rerax.campaign.block import Block
from rerax.campaign.point import Point
from rerax.campaign.schema import SCHEMA
from rerax.campaign.workload import Workload
from rerax.glue.tasks import METRICS


def rows_table(
    point: Point, workload: Workload, seed: int, facts: Mapping[str, Any], block: Block
) -> pa.Table:
    """Make rows of some chips: the point's identity, the chips' outcomes, what is common to them.

    Args:
        point, workload, seed, block: whose rows.
        facts: columns of outcomes: arrays or lists with an entry for each chip, or one value.
    """
    n = block.chips
    columns: dict[str, Any] = {
        **point.columns(),
        "sa1_share": None if point.sa1_share is None else float(point.sa1_share),
        "seed": seed,
        "chip": np.arange(block.first, block.last + 1),
        "examples": len(workload.labels),
        "point_hash": point.hash,
        "model_hash": workload.model_hash,
        "data_hash": workload.data_hash,
        **dict.fromkeys((*METRICS, "estimator", "examples_drawn")),
        **facts,
    }
    arrays = []
    for column in SCHEMA:
        value = columns[column.name]
        repeated = value if isinstance(value, list | np.ndarray) else [value] * n
        arrays.append(pa.array(repeated, column.type, from_pandas=True))
    return pa.Table.from_arrays(arrays, schema=SCHEMA)


def in_half_precision(answers: np.ndarray) -> np.ndarray:
    """Round predictions as rows keep them; what is beyond the largest is kept as that."""
    largest = np.finfo(np.float16).max
    if (np.isfinite(answers) & (np.abs(answers) > largest)).any():
        warnings.warn(
            f"predictions beyond {largest:g} are kept as that in the column prediction; scores "
            "are of the whole ones",
            stacklevel=2,
        )
        answers = np.where(np.isfinite(answers), np.clip(answers, -largest, largest), answers)
    return answers.astype(np.float16)


def repeat(value: Any, n: int) -> Any:
    """Repeat what is of one chip for each of several."""
    if isinstance(value, np.ndarray):
        return np.repeat(value, n, axis=0)
    return value * n if isinstance(value, list) else value
