"""What points store: reads of a weight, matrices left unprotected, bits of a chip's own choices."""

import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from rerax.campaign.point import Point
from rerax.campaign.workload import Inputs
from rerax.faults import Uniform
from rerax.models.bert import crossbars
from rerax.models.bert.names import MATRICES
from rerax.protection import Ledger

STORED = ("task", "model", "encoding", "bits", "bits_per_cell", "matrices", "protection")
"""What decides how many cells are sensed for a weight."""


def reads_and_bare_matrices(
    points: Sequence[Point], inputs: Inputs
) -> tuple[list[dict[str, Any]], dict[str, list[str]]]:
    """Find how often points sense a cell, and what they leave unprotected for want of gates.

    Args:
        points: any of one workload.
        inputs: the loaded workload.

    Returns:
        A line for each way of storing, `STORED` and the `reads` of a kept weight; and the matrices
        that each protection leaves unprotected.

    Raises:
        ValueError: a matrix without room for a protection, or none with the gates that it needs.
    """
    reads: list[dict[str, Any]] = []
    bare: dict[str, list[str]] = {}
    for point in dict.fromkeys(
        replace(p.clean, sa1_share=None, fault=Uniform(), faulty=None) for p in points
    ):
        groups, name = point.matrices, point.protection.text
        ledgers = crossbars.ledgers(inputs.params, point.hardware, groups, inputs.gates)
        whole = sum(itertools.chain(*ledgers.values()), Ledger())
        identity = point.identity()
        stored = {field: identity[field] for field in STORED}
        entry = {**stored, "reads": round(whole.reads_per_weight, 6)}
        reads += [] if entry in reads else [entry]
        left = crossbars.bare_matrices(inputs.params, groups, inputs.gates, point.protection)
        if left:
            bare[name] = sorted({*bare.get(name, ()), *left}, key=MATRICES.index)
    return reads, bare


def metadata_bits(point: Point, inputs: Inputs) -> int:
    """Count the bits that a chip's own choices take outside its arrays."""
    if point.protection.knows != "map at writing":
        return 0
    found = crossbars.ledgers(inputs.params, point.hardware, point.matrices, inputs.gates)
    return sum(ledger.metadata for layers in found.values() for ledger in layers)
