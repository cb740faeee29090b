"""Times of several pieces of work, taken in turns, so that a busy machine is fair to all."""

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax

Work = Callable[[], Any]
"""Does something and gives the arrays that it ends with."""


def seconds(work: Work) -> float:
    """Measure the wall time of a piece of work, its arrays awaited."""
    start = time.perf_counter()
    jax.block_until_ready(work())
    return time.perf_counter() - start


def medians(
    works: Mapping[str, Work], rounds: int, tell: Callable[[str], None] = lambda name: None
) -> dict[str, float]:
    """Measure the median time of each piece of work, in rounds that run all of them.

    Args:
        works: what to time; each runs once before, to compile.
        rounds: how often each is timed.
        tell: told of the piece of work that is about to be compiled.
    """
    for name, work in works.items():
        tell(name)
        seconds(work)
    taken: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            taken[name].append(seconds(work))
    return {name: statistics.median(times) for name, times in taken.items()}
