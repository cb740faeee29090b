"""The clean activations that chips with faults from some layer on start from.

Up to its first faulty layer a chip computes what the clean chip computes. That stream is made
once for a model, spec and protection, layer after layer as points ask for it, and kept on the
device, or on the host where it is large.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rerax.evaluate.engine import (
    CleanPrefix,
    Evaluator,
    Network,
    Shard,
    clean_prefix,
    extend_prefix,
)
from rerax.faults.mask import FaultMask, Faults
from rerax.faults.sampling.rates import rate_table

DEVICE_BYTES, HOST_BYTES = 1 << 30, 8 << 30


class PrefixCache(NamedTuple):
    """Clean streams into one layer, a prefix for each shard of examples."""

    layer: int
    prefixes: tuple[CleanPrefix, ...]


def clean_prefixes(
    evaluator: Evaluator,
    layer: int,
    mask: FaultMask,
    kept: PrefixCache | None = None,
    host_bytes: int = HOST_BYTES,
) -> PrefixCache | None:
    """Compute the clean chip's streams into a layer, on from kept ones of an earlier layer.

    Args:
        evaluator: the model and the examples.
        layer: which layer; the number of layers for the head.
        mask: where the chips' faults act; only its structure matters here.
        kept: what the last call gave, for the same evaluator.
        host_bytes: most that may be kept.

    Returns:
        The streams; None where they are too large to be kept.
    """
    network, stored = evaluator.network, evaluator.stored
    size = stream_bytes(network, evaluator.shards)
    if size > host_bytes:
        return None
    if kept is not None and kept.layer == layer:
        return kept
    nowhere: Any = jax.tree.map(np.zeros_like, mask)
    hardware = stored.hardware
    table = rate_table(0.0, fault=hardware.fault, tested=hardware.tested)
    none = Faults(table, nowhere)
    prefixes = []
    for i, shard in enumerate(evaluator.shards):
        if kept is not None and kept.layer < layer:
            prefix = kept.prefixes[i]
        else:
            prefix = clean_prefix(network, stored, shard, none)
        prefix = extend_prefix(network, stored, shard, none, prefix, jnp.int32(layer))
        prefixes.append(prefix if size <= DEVICE_BYTES else jax.device_get(prefix))
    return PrefixCache(layer, tuple(prefixes))


def stream_bytes(network: Network, shards: tuple[Shard, ...]) -> int:
    """Count the bytes of the residual stream of one lane group over all shards."""
    tokens = sum(bucket.ids.size for shard in shards for bucket in shard)
    itemsize = jnp.dtype(network.dtype).itemsize
    return tokens * network.config.hidden_size * itemsize * network.lanes
