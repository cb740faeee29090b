"""How fast a campaign goes: measured while it runs, kept beside its rows. No JAX here."""

import contextlib
import datetime
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from rerax.campaign.block import Block
from rerax.campaign.manifest import add_provenance
from rerax.campaign.point import Point
from rerax.campaign.subject import Subject
from rerax.io import Place


@dataclass
class Pace:
    """Chips of one subject that this process has finished, and the seconds since it began."""

    subject: Subject
    platform: str
    chips: int = 0
    start: float = field(default_factory=time.monotonic)

    def add(self, point: Point, block: Block) -> None:
        """Count a finished block; chips of rate 0 are one chip written many times."""
        self.chips += block.chips if point.rate else 0

    def keep(self, out: Place) -> None:
        """Add a line to the folder's provenance; nothing where no chip has been finished."""
        if not self.chips:
            return
        entry = {
            "pair": f"{self.subject.task}/{self.subject.model}",
            "platform": self.platform,
            "chips": self.chips,
            "seconds": round(time.monotonic() - self.start, 3),
            "finished": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        }
        with contextlib.suppress(OSError):  # a full disk has been told of already
            add_provenance(out, entry)


def seconds_a_chip(provenance: Iterable[Mapping[str, Any]], pair: str) -> float | None:
    """Seconds a chip over all runs of a pair, compiling included; None where none has ended."""
    runs = [entry for entry in provenance if entry.get("pair") == pair and entry.get("chips")
            and "seconds" in entry]  # fmt: skip
    chips = sum(entry["chips"] for entry in runs)
    return sum(entry["seconds"] for entry in runs) / chips if chips else None
