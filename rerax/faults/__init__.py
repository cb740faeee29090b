"""Fault models: which cells of a chip are broken, and what a word then reads."""

from collections.abc import Callable

from rerax.faults.clustered import Clustered
from rerax.faults.lines import Bitline, Short, Wordline
from rerax.faults.measured import Measured
from rerax.faults.models import Counts, Disturbed, FaultModel, Flip, Healthy, Site, Uniform
from rerax.faults.planes import disturb_planes
from rerax.faults.process import DEFAULT_SA1_SHARE, Dose, dose, stuck_cells, stuck_words

__all__ = [
    "DEFAULT_SA1_SHARE",
    "FAULTS",
    "Bitline",
    "Clustered",
    "Counts",
    "Disturbed",
    "Dose",
    "FaultModel",
    "Flip",
    "Healthy",
    "Measured",
    "Short",
    "Site",
    "Uniform",
    "Wordline",
    "disturb_planes",
    "dose",
    "fault_model",
    "stuck_cells",
    "stuck_words",
]

FAULTS: dict[str, Callable[[str], FaultModel]] = {
    "uniform": lambda _: Uniform(),
    "clustered": lambda shape: Clustered(_number(shape)),
    "wordline": lambda _: Wordline(),
    "bitline": lambda _: Bitline(),
    "short": lambda _: Short(),
    "flip": lambda _: Flip(),
    "map": Measured.read,
}
"""Fault models by name. Each is made from the text after the colon, "" where there is none."""

WITH_TEXT = {"clustered": "A", "map": "FILE"}
"""Names that need such a text, and what stands there."""


def fault_model(name: str) -> FaultModel:
    """Fault model of that name, such as `uniform` or `clustered:2`.

    Raises:
        ValueError: unknown name (the known ones are listed), or a bad text after the colon.
    """
    kind, colon, text = name.partition(":")
    known = ", ".join(f"{k}:{WITH_TEXT[k]}" if k in WITH_TEXT else k for k in FAULTS)
    complete = bool(text) if kind in WITH_TEXT else not colon
    if kind not in FAULTS or not complete:
        raise ValueError(f"unknown fault {name!r}: use one of {known}")
    return FAULTS[kind](text)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(
            f"clustered shape {text!r} is not a number: give a gamma shape such as 2"
        ) from None
