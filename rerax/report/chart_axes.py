"""The axes of the page's charts as SVG text: scales, ticks, labels."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from rerax.report.format import MINUS
from rerax.values import rate_text

LETTER = 6.7
"""Width of a digit at the size of tick labels, generously."""
FARTHEST = 1.03
"""A mark stands at its rate times or over this at most, beside those of other series."""


@dataclass(frozen=True)
class Frame:
    """Size of a chart and the margins around what is plotted, in CSS pixels.

    Two are drawn of every chart, so that text keeps its size on a phone.
    """

    name: str
    width: float
    height: float
    left: float = 44.0
    right: float = 10.0
    top: float = 26.0
    bottom: float = 44.0

    @property
    def end(self) -> float:
        """Right end of the plot."""
        return self.width - self.right

    @property
    def floor(self) -> float:
        """Lower end of the plot."""
        return self.height - self.bottom


WIDE = Frame("wide", 760.0, 400.0)
NARROW = Frame("narrow", 340.0, 320.0, left=38.0, right=4.0)
FRAMES = (WIDE, NARROW)


class RateAxis:
    """Fault rates on a logarithmic scale, with rate 0 at its left end as a place of its own.

    Args:
        rates: the rates of a chart.
        series: how many curves share a rate's place.
        frame: the chart.
    """

    def __init__(self, rates: Sequence[float], series: int, frame: Frame) -> None:
        self.frame = frame
        self.rates = sorted(set(rates))
        positive = [rate for rate in self.rates if rate > 0]
        has_zero = len(positive) < len(self.rates)
        logs = [math.log10(rate) for rate in positive]
        width = frame.end - frame.left
        # Room at both ends for dots and marks, and between rate 0 and the break of the scale.
        edge = min(0.5 * width / max(len(self.rates), 1), 56.0)
        low = frame.left + edge + (1.6 * edge if has_zero and positive else 0.0)
        span = logs[-1] - logs[0] if len(logs) > 1 else 0.0
        unit = (frame.end - edge - low) / span if span else 0.0
        middle = 0.0 if span else (frame.end - edge - low) / 2
        self._places = {
            rate: low + middle + unit * (log - logs[0])
            for rate, log in zip(positive, logs, strict=True)
        }
        if has_zero:
            self._places[0.0] = frame.left + edge if positive else (frame.left + frame.end) / 2
        # Dots fill the room between neighbours; marks stay near their rate, where they are read.
        gaps = [b - a for a, b in itertools.pairwise(sorted(self._places.values()))]
        self.room = min(max(0.86 * min(gaps, default=2 * edge), 8.0), 2 * edge, 90.0)
        self.series = series
        self.shift = min(self.room, 2 * math.log10(FARTHEST) * (unit or edge))
        self.edge = low - 0.8 * edge if has_zero and positive else None

    def place(self, rate: float) -> float:
        """Find where a rate lies."""
        return self._places[rate]

    def centre(self, rate: float, series: int) -> float:
        """Find where a series has its mark, beside those of the others at the same rate."""
        shift = (series - (self.series - 1) / 2) / self.series
        return self.place(rate) + shift * self.shift

    def labels(self) -> list[tuple[float, str]]:
        """Pick labels that do not touch: rate 0, powers of ten, then whatever has room."""
        taken: list[tuple[float, float]] = []
        found = []
        for rate in sorted(self.rates, key=_importance):
            text = rate_text(rate)
            half = LETTER * len(text) / 2
            x = self.place(rate)
            x = min(max(x, half), self.frame.width - half)
            if all(x + half + 5 < left or right + 5 < x - half for left, right in taken):
                taken.append((x - half, x + half))
                found.append((x, text))
        return sorted(found)

    def svg(self) -> str:
        """Draw ticks, labels and name; the line has a gap between rate 0 and the others."""
        y, frame = self.frame.floor, self.frame
        start = frame.left
        parts = []
        if self.edge is not None:
            parts.append(f'<path class="axis" d="M{start:g} {y:g}H{self.edge - 4:.1f}"/>')
            for x in (self.edge - 4, self.edge + 3):
                parts.append(f'<path class="axis" d="M{x - 2:.1f} {y + 4:g}l4 -8"/>')
            start = self.edge + 3
        ticks = "".join(f"M{self.place(rate):.1f} {y:g}v4" for rate in self.rates)
        parts.append(f'<path class="axis" d="M{start:.1f} {y:g}H{frame.end:g}{ticks}"/>')
        parts += [
            f'<text class="tick" x="{x:.1f}" y="{y + 18:g}" text-anchor="middle">{text}</text>'
            for x, text in self.labels()
        ]
        middle = (frame.left + frame.end) / 2
        parts.append(
            f'<text class="name" x="{middle:g}" y="{y + 38:g}" text-anchor="middle">'
            "fault rate, log scale</text>"
        )
        return "".join(parts)


class ValueAxis:
    """Scores, shares or gains, in hundredths, on a linear scale.

    Args:
        low, high: what it must reach.
        name: what is plotted, written above the axis.
        frame: the chart.
    """

    def __init__(self, low: float, high: float, name: str, frame: Frame) -> None:
        self.frame, self.name = frame, name
        step = nice_step(max(high - low, 1e-9), 5)
        self.low = math.floor(low / step + 1e-9) * step
        self.high = math.ceil(high / step - 1e-9) * step
        if self.high <= self.low:
            self.low, self.high = self.low - step, self.high + step
        count = round((self.high - self.low) / step)
        self.ticks = [self.low + k * step for k in range(count + 1)]
        self.digits = max(0, -math.floor(math.log10(step) + 1e-9))

    def place(self, value: float) -> float:
        """Find where a value lies."""
        share = (value - self.low) / (self.high - self.low)
        return self.frame.floor - share * (self.frame.floor - self.frame.top)

    def svg(self) -> str:
        """Draw grid lines, labels and name."""
        frame = self.frame
        parts = []
        for tick in self.ticks:
            y = self.place(tick)
            text = f"{abs(tick):.{self.digits}f}"
            text = MINUS + text if tick < 0 and float(text) else text
            parts.append(
                f'<path class="grid" d="M{frame.left:g} {y:.1f}H{frame.end:g}"/>'
                f'<text class="tick" x="{frame.left - 7:g}" y="{y + 4:.1f}" text-anchor="end">'
                f"{text}</text>"
            )
        most = int((frame.width - 4) / LETTER)
        name = self.name if len(self.name) <= most else self.name[: most - 1] + "…"
        parts.append(f'<text class="name" x="2" y="12">{escape(name)}</text>')
        return "".join(parts)


def nice_step(span: float, most: int) -> float:
    """Find the least of 1, 2, 5, 10, ... that cuts a span into at most so many steps.

    Example:
        >>> nice_step(23.0, 5), nice_step(0.9, 5)
        (5.0, 0.2)
    """
    power = 10.0 ** math.floor(math.log10(span / most))
    return next(m * power for m in (1.0, 2.0, 5.0, 10.0) if span / (m * power) <= most + 1e-9)


def _importance(rate: float) -> tuple[int, float]:
    """Sort rates by who gets a label first where there is room for few."""
    if rate == 0:
        return 0, 0.0
    mantissa = f"{rate:.6e}"[:8]
    return {"1.000000": 1, "3.000000": 2}.get(mantissa, 3), rate
