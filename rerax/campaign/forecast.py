"""What a campaign would cost: for `rerax sweep --dry-run`. Nothing is written; no JAX here."""

from collections.abc import Sequence
from dataclasses import dataclass

from rerax.campaign import store
from rerax.campaign.estimate import operations, peak_bytes
from rerax.campaign.lot import chips_of
from rerax.campaign.manifest import read_provenance
from rerax.campaign.pace import seconds_a_chip
from rerax.campaign.point import Point
from rerax.campaign.several import Share, pairs_of
from rerax.campaign.subject import Settings, Subject
from rerax.crossbar.spec import SEMANTICS
from rerax.io import Place

OPERATIONS_A_SECOND = 1.5e11
"""A guess for two CPU cores with 8-bit dot products: a MiniLM, SST-2, `experiments/cost.py`."""
START_SECONDS = 15
"""Loading and compiling, once a subject."""


@dataclass(frozen=True)
class Part:
    """What one subject would cost.

    Attributes:
        subject: model and task.
        points: how many.
        chips: chips asked for, over all points.
        done: those of them that the folder has.
        seconds: time for the others, None where it cannot be told.
        measured: whether the time comes from this folder's own pace.
        peak: memory at the most, in bytes.
    """

    subject: Subject
    points: int
    chips: int
    done: int
    seconds: float | None
    measured: bool
    peak: float

    @property
    def text(self) -> str:
        """The part in a line."""
        todo = self.chips - self.done
        line = (
            f"{self.subject.task}/{self.subject.model}: {self.points} points, {self.chips} chips: "
            f"{self.done} done, {todo} to do"
        )
        if not todo:
            return line
        if self.seconds is None:
            time = "time unknown"
        else:
            how = "at this folder's pace" if self.measured else "guessed for two CPU cores"
            time = f"about {_duration(self.seconds)} ({how})"
        return f"{line}, {time}, about {self.peak / 1e9:.1f} GB of memory"


def forecast(shares: Sequence[Share], settings: Settings, out: Place) -> list[Part]:
    """Say what `several.run_all` would do.

    Args:
        shares: subjects and their points.
        settings: chips, seed and pace.
        out: the campaign folder, which need not exist.

    Raises:
        ValueError: a folder of another campaign.
    """
    store.check_folder(out, settings.seed, SEMANTICS, pairs_of(shares))
    here = store.survey(out).blocks
    runs = read_provenance(out)
    return [_part(subject, points, settings, here, runs) for subject, points in shares]


def _part(
    subject: Subject,
    points: Sequence[Point],
    settings: Settings,
    here: Sequence[store.Block],
    runs: Sequence[dict],
) -> Part:
    chips = chips_of(points, settings.chips)
    asked = len(points) * (chips if isinstance(chips, int) else len(chips))
    work = store.missing(here, points, chips)
    todo = sum(block.chips for _, block in work)
    passes = sum(block.chips if point.rate else 1 for point, block in work)
    pace = seconds_a_chip(runs, f"{subject.task}/{subject.model}")
    seconds = None
    if pace is not None:
        seconds = passes * pace
    elif subject.words:
        seconds = START_SECONDS + passes * operations(subject) / OPERATIONS_A_SECOND
    peak = max((peak_bytes(subject, point.spec) for point in points), default=0.0)
    return Part(subject, len(points), asked, asked - todo, seconds, pace is not None, peak)


def _duration(seconds: float) -> str:
    """Seconds in words.

    Example:
        >>> _duration(40.0), _duration(400.0), _duration(40_000.0)
        ('40 s', '7 min', '11.1 h')
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
