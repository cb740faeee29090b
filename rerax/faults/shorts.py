"""Shorts between adjacent bitlines. No JAX here."""

from dataclasses import dataclass
from typing import Any

from jaxtyping import UInt8

from rerax.crossbar.spec import ChipSpec
from rerax.faults.base import FaultModel, Odds, Site, register_fault


@dataclass(frozen=True)
class Short(FaultModel):
    """Shorts between adjacent bitlines of a tile.

    Every maximal run of shorted lines carries the sum of its currents, so that on each wordline
    all of its cells read the highest level stored there; a cell of fewer bits than the others
    reads at most its own highest level.
    """

    tells_arrays_apart = False

    has_polarity = False
    text = "short"

    def disturb(
        self,
        words: UInt8[Any, "G R C"],
        key: Any,
        rates: Any,
        spec: ChipSpec,
        site: Site | None = None,
    ) -> Any:
        """Read the highest level of a run of shorted bitlines from each of its cells."""
        from rerax.faults.sampling.shorts import short_lines

        return short_lines(words, key, rates, spec)

    def counts_in(
        self, bits: Any, words: UInt8[Any, "G R C"], key: Any, rates: Any, spec: ChipSpec
    ) -> Any:
        """Count cells of shorted lines that hold a chosen bit: many read what they hold."""
        from rerax.faults.sampling.shorts import shorted_cells_in

        return shorted_cells_in(bits, words, key, rates, spec)

    def odds(self, rate: float, sa1_share: float) -> Odds:
        """Give the odds: on each side a short raises a cell, half the time, to the level there.

        The tester knows nothing of it. Cells that are shorted often hold bits of one weight, which
        are not independent, so that damage comes out a quarter too low.
        """
        return Odds(at_1=1 - (1 - rate / 2) ** 2, known=False, by_bitline=True)


register_fault("short", lambda _: Short())
