"""Logits of chips that descend from others: their points, thinned to a lower rate."""

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Key, UInt32

from rerax.crossbar import keys
from rerax.evaluate.engine import Evaluator, in_split_order
from rerax.evaluate.lanes import along
from rerax.evaluate.network import Network, Shard, chip_logits, reader
from rerax.faults.mask import Faults
from rerax.faults.sampling.poisson import hazard
from rerax.faults.sampling.rates import RateTable, Thinning, limit_of
from rerax.models.stored import StoredModel
from rerax.stats.splitting import Generation

MOST_STAGES = 24
"""Rates that a descent may have."""


def keep_limits(rates: Sequence[float]) -> UInt32[np.ndarray, " K"]:
    """Compute, for each rate and the next lower one, up to which hash a point is kept.

    Args:
        rates: descending, below 0.5.
    """
    limits = [limit_of(Fraction(hazard(low)) / hazard(high)) for high, low in pairwise(rates)]
    return np.array([limit or 0 for limit in limits], np.uint32)


@functools.partial(jax.jit, static_argnames="network")
def descendant_logits(
    network: Network,
    stored: StoredModel,
    shard: Shard,
    root: Key[Array, ""],
    chips: UInt32[Array, "groups lanes"],
    branches: UInt32[Array, "groups lanes K"],
    kept: tuple[Array, Array],
    table: RateTable,
) -> tuple[Float[Array, "groups lanes n S N"], ...]:
    """Compute the logits of descendants on one shard.

    Args:
        network: static description.
        stored: the model on crossbars.
        shard: batches of examples.
        root: the root key of all chips.
        chips: numbers of the root chips.
        branches: of each descendant.
        kept: limits [K], and how many of them count.
        table: of the root chips' rate.
    """

    def one(chip: Array, own: Array, axis: str | None) -> tuple[Array, ...]:
        thinned = dataclasses.replace(table, thinning=Thinning(own, *kept))
        faults = along(Faults(thinned), axis)
        read_section = reader(stored.hardware, keys.chip_of(root, chip), faults)
        return chip_logits(network, stored, shard, read_section)[0]

    def group(given: tuple[Array, Array]) -> tuple[Array, ...]:
        numbers, own = given
        if network.lanes == 1:
            return jax.tree.map(lambda a: a[None], one(numbers[0], own[0], None))
        return jax.vmap(lambda n, b: one(n, b, "lanes"), axis_name="lanes")(numbers, own)

    return lax.map(group, (chips, branches))


def descendants(
    evaluator: Evaluator, seed: int, table: RateTable, rates: Sequence[float], chips: Generation
) -> Iterator[Float[np.ndarray, "n E N"]]:
    """Compute the logits of a generation, a dispatch at a time.

    Args:
        evaluator: the model and the examples.
        seed: of all chips.
        table: of the first rate.
        rates: from the root chips' to the generation's.
        chips: the generation.
    """
    lanes, room = evaluator.network.lanes, evaluator.chunk
    limits = np.zeros(MOST_STAGES, np.uint32)
    limits[: len(rates) - 1] = keep_limits(rates)
    kept = (jnp.asarray(limits), jnp.int32(len(rates) - 1))
    root = keys.root_key(seed)
    for start in range(0, len(chips.root), room):
        number, own = chips.root[start : start + room], chips.branches[start : start + room]
        n = len(number)
        padded = np.zeros((room, MOST_STAGES), np.uint32)
        padded[:n, : own.shape[1]] = own
        numbers = np.resize(number.astype(np.uint32), room)
        shape = (room // lanes, lanes)
        parts = []
        for shard in evaluator.shards:
            given = (jnp.asarray(numbers.reshape(shape)), jnp.asarray(padded.reshape(*shape, -1)))
            logits = descendant_logits(
                evaluator.network, evaluator.stored, shard, root, *given, kept, table
            )
            parts.append(tuple(a.reshape(room, *a.shape[2:]) for a in jax.device_get(logits)))
        yield in_split_order(parts, evaluator.batches)[:n]
