"""What an evaluation takes, before anything is loaded: operations and bytes. No JAX here."""

import numpy as np

from rerax.campaign.subject import Subject
from rerax.crossbar.spec import ChipSpec
from rerax.models.bert.names import GROUPS

TOKENS_A_WORD = 1.3
PROCESS_BYTES = 1.0e9
"""The process itself with its compiled programs, a MiniLM on SST-2 (`experiments/cost.py`)."""


def operations(subject: Subject) -> float:
    """Operations of one pass over the examples; 0 where nobody has counted their words."""
    weights = sum(np.prod(subject.config.matrix_shapes[name]) for name in GROUPS["encoder"])
    return 2 * _tokens(subject) * float(weights)


def device_bytes(subject: Subject, spec: ChipSpec) -> float:
    """Bytes that a device holds: words, the stream, and one layer's cells while sampled."""
    config = subject.config
    weights = sum(float(np.prod(shape)) for shape in config.matrix_shapes.values())
    layer = sum(float(np.prod(config.matrix_shapes[name][1:])) for name in GROUPS["encoder"])
    stream = min(_tokens(subject) * config.hidden_size * 4, 1 << 30)
    return weights + 2 * stream + 3 * layer * spec.cells_per_weight


def peak_bytes(subject: Subject, spec: ChipSpec) -> float:
    """Bytes of the process, the float weights, the words on the host, and a device."""
    weights = sum(float(np.prod(shape)) for shape in subject.config.matrix_shapes.values())
    return PROCESS_BYTES + 2 * 4 * weights + weights + device_bytes(subject, spec)


def _tokens(subject: Subject) -> float:
    return TOKENS_A_WORD * subject.words + 2 * len(subject.labels)
