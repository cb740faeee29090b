"""Protections: what is stored beside or in place of weights, and how it is read.

In cells that are free: copies of the most significant bits (`msb`) and error-correcting codes
(`codes`). On chips whose stuck cells are known: `fault_aware`, `rotated`. In further cells:
`duplicate`, `spare_lines`. `unprotected` does nothing, and `allocation` gives each matrix its own.
Importing it imports no JAX. `cost` counts cells, `expected_error` foretells the error
of what is read and `planner` chooses by it.
"""

from rerax.protection.allocation import Allocation, Plan, without_planner
from rerax.protection.base import (
    PROTECTIONS,
    Protection,
    StoredMatrix,
    check_named,
    left_bare,
    protection,
    register_protection,
    registered_protections,
)
from rerax.protection.codes.embed import Code
from rerax.protection.cost import Ledger, Misses
from rerax.protection.duplicate import Duplicate
from rerax.protection.fault_aware import FaultAware
from rerax.protection.msb.embed import MsbEmbed
from rerax.protection.rotated import Rotated
from rerax.protection.spare_lines import SpareLines
from rerax.protection.unprotected import Unprotected

PROTECTIONS.reserve()

__all__ = [
    "PROTECTIONS",
    "Allocation",
    "Code",
    "Duplicate",
    "FaultAware",
    "Ledger",
    "Misses",
    "MsbEmbed",
    "Plan",
    "Protection",
    "Rotated",
    "SpareLines",
    "StoredMatrix",
    "Unprotected",
    "check_named",
    "left_bare",
    "protection",
    "register_protection",
    "registered_protections",
    "without_planner",
]
