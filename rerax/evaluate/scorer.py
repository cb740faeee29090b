"""Scores of many chips by any function of a model's parameters."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from rerax.crossbar.keys import Chip
from rerax.evaluate.lanes import ChipRange, chip_range, in_groups, totals
from rerax.faults.mask import Faults
from rerax.faults.read_out import Counts
from rerax.models.stored import StoredModel
from rerax.models.tree import read_counted

Score = Callable[[Any], Any]
"""Gives a number, or a dictionary of numbers, for a tree of parameters; JAX traces it."""

LANE_BYTES, MOST_LANES = 1 << 31, 64
"""On accelerators: what the faulty weights of the chips in one `vmap` may take."""
CHUNK = 32
"""Chips a dispatch."""


class Scores(NamedTuple):
    """What some chips scored.

    Attributes:
        numbers: [chips] of each number that the score gives, by name.
        counts: faulty cells of each chip, summed over all arrays, int64 [chips].
    """

    numbers: dict[str, np.ndarray]
    counts: Counts


def scorer(score: Score, stored: StoredModel) -> Callable[[int, range, Faults], Iterator[Scores]]:
    """Make a function that scores chips: one compiled program for all rates.

    It is compiled anew for every call, since what a score reads from outside may have changed.

    Args:
        score: gives numbers for parameters.
        stored: the model on crossbars.

    Returns:
        A function of the seed of all chips, their numbers, one after the other, and rate and
        place of faults. It gives their scores a chunk at a time.
    """
    lanes = lane_width(stored, jax.default_backend())
    room = -(-CHUNK // lanes) * lanes  # always: a short chunk is not compiled anew

    @jax.jit
    def chunk_scores(
        stored: StoredModel, chips: ChipRange, faults: Faults
    ) -> tuple[dict[str, Array], dict[str, Counts]]:
        def one(
            chip: Chip, axis: str | None, _: None
        ) -> tuple[dict[str, Array], dict[str, Counts]]:
            params, counts = read_counted(stored, chip, faults.rates.along(axis), faults.mask)
            return numbers_of(score(params)), counts

        return in_groups(lanes, room, one, chips)

    def chunks(seed: int, chips: range, faults: Faults) -> Iterator[Scores]:
        for start in range(chips.start, chips.stop, room):
            n = min(room, chips.stop - start)
            here = chip_range(seed, start, -(-n // lanes))
            numbers, counts = jax.device_get(chunk_scores(stored, here, faults))
            yield Scores(
                {name: found[:n] for name, found in numbers.items()}, totals(counts.values(), n)
            )

    return chunks


def lane_width(stored: StoredModel, backend: str) -> int:
    """Choose the chips in one `vmap`, by backend and model size alone, so that scores are fixed."""
    if backend == "cpu":
        return 1
    weights = sum(crossbar.words.size for crossbar in stored.crossbars.values())
    return max(1, min(MOST_LANES, LANE_BYTES // (4 * max(1, weights))))


def numbers_of(found: Any) -> dict[str, Array]:
    """Check what a score gave and name its numbers; a single one is called `score`.

    Whole numbers and truth values stay whole, so that rows, in float64, hold them exactly.

    Raises:
        ValueError: it is something else.
    """
    named = dict(found) if isinstance(found, Mapping) else {"score": found}
    if not named:
        raise ValueError("the score gives an empty dictionary: let it give a number at least")
    numbers = {}
    for name, value in named.items():
        try:
            number = jnp.asarray(value)
        except (TypeError, ValueError, OverflowError):
            number = None
        kinds = (jnp.floating, jnp.integer, jnp.bool_)
        real = number is not None and any(jnp.issubdtype(number.dtype, kind) for kind in kinds)
        if not isinstance(name, str) or number is None or number.ndim or not real:
            what = type(value).__name__
            if number is not None:
                what = f"of shape {number.shape}" if number.ndim else f"of {number.dtype}"
            raise ValueError(
                f"the score gives {name!r} {what}: let it give a number, or a dictionary of "
                "numbers by name"
            )
        if number.dtype == jnp.bool_:
            number = number.astype(jnp.int32)
        elif jnp.issubdtype(number.dtype, jnp.floating) and number.dtype.itemsize < 4:
            number = number.astype(jnp.float32)
        numbers[name] = number
    return numbers
