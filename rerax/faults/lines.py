"""Broken lines: whole wordlines or bitlines stuck. No JAX here.

A line ends at the edge of its tile, so the units of these models are line segments, and few
beside the cells: sampling costs next to nothing.
"""

from dataclasses import dataclass
from typing import Any

from rerax.crossbar.spec import ChipSpec
from rerax.faults.base import FaultModel, Odds, register_fault


@dataclass(frozen=True)
class Wordline(FaultModel):
    """Broken wordlines: all cells of a line within one tile are stuck alike."""

    tells_arrays_apart = False

    text = "wordline"

    def states(self, key: Any, rates: Any, spec: ChipSpec, shape: tuple[int, int]) -> Any:
        """Draw the cells of the stuck wordlines."""
        from rerax.faults.sampling.lines import cells_of_wordlines

        return cells_of_wordlines(key, rates, spec, shape)

    def odds(self, rate: float, sa1_share: float) -> Odds:
        """Give the exact odds: all cells of a weight are stuck together."""
        return Odds(rate * (1 - sa1_share), rate * sa1_share, by_wordline=True)


@dataclass(frozen=True)
class Bitline(FaultModel):
    """Broken bitlines: all cells of a line within one tile are stuck alike."""

    tells_arrays_apart = False

    text = "bitline"

    def states(self, key: Any, rates: Any, spec: ChipSpec, shape: tuple[int, int]) -> Any:
        """Draw the cells of the stuck bitlines."""
        from rerax.faults.sampling.lines import cells_of_bitlines

        return cells_of_bitlines(key, rates, spec, shape)

    def odds(self, rate: float, sa1_share: float) -> Odds:
        """Give the exact odds: the cells of a weight lie on bitlines of their own."""
        return Odds(rate * (1 - sa1_share), rate * sa1_share, by_bitline=True)


register_fault("wordline", lambda _: Wordline())
register_fault("bitline", lambda _: Bitline())
