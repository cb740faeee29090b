"""When a point has chips enough: a rule on the scores alone. No JAX here."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from rerax.campaign.manifest import read_provenance
from rerax.campaign.point import Point
from rerax.io import Place
from rerax.stats import looks, stop_here
from rerax.values import check_integer, check_real


@dataclass(frozen=True)
class Rule:
    """Add chips until the standard error of a point's mean is small.

    Attributes:
        until_se: the standard error asked for, in units of the score.
        max_chips: chips at which a point stops whatever its standard error.
    """

    until_se: float
    max_chips: int

    def __post_init__(self) -> None:
        check_real("until-se", self.until_se)
        check_integer("max-chips", self.max_chips)
        if not (self.until_se > 0 and math.isfinite(self.until_se)):
            raise ValueError(
                f"until-se {self.until_se:g} is no standard error: give one above 0 such as 0.002"
            )
        if self.max_chips < 2:
            raise ValueError(
                f"max-chips {self.max_chips} is too few for a standard error: give at least 2"
            )

    def record(self) -> dict[str, Any]:
        """The rule as provenance: beside the rows, in no hash."""
        return {"until_se": self.until_se, "max_chips": self.max_chips, "looks": self.looks}

    @property
    def looks(self) -> list[int]:
        """Numbers of chips at which a point may stop."""
        return list(looks(self.max_chips))


def make_rule(
    until_se: float | None, max_chips: int | None, chips: int | None = None
) -> Rule | None:
    """The rule that the flags ask for; None for a number of chips fixed beforehand.

    Raises:
        ValueError: one without the other, or a fixed number of chips beside them.
    """
    if until_se is None and max_chips is None:
        return None
    if chips is not None:
        raise ValueError(f"chips {chips} beside until-se and max-chips: give one or the other")
    if until_se is None or max_chips is None:
        raise ValueError("until-se and max-chips belong together: give both, or chips alone")
    return Rule(until_se, max_chips)


def settle(
    points: Sequence[Point],
    rule: Rule,
    scores_of: Callable[[Sequence[Point], int], Sequence[Float[np.ndarray, " chips"]]],
) -> dict[str, int]:
    """Chips of each point by the rule.

    Args:
        points: the points.
        rule: when to stop.
        scores_of: evaluates what lacks of the first so many chips of some points and gives the
            scores of each.

    Returns:
        {point hash: chips}.
    """
    chips: dict[str, int] = {}
    going = list(points)
    for look in rule.looks:
        if not going:
            break
        chips |= {point.hash: look for point in going}
        scores = dict(zip(going, scores_of(going, look), strict=True))
        going = [point for point in going if not stop_here(scores[point], rule.until_se)]
    return chips


def recorded(folder: Place) -> Rule | None:
    """The rule that runs of a folder have followed, of several the one with most chips."""
    entries = (line.get("stopping") for line in read_provenance(folder))
    rules = [Rule(entry["until_se"], entry["max_chips"]) for entry in entries if entry]
    return max(rules, key=lambda rule: rule.max_chips, default=None)
