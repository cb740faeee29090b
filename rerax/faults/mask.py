"""Where faults act: chosen arrays and bits of a chip."""

from collections.abc import Mapping
from typing import NamedTuple

from rerax._types import AnyArray
from rerax.faults.sampling.rates import RateTable


class FaultMask(NamedTuple):
    """Where faults act, as data, so that one compile serves every layer, array and bit.

    It moves no fault: a chip has the stuck cells that it has, and those outside the mask read what
    was written.

    Attributes:
        arrays: [*L] of each array by its name, whether they do.
        bits: a word with the bits set in which they do; None: in all.
    """

    arrays: Mapping[str, AnyArray]
    bits: AnyArray | None = None


class Faults(NamedTuple):
    """How many cells are faulty, and where that counts.

    Attributes:
        rates: the fault rate and the share of SA1 (`rate_table`).
        mask: where faults act; None: everywhere.
    """

    rates: RateTable
    mask: FaultMask | None = None
