"""No protection. No JAX here."""

from dataclasses import dataclass

import numpy as np

from rerax.crossbar.spec import ChipSpec
from rerax.protection.base import ColumnVotes, Protection, register_protection
from rerax.protection.expected_error import no_copies


@dataclass(frozen=True)
class Unprotected(Protection):
    """Words as they are."""

    tells_arrays_apart = False

    text = "none"

    def votes(
        self, row: np.ndarray, column: np.ndarray, gated: bool, spec: ChipSpec
    ) -> ColumnVotes:
        """Say that nothing is voted."""
        return [(np.flatnonzero(column), no_copies(spec))]


def _none(parts: list[str]) -> Protection:
    if parts:
        raise ValueError(f"protection none takes nothing, not {':'.join(parts)!r}: use none")
    return Unprotected()


register_protection("none", _none)
