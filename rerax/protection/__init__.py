"""Protection that costs no cell: copies of the most significant bits, voted on reading.

`schemes` holds the protections and their names, `placement` and `repair` say where copies lie,
`embed` writes them, `recover` reads them back, `ledger` counts cells, `damage` foretells the
error of what is read and `planner` chooses by it.
"""

from rerax.protection.ledger import Ledger
from rerax.protection.planner import Allocation, allocate, left_bare
from rerax.protection.schemes import (
    PROTECTIONS,
    Duplicate,
    MsbEmbed,
    Protection,
    Stored,
    Unprotected,
    protection,
    register,
)

__all__ = [
    "PROTECTIONS",
    "Allocation",
    "Duplicate",
    "Ledger",
    "MsbEmbed",
    "Protection",
    "Stored",
    "Unprotected",
    "allocate",
    "left_bare",
    "protection",
    "register",
]
