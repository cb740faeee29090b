"""Processes that share a campaign, joined by JAX's own distributed runtime.

They agree once on what is missing and deal it out; results meet in the campaign folder and
nowhere else. JAX is imported only where processes are joined.
"""

import contextlib
import hashlib
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from rerax.campaign.block import Block, block_of, blocks_of, missing
from rerax.campaign.point import Point
from rerax.io import Place, entries

SECONDS_BETWEEN_LOOKS = 0.5
SHUTDOWN_SECONDS = 60
"""Time that a process which has ended, or failed, gives the others to do so too."""

Chips = int | tuple[int, ...]
"""Chips from 0 on, or the numbers of measured ones."""
T = TypeVar("T")


@dataclass(frozen=True)
class Processes:
    """This process among those that share a campaign.

    Attributes:
        index: which of them it is.
        count: how many there are.
    """

    index: int = 0
    count: int = 1

    @property
    def leads(self) -> bool:
        """Whether it opens the folder and prints; one does."""
        return self.index == 0

    def share(self, parts: Sequence[T]) -> Sequence[T]:
        """Choose what of some parts this process computes."""
        return parts[self.index :: self.count]

    def agree(
        self, here: Sequence[Block], points: Sequence[Point], chips: Chips
    ) -> list[tuple[Point, Block]]:
        """Settle what lacks of a request, as the leading process sees it; all must ask together.

        Args:
            here: finished blocks that this process sees.
            points, chips: the request.

        Raises:
            ValueError: the processes ask for different things.
        """
        lacking = missing(here, points, chips)
        if self.count == 1:
            return lacking
        asked = [(point, block) for point in points for block in blocks_of(point, chips)]
        text = "\n".join(block.name for _, block in asked)
        own = np.frombuffer(hashlib.sha256(text.encode()).digest(), np.uint8)
        if not np.array_equal(own, _leaders(own)):
            raise ValueError(
                f"process {self.index} was given another campaign than process 0: start all with "
                "the same command"
            )
        number = {point: i for i, point in enumerate(points)}
        table = np.array([(number[p], b.first, b.last) for p, b in lacking], np.uint32)
        many = int(_leaders(np.array(len(lacking), np.int32)))
        mine = table.reshape(-1, 3) if self.leads else np.zeros((many, 3), np.uint32)
        return [
            (points[i], Block(points[i].hash[:16], first, last))
            for i, first, last in _leaders(mine).tolist()
        ]

    def follow(self, opened: Callable[[], bool]) -> None:
        """Wait until the leading process has opened the folder.

        Args:
            opened: whether this process sees it.

        Raises:
            ValueError: it does not.
        """
        if self.count == 1:
            return
        _leaders(np.zeros(1, np.uint8))
        if not opened():
            raise ValueError(
                f"process {self.index} does not see the folder that process 0 has opened: give "
                "--out on a file system or in an object store that all of them share"
            )

    def check(self) -> None:
        """See whether the others are still at work.

        Raises:
            ValueError: one of them has ended before its time.
        """
        ended = None if self.count == 1 else _given_up()
        if ended is not None and ended != str(self.index):
            raise ValueError(
                f"process {ended} has ended early and says why: finished blocks are kept, start "
                "all processes again"
            )

    def wait(
        self, out: Place, points: Sequence[Point], chips: Chips
    ) -> Iterator[tuple[Point, int]]:
        """Wait until the others have written their blocks too.

        A process that is killed takes the others with it: JAX's runtime sees to that.

        Args:
            out: the campaign folder.
            points, chips: what was asked for.

        Yields:
            A point that others are at, and the chips that lack, at every look.
        """
        while self.count > 1:
            named = (block_of(file.name) for file in entries(out))
            left = missing([block for block in named if block is not None], points, chips)
            yield (left[0][0] if left else points[-1]), sum(block.chips for _, block in left)
            if not left:
                return
            self.check()
            time.sleep(SECONDS_BETWEEN_LOOKS)


def current_processes() -> Processes:
    """Find the processes that have been joined; this one alone if none have."""
    if "jax" not in sys.modules:
        return Processes()
    import jax

    if not jax.distributed.is_initialized():
        return Processes()
    return Processes(jax.process_index(), jax.process_count())


@contextlib.contextmanager
def joined(
    distributed: bool = False,
    coordinator: str | None = None,
    processes: int | None = None,
    process: int | None = None,
) -> Iterator[Processes]:
    """Join processes for the time of a context, if they are to be joined.

    Args:
        distributed: as SLURM, Open MPI, Kubernetes or a TPU pod say it.
        coordinator: else HOST:PORT of process 0,
        processes: the number of processes,
        process: and which of them this is.

    Raises:
        ValueError: flags that do not belong together, or no cluster to be found.
    """
    given = (coordinator, processes, process)
    if any(value is not None for value in given):
        _check_flags(distributed, *given)
    elif not distributed:
        yield Processes()
        return
    import jax

    jax.config.update("jax_enable_preemption_service", False)  # it would take SIGTERM for itself
    try:
        with _nothing_printed():
            jax.distributed.initialize(
                coordinator, processes, process, shutdown_timeout_seconds=SHUTDOWN_SECONDS
            )
            own = current_processes()
    except (ValueError, RuntimeError) as error:
        raise ValueError(
            f"processes cannot be joined ({error}): start them under SLURM, Open MPI, Kubernetes "
            "or on a TPU pod, or give --coordinator HOST:PORT --processes N --process I"
        ) from None
    try:
        yield own
    except BaseException:
        _give_up(own.index)  # the others come to the end of this process, which waits for them
        raise
    jax.distributed.shutdown()


@contextlib.contextmanager
def _nothing_printed() -> Iterator[None]:
    """Close standard output for a while, on which Gloo tells whom it has reached."""
    try:
        sys.stdout.flush()
        own = os.dup(1)
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.close(nowhere)
    except (OSError, ValueError, AttributeError):  # one of them is closed
        yield
        return
    try:
        yield
    finally:
        os.dup2(own, 1)
        os.close(own)


def _check_flags(
    distributed: bool, coordinator: str | None, processes: int | None, process: int | None
) -> None:
    if distributed:
        raise ValueError("--distributed finds the others by itself: leave out --coordinator")
    if coordinator is None or processes is None or process is None:
        raise ValueError("--coordinator, --processes and --process belong together: give all three")
    host, colon, port = coordinator.rpartition(":")
    if not (host and colon and port.isdecimal()):
        raise ValueError(f"--coordinator {coordinator!r} is no address: give HOST:PORT")
    if processes < 1:
        raise ValueError(f"--processes {processes} is too few: give at least 1")
    if not 0 <= process < processes:
        raise ValueError(
            f"--process {process} is not one of {processes}: give 0 to {processes - 1}"
        )


def _leaders(value: np.ndarray) -> np.ndarray:
    """Give all processes what the leading one holds.

    Raises:
        ValueError: one of them is not there any more.
    """
    import jax
    from jax.experimental import multihost_utils

    try:
        with _nothing_printed():
            return np.asarray(multihost_utils.broadcast_one_to_all(value))
    except jax.errors.JaxRuntimeError as error:
        raise ValueError(
            f"the processes do not reach one another ({str(error).partition(': ')[0]}): look at "
            "what the others say, and start all again"
        ) from error


_GIVEN_UP = "rerax/given_up"


def _service() -> Any:
    """Get the store of names and values that JAX keeps for joined processes."""
    from jax._src import distributed

    return distributed.global_state.client


def _give_up(index: int) -> None:
    """Leave word that this process has ended before its time, unless another one has."""
    with contextlib.suppress(Exception):
        _service().key_value_set(_GIVEN_UP, str(index))


def _given_up() -> str | None:
    """Find the process that has ended before its time; None while all are at work."""
    with contextlib.suppress(Exception):
        return _service().key_value_try_get(_GIVEN_UP)
    return None
