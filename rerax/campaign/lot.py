"""Points of measured chips: their chips and rates are those of the map. No JAX here."""

import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from rerax.campaign.point import Point
from rerax.faults import Measured
from rerax.faults.chip_map import PREFIX, absent_arrays, check_map, realised_rate
from rerax.models.bert.names import matrices_of

if TYPE_CHECKING:
    from rerax.models.bert.config import BertConfig


def is_measured(faults: Sequence[Any]) -> bool:
    """Whether a run is about measured chips.

    Raises:
        ValueError: a map beside other faults.
    """
    texts = [fault.text if isinstance(fault, Measured) else fault for fault in faults]
    maps = [text for text in texts if isinstance(text, str) and text.startswith(PREFIX)]
    if maps and len(faults) > 1:
        raise ValueError(f"{maps[0]} brings its own chips and rate: give it as the only fault")
    return bool(maps)


def with_realised_rates(points: Sequence[Point], config: "BertConfig") -> tuple[Point, ...]:
    """Points of a map at the rate that it realises on their cells; any other as it is.

    Args:
        points: the points.
        config: shape of the model that they evaluate.

    Raises:
        ValueError: a map with cells that the model does not have.
    """
    done, absent = [], {}
    for point in points:
        if not isinstance(point.fault, Measured):
            done.append(point)
            continue
        chips = point.fault.chips
        check_map(chips, config.matrix_shapes, point.spec)
        names = matrices_of(point.matrices)
        shapes = {name: s for name, s in config.matrix_shapes.items() if name in names}
        absent[chips.path] = absent_arrays(chips, shapes)
        done.append(replace(point, rate=realised_rate(chips, shapes, point.spec)))
    for path, arrays in absent.items():
        if arrays:
            warnings.warn(
                f"{path} has no cells of {', '.join(arrays)}: taken as fault-free", stacklevel=2
            )
    return tuple(done)


def chips_of(points: Sequence[Point], chips: int) -> int | tuple[int, ...]:
    """Numbers of the chips to evaluate: those of the map, or so many from 0 on."""
    faults = list(dict.fromkeys(point.fault for point in points))
    if is_measured(faults) and isinstance(faults[0], Measured):
        return tuple(faults[0].chips.chips.tolist())
    return chips
