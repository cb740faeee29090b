"""Masks of rows and columns by trainable gates, for any model.

A matrix is multiplied by step(row gate) x step(column gate). Forwards the step is hard, 0 or 1, so
a closed line is a line of zeros; backwards its gradient is that of softplus, the logistic function,
as in Li et al., arXiv 2401.11664, so that a closed gate can still be opened.
"""

from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from rerax.crossbar.quantise import straight_through
from rerax.paths import kernels_named, with_leaves
from rerax.pruning.gates import Gates, check_gate, check_mapping

if TYPE_CHECKING:
    AGates = Gates
else:  # what is of another kind is refused below, in a line of our own
    AGates = Any


def step(gate: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """Give 1 where a gate is open (>= 0), else 0; the gradient is that of softplus.

    Example:
        >>> step(jnp.array([-0.5, 0.0, 2.0])).tolist()
        [0.0, 1.0, 1.0]
        >>> round(float(jax.grad(lambda g: step(g).sum())(jnp.zeros(1))[0]), 2)
        0.5
    """
    soft = jax.nn.softplus(gate)
    return straight_through((gate >= 0).astype(gate.dtype), soft)


def masked(
    kernel: Float[Array, "*L R C"], row: Float[Array, "*L R"], column: Float[Array, "*L C"]
) -> Float[Array, "*L R C"]:
    """Set the closed rows and columns of a kernel to zero; bit-identical where all are open."""
    opened = step(row)[..., :, None] * step(column)[..., None, :]
    return kernel * opened.astype(kernel.dtype)


def mask(params: Any, gates: AGates) -> Any:
    """Set the closed rows and columns of any model's kernels to zero.

    Both are trainable: gradients reach the weights under open gates, and all gates through `step`.
    A model is pruned by `model.apply({"params": mask(params, gates)}, ..)` and needs to know
    nothing of it.

    Args:
        params: any tree of float parameters, its kernels [*L, R, C].
        gates: of some of its kernels; for their names see `paths.kernels_named`.

    Raises:
        ValueError: gates of no kernel of the tree, or of several.
    """
    check_mapping(gates)
    found = kernels_named(params, gates)
    for name, (path, kernel) in found.items():
        check_gate(path, gates[name], np.shape(kernel))
    return with_leaves(
        params,
        {
            path: masked(*map(jnp.asarray, (kernel, gates[name]["row"], gates[name]["column"])))
            for name, (path, kernel) in found.items()
        },
    )
