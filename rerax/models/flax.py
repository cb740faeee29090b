"""Exact crossbar products under the `Dense` layers of a Flax Linen model as it is."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array

from rerax.crossbar.keys import Chip
from rerax.crossbar.products import factor_format, multiply
from rerax.faults.mask import FaultMask, Faults
from rerax.faults.sampling.rates import ARate, RateTable, rate_table
from rerax.models.stored import StoredModel, kept_codes, read_codes


def crossbar_layers(
    stored: StoredModel, chip: Chip, rates: ARate, mask: FaultMask | None = None
) -> AbstractContextManager:
    """Let the `Dense` layers of a Linen model multiply as one chip's crossbars do.

    Within the context a layer whose kernel is on crossbars quantises its inputs per token to 8
    bits, multiplies by the codes that the chip reads, exactly, in int8 x int8 -> int32, and scales
    the sums; with `input_bits=None` it multiplies in float by the codes scaled back. Then it adds
    its bias. All other layers, and kernels that are not on crossbars, are left alone.

        with rerax.crossbar_layers(stored, chip, 1e-3):
            logits = model.apply({"params": params}, x)

    Compile the function that enters the context, never one that is called within it: what is
    compiled keeps its chip, so that is refused. Layers inside `nn.scan` share one module, and are
    refused: give their faulty weights by `read`.

    Args:
        stored: the model on crossbars (`program`), its kernels two-dimensional.
        chip: which chip.
        rates: the fault rate; a number, or inside `jit` a table (`rate_table`).
        mask: where faults act; None: everywhere.
    """
    if not isinstance(rates, RateTable):
        rates = rate_table(rates, fault=stored.hardware.fault)
    axes, outside = {leaf.path: leaf.axes for leaf in stored.leaves}, not _is_compiling()
    integers = stored.hardware.input_bits is not None

    def codes_of(path: str) -> Array:
        crossbar = stored.crossbars[path]
        read, _ = read_codes(crossbar, chip, Faults(rates, mask), stored.hardware)
        kept = kept_codes(jax.tree.map(jnp.asarray, crossbar), read)
        return kept.astype(factor_format()) if integers else kept

    def intercept(call: Callable[..., Any], args: Any, kwargs: Any, context: Any) -> Any:
        module, path = context.module, "/".join((*context.module.path, "kernel"))
        is_dense = isinstance(module, nn.Dense) and context.method_name == "__call__"
        if not is_dense or path not in stored.crossbars:
            return call(*args, **kwargs)
        if outside and _is_compiling():
            raise ValueError(
                f"{path} is being compiled inside crossbar_layers, and what is compiled would keep "
                "this chip: enter the context inside the function that is compiled, and pass the "
                "chip to it"
            )
        if axes[path] != "io":
            raise ValueError(
                f"{path} has axes {axes[path]!r}: layers that are stacked, as by nn.scan, have no "
                "products of their own; give their faulty weights by rerax.read"
            )
        (x,) = args
        x = jnp.asarray(x, module.dtype or jnp.result_type(x, jnp.float32))
        (y,) = multiply(x, [codes_of(path)], [jnp.asarray(stored.crossbars[path].scale)], integers)
        if not module.use_bias:
            return y
        bias = jnp.asarray(module.get_variable("params", "bias"), y.dtype)
        return y + bias.reshape((1,) * (y.ndim - 1) + (-1,))

    return nn.intercept_methods(intercept)


def _is_compiling() -> bool:
    """Whether what runs now is being traced for a compiled program."""
    return isinstance(jnp.zeros(()), jax.core.Tracer)
