"""Whole words on spare crossbars. No JAX here."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from rerax.crossbar.spec import ChipSpec
from rerax.protection.base import (
    ColumnVotes,
    Protection,
    check_copies,
    register_protection,
    without_ending,
)
from rerax.protection.cost import Ledger, unprotected_ledger
from rerax.protection.expected_error import Votes
from rerax.values import is_whole


@dataclass(frozen=True)
class Duplicate(Protection):
    """Whole words on spare crossbars, bitwise majority: the costly reference.

    Attributes:
        copies: images of every word, the original included; odd, at least 3.
        erasures: stuck cells known to the tester do not vote.

    Raises:
        ValueError: an even number, or fewer than 3.
    """

    tells_arrays_apart = False

    copies: int = 3
    erasures: bool = False

    def __post_init__(self) -> None:
        check_copies(self.copies, self.erasures)

    @property
    def text(self) -> str:
        """Such as `duplicate:3`."""
        return f"duplicate:{self.copies}" + ":erasures" * self.erasures

    @property
    def knows(self) -> str:  # type: ignore[override]
        """Which cells are stuck, with erasures."""
        return "map at reading" if self.erasures else "nothing"

    @property
    def spare_arrays(self) -> int:  # type: ignore[override]
        """One for each further image."""
        return self.copies - 1

    def recover(self, arrays: list[Any], extra: Any, spec: ChipSpec, matrix: str) -> Any:
        """Vote by majority over all arrays."""
        import jax.numpy as jnp

        from rerax.crossbar.voting import majority_vote

        stuck = jnp.stack([a.known for a in arrays]) if self.erasures else None
        return majority_vote(jnp.stack([a.words for a in arrays]), stuck)

    def ledger(
        self, row: np.ndarray, column: np.ndarray, gated: bool, spec: ChipSpec, matrix: str
    ) -> Ledger:
        """Count the base array, and `copies` - 1 spare ones of its size."""
        plain = unprotected_ledger(row, column, spec)
        more = self.spare_arrays
        return plain + Ledger(spare=more * plain.physical, reads=more * plain.reads)

    def votes(
        self, row: np.ndarray, column: np.ndarray, gated: bool, spec: ChipSpec
    ) -> ColumnVotes:
        """Vote every bit over as many images as there are copies."""
        votes = Votes((self.copies,) * spec.group_bits, True, self.erasures)
        return [(np.flatnonzero(column), votes)]


def _duplicate(parts: list[str]) -> Protection:
    own, more = without_ending(parts, ("erasures",))
    if len(own) != 1 or not is_whole(own[0]):
        raise ValueError(f"duplicate:{':'.join(own)} is not understood: use duplicate:3")
    return Duplicate(int(own[0]), **more)


register_protection("duplicate", _duplicate, "duplicate:3")
