"""Protection that costs no cell: copies of the most significant bits, voted on reading.

`schemes` holds the protections and their names, `placement` and `repair` say where copies lie,
`embed` writes them, `recover` reads them back, `ledger` counts cells.
"""

from rerax.protection.ledger import Ledger
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
    "Duplicate",
    "Ledger",
    "MsbEmbed",
    "Protection",
    "Stored",
    "Unprotected",
    "protection",
    "register",
]
