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
        """Cells of shorted lines read the highest level of their run."""
        from rerax.faults.sampling.shorts import short_lines

        return short_lines(words, key, rates, spec)

    def counts_in(
        self, bits: Any, words: UInt8[Any, "G R C"], key: Any, rates: Any, spec: ChipSpec
    ) -> Any:
        """Cells of shorted lines that hold one of the chosen bits: many read what they hold."""
        from rerax.faults.sampling.shorts import shorted_cells_in

        return shorted_cells_in(bits, words, key, rates, spec)

    def odds(self, rate: float, sa1_share: float) -> Odds:
        """A short raises a cell to the level beside it, the higher one half the time, on each side.

        The tester knows nothing of it.
        """
        return Odds(at_1=1 - (1 - rate / 2) ** 2, known=False)


register_fault("short", lambda _: Short())
