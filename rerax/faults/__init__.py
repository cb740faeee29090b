"""Fault models: which cells of a chip are broken, and what a word then reads."""

from rerax.faults.clustered import Clustered
from rerax.faults.lines import Bitline, Short, Wordline
from rerax.faults.measured import Measured
from rerax.faults.models import Counts, Disturbed, FaultModel, Flip, Healthy, Site, Uniform
from rerax.faults.planes import disturb_planes
from rerax.faults.sampling.process import DEFAULT_SA1_SHARE, Dose, dose, stuck_cells, stuck_words
from rerax.names import FAULTS, WITH_TEXT, check_fault

__all__ = [
    "DEFAULT_SA1_SHARE",
    "FAULTS",
    "WITH_TEXT",
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

FAULTS |= {
    "uniform": lambda _: Uniform(),
    "clustered": lambda shape: Clustered(float(shape)),
    "wordline": lambda _: Wordline(),
    "bitline": lambda _: Bitline(),
    "short": lambda _: Short(),
    "flip": lambda _: Flip(),
    "map": Measured.read,
}


def fault_model(name: str) -> FaultModel:
    """Fault model of that name, such as `uniform` or `clustered:2`.

    Raises:
        ValueError: unknown name (the known ones are listed), or a bad text after the colon.
    """
    check_fault(name)
    kind, _, text = name.partition(":")
    model: FaultModel = FAULTS[kind](text)
    return model
