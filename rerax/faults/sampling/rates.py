"""A fault rate as the sampler's integers, by exact arithmetic on the host."""

import dataclasses
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np

from rerax.faults.base import DEFAULT_SA1_SHARE, FaultModel, fault_model
from rerax.faults.sampling.poisson import EDGES, hazard
from rerax.faults.tested import Tested
from rerax.faults.tested import tested as find_tested
from rerax.values import check_real

if TYPE_CHECKING:
    Rates = float | Sequence[float] | np.ndarray
    Share = Fraction | float
    ARate = float | "RateTable"
    AFault = FaultModel | None
    ATested = Tested
else:  # a traced number is refused below in a line of our own
    Rates = ARate = Share = AFault = ATested = Any

Axis = str | tuple[str, ...] | None
"""Names of `vmap` axes, if any."""
ALL = Tested()


class Thinning(NamedTuple):
    """Which points of a chip's process a descendant at a lower rate keeps.

    Attributes:
        branches: [K] uint32, random numbers of the descendant and those between it and the chip.
        limits: [K] uint32, a point is kept by each whose hash of it is <= its limit.
        levels: int32, how many of them there are.
    """

    branches: Any
    limits: Any
    levels: Any


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class RateTable:
    """A rate and a share of polarity as the sampler's integers (traced, so never a recompile).

    Every array may have a leading axis, of several rates, for `vmap` to map over.

    Attributes:
        intervals: int32, hazard intervals that have points below h.
        limits: [K] uint32, a point of an interval counts when its 32-bit position is <= the limit.
        above: bool, whether the rate passes 0.5, where cells untouched so far get a second chance.
        above_limit: uint32, and it hits when the cell's hash is <= this.
        sa1: bool, whether any stuck cell is SA1.
        sa1_limit: uint32, a stuck cell is SA1 when its hash is <= this.
        tables: what else the fault model at hand needs (`FaultModel.tables`).
        earlier: the table of the rate at which chips were tested; None: of the same rate.
        thinning: of a descendant (`evaluate.descendants`); None: chips keep all their points.
        axis: names of the enclosing `vmap` axes over chips and arrays, if any. They let all of
            them share one trip count of the sampler's loop, which is faster, and change no outcome.
        fault: the fault model that `tables` are for; None: there are none.
        tested_part: which part of the rate `earlier` is of (`Tested.rate`).
    """

    intervals: Any
    limits: Any
    above: Any
    above_limit: Any
    sa1: Any
    sa1_limit: Any
    tables: Any = ()
    earlier: Any = None
    thinning: Any = None
    axis: Axis = dataclasses.field(default=None, metadata={"static": True})
    fault: FaultModel | None = dataclasses.field(default=None, metadata={"static": True})
    tested_part: float = dataclasses.field(default=1.0, metadata={"static": True})

    def check(self, fault: FaultModel, tested: Tested = ALL) -> None:
        """Refuse several rates where one is needed, and the tables of other hardware.

        Raises:
            ValueError: which.
        """
        if np.ndim(self.intervals):
            raise ValueError(
                f"the table has {len(self.intervals)} rates: map over them with jax.vmap, or make "
                "one of a single rate"
            )
        if self.fault not in (None, fault):
            raise ValueError(
                f"the rates are made for {self.fault} and the hardware has {fault}: make them by "
                "rate_table(.., fault=hardware.fault)"
            )
        if tested.rate < 1 and self.tested_part != float(tested.rate):
            known = "nothing" if self.earlier is None else f"{self.tested_part:g} of it instead"
            raise ValueError(
                f"the chips were tested at an earlier rate ({tested.text}), of which the rates "
                f"know {known}: make them by rate_table(.., tested=hardware.tested)"
            )

    def along(self, axis: Axis) -> "RateTable":
        """Make the same table for the inside of `vmap`s whose axes have these names."""
        earlier = None if self.earlier is None else self.earlier.along(axis)
        return dataclasses.replace(self, axis=axis, earlier=earlier)


def rate_table(
    rates: Rates,
    sa1_share: Share = DEFAULT_SA1_SHARE,
    fault: AFault = None,
    tested: ATested = ALL,
) -> RateTable:
    """Make the sampler's thresholds for a fault rate or for several.

    Args:
        rates: expected fraction of all cells (flip: of all stored bits; wordline, bitline: of all
            lines within tiles; short: of all adjacent pairs of them) that are faulty, 0 to 1. Of
            several, the arrays of the table lead with one entry for each.
        sa1_share: fraction of the stuck cells (or lines) that are SA1, 0 to 1.
        fault: the fault model that the table is for, or its name; only those with tables need it.
        tested: what the chips' test found (`Tested`); only one at an earlier rate is needed here.

    Raises:
        ValueError: rate or share outside [0, 1], or a number that is traced.

    Example:
        >>> int(rate_table(0.0).intervals), int(rate_table(0.5).intervals)
        (0, 21)
        >>> rate_table([0.0, 0.5, 1.0]).above.tolist()
        [False, False, True]
    """
    fault = None if fault is None else fault_model(fault)
    tested = find_tested(tested)
    if isinstance(rates, jax.core.Tracer):
        raise ValueError(
            "the rate is traced: make a table of numbers outside jit, rerax.rate_table([..]), and "
            "pass that"
        )
    if np.ndim(rates) > 1:
        raise ValueError(f"rates have {np.ndim(rates)} axes: give one rate, or a list")
    if np.ndim(rates):
        several = [
            rate_table(rate, sa1_share, fault, tested) for rate in np.asarray(rates).tolist()
        ]
        if not several:
            raise ValueError("rates is empty: give at least one")
        return jax.tree.map(lambda *leaves: np.stack(leaves), *several)
    if isinstance(rates, jax.Array | np.ndarray):
        rates = rates.item()
    check_real("rate", rates)
    check_real("sa1_share", sa1_share)
    rate = float(rates)  # type: ignore[arg-type]
    if not isinstance(sa1_share, Fraction):  # of NumPy's types no fraction is made
        sa1_share = float(sa1_share)
    for name, value in (("rate", rate), ("sa1_share", sa1_share)):
        if not 0 <= value <= 1:  # also catches NaN
            raise ValueError(f"{name} {value} is outside [0, 1]: give a fraction")
    h = EDGES[-1] if rate >= 0.5 else hazard(rate)
    limits = [limit_of((h - a) / (b - a)) for a, b in pairwise(EDGES)]
    above = limit_of(2 * Fraction(rate) - 1)
    sa1 = limit_of(Fraction(sa1_share))
    return RateTable(
        np.int32(sum(limit is not None for limit in limits)),
        np.array([limit or 0 for limit in limits], np.uint32),
        np.bool_(above is not None),
        np.uint32(above or 0),
        np.bool_(sa1 is not None),
        np.uint32(sa1 or 0),
        tables := () if fault is None else fault.tables(rate),
        None if tested.rate == 1 else rate_table(rate * tested.rate, sa1_share, fault),
        fault=None if isinstance(tables, tuple) and not tables else fault,
        tested_part=float(tested.rate),
    )


def limit_of(probability: Fraction) -> int | None:
    """Find the largest 32-bit number that counts as a hit of this probability; None: none does."""
    hits = min(int(probability * 2**32), 2**32)
    return hits - 1 if hits > 0 else None
