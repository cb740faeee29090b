"""Exact crossbar products under the `Dense` layers of a Flax Linen model as it is."""

import contextlib
import functools
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from rerax.crossbar.crossbar import Crossbar
from rerax.crossbar.encoding import encode
from rerax.crossbar.products import factor_format, multiply
from rerax.crossbar.quantise import quantise
from rerax.faults.sampling.rates import ARate
from rerax.models.conformance import is_ours
from rerax.models.reading import faults_on, kept_codes, read_crossbars
from rerax.models.stored import StoredModel
from rerax.models.tree import AChip, AMask, AStored

_ENTERED: ContextVar[bool] = ContextVar("entered", default=False)


@contextlib.contextmanager
def crossbar_layers(
    stored: AStored, chip: AChip, rates: ARate, mask: AMask = None
) -> Iterator[None]:
    """Let the `Dense` layers of a Linen model multiply as one chip's crossbars do.

    Within the context a layer whose kernel is on crossbars quantises its inputs per token to 8
    bits, multiplies by the codes that the chip reads, exactly, in int8 x int8 -> int32, and scales
    the sums; with `input_bits=None` it multiplies in float by the codes scaled back. Then it adds
    its bias. All other layers are left alone, and every kernel on crossbars must have been
    multiplied by at the end: a part of the model that ran without faults would be no chip's. So
    would be one that uses a kernel beside its layer, as tied weights do, which is not seen.

        with rerax.crossbar_layers(stored, chip, 1e-3):
            logits = model.apply({"params": params}, x)

    Compile the function that enters the context, never one that is called within it: what is
    compiled keeps its chip, so that is refused. Layers inside `nn.scan` share one module, and are
    refused: give their faulty weights by `read`. There are no derivatives.

    Args:
        stored: the model on crossbars (`program`), its kernels two-dimensional.
        chip: which chip.
        rates: the fault rate; a number, or inside `jit` a table (`rate_table`).
        mask: where faults act; None: everywhere.

    Raises:
        ValueError: bad input (`read`); a layer that is no plain `Dense` or has another kernel
            than was programmed; a kernel that nothing multiplied by; a second context inside.
    """
    faults = faults_on(stored, chip, rates, mask)
    if _ENTERED.get():
        raise ValueError("crossbar_layers is entered within another: leave the first one before")
    codes, _ = read_crossbars(stored.crossbars, chip, faults, stored.hardware)
    compilations, used = _compilations(), set[str]()
    integers = stored.hardware.input_bits is not None

    def codes_of(path: str) -> Array:
        kept = kept_codes(stored.crossbars[path], codes[path])
        return kept.astype(factor_format()) if integers else kept

    def intercept(call: Callable[..., Any], args: Any, kwargs: Any, context: Any) -> Any:
        module, path = context.module, "/".join((*context.module.path, "kernel"))
        is_dense = isinstance(module, nn.Dense) and context.method_name == "__call__"
        if not is_dense or path not in stored.crossbars or module.is_initializing():
            return call(*args, **kwargs)
        if _compilations() > compilations:
            raise ValueError(
                f"{path} is being compiled inside crossbar_layers, and what is compiled would keep "
                "this chip: enter the context inside the function that is compiled, and pass the "
                "chip to it"
            )
        _check_layer(module, path)
        kernel, bias = (
            nn.meta.unbox(module.get_variable("params", name)) for name in ("kernel", "bias")
        )
        if path not in used:
            _check_kernel(stored, path, kernel)
            used.add(path)
        x = args[0] if args else kwargs["inputs"]
        x, kernel, bias = module.promote_dtype(x, kernel, bias, dtype=module.dtype)
        scale = jnp.asarray(stored.crossbars[path].scale)
        y = _product(integers, x, kernel, codes_of(path), scale)
        return y if bias is None else y + bias.reshape((1,) * (y.ndim - 1) + (-1,))

    token = _ENTERED.set(True)
    try:
        with nn.intercept_methods(intercept):
            yield
    finally:
        _ENTERED.reset(token)
    unused = [path for path in stored.crossbars if path not in used]
    if unused:
        raise ValueError(
            f"{unused[0]} is on crossbars and no Dense layer multiplied by it: put the kernels of "
            "Dense layers alone on them, under the model's own paths, and compile the function "
            "that enters the context, none that was compiled before"
        )


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _product(integers: bool, x: Array, kernel: Array | None, codes: Array, scale: Array) -> Array:
    """Multiply by codes. The float kernel has no part in it but that of its derivative."""
    (y,) = multiply(x, [codes], [scale], integers)
    return y


@_product.defjvp
def _no_derivative(*_: Any) -> Any:
    raise ValueError(
        "crossbar_layers has no derivatives: take them of a model with the weights of rerax.read, "
        "or train with rerax.mask"
    )


def _check_layer(module: nn.Dense, path: str) -> None:
    """Refuse what would be left out of a layer's product.

    Raises:
        ValueError: a `__call__` or a product of its own.
    """
    behind = type(module).__mro__.index(nn.Dense)
    own = [cls.__name__ for cls in type(module).__mro__[:behind] if "__call__" in vars(cls)]
    if own or module.dot_general is not None or module.dot_general_cls is not None:
        what = f"__call__ of {own[0]}" if own else "dot_general"
        raise ValueError(
            f"{path} belongs to a layer with its own {what}, which crossbars would leave out: give "
            "its faulty weights by rerax.read"
        )


def _check_kernel(stored: StoredModel, path: str, kernel: Any) -> None:
    """Refuse another kernel than the one that was programmed, as far as it can be told.

    Compared are shapes; where the numbers are known, the largest weight of every column; and
    where words mean the codes as they were, these.

    Raises:
        ValueError: which.
    """
    leaf = next(leaf for leaf in stored.leaves if leaf.path == path)
    if leaf.axes != "io":
        raise ValueError(
            f"{path} has axes {leaf.axes!r}: layers that are stacked, as by nn.scan, have no "
            "products of their own; give their faulty weights by rerax.read"
        )
    crossbar = stored.crossbars[path]
    known = not any(isinstance(a, jax.core.Tracer) for a in (kernel, crossbar.scale))
    if kernel.shape != leaf.shape or (known and not _is_programmed(crossbar, kernel, stored)):
        raise ValueError(
            f"{path} of this model is not what was put on crossbars: program the parameters that "
            "it is applied with"
        )


def _is_programmed(crossbar: Crossbar, kernel: Any, stored: StoredModel) -> bool:
    """Whether a crossbar holds this kernel, as far as its scales and words can tell."""
    lines = crossbar.lines
    kept = None if lines is None else np.asarray(lines.row)[:, None] & np.asarray(lines.column)
    scheme, spec = stored.hardware.protection.of(crossbar.array.name), stored.hardware.spec
    codes, scale = quantise(np.asarray(kernel), spec.bits, kept)
    alike = np.array_equal(scale, np.asarray(crossbar.scale))
    if not (alike and scheme.exact and is_ours(scheme)):
        return alike
    turned = 0 if crossbar.complement is None else np.asarray(crossbar.complement)
    wanted = encode(codes, spec) == np.asarray(crossbar.words) ^ turned
    return bool((wanted.all(0) | (False if kept is None else ~kept)).all())


def _compilations() -> int:
    """Count the compiled functions, one within another, that what runs now is traced for.

    Of several JAX has no public word; a new array has the trace that it belongs to.
    """
    trace, found = getattr(jnp.zeros(()), "_trace", None), 0
    while trace is not None:
        info = getattr(getattr(trace, "frame", None), "debug_info", None)
        found += getattr(info, "traced_for", None) == "jit"
        trace = getattr(trace, "parent_trace", None)
    return found
