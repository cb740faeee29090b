import itertools
import math

import pytest

from rerax.report.chart_axes import LETTER, NARROW, WIDE, RateAxis, ValueAxis, nice_step
from rerax.values import rate_text

RATES = [
    [0.0, 1e-4, 1e-3, 3e-3, 1e-2],
    [1e-3],
    [0.0],
    [0.0, 1e-2],
    [0.012, 0.0134, 0.0225, 0.023, 0.041, 0.001, 0.002],
    [0.0, *(1.1**-k for k in range(40))],
    [1e-6, 1.0],
]


@pytest.mark.parametrize("frame", [WIDE, NARROW], ids=lambda frame: frame.name)
@pytest.mark.parametrize("rates", RATES, ids=lambda rates: f"{len(rates)}-{rates[0]}")
@pytest.mark.parametrize("series", [1, 4, 8])
def test_rates_lie_in_order_inside_the_frame_with_rate_0_leftmost(rates, series, frame):
    axis = RateAxis(rates, series, frame)
    places = [axis.place(rate) for rate in sorted(rates)]
    assert places == sorted(places)
    assert len(set(places)) == len(places)
    for rate in rates:
        ends = axis.centre(rate, 0), axis.centre(rate, series - 1)
        assert frame.left <= ends[0] <= ends[1] <= frame.end
        assert sum(ends) / 2 == pytest.approx(axis.place(rate))
        positive = [r for r in rates if r > 0]
        if rate and len(positive) > 1:  # what a mark's place says is the rate, within 3 %
            unit = (axis.place(max(positive)) - axis.place(min(positive))) / math.log10(
                max(positive) / min(positive)
            )
            assert 10 ** (abs(ends[0] - axis.place(rate)) / unit) <= 1.03
    labels = axis.labels()
    spans = [(x - LETTER * len(text) / 2, x + LETTER * len(text) / 2) for x, text in labels]
    assert all(left[1] < right[0] for left, right in itertools.pairwise(spans))
    assert spans[0][0] >= -1e-9
    assert spans[-1][1] <= frame.width + 1e-9
    assert {text for _, text in labels} <= set(map(rate_text, rates))
    assert "0" in dict(map(reversed, labels)) or 0.0 not in rates


def test_equal_ratios_of_rates_take_equal_room():
    axis = RateAxis([0.0, 1e-4, 1e-3, 1e-2], 1, WIDE)
    step = axis.place(1e-3) - axis.place(1e-4)
    assert axis.place(1e-2) - axis.place(1e-3) == pytest.approx(step)
    assert axis.edge is not None
    assert axis.place(0.0) < axis.edge < axis.place(1e-4)
    assert RateAxis([1e-3, 1e-2], 1, WIDE).edge is None


@pytest.mark.parametrize("ends", [(0.0, 100.0), (-3.2, 41.0), (88.99, 89.01), (5.0, 5.0)])
def test_values_lie_between_the_outer_ticks(ends):
    axis = ValueAxis(*ends, "score", WIDE)
    assert axis.low <= ends[0]
    assert axis.high >= ends[1]
    assert axis.place(axis.high) == WIDE.top
    assert axis.place(axis.low) == WIDE.floor
    labels = [f"{tick:.{axis.digits}f}" for tick in axis.ticks]
    assert [float(label) for label in labels] == pytest.approx(axis.ticks)
    assert len(set(labels)) == len(labels) <= 8


def test_steps_are_nice():
    assert [nice_step(span, 5) for span in (1.0, 4.0, 23.0, 99.0)] == [0.2, 1.0, 5.0, 20.0]
