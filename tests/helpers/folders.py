"""Campaign folders with rows that no model has computed."""

import numpy as np
import pyarrow as pa

from rerax.campaign import store
from rerax.campaign.block import Block, missing
from rerax.campaign.point import Point
from rerax.campaign.schema import SCHEMA

POINT = Point(task="sst2", model="minilm", rate=1e-3)
PAIRS = {
    "sst2/minilm": {
        "model_hash": "a" * 64,
        "data_hash": "b" * 64,
        "labels": [0, 1],
        "input_bits": 8,
    }
}


def make_rows(block: Block, point: Point = POINT, platform: str = "cpu", **changes) -> pa.Table:
    """Rows that a chip's number decides."""
    rows = [
        {
            **point.identity(),
            "sa1_share": float(point.sa1_share),
            "seed": 0,
            "chip": chip,
            "score": 1 / (1 + chip),
            "accuracy": 1 / (1 + chip),
            "degenerate": False,
            "float_score": 0.9,
            "clean_score": 0.89,
            "examples": 9,
            "cells": 800,
            "cells_dense": 800,
            "stuck_at_0": chip,
            "correct": bytes([chip % 256, 1]),
            "prediction": [np.float16("nan"), np.float16(0.5)],
            "platform": platform,
            "point_hash": point.hash,
            "model_hash": "a" * 64,
            "data_hash": "b" * 64,
            **changes,
        }
        for chip in range(block.first, block.last + 1)
    ]
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def fill(path, chips: int, point: Point = POINT, **changes) -> list[Block]:
    blocks = [block for _, block in missing(store.scan(path), [point], chips)]
    for block in blocks:
        store.write_block(path, block, make_rows(block, point, **changes))
    return blocks


def names(path) -> list[str]:
    return sorted(entry.name for entry in path.iterdir() if not entry.name.startswith("_"))


def same(one: pa.Table, other: pa.Table) -> bool:
    """Whether two tables have the same rows, where a NaN equals a NaN."""
    return one.schema.equals(other.schema) and repr(one.to_pylist()) == repr(other.to_pylist())
