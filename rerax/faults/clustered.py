"""Clustered faults: some tiles are worse than others.

The hazard of tile t is h * g_t, with g_t from a gamma distribution of mean 1, so the number of
stuck cells in a tile is close to negative binomial, the usual law of clustered defects (C. H.
Stapper, IBM J. Res. Dev. 27, 1983; the shape is his clustering parameter alpha). Points come from
the same process as those of uniform faults and count up to their own tile's hazard: the cost is
that of uniform faults at the rate of the array's worst tile.
No JAX here.
"""

from dataclasses import dataclass
from typing import Any

from rerax.crossbar.spec import ChipSpec
from rerax.faults.base import FaultModel, Odds, register_fault
from rerax.faults.sampling.gamma import check_shape
from rerax.values import check_real


@dataclass(frozen=True)
class Clustered(FaultModel):
    """Stuck cells whose hazard differs from tile to tile by a gamma multiplier.

    Attributes:
        shape: shape A of the gamma distribution, 0.1 to 100. The multipliers' variance is 1/A: a
            small A makes a few bad tiles among good ones, a large one comes close to `uniform`.

    Raises:
        ValueError: shape outside that range.
    """

    tells_arrays_apart = False

    shape: float

    def __post_init__(self) -> None:
        check_real("clustered shape", self.shape)
        object.__setattr__(self, "shape", float(self.shape))  # one of NumPy's as well
        check_shape(self.shape)

    @property
    def text(self) -> str:
        """The shape as its shortest number: `clustered:2`, `clustered:0.5`."""
        return f"clustered:{repr(float(self.shape)).removesuffix('.0')}"

    def tables(self, rate: float) -> Any:
        """Find the limits of every multiplier, such that the mean over tiles is the rate."""
        from rerax.faults.sampling.tiles import tile_limits

        return tile_limits(self.shape, rate)

    def states(self, key: Any, rates: Any, spec: ChipSpec, shape: tuple[int, int]) -> Any:
        """Draw cells with a point of the Poisson process below their own tile's hazard.

        Raises:
            ValueError: a table that was not made for this model.
        """
        from rerax.faults.sampling.tiles import clustered_cells

        return clustered_cells(key, rates, spec, shape)

    def odds(self, rate: float, sa1_share: float) -> Odds:
        """Give the odds of `uniform`; at the rate of a tile its cells fail independently."""
        return Odds(rate * (1 - sa1_share), rate * sa1_share, by_tile=True)


def _clustered(text: str) -> Clustered:
    try:
        if "_" in text or not text.isascii():  # which float() would take
            raise ValueError
        shape = float(text)
    except ValueError:
        raise ValueError(
            f"clustered shape {text!r} is not a number: give a gamma shape such as 2"
        ) from None
    return Clustered(shape)


register_fault("clustered", _clustered, "A")
