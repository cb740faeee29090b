"""What fault rate each way of storing a task's models bears, those of all its models together."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rerax.crossbar.spec import ChipSpec
from rerax.report.summary import SERIES_SETTINGS, PointSummary, series_key
from rerax.stats.tolerated import tolerated_rates, with_interval

Ends = tuple[float | None, float | None, float | None]
"""An estimate and its 95 % interval; None where it is beyond the rates that were run."""
BOARD_SETTINGS = ("task", "fault", "sa1_share", "sampled")
"""Settings that tell boards apart."""
_PLAIN = {"protection": "none", "polarity": "plain"}


@dataclass(frozen=True)
class Standing:
    """One way of storing one model, and what it bears.

    Attributes:
        points: its points, rates ascending, all above 0.
        borne: the rate at which the mean over chips is the budget below the board's reference;
            0 where it is without faults.
        ratio: the rate at which it has lost the budget against its own clean score, over the same
            of the model's plain unprotected chips; None where these have no rows.
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

    Points whose faults are restricted to some places are on none.

    Args:
        points: points of a campaign (`summarise_points`).
        budget: loss of the mean score that is borne.
    """
    boards: dict[tuple[str, ...], list[PointSummary]] = {}
    for point in points:
        if point.settings["faulty"] is None and point.rate:
            key = tuple(str(point.settings[name]) for name in BOARD_SETTINGS)
            boards.setdefault(key, []).append(point)
    found = [_board(boards[key], budget) for key in sorted(boards)]
    return [board for board in found if len(board.standings) > 1]


def _board(points: Sequence[PointSummary], budget: float) -> Board:
    reference = max(
        [point.float_score for point in points if not point.sparsity]
        or [point.float_score for point in points]
    )
    series: dict[tuple[Any, ...], list[PointSummary]] = {}
    for point in points:
        series.setdefault((point.settings["model"], *series_key(point)), []).append(point)
    curves = {
        key: _Curve(tuple(sorted(own, key=lambda point: point.rate))) for key, own in series.items()
    }
    standings = []
    for key, curve in curves.items():
        plain = (key[0], *(_PLAIN.get(n, v) for n, v in zip(SERIES_SETTINGS, key[1:], strict=True)))
        base = curves.get(plain) if plain != key else None
        standings.append(curve.standing(reference, budget, base))
    settings = {name: points[0].settings[name] for name in BOARD_SETTINGS}
    return Board(settings, reference, budget, tuple(sorted(standings, key=_most_first)))


def _most_first(standing: Standing) -> tuple[float, float]:
    """Sort by the rate borne; what bore all that were run stands at the highest of them."""
    value = standing.borne[0]
    return (-standing.rates[1], 0.0) if value is None else (-value, 1.0)


@dataclass(frozen=True)
class _Curve:
    """Points of one series, rates ascending."""

    points: tuple[PointSummary, ...]

    @property
    def chips(self) -> set[int]:
        """Chips that stand at every rate."""
        return set.intersection(*(set(point.chips.tolist()) for point in self.points))

    def tolerated(
        self, chips: Sequence[int], reference: float, clean: float, budget: float
    ) -> np.ndarray:
        """Find the rate at which the budget is lost, for those chips and for redrawn ones."""
        of_chips = [dict(zip(p.chips.tolist(), p.scores, strict=True)) for p in self.points]
        scores = np.array([[scores[chip] for chip in chips] for scores in of_chips])
        rates = np.array([point.rate for point in self.points])
        return tolerated_rates(rates, scores, reference, clean, budget)

    def standing(self, reference: float, budget: float, base: "_Curve | None") -> Standing:
        """Say what the series bears, and how much more than plain unprotected chips do."""
        chips, clean, ratio = sorted(self.chips), self.points[0].clean_score, None
        borne = _ends(self.tolerated(chips, reference, clean, budget), len(chips))
        if base is not None and (common := sorted(self.chips & base.chips)):
            zero = base.points[0].clean_score
            below = base.tolerated(common, zero, zero, budget)
            above = self.tolerated(common, clean, clean, budget)
            with np.errstate(invalid="ignore"):
                times = np.nan_to_num(above / below, nan=np.inf, posinf=np.inf)
            ratio = _ends(times, len(common))
        return Standing(self.points, borne, ratio, len(chips))


def _ends(drawn: np.ndarray, chips: int) -> Ends:
    """Give an estimate and its interval, which a single chip has none of."""
    value, low, high = with_interval(drawn)
    return (value, low, high) if chips > 1 else (value, None, None)
