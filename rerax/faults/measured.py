"""Measured faults: the stuck cells of real chips, read from a file (`chip_map`). No JAX here."""

import warnings
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import UInt8

from rerax.crossbar.spec import ChipSpec
from rerax.faults.base import FaultModel, Odds, Site, register_fault
from rerax.faults.chip_map import PREFIX, ChipMap, check_map, read_map


@dataclass(frozen=True)
class Measured(FaultModel):
    """Chips as measured: each cell in the file holds its level, whatever was written.

    Chips, matrices and layers that are not in the file are fault-free. That its addresses exist
    in the model at hand is for the caller to see to (`chip_map.check_map`).

    Attributes:
        path: the file.
        digest: its hash, so that another content is another model.
    """

    has_polarity = False

    path: str
    digest: str

    @classmethod
    def read(cls, path: str) -> "Measured":
        """Read the chips in a file.

        Raises:
            ValueError: a bad file (`chip_map.read_map`).
        """
        return cls(path, read_map(path).digest)

    @property
    def chips(self) -> ChipMap:
        """The cells.

        Raises:
            ValueError: the file has changed.
        """
        found = read_map(self.path)
        if found.digest != self.digest:
            raise ValueError(f"{self.path} has changed since it was read: leave it alone in a run")
        return found

    @property
    def text(self) -> str:
        """`map:FILE`."""
        return PREFIX + self.path

    @property
    def name(self) -> str:
        """The file's name and hash, wherever it lies."""
        return PREFIX + self.chips.name

    def check_arrays(
        self, shapes: Mapping[str, tuple[int, int, int]], others: Collection[str], spec: ChipSpec
    ) -> None:
        """Refuse cells of arrays that there are not; those of arrays not on crossbars warn."""
        check_map(self.chips, shapes, spec, others)
        unused = [name for name in self.chips.names if name not in shapes]
        if unused:
            warnings.warn(
                f"{self.path} has cells of {', '.join(unused)}, not on crossbars: left out",
                stacklevel=3,
            )

    def tables(self, rate: float) -> Any:
        """Load the cells of the file; none is stuck at rate 0, and the rate means nothing else."""
        from rerax.faults.sampling.cell_list import cell_lists

        return cell_lists(self.chips, rate)

    def disturb(
        self,
        words: UInt8[Any, "G R C"],
        key: Any,
        rates: Any,
        spec: ChipSpec,
        site: Site | None = None,
    ) -> Any:
        """Hold the map's stuck cells at their levels; without a site none is stuck.

        Raises:
            ValueError: a table that was not made for this model.
        """
        from rerax.faults.sampling.cell_list import hold_listed

        return hold_listed(words, rates, spec, site)

    def odds(self, rate: float, sa1_share: float) -> Odds:
        """Give the odds of `uniform` at the realised rate, in the polarities of the map's cells.

        Levels between the ends count as SA1.
        """
        return self.odds_on(rate, sa1_share, self.chips.names)

    def odds_on(self, rate: float, sa1_share: float, matrices: Collection[str]) -> Odds:
        """Give the odds of `uniform` in the polarities of the map's cells of some matrices."""
        chips = self.chips
        those = np.isin(chips.matrix, [k for k, name in enumerate(chips.names) if name in matrices])
        if not those.any():
            return Odds()
        at_0 = float((chips.level[those] == 0).mean())
        return Odds(rate * at_0, rate * (1 - at_0))


register_fault("map", Measured.read, "FILE")
