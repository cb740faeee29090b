"""The charts of the page as SVG text.

Every mark that stands for a point carries its numbers as a title, which the page's script shows
on hover, focus and tap, and the browser by itself where no script runs. The chips of a point are
one path of short strokes with round ends.
"""

from collections.abc import Sequence
from html import escape

import numpy as np

from rerax.report.chart_axes import FRAMES, Frame, RateAxis, ValueAxis
from rerax.report.compare import Gain, Panel, Series
from rerax.report.format import count, hundredths, interval
from rerax.report.palette import CURVES
from rerax.report.summary import (
    PointSummary,
    share_digits,
)
from rerax.values import rate_text

Numbered = Sequence[tuple[int, Series]]
_MARKS = (
    "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0 -8 0Z",
    "M-3.6 -3.6h7.2v7.2h-7.2Z",
    "M0 -4.8L4.6 3.6H-4.6Z",
    "M0 -5L5 0L0 5L-5 0Z",
    "M0 4.8L4.6 -3.6H-4.6Z",
    "M-1.6 -4.6h3.2v3h3v3.2h-3v3h-3.2v-3h-3v-3.2h3Z",
    "M-2.4 -4.4H2.4L5 0L2.4 4.4H-2.4L-5 0Z",
    "M-4.6 -4.6L0 -2L4.6 -4.6L2 0L4.6 4.6L0 2L-4.6 4.6L-2 0Z",
)


def split(panel: Panel) -> list[Numbered]:
    """Split a panel into charts of at most `CURVES` series, the first series in each of them."""
    first, *others = enumerate(panel.series)
    groups = [others[k : k + CURVES - 1] for k in range(0, len(others), CURVES - 1)] or [[]]
    return [[first, *group] for group in groups]


def colour_of(place: int) -> int:
    """Pick colour and mark of a series: the first one has its own, the others take turns."""
    return 0 if place == 0 else 1 + (place - 1) % (CURVES - 1)


def mark(place: int, x: float, y: float) -> str:
    """Draw the mark of a series."""
    shape = _MARKS[colour_of(place)]
    return f'<path class="mark" transform="translate({x:.1f} {y:.1f})" d="{shape}"/>'


def legend_mark(place: int) -> str:
    """Draw the mark of a series on a piece of its curve, as a legend shows it."""
    return (
        '<svg viewBox="-14 -7 28 14" aria-hidden="true"><path class="curve" d="M-14 0H14"/>'
        f"{mark(place, 0.0, 0.0)}</svg>"
    )


def score_chart(numbered: Numbered, identity: str, budget: float) -> str:
    """Draw scores against fault rate: every chip, the means and their 95 % intervals.

    Args:
        numbered: series with their places in the panel.
        identity: a name that no other chart of the page has.
        budget: loss that a passing chip may have, shown as a band under the float score.
    """
    points = [point for _, series in numbered for point in series.points]
    values = [score for point in points for score in (*point.scores, point.float_score)]
    values += [end for point in points for end in point.summary.interval or ()]
    drawn = []
    for frame in FRAMES:
        x = RateAxis([point.rate for point in points], len(numbered), frame)
        y = ValueAxis(100 * min(values), 100 * max(values), "score, %", frame)
        parts = [_passing(points, budget, y), y.svg(), x.svg()]
        for k, (place, series) in enumerate(numbered):
            inner = _band(series, k, x, y) + "".join(
                _dots(point, k, series.label, x, y) for point in series.points
            )
            inner += _curve([(x.centre(p.rate, k), y.place(100 * p.summary.mean), p.rate)
                             for p in series.points])  # fmt: skip
            for point in series.points:
                at = x.centre(point.rate, k), y.place(100 * point.summary.mean)
                bar = _bar(at[0], point.summary.interval, y)
                inner += _point(place, *at, _told(series.label, point), bar)
            parts.append(_group(place, inner))
        drawn.append(_svg(frame, identity, "Score against fault rate, every chip a dot", parts))
    return "".join(drawn)


def yield_chart(numbered: Numbered, identity: str) -> str:
    """Draw the share of passing chips against fault rate, with binomial intervals.

    Args:
        numbered: series with their places in the panel.
        identity: a name that no other chart of the page has.
    """
    points = [point for _, series in numbered for point in series.counted]
    drawn = []
    for frame in FRAMES:
        x = RateAxis([point.rate for point in points], len(numbered), frame)
        y = ValueAxis(0.0, 100.0, "chips that pass, %", frame)
        parts = [y.svg(), x.svg()]
        for k, (place, series) in enumerate(numbered):
            shares = [(point, 100 * (point.passed or 0.0)) for point in series.counted]
            inner = _curve([(x.centre(p.rate, k), y.place(share), p.rate) for p, share in shares])
            for point, share in shares:
                at = x.centre(point.rate, k), y.place(share)
                bar = _bar(at[0], point.passed_interval, y)
                inner += _point(place, *at, _told_yield(series.label, point), bar)
            parts.append(_group(place, inner))
        drawn.append(_svg(frame, identity, "Share of chips that pass against fault rate", parts))
    return "".join(drawn)


def gain_chart(numbered: Numbered, found: Sequence[Gain], identity: str) -> str:
    """Draw paired gains over the first series against fault rate, with 95 % intervals.

    Args:
        numbered: series with their places in the panel; the first is what all gain over.
        found: the gains (`gains`), those of other charts too.
        identity: a name that no other chart of the page has.
    """
    (_, first), *others = numbered
    here = [gain for gain in found if gain.series in {place for place, _ in others}]
    ends = [end for gain in here for end in gain.summary.interval or (gain.summary.mean,)]
    drawn = []
    for frame in FRAMES:
        x = RateAxis([gain.rate for gain in here], len(others), frame)
        name = f"points above {first.label}"
        y = ValueAxis(100 * min([0.0, *ends]), 100 * max([0.0, *ends]), name, frame)
        zero = f'<path class="zero" d="M{frame.left:g} {y.place(0.0):.1f}H{frame.end:g}"/>'
        parts = [y.svg(), x.svg(), zero]
        for k, (place, series) in enumerate(others):
            mine = [gain for gain in here if gain.series == place]
            inner = _curve([(x.centre(g.rate, k), y.place(100 * g.summary.mean), g.rate)
                            for g in mine])  # fmt: skip
            for gain in mine:
                at = x.centre(gain.rate, k), y.place(100 * gain.summary.mean)
                bar = _bar(at[0], gain.summary.interval, y)
                told = _told_gain(series.label, first.label, gain)
                inner += _point(place, *at, told, bar)
            parts.append(_group(place, inner))
        drawn.append(_svg(frame, identity, f"Paired gain over {first.label}", parts))
    return "".join(drawn)


def _svg(frame: Frame, identity: str, title: str, parts: Sequence[str]) -> str:
    name = f"{identity}-{frame.name}"
    return (
        f'<svg class="chart {frame.name}" viewBox="0 0 {frame.width:g} {frame.height:g}" '
        f'role="group" aria-labelledby="{name}"><title id="{name}">{escape(title)}</title>'
        f"{''.join(parts)}</svg>"
    )


def _group(place: int, inner: str) -> str:
    return f'<g class="series s{colour_of(place)}" data-series="{place}">{inner}</g>'


def _passing(points: Sequence[PointSummary], budget: float, y: ValueAxis) -> str:
    """Draw the float score as a line, and the scores of passing chips below it as a band."""
    frame, parts = y.frame, []
    for score in sorted({point.float_score for point in points}):
        top = y.place(100 * score)
        low = min(y.place(100 * (score - budget)), frame.floor)
        parts.append(
            f'<rect class="pass" x="{frame.left:g}" y="{top:.1f}" '
            f'width="{frame.end - frame.left:g}" height="{low - top:.1f}"/>'
            f'<path class="float" d="M{frame.left:g} {top:.1f}H{frame.end:g}"/>'
        )
    return "".join(parts)


def _band(series: Series, k: int, x: RateAxis, y: ValueAxis) -> str:
    """Draw the 95 % intervals of the means as a band through the rates above 0."""
    upper, lower = [], []
    for point in series.points:
        if point.rate > 0:
            low, high = point.summary.interval or (point.summary.mean, point.summary.mean)
            place = f"{x.centre(point.rate, k):.1f}"
            upper.append(f"{place} {y.place(100 * high):.1f}")
            lower.append(f"{place} {y.place(100 * low):.1f}")
    if len(upper) < 2:
        return ""
    return f'<path class="band" d="M{"L".join(upper + lower[::-1])}Z"/>'


def _dots(point: PointSummary, k: int, label: str, x: RateAxis, y: ValueAxis) -> str:
    """Draw a dot for each chip of a point, side by side, with the scores for the script."""
    n = len(point.scores)
    # The same seed each time, so that the same rows give the same page.
    noise = np.random.Generator(np.random.PCG64(0)).uniform(-0.42, 0.42, n)
    across = x.centre(point.rate, k) + noise * x.room / x.series
    strokes = "".join(
        f"M{a:.1f} {y.place(100 * s):.1f}h0" for a, s in zip(across, point.scores, strict=True)
    )
    scores = " ".join(f"{100 * s:.2f}" for s in point.scores)
    whole = np.array_equal(point.chips, np.arange(n))
    chips = "" if whole else f' data-chips="{" ".join(map(str, point.chips))}"'
    about = escape(f"{label} at {rate_text(point.rate)}")
    return f'<path class="dots" data-of="{about}" data-scores="{scores}"{chips} d="{strokes}"/>'


def _curve(places: Sequence[tuple[float, float, float]]) -> str:
    """Draw a line through (x, y, rate) of the rates above 0."""
    through = [f"{a:.1f} {b:.1f}" for a, b, rate in places if rate > 0]
    return f'<path class="curve" d="M{"L".join(through)}"/>' if len(through) > 1 else ""


def _bar(x: float, ends: tuple[float, float] | None, y: ValueAxis) -> str:
    if ends is None:
        return ""
    low, high = (y.place(100 * end) for end in ends)
    return f'<path class="bar" d="M{x:.1f} {low:.1f}V{high:.1f}"/>'


def _point(place: int, x: float, y: float, told: Sequence[str], bar: str) -> str:
    """Draw a mark that pointer, finger and keyboard can reach."""
    title = escape("\n".join(told))
    return (
        f'<g class="point" tabindex="0" role="img" data-x="{x:.1f}" data-y="{y:.1f}">'
        f"<title>{title}</title>{bar}{mark(place, x, y)}</g>"
    )


def _told(label: str, point: PointSummary) -> list[str]:
    s = point.summary
    told = [f"{label} at {rate_text(point.rate)}", f"mean {hundredths(s.mean)} %"]
    if s.se is not None:
        told[-1] += f", SE {hundredths(s.se)}"
        told.append(f"95 % interval {interval(s.interval)}")
    worst = "" if point.worst is None else f", worst {hundredths(point.worst)} %"
    return [*told, f"{count(s.chips, 'chip')}{worst}"]


def _told_yield(label: str, point: PointSummary) -> list[str]:
    n, passed = point.summary.chips, point.passed or 0.0
    digits = share_digits(point)
    told = [
        f"{label} at {rate_text(point.rate)}",
        f"{round(passed * n)} of {count(n, 'chip')} pass: {hundredths(passed, digits=digits)} %",
    ]
    if point.passed_interval is not None:
        told.append(f"95 % interval {interval(point.passed_interval, digits=digits)}")
    return told


def _told_gain(label: str, first: str, gain: Gain) -> list[str]:
    s = gain.summary
    told = [
        f"{label} at {rate_text(gain.rate)}",
        f"{hundredths(s.mean, sign=True)} points over {first}",
    ]
    if s.interval is not None:
        told.append(f"95 % interval {interval(s.interval, sign=True)}")
    return [*told, f"{count(s.chips, 'common chip')}"]
