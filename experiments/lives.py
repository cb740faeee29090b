"""The chips that `yield_curve.py` and `ageing.py` look at: the same ones at rising rates."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from study import Study, by_rate

from rerax.campaign.grid import expand
from rerax.campaign.point import Point
from rerax.report import PointSummary
from rerax.stats import passes

RATES = (5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2)
SCHEMES = {"none": "unprotected", "msb:2x3:pruned": "zero space"}
PRUNED = "35"


@dataclass(frozen=True)
class Lives:
    """The chips of one scheme.

    Attributes:
        rates: rising fault rates.
        scores: [rates, chips].
        stuck: stuck cells, [rates, chips].
        reference: float score of the model.
        examples: examples of each score.
    """

    rates: np.ndarray
    scores: np.ndarray
    stuck: np.ndarray
    reference: float
    examples: int

    def passed(self, budget: float) -> np.ndarray:
        """Which chips are within a budget of the float score, [rates, chips]."""
        return passes(self.scores, self.reference, budget)


def read_lives(study: Study, task: str) -> Mapping[str, Lives]:
    """Every scheme's chips, run where they lack."""
    base = Point(task, f"{task}-{PRUNED}", 0.0)
    points = expand(base, {"protection": tuple(SCHEMES), "rate": RATES})
    lines = study.lines(points)
    rows = study.rows(points).to_pandas()
    rows["stuck"] = rows.stuck_at_0 + rows.stuck_at_1
    found = {}
    for scheme in SCHEMES:
        own: dict[float, PointSummary] = by_rate(lines, protection=scheme)
        rates = np.array(sorted(own))
        at = rows[rows.protection == scheme].pivot_table("stuck", "rate", "chip")
        found[scheme] = Lives(
            rates,
            np.stack([own[rate].scores for rate in rates]),
            at.loc[rates].to_numpy(),
            own[rates[0]].float_score,
            own[rates[0]].examples,
        )
    return found
