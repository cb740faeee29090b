"""What fault rate each way of storing a task's models bears, those of all its models together."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rerax.crossbar.spec import ChipSpec
from rerax.report.summary import SERIES_SETTINGS, PointSummary, series_key
from rerax.stats.tolerated import Ends, Range, ratio_with_interval, tolerated_rates, with_interval

BOARD_SETTINGS = ("task", "fault", "sa1_share", "sampled")
"""Settings that tell boards apart."""
_PLAIN = {"protection": "none", "polarity": "plain", "tested": "all"}
"""Of the chips that others are set against; of chips without protection nothing need be tested."""


@dataclass(frozen=True)
class Standing:
    """One way of storing one model, and what it bears.

    Attributes:
        points: its points, rates ascending, all above 0.
        borne: the rate at which the mean over chips is the budget below the board's reference;
            0 where it is at rate 0. Below the lowest rate that was run it is a guess, and has no
            interval; an end of an interval there is None as well.
        ratio: the rate at which it has lost the budget against its own clean score, over the same
            of the model's plain unprotected chips; None where these have no rows, or where one of
            the two rates lies beyond those that were run.
        chips: how many chips stand at every rate.
    """

    points: tuple[PointSummary, ...]
    borne: Ends
    ratio: Ends | None
    chips: int

    @property
    def rates(self) -> tuple[float, float]:
        """The lowest and the highest rate that was run."""
        return self.points[0].rate, self.points[-1].rate

    @property
    def metadata_per_weight(self) -> float | None:
        """Bits beside the arrays, for each weight of the dense model."""
        first = self.points[0]
        if first.metadata is None or not first.cells_dense:
            return None
        names = ("encoding", "bits", "bits_per_cell")
        spec = ChipSpec(**{name: first.settings[name] for name in names})
        return first.metadata * spec.cells_per_weight / first.cells_dense


@dataclass(frozen=True)
class Board:
    """Ways of storing the models of a task under one fault model, the one that bears most first.

    Attributes:
        settings: its value in each of `BOARD_SETTINGS`.
        reference: the best float score of the models without pruning, or of all where none is.
        budget: loss that is borne.
        standings: in order.
    """

    settings: dict[str, Any]
    reference: float
    budget: float
    standings: tuple[Standing, ...]


def make_boards(points: Sequence[PointSummary], budget: float) -> list[Board]:
    """Rank what was run by the fault rate that it bears, wherever there are two ways or more.

    Points whose faults are restricted to some places are on none, nor are series without a chip
    that stands at every rate.

    Args:
        points: points of a campaign (`summarise_points`).
        budget: loss of the mean score that is borne.
    """
    boards: dict[tuple[str, ...], list[PointSummary]] = {}
    references: dict[str, list[PointSummary]] = {}
    for point in points:
        references.setdefault(point.settings["task"], []).append(point)
        if point.settings["faulty"] is None and not point.clean:
            key = tuple(str(point.settings[name]) for name in BOARD_SETTINGS)
            boards.setdefault(key, []).append(point)
    found = [
        _board(boards[key], _reference(references[boards[key][0].settings["task"]]), budget)
        for key in sorted(boards)
    ]
    return [board for board in found if len(board.standings) > 1]


def _reference(points: Sequence[PointSummary]) -> float:
    """Find the best float score of a task's models without pruning, or of all where none is."""
    dense = [point.float_score for point in points if not point.sparsity]
    return max(dense or [point.float_score for point in points])


def _board(points: Sequence[PointSummary], reference: float, budget: float) -> Board:
    series: dict[tuple[Any, ...], list[PointSummary]] = {}
    for point in points:
        series.setdefault((point.settings["model"], *series_key(point)), []).append(point)
    curves = {key: _Curve.of(own) for key, own in series.items()}
    standings = []
    for key, curve in curves.items():
        if curve is not None:
            of = zip(SERIES_SETTINGS, key[1:], strict=True)
            plain = (key[0], *(_PLAIN.get(name, value) for name, value in of))
            base = curves.get(plain) if plain != key else None
            standings.append(curve.standing(reference, budget, base))
    settings = {name: points[0].settings[name] for name in BOARD_SETTINGS}
    return Board(settings, reference, budget, tuple(sorted(standings, key=_most_first)))


def _most_first(standing: Standing) -> tuple[int, float]:
    """Sort by the rate borne; what bore all that were run stands at the highest of them.

    What is lost below the lowest rate stands last, since its place is a guess.
    """
    value, (lowest, highest) = standing.borne[0], standing.rates
    if value is None:
        return 0, -highest
    return (0, -value) if value >= lowest else (1, -value)


@dataclass(frozen=True)
class _Curve:
    """Points of one series.

    Attributes:
        points: those of a rate above 0, ascending.
        chips: numbers of the chips that stand at every rate.
        clean: the score at rate 0, with whatever is wrong there.
    """

    points: tuple[PointSummary, ...]
    chips: tuple[int, ...]
    clean: float

    @classmethod
    def of(cls, points: Sequence[PointSummary]) -> "_Curve | None":
        """Sort a series; None: it has no rate above 0, or no chip that stands at all of them."""
        faulty = sorted((point for point in points if point.rate), key=lambda point: point.rate)
        if not faulty:
            return None
        chips = set.intersection(*(set(point.chips.tolist()) for point in faulty))
        at_zero = [point.summary.mean for point in points if not point.rate]  # misread levels
        clean = (at_zero or [faulty[0].clean_score])[0]
        return cls(tuple(faulty), tuple(sorted(chips)), clean) if chips else None

    def tolerated(self, chips: Sequence[int], reference: float, budget: float) -> np.ndarray:
        """Find the rate at which the budget is lost, for those chips and for redrawn ones."""
        of_chips = [dict(zip(p.chips.tolist(), p.scores, strict=True)) for p in self.points]
        scores = np.array([[scores[chip] for chip in chips] for scores in of_chips])
        rates = np.array([point.rate for point in self.points])
        return tolerated_rates(rates, scores, reference, self.clean, budget)

    @property
    def range(self) -> Range:
        """The lowest and the highest rate that was run."""
        return self.points[0].rate, self.points[-1].rate

    def is_inside(self, rate: float) -> bool:
        """Whether a rate lies among those that were run."""
        return self.range[0] <= rate <= self.range[1]

    def standing(self, reference: float, budget: float, base: "_Curve | None") -> Standing:
        """Say what the series bears, and how much more than plain unprotected chips do."""
        many, ratio = len(self.chips) > 1, None
        value, low, high = with_interval(self.tolerated(self.chips, reference, budget))
        lowest = self.points[0].rate
        if value is not None and value < lowest:
            low = high = None
        elif low is not None and low < lowest:
            low = None
        common = sorted({*self.chips} & {*base.chips}) if base is not None else []
        if base is not None and common:
            above = self.tolerated(common, self.clean, budget)
            below = base.tolerated(common, base.clean, budget)
            if self.is_inside(float(above[0])) and base.is_inside(float(below[0])):
                ratio = ratio_with_interval(above, below, (self.range, base.range))
        return Standing(
            self.points,
            (value, low, high) if many else (value, None, None),
            ratio if ratio is None or len(common) > 1 else (ratio[0], None, None),
            len(self.chips),
        )
