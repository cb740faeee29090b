"""When a point has chips enough: a rule on the scores alone. No JAX here."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from rerax.stats.sample_size import looks, stop_here
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
        if not 0 < self.until_se < 1:
            raise ValueError(
                f"until-se {self.until_se:g} is no standard error of scores from 0 to 1: give one "
                "such as 0.002, a fifth of a point"
            )
        if self.max_chips < 2:
            raise ValueError(
                f"max-chips {self.max_chips} is too few for a standard error: give at least 2"
            )

    def record(self) -> dict[str, Any]:
        """Record the rule as provenance: beside the rows, in no hash."""
        return {"until_se": self.until_se, "max_chips": self.max_chips, "looks": self.looks}

    @property
    def looks(self) -> list[int]:
        """Numbers of chips at which a point may stop."""
        return list(looks(self.max_chips))

    def next_look(self, scores: Float[np.ndarray, " chips"]) -> int | None:
        """Choose the number of chips at which to look again; None where there are enough.

        Args:
            scores: those of as many chips as one of the looks has.
        """
        after = [look for look in self.looks if look > len(scores)]
        return None if not after or stop_here(scores, self.until_se) else after[0]


def make_rule(
    until_se: float | None, max_chips: int | None, chips: int | None = None
) -> Rule | None:
    """Make the rule that the flags ask for; None for a number of chips fixed beforehand.

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


def recorded(runs: Iterable[Mapping[str, Any]]) -> Rule | None:
    """Give the rule that runs of a folder have followed, of several the one with most chips.

    Args:
        runs: what they say of themselves (`campaign.sidecars.read_provenance`).
    """
    entries = (run.get("stopping") for run in runs)
    rules = [Rule(entry["until_se"], entry["max_chips"]) for entry in entries if entry]
    return max(rules, key=lambda rule: rule.max_chips, default=None)
