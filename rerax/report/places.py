"""Where faults hurt: points restricted to layers, matrices or bits, as heat maps. No JAX here."""

from collections.abc import Sequence
from dataclasses import dataclass

from rerax.models.bert.names import MATRICES
from rerax.models.bert.scope import Scope
from rerax.report.lines import Line, plainness, scheme_of, workload_of
from rerax.report.panels import scheme_labels, titles_of
from rerax.values import rate_text

ALL = "all"


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
    cells: dict[tuple[str, str], Line]

    @property
    def largest(self) -> float:
        """The largest loss."""
        return max(loss(line) for line in self.cells.values())


def loss(line: Line) -> float:
    """What the faults of a point cost: clean score less mean score."""
    return line.clean_score - line.summary.mean


def make_heat_maps(lines: Sequence[Line]) -> list[HeatMap]:
    """Heat maps of a campaign; none where no point is restricted.

    Places that are restricted in one way (each layer, say) are one map with the rates as columns;
    those restricted in two are one map a rate; in three, layers x matrices for each set of bits.

    Args:
        lines: points of a campaign (`summarise_points`).
    """
    lines = [line for line in lines if line.settings["faulty"] is not None and line.rate > 0]
    titles = titles_of(lines)
    schemes = sorted({scheme_of(line) for line in lines}, key=plainness)
    labels = dict(zip(schemes, scheme_labels(schemes), strict=True))
    maps: dict[tuple[str, ...], dict[tuple[str, str], Line]] = {}
    for line in lines:
        names, parts, rest = _parts(line)
        title = [titles[workload_of(line)]] if len(titles) > 1 else []
        title += [labels[scheme_of(line)]] if len(schemes) > 1 else []
        key = (", ".join([*title, " × ".join(names), *rest]), *names)
        maps.setdefault(key, {})[parts] = line
    return [
        HeatMap(title, row, column, _sorted(cells, 0), _sorted(cells, 1), cells)
        for (title, row, column), cells in maps.items()
    ]


def _parts(line: Line) -> tuple[tuple[str, str], tuple[str, str], list[str]]:
    """Names of rows and columns, the place of a point among them, what the title must add."""
    scope = Scope.parse(line.settings["faulty"])
    parts = {
        name: "+".join(map(str, values))
        for name in ("layers", "matrices", "bits")
        if (values := getattr(scope, name)) is not None
    }
    rate = rate_text(line.rate)
    if len(parts) == 1:
        ((name, value),) = parts.items()
        return (name, "rate"), (value, rate), []
    (row, column), rest = list(parts)[:2], list(parts)[2:]
    more = [f"{name} {parts[name]}" for name in rest]
    return (row, column), (parts[row], parts[column]), [f"rate {rate}", *more]


def _sorted(cells: dict[tuple[str, str], Line], side: int) -> tuple[str, ...]:
    """Labels of a side: numbers by size, matrices in the order of the network."""

    def key(label: str) -> tuple[float, ...]:
        words = label.split("+")
        if all(word in MATRICES for word in words):
            return tuple(float(MATRICES.index(word)) for word in words)
        return tuple(map(float, words))

    return tuple(sorted({place[side] for place in cells}, key=key))
