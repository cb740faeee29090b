"""Where faults hurt: points restricted to layers, matrices or bits, as heat maps."""

from collections.abc import Sequence
from dataclasses import dataclass

from rerax.models.bert.names import MATRICES
from rerax.models.bert.scope import Scope
from rerax.report.compare import panel_titles, series_labels
from rerax.report.summary import PointSummary, panel_key, plainest_first, series_key
from rerax.values import rate_text


@dataclass(frozen=True)
class HeatMap:
    """Loss of the mean score where faults act in one place only.

    Attributes:
        title: what it is of.
        row_name, column_name: what rows and columns are.
        rows, columns: their labels.
        cells: the point of a row and a column; those not run are absent.
    """

    title: str
    row_name: str
    column_name: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    cells: dict[tuple[str, str], PointSummary]

    @property
    def largest(self) -> float:
        """The largest loss."""
        return max(mean_loss(point) for point in self.cells.values())


def mean_loss(point: PointSummary) -> float:
    """Compute what the faults of a point cost: clean score less mean score."""
    return point.clean_score - point.summary.mean


def make_heat_maps(points: Sequence[PointSummary]) -> list[HeatMap]:
    """Make the heat maps of a campaign; none where faults act everywhere.

    Places that are restricted in one way (each layer, say) are one map with the rates as columns;
    those restricted in two are one map a rate; in three, layers x matrices for each set of bits.

    Args:
        points: points of a campaign (`summarise_points`).
    """
    points = [point for point in points if point.settings["faulty"] is not None and not point.clean]
    titles = panel_titles(points)
    keys = sorted({series_key(point) for point in points}, key=plainest_first)
    labels = dict(zip(keys, series_labels(keys), strict=True))
    maps: dict[tuple[str, ...], dict[tuple[str, str], PointSummary]] = {}
    for point in points:
        names, parts, rest = _parts(point)
        title = [titles[panel_key(point)]] if len(titles) > 1 else []
        title += [labels[series_key(point)]] if len(keys) > 1 else []
        key = (", ".join([*title, " × ".join(names), *rest]), *names)
        maps.setdefault(key, {})[parts] = point
    return [
        HeatMap(title, row, column, _sorted(cells, 0), _sorted(cells, 1), cells)
        for (title, row, column), cells in maps.items()
    ]


def _parts(point: PointSummary) -> tuple[tuple[str, str], tuple[str, str], list[str]]:
    """Say what rows and columns are, where a point stands, and what the title must add."""
    scope = Scope.parse(point.settings["faulty"])
    parts = {
        name: "+".join(map(str, values))
        for name in ("layers", "matrices", "bits")
        if (values := getattr(scope, name)) is not None
    }
    rate = rate_text(point.rate)
    if len(parts) == 1:
        ((name, value),) = parts.items()
        return (name, "rate"), (value, rate), []
    (row, column), rest = list(parts)[:2], list(parts)[2:]
    more = [f"{name} {parts[name]}" for name in rest]
    return (row, column), (parts[row], parts[column]), [f"rate {rate}", *more]


def _sorted(cells: dict[tuple[str, str], PointSummary], side: int) -> tuple[str, ...]:
    """Sort the labels of a side: numbers by size, matrices in the order of the network."""

    def key(label: str) -> tuple[float, ...]:
        words = label.split("+")
        if all(word in MATRICES for word in words):
            return tuple(float(MATRICES.index(word)) for word in words)
        return tuple(map(float, words))

    return tuple(sorted({place[side] for place in cells}, key=key))
