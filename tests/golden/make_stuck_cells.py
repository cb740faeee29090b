"""Write stuck_cells.json anew: python tests/golden/make_stuck_cells.py

Moving a number here asks for a raised SEMANTICS and a line in CHANGELOG.md.
"""

import hashlib
import json
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from rerax import keys
from rerax.faults import dose, stuck_cells
from rerax.spec import ChipSpec

golden = {}
for rate in (1e-6, 1e-3, 0.1079, 0.6, 1.0):
    hasher = hashlib.sha256()
    for chip in range(2):
        for matrix, layer in (("query", 0), ("query", 3), ("classifier", 0)):
            key = keys.matrix_key(keys.chip_key(keys.root_key(0), jnp.uint32(chip)), matrix, layer)
            hasher.update(np.asarray(stuck_cells(key, dose(rate), ChipSpec(), 61, 43)).tobytes())
    golden[str(rate)] = hasher.hexdigest()
text = json.dumps(golden, indent=1) + "\n"
(Path(__file__).parent / "stuck_cells.json").write_text(text, encoding="utf-8")
