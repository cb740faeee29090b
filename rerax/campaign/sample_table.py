"""With which chance chips draw which examples: the table, and how it is made of pilots' answers.

No JAX here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float

from rerax.glue.packing import pack_rows
from rerax.sealed import digest
from rerax.stats.inclusion import WHOLE, best_size, flip_chances, inclusion_chances


@dataclass(frozen=True)
class SampleTable:
    """Which examples share a row, and with which chance a chip draws it.

    Attributes:
        size: examples drawn on average.
        rows: by width, the examples of each row.
        chances: by width, of each row, of `WHOLE`.
        margins: of each example, how far the clean chip's answer lies above its next best.
        flips: of each example, how many pilot chips were right or wrong otherwise than that.
        pilots: which chips, of which point.
    """

    size: int
    rows: Mapping[str, Sequence[Sequence[int]]]
    chances: Mapping[str, Sequence[int]]
    margins: Sequence[float]
    flips: Sequence[int]
    pilots: Mapping[str, Any] = field(default_factory=dict)

    @property
    def content(self) -> dict[str, Any]:
        """The table as plain JSON values."""
        return asdict(self)

    @property
    def text(self) -> str:
        """What a point and its rows say of it: size and hash."""
        return f"{self.size}:{digest(self.content)[:16]}"

    def by_example(self) -> Float[np.ndarray, " E"]:
        """The chance of each example."""
        found = np.zeros(len(self.margins))
        for width, rows in self.rows.items():
            for row, chance in zip(rows, self.chances[width], strict=True):
                found[list(row)] = chance / WHOLE
        return found

    def check_fits(self, tokens: Sequence[int]) -> None:
        """Refuse a table of other examples.

        Args:
            tokens: of each example.

        Raises:
            ValueError: a row has no room for its examples, or an example is in no row or in two.
        """
        every = sorted(e for rows in self.rows.values() for row in rows for e in row)
        fits = every == list(range(len(tokens))) and all(
            sum(tokens[e] for e in row) <= int(width)
            for width, rows in self.rows.items()
            for row in rows
        )
        if not fits:
            raise ValueError(
                "the folder's _sampling.json is of other examples, or of other lengths: restore "
                "it, or give a new --out"
            )


def make_table(
    margins: Float[np.ndarray, " E"],
    changes: Float[np.ndarray, "chips E"],
    tokens: Sequence[int],
    size: int | str,
    pilots: Mapping[str, Any],
) -> SampleTable:
    """Put examples that flip alike into rows together, and choose the rows' chances.

    Args:
        margins: of the clean chip's answers.
        changes: of pilot chips, how much each example's score has changed: -1, 0 or 1.
        tokens: of each example.
        size: examples drawn on average, or `auto`.
        pilots: which chips.
    """
    flips = np.abs(changes).sum(axis=0).astype(int)
    curve = flip_chances(margins, flips, len(changes))
    if isinstance(size, str):
        size = best_size(curve, changes, float(np.mean(tokens)))
    order = np.argsort(-curve, kind="stable").tolist()
    rows = {
        width: [row for row in held if row] for width, held in pack_rows(tokens, 1, order).items()
    }
    every = [(width, row) for width, held in rows.items() for row in held]
    chosen = inclusion_chances(
        np.array([curve[row].sum() for _, row in every]),
        np.array([float(width) for width, _ in every]),
        np.array([float(len(row)) for _, row in every]),
        float(size),
    )
    chances: dict[str, list[int]] = {str(width): [] for width in rows}
    for (width, _), chance in zip(every, chosen, strict=True):
        chances[str(width)].append(min(WHOLE, int(np.ceil(chance * WHOLE))))
    return SampleTable(
        size,
        {str(width): held for width, held in rows.items()},
        chances,
        margins.tolist(),
        flips.tolist(),
        pilots,
    )
