"""The fused kernel of an accelerator beside the plain path: time, and whether bits agree."""

from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

from rerax import keys
from rerax.bench.jobs import Job
from rerax.bench.stages import in_lanes, reading
from rerax.bench.timing import medians
from rerax.faults import dose
from rerax.fused import kernel_of
from rerax.network import reader


@dataclass(frozen=True)
class Comparison:
    """Reading all encoder layers of a lane group of chips.

    Attributes:
        plain, fused: seconds.
        differ: codes and counts of cells in which the two differ, which must be 0.
    """

    plain: float
    fused: float
    differ: int


def kernel_here() -> str:
    """The kernel of the backend in use.

    Raises:
        ValueError: it has none.
    """
    backend = jax.default_backend()
    kernel = kernel_of(backend)
    if kernel is None:
        raise ValueError(f"--fused: there is no kernel for {backend}: run it on a GPU or a TPU")
    return kernel


def compare(job: Job, rate: float, kernel: str, rounds: int = 5) -> Comparison:
    """Time both in turns, then compare all that they read.

    Args:
        job: what is read.
        rate: fault rate.
        kernel: one of `fused.KERNELS`.
        rounds: how often each is timed.
    """
    fused = replace(job, network=replace(job.network, kernel=kernel))
    took = medians({"plain": reading(job, rate), "fused": reading(fused, rate)}, rounds)
    return Comparison(**took, differ=int(_differing(job, fused, rate)))


def _differing(one: Job, other: Job, rate: float) -> Array:
    at, lanes = jax.tree.map(jnp.asarray, dose(rate)), one.network.lanes

    @jax.jit
    def count(words: Any, extras: Any, at: Any) -> Array:
        def of_chip(chip: Array) -> Array:
            axis = None if lanes == 1 else "lanes"
            sections = [
                reader(job.network, keys.root_key(0), at, chip, axis, None) for job in (one, other)
            ]

            def layer(i: Array, differ: Array) -> Array:
                stored, places = jax.tree.map(
                    lambda a: lax.dynamic_index_in_dim(jnp.asarray(a), i, keepdims=False),
                    (words, extras),
                )
                read = [section(stored, places, i.astype(jnp.uint32)) for section in sections]
                wrong = jax.tree.map(lambda a, b: jnp.sum(a != b, dtype=jnp.int32), *read)
                return differ + sum(jax.tree.leaves(wrong))

            return lax.fori_loop(0, one.network.config.num_hidden_layers, layer, jnp.int32(0))

        return jnp.sum(in_lanes(one, of_chip))

    return count(one.programmed.words["encoder"], one.programmed.extras["encoder"], at)
