"""Grids: many points from lists of values. No JAX here."""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from rerax.campaign.point import FIELDS, Point
from rerax.faults import tested
from rerax.models.bert.names import check_groups
from rerax.models.bert.scope import Scope, places


def expand(base: Point, axes: Mapping[str, Sequence[Any]]) -> tuple[Point, ...]:
    """All combinations of the given values, the rate running fastest.

    Args:
        base: supplies the fields that `axes` does not name.
        axes: values of the fields that vary.

    Returns:
        Points in a fixed order, each once.

    Raises:
        ValueError: a part of the stuck cells known, and no protection that knows any.

    Example:
        >>> base = Point(task="sst2", model="m", rate=0.0)
        >>> [p.rate for p in expand(base, {"rate": (0.0, 1e-3, 0.001)})]
        [0.0, 0.001]
    """
    names = sorted(axes, key=lambda name: FIELDS[name].loop)
    points = (
        replace(base, **dict(zip(names, values, strict=True)))
        for values in itertools.product(*(axes[name] for name in names))
    )
    found = unique(points)
    partly = [text for text in axes.get("tested", ()) if not tested(text).is_complete]
    if partly and all(point.tested.is_complete for point in found):
        raise ValueError(
            f"tested {tested(partly[0]).text} says which stuck cells are known, and no protection "
            "here knows any: leave it out, or use one such as closest or msb:2x3:pruned:erasures"
        )
    return found


def spread(
    points: Iterable[Point], scopes: Sequence[str | Scope | None], layers: int
) -> tuple[Point, ...]:
    """Each point with its faults in each of the scopes; rates run faster than scopes.

    A point of rate 0 has no faults anywhere, and stands once for all scopes.

    Args:
        points: the points.
        scopes: as `scope.places` takes them, perhaps with `each`.
        layers: layers of the model.

    Raises:
        ValueError: a place that is not there.

    Example:
        >>> point = Point(task="sst2", model="m", rate=0.1)
        >>> [p.faulty.text for p in spread([point], ["layers=each", "matrices=pooler"], 2)]
        ['layers=0', 'layers=1', 'matrices=pooler']
    """
    found: dict[tuple[Point, Scope | None], list[Point]] = {}
    for point in points:
        if list(scopes) == [None]:
            found.setdefault((point, None), []).append(point)
            continue
        family = replace(point, rate=0.0, sa1_share=None)
        for text in scopes:
            for place in places(text, point.matrices, point.spec, layers):
                place = place if point.rate else None
                found.setdefault((family, place), []).append(replace(point, faulty=place))
    return unique(point for group in found.values() for point in group)


def unique(points: Iterable[Point]) -> tuple[Point, ...]:
    """Points without repetition, a share dropped where the fault model has no polarity.

    Raises:
        ValueError: a point with nothing on crossbars.
    """
    points = tuple(points)
    for groups in {point.matrices for point in points}:
        check_groups(groups)
    plain = (p if p.fault.has_polarity else replace(p, sa1_share=None) for p in points)
    return tuple({point.hash: point for point in plain}.values())
