"""What an evaluation takes, before anything is loaded: operations and bytes. No JAX here."""

import numpy as np

from rerax.crossbar.spec import ChipSpec
from rerax.models.bert.config import BertConfig
from rerax.models.bert.names import GROUPS

PROCESS_BYTES = 1.0e9
"""The process itself with its compiled programs, a MiniLM on SST-2 (`experiments/cost.py`)."""


def operations(config: BertConfig, tokens: float) -> float:
    """Estimate the operations of one pass over so many tokens."""
    weights = sum(np.prod(config.matrix_shapes[name]) for name in GROUPS["encoder"])
    return 2 * tokens * float(weights) * config.passes


def device_bytes(config: BertConfig, tokens: float, spec: ChipSpec) -> float:
    """Estimate what a device holds: words, the stream, and one layer's cells while sampled."""
    layer = sum(float(np.prod(config.matrix_shapes[name][1:])) for name in GROUPS["encoder"])
    stream = min(tokens * config.hidden_size * 4, 1 << 30)
    return _weights(config) + 2 * stream + 3 * layer * spec.cells_per_weight


def peak_bytes(config: BertConfig, tokens: float, spec: ChipSpec) -> float:
    """Estimate the bytes of process, float weights, words on the host, and a device."""
    weights = _weights(config)
    return PROCESS_BYTES + 2 * 4 * weights + weights + device_bytes(config, tokens, spec)


def _weights(config: BertConfig) -> float:
    return sum(float(np.prod(shape)) for shape in config.matrix_shapes.values())
