"""Points of a run: grids of values, places of faults, and chips that were measured. No JAX here."""

import dataclasses
import itertools
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

from rerax.campaign.point import FIELDS, Point
from rerax.crossbar.spec import ChipSpec
from rerax.faults import FaultModel, Measured, Tested, tested
from rerax.faults.chip_map import PREFIX, absent_arrays, check_map, realised_rate
from rerax.models.bert.config import BertConfig
from rerax.models.bert.names import check_groups, matrices_of
from rerax.models.bert.scope import Scope, places
from rerax.protection import Protection
from rerax.stats.stopping import Rule
from rerax.values import is_integer, plain, rate_text, shown, type_text


def expand(base: Point, axes: Mapping[str, Sequence[Any]]) -> tuple[Point, ...]:
    """Combine the given values in all ways, the rate running fastest.

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
    for text in axes.get("tested", ()):
        check_tested(text, found)
    return found


def check_tested(asked: str | Tested, points: Sequence[Point]) -> None:
    """Refuse a part of the stuck cells known where no protection of the points knows any.

    Raises:
        ValueError: it is.
    """
    if not tested(asked).is_complete and all(point.tested.is_complete for point in points):
        raise ValueError(
            f"tested {tested(asked).text} says which stuck cells are known, and no protection "
            "here knows any: leave it out, or use one such as closest or msb:2x3:pruned:erasures"
        )


def spread(
    points: Iterable[Point], scopes: Sequence[str | Scope | None], layers: int
) -> tuple[Point, ...]:
    """Restrict each point's faults to each of the scopes; rates run faster than scopes.

    A clean point has no faults anywhere, and stands once for all scopes.

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
                place = None if point.is_clean else place
                found.setdefault((family, place), []).append(replace(point, faulty=place))
    return unique(point for group in found.values() for point in group)


def unique(points: Iterable[Point]) -> tuple[Point, ...]:
    """Drop repeated points, and the share where the fault model has no polarity.

    Raises:
        ValueError: a point with nothing on crossbars.
    """
    points = tuple(points)
    for groups in {point.matrices for point in points}:
        check_groups(groups)
    plain = (p if p.fault.has_polarity else replace(p, sa1_share=None) for p in points)
    return tuple({point.hash: point for point in plain}.values())


def several(name: str, value: Any) -> Sequence[Any]:
    """Read one value or several as plain values of Python.

    Raises:
        ValueError: nothing to go through, or nothing in it.
    """
    value = plain(value)
    single = isinstance(
        value, str | int | float | Fraction | FaultModel | Protection | Scope | Tested
    )
    if value is None or single or (name == "tile" and _is_pair(value)):
        return (value,)
    try:
        found = tuple(map(plain, value))
    except TypeError:
        raise ValueError(f"{name} is {type_text(value)}: give one value, or a list") from None
    if not found:
        raise ValueError(f"{name} is empty: give at least one")
    return found


def _is_pair(value: Any) -> bool:
    return isinstance(value, tuple | list) and len(value) == 2 and all(map(is_integer, value))


def axes_of(fields: Mapping[str, Any], spec: Any) -> dict[str, Sequence[Any]]:
    """Read the values of each field of a point, one or several, and take a spec apart.

    Args:
        fields: by name.
        spec: a `ChipSpec`, or None.

    Raises:
        ValueError: a field that there is not, or one that the spec has as well.
    """
    known = [name for name in FIELDS if name not in ("task", "model", "rate", "faulty", "sampled")]
    for name in fields:
        if name not in known:
            raise ValueError(f"sweep takes no {name!r}: give some of {', '.join(known)}")
    found = {name: several(name, value) for name, value in fields.items()}
    if spec is None:
        return found
    if not isinstance(spec, ChipSpec):
        raise ValueError(f"spec {shown(spec)} is none: give a rerax.ChipSpec")
    for field in dataclasses.fields(spec):
        if field.name in found:
            raise ValueError(f"{field.name} is given twice: leave it out, or the spec")
        found[field.name] = (getattr(spec, field.name),)
    return found


def is_measured(faults: Sequence[Any]) -> bool:
    """Tell whether a run is about measured chips.

    Raises:
        ValueError: a map beside other faults.
    """
    texts = [fault.text if isinstance(fault, Measured) else fault for fault in faults]
    maps = [text for text in texts if isinstance(text, str) and text.startswith(PREFIX)]
    if maps and len(faults) > 1:
        raise ValueError(f"{maps[0]} brings its own chips and rate: give it as the only fault")
    return bool(maps)


def with_realised_rates(points: Sequence[Point], config: BertConfig) -> tuple[Point, ...]:
    """Give points of a map the rate that it realises on their cells.

    Args:
        points: the points.
        config: shape of the model that they evaluate.

    Raises:
        ValueError: a map with cells that the model does not have.
    """
    done, absent, spare = [], {}, {}
    for point in points:
        if not isinstance(point.fault, Measured):
            done.append(point)
            continue
        chips = point.fault.chips
        check_map(chips, config.matrix_shapes, point.spec)
        names = matrices_of(point.matrices)
        shapes = {name: s for name, s in config.matrix_shapes.items() if name in names}
        absent[chips.path] = absent_arrays(chips, shapes)
        if point.protection.spare_arrays:
            spare[point.protection.text] = chips.path
        realised = realised_rate(chips, shapes, point.spec)
        if point.rate not in (0, realised):
            raise ValueError(
                f"rate {rate_text(point.rate)} with {point.fault.text}: leave it out (or give 0), "
                f"the map has its own, {rate_text(realised)}"
            )
        done.append(replace(point, rate=realised))
    for scheme, path in spare.items():
        warnings.warn(
            f"{path} says nothing of the further arrays of {scheme}: taken as fault-free, which "
            "makes it look better than others",
            stacklevel=2,
        )
    for path, arrays in absent.items():
        if arrays:
            warnings.warn(
                f"{path} has no cells of {', '.join(arrays)}: taken as fault-free", stacklevel=2
            )
    return tuple(done)


def chips_of(
    points: Sequence[Point], chips: int, rule: Rule | None = None
) -> int | tuple[int, ...]:
    """Choose the chips to evaluate: those of the map, or so many from 0 on.

    Args:
        points: the points.
        chips: how many, where no map says it.
        rule: the rule that decides in place of their number, if one does.

    Raises:
        ValueError: a map beside other faults or a rule.
    """
    faults = list(dict.fromkeys(point.fault for point in points))
    if is_measured(faults) and isinstance(faults[0], Measured):
        if rule is not None:
            raise ValueError(
                f"{faults[0].text} brings its own chips: leave out until-se and max-chips"
            )
        return tuple(faults[0].chips.chips.tolist())
    return chips
