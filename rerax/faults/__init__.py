"""Fault models: which cells of a chip are broken, and what a word then reads.

One file for each model, without JAX, and what they compute with in `sampling` and `read_out`.
"""

from rerax.faults.base import (
    DEFAULT_SA1_SHARE,
    FAULTS,
    FaultModel,
    NoFault,
    Odds,
    Site,
    fault_model,
    register_fault,
    registered_faults,
)
from rerax.faults.clustered import Clustered
from rerax.faults.flip import Flip
from rerax.faults.lines import Bitline, Wordline
from rerax.faults.measured import Measured
from rerax.faults.shorts import Short
from rerax.faults.tested import Tested, tested
from rerax.faults.uniform import Uniform

FAULTS.reserve()

__all__ = [
    "DEFAULT_SA1_SHARE",
    "FAULTS",
    "Bitline",
    "Clustered",
    "FaultModel",
    "Flip",
    "Measured",
    "NoFault",
    "Odds",
    "Short",
    "Site",
    "Tested",
    "Uniform",
    "Wordline",
    "fault_model",
    "register_fault",
    "registered_faults",
    "tested",
]
