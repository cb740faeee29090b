"""The clean activations that chips with faults from some layer on start from.

Up to its first faulty layer a chip computes what the clean chip computes. That stream is made
once for a model, spec and protection, layer after layer as points ask for it, and kept on the
device, or on the host where it is large.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rerax.chip import Acting, Programmed
from rerax.evaluate import Block, Entry, Network, clean_advance, clean_entry
from rerax.faults import dose

DEVICE_BYTES, HOST_BYTES = 1 << 30, 8 << 30


class Kept(NamedTuple):
    """Clean streams into one layer, an entry for each block of examples."""

    layer: int
    entries: tuple[Entry, ...]


def clean_entries(
    network: Network,
    programmed: Programmed,
    blocks: tuple[Block, ...],
    layer: int,
    where: Acting,
    kept: Kept | None = None,
    host_bytes: int = HOST_BYTES,
) -> Kept | None:
    """Streams of the clean chip into a layer, from kept ones of a layer before it if there are any.

    Args:
        network: static description.
        programmed: the model on crossbars.
        blocks: batches of examples on the device.
        layer: which layer; the number of layers for the head.
        where: where the chips' faults act; only its structure matters here.
        kept: what the last call gave, for the same network, model and blocks.
        host_bytes: most that may be kept.

    Returns:
        The streams; None where they are too large to be kept.
    """
    size = stream_bytes(network, blocks)
    if size > host_bytes:
        return None
    if kept is not None and kept.layer == layer:
        return kept
    nowhere: Any = jax.tree.map(np.zeros_like, where)
    none = dose(0.0, fault=network.fault)
    entries = []
    for i, block in enumerate(blocks):
        if kept is not None and kept.layer < layer:
            entry = kept.entries[i]
        else:
            entry = clean_entry(network, programmed, block, none, nowhere)
        entry = clean_advance(network, programmed, block, none, nowhere, entry, jnp.int32(layer))
        entries.append(entry if size <= DEVICE_BYTES else jax.device_get(entry))
    return Kept(layer, tuple(entries))


def stream_bytes(network: Network, blocks: tuple[Block, ...]) -> int:
    """Bytes of the residual stream of one lane group over all blocks."""
    tokens = sum(bucket.ids.size for block in blocks for bucket in block)
    itemsize = jnp.dtype(network.dtype).itemsize
    return tokens * network.config.hidden_size * itemsize * network.lanes
