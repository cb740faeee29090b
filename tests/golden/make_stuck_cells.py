"""Write stuck_cells.json and fault_models.json anew, from the root of the checkout:

PYTHONPATH=tests/helpers python tests/golden/make_stuck_cells.py

Moving a number here asks for a raised SEMANTICS and a line in CHANGELOG.md.
"""

import hashlib
import json
from pathlib import Path

import jax
import numpy as np
from arrays import array_key

from rerax.crossbar.spec import ChipSpec
from rerax.faults import fault_model
from rerax.faults.sampling.poisson_process import stuck_cells
from rerax.faults.sampling.rates import rate_table

golden = {}
for rate in (1e-6, 1e-3, 0.1079, 0.6, 1.0):
    hasher = hashlib.sha256()
    for chip in range(2):
        for matrix, layer in (("query", 0), ("query", 3), ("classifier", 0)):
            key = array_key(chip, matrix, layer)
            hasher.update(
                np.asarray(stuck_cells(key, rate_table(rate), ChipSpec(), 61, 43)).tobytes()
            )
    golden[str(rate)] = hasher.hexdigest()
text = json.dumps(golden, indent=1) + "\n"
(Path(__file__).parent / "stuck_cells.json").write_text(text, encoding="utf-8")

specs = [ChipSpec(tile=(16, 24)), ChipSpec("differential", 6, 4, (7, 30), "separate")]
golden = {}
for name in ("uniform", "clustered:0.5", "wordline", "bitline", "short", "flip"):
    fault, hasher = fault_model(name), hashlib.sha256()
    for spec in specs:
        shape = (spec.groups, 61, 43)
        words = np.random.default_rng(1).integers(0, 1 << spec.group_bits, shape, np.uint8)
        disturbed = fault.disturb(words, array_key(0), rate_table(0.1, fault=fault), spec)
        for leaf in jax.tree.leaves(jax.device_get(disturbed)):
            hasher.update(np.ascontiguousarray(leaf).tobytes())
    golden[name] = hasher.hexdigest()
text = json.dumps(golden, indent=1) + "\n"
(Path(__file__).parent / "fault_models.json").write_text(text, encoding="utf-8")
