"""What a test of a chip found of its stuck cells. No JAX here."""

from dataclasses import dataclass
from typing import Any

from rerax.values import check_real, read_float, shown


@dataclass(frozen=True)
class Tested:
    """Which stuck cells a test found, for protections that know a chip's map.

    Attributes:
        share: each stuck cell was found with this probability, by itself; what is found at one
            share is found at every larger one.
        rate: the chip was tested when its fault rate was this part of what it is now, so that
            cells that have become stuck since are not known.

    Raises:
        ValueError: a number outside (0, 1], or both below 1.

    Example:
        >>> tested("rate:0.5"), Tested(share=0.99).text, Tested().is_complete
        (Tested(share=1.0, rate=0.5), 'share:0.99', True)
    """

    share: float = 1.0
    rate: float = 1.0

    __test__ = False  # pytest takes a class of such a name for a test

    def __post_init__(self) -> None:
        for name, value in (("share", self.share), ("rate", self.rate)):
            check_real(f"tested {name}", value)
            if not 0 < value <= 1:
                raise ValueError(f"tested {name} {value} is outside (0, 1]: give a fraction")
            object.__setattr__(self, name, float(value))
        if self.share < 1 and self.rate < 1:
            raise ValueError(
                f"tested gives share {self.share:g} and rate {self.rate:g}: give one of them"
            )

    @property
    def is_complete(self) -> bool:
        """Whether every stuck cell was found."""
        return self.share == self.rate == 1

    @property
    def text(self) -> str:
        """`all`, `share:0.99` or `rate:0.5`, as `tested` takes it."""
        if self.is_complete:
            return "all"
        return f"share:{self.share!r}" if self.share < 1 else f"rate:{self.rate!r}"


def tested(given: Any) -> Tested:
    """Read what a test found: `all`, `share:0.99`, `rate:0.5`; a `Tested` is given back.

    Raises:
        ValueError: anything else.
    """
    if isinstance(given, Tested):
        return given
    kind, colon, number = given.partition(":") if isinstance(given, str) else ("", "", "")
    if given == "all":
        return Tested()
    if colon and kind in ("share", "rate"):
        return Tested(**{kind: read_float(number, f"tested {kind}")})
    raise ValueError(
        f"tested {shown(given)} is not understood: use all, share:0.99 (of the stuck cells) or "
        "rate:0.5 (tested at half of the rate)"
    )
