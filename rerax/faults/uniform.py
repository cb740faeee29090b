"""Stuck cells, each by itself. No JAX here."""

from dataclasses import dataclass
from typing import Any

from rerax.crossbar.spec import ChipSpec
from rerax.faults.base import FaultModel, Odds, register_fault


@dataclass(frozen=True)
class Uniform(FaultModel):
    """Every cell stuck independently with the same probability."""

    tells_arrays_apart = False

    text = "uniform"

    def states(self, key: Any, rates: Any, spec: ChipSpec, shape: tuple[int, int]) -> Any:
        """Draw cells with a point of the Poisson process below the rate."""
        from rerax.faults.sampling.poisson_process import stuck_cells

        return stuck_cells(key, rates, spec, *shape)

    def odds(self, rate: float, sa1_share: float) -> Odds:
        """Give the exact odds: cells fail independently."""
        return Odds(rate * (1 - sa1_share), rate * sa1_share)


register_fault("uniform", lambda _: Uniform())
