"""Fault models: which cells of a chip are broken, and what a word then reads."""

from rerax.faults.models import Counts, Disturbed, FaultModel, Flip, Healthy, Uniform
from rerax.faults.process import DEFAULT_SA1_SHARE, Dose, dose, stuck_cells, stuck_words

__all__ = [
    "DEFAULT_SA1_SHARE",
    "FAULTS",
    "Counts",
    "Disturbed",
    "Dose",
    "FaultModel",
    "Flip",
    "Healthy",
    "Uniform",
    "dose",
    "fault_model",
    "stuck_cells",
    "stuck_words",
]

FAULTS: dict[str, FaultModel] = {"uniform": Uniform(), "flip": Flip()}


def fault_model(name: str) -> FaultModel:
    """Fault model of that name.

    Raises:
        ValueError: unknown name; the known ones are listed.
    """
    if name not in FAULTS:
        raise ValueError(f"unknown fault {name!r}: use one of {', '.join(FAULTS)}")
    return FAULTS[name]
