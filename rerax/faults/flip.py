"""Transient bit flips. No JAX here."""

from dataclasses import dataclass
from typing import Any

from jaxtyping import UInt8

from rerax.crossbar.spec import ChipSpec
from rerax.faults.base import FaultModel, Odds, Site, register_fault


@dataclass(frozen=True)
class Flip(FaultModel):
    """Transient bit flips: every stored bit inverted independently, held for one evaluation."""

    tells_arrays_apart = False

    has_polarity = False
    text = "flip"

    def disturb(
        self,
        words: UInt8[Any, "G R C"],
        key: Any,
        rates: Any,
        spec: ChipSpec,
        site: Site | None = None,
    ) -> Any:
        """Invert bits; the same process as `Uniform`, over bits in place of cells."""
        from rerax.faults.sampling.flips import flip_bits

        return flip_bits(words, key, rates, spec)

    def odds(self, rate: float, sa1_share: float) -> Odds:
        """Give the odds of a flip, exactly; a tester finds no transient flips."""
        return Odds(flip=rate, known=False)


register_fault("flip", lambda _: Flip())
