"""How much a squared error in one code of each column matters: what the planner weighs with.

By default each column's squared scale times the mean square of the matrix's inputs, from one
clean pass over random tokens, so that a plan needs a model and no data. To first order that is
the squared error of the column's output for each squared code error.
"""

import zlib
from collections.abc import Mapping
from typing import Any
from zipfile import BadZipFile

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array

from rerax._types import Params
from rerax.io import at_home
from rerax.models.bert.config import BertConfig
from rerax.models.bert.model import Embeddings, EncoderLayer, Head, Product, float_product

SENTENCES, TOKENS = 32, 32
"""Size of the clean pass."""

Sensitivity = dict[str, np.ndarray]
"""Of each matrix, [*L, C] like its scales."""


def input_power(params: Params, config: BertConfig) -> dict[str, np.ndarray]:
    """Measure the mean square of each matrix's inputs, [*L], in one clean float pass.

    Args:
        params: float parameters of `rerax.models.bert`, zero under closed gates.
        config: the model's shape.
    """
    draw = np.random.Generator(np.random.PCG64(0))
    length = min(TOKENS, config.positions)
    ids = jnp.asarray(draw.integers(0, config.vocab_size, (SENTENCES, length)), jnp.int32)
    return {name: np.asarray(power) for name, power in _powers(config, params, ids).items()}


def _powers(config: BertConfig, params: Params, ids: Array) -> dict[str, Array]:
    """Run a float pass whose products record the mean square of what they are given."""
    types, mask = jnp.zeros_like(ids), jnp.ones(ids.shape, bool)

    def layer(x: Array, of_layer: Params) -> tuple[Array, dict[str, Array]]:
        found, product = _recording()
        y = EncoderLayer(config, product).apply({"params": of_layer}, x, mask)
        return y, found

    @jax.jit
    def run(params: Params) -> dict[str, Array]:
        x = Embeddings(config).apply({"params": params["embeddings"]}, ids, types)
        x, found = lax.scan(
            lambda x, _: lax.scan(layer, x, params["encoder"]), x, length=config.passes
        )
        of_layers = {name: power.mean(axis=0) for name, power in found.items()}
        of_head, product = _recording()
        Head(config, product).apply({"params": params["head"]}, x)
        return {**of_layers, **of_head}

    return run(jax.tree.map(jnp.asarray, dict(params)))


def _recording() -> tuple[dict[str, Array], Product]:
    """Make a product that records the mean square of its inputs, and the record."""
    found: dict[str, Array] = {}

    def product(
        names: tuple[str, ...], x: Array, kernels: tuple[Array | None, ...]
    ) -> tuple[Array, ...]:
        found.update(dict.fromkeys(names, jnp.mean(x * x)))
        return float_product(names, x, kernels)

    return found, product


def sensitivity(
    scales: Mapping[str, np.ndarray], powers: Mapping[str, np.ndarray], rows: Mapping[str, int]
) -> Sensitivity:
    """Compute the default sensitivity: squared scale times the mean square of the inputs.

    Args:
        scales: [*L, C] a code's worth in each column.
        powers: [*L] mean square of its inputs (`input_power`); a table that is looked up has
            none, and counts as driven by one of its rows at a time.
        rows: rows of each matrix.
    """
    return {
        name: np.asarray(scale, np.float64) ** 2
        * np.asarray(powers.get(name, 1 / rows[name]), np.float64)[..., None]
        for name, scale in scales.items()
    }


def read_sensitivity(path: str, scales: Mapping[str, np.ndarray]) -> Sensitivity:
    """Read sensitivities from an .npz file, one array a matrix that broadcasts to [*L, C].

    Raises:
        ValueError: no such file, a matrix missing or unknown, a bad shape or value.
    """
    loaded = _arrays(path)
    wrong = sorted(set(loaded) ^ set(scales))
    if wrong:
        what = "lacks" if wrong[0] in scales else "has an unknown matrix"
        known = ", ".join(scales)
        raise ValueError(f"{path} {what} {wrong[0]}: give one array for each of {known}")
    found = {}
    for name, scale in scales.items():
        array = loaded[name]
        if array.dtype.kind not in "fiu" or not (np.isfinite(array) & (array >= 0)).all():
            raise ValueError(f"{path}: {name} is not all finite and >= 0: give such numbers")
        try:
            found[name] = np.broadcast_to(array.astype(np.float64), np.shape(scale)).copy()
        except ValueError:
            raise ValueError(
                f"{path}: {name} has shape {array.shape}: give one that broadcasts to "
                f"{np.shape(scale)}"
            ) from None
    return found


def _arrays(path: str) -> dict[str, Any]:
    try:
        with at_home(path).open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (OSError, ValueError, AttributeError, TypeError, EOFError, BadZipFile, zlib.error,
            NotImplementedError, RuntimeError) as error:  # fmt: skip
        raise ValueError(
            f"{path} is no readable .npz file ({error}): write one with numpy.savez"
        ) from None
