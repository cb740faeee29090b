"""Weights as a chip with faults reads them, for training that must bear them.

Every step sees another chip, so that one model is trained for all of them. Derivatives pass
straight through: a weight learns by what its cells gave, whatever it was.

Source: Stutz, Chandramoorthy, Hein and Schiele, "Bit error robustness for energy-efficient DNN
accelerators", MLSys 2021 (arXiv 2006.13977), there with random bit errors.
"""

from typing import Any

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from rerax.crossbar.crossbar import Crossbar
from rerax.crossbar.encoding import encode
from rerax.crossbar.keys import Chip
from rerax.crossbar.quantise import straight_through, whole_numbers
from rerax.crossbar.spec import ChipSpec
from rerax.evaluate.network import reader
from rerax.faults import fault_model
from rerax.faults.mask import Faults
from rerax.faults.sampling.rates import rate_table
from rerax.hardware import Hardware
from rerax.models.bert.crossbars import path_of, weights_of
from rerax.models.bert.names import DEFAULT_GROUPS, IDS, SECTION
from rerax.paths import with_leaves
from rerax.pruning.gates import Gates
from rerax.train.recipe import Recipe


def faulty_params(params: Any, gates: Gates, recipe: Recipe, chip: Chip) -> Any:
    """Give parameters whose matrices on crossbars are what a chip reads.

    Args:
        params: float weights, zero under closed gates.
        gates: of some matrices; what is stuck behind closed ones counts nothing.
        recipe: codes, encoding, fault and rate.
        chip: which chip.
    """
    fault, bits, rate = recipe.faults, recipe.bits, recipe.rate
    if fault is None or bits is None or rate is None:
        raise ValueError("the recipe names no faults: give faults, rate and bits")
    hardware = Hardware(ChipSpec(recipe.encoding, bits), fault_model(fault))
    faults = Faults(rate_table(rate, fault=hardware.fault))
    read_section = reader(hardware, chip, faults)
    weights = weights_of(params, DEFAULT_GROUPS)
    sections: dict[str, dict[str, Crossbar]] = {}
    for name, matrix in weights.items():
        crossbar = _crossbar(name, matrix, hardware.spec)
        sections.setdefault(SECTION[name], {})[name] = crossbar
    found = {}
    for section, crossbars in sections.items():
        if section == "encoder":
            read = lax.map(lambda one: read_section(one)[0], crossbars)
        else:
            read, _ = read_section(crossbars)
        for name, codes in read.items():
            hard = codes.astype(jnp.float32) * crossbars[name].scale[..., None, :]
            if name in gates:
                row, column = (gates[name][side] >= 0 for side in ("row", "column"))
                hard = jnp.where(row[..., :, None] & column[..., None, :], hard, 0.0)
            found[path_of(name)] = straight_through(hard.astype(weights[name].dtype), weights[name])
    return with_leaves(params, found)


def _crossbar(name: str, weights: Float[Array, "*L R C"], spec: ChipSpec) -> Crossbar:
    """Put a matrix onto bare cells, inside jit (`models.stored.store` does so on the host)."""
    codes, scale = whole_numbers(lax.stop_gradient(weights), spec.bits)
    layers = weights.shape[:-2]
    number = jnp.arange(layers[0] if layers else 1, dtype=jnp.uint32).reshape(layers)
    words = encode(codes.astype(jnp.int8), spec)
    return Crossbar(words, scale[..., 0, :], number, None, None, IDS[name])


def clipped(params: Any, largest: float) -> Any:
    """Clip the weights on crossbars to a largest magnitude.

    Outliers set a column's scale, and with it what a stuck cell of the column costs.
    """
    found = {
        path_of(name): jnp.clip(matrix, -largest, largest)
        for name, matrix in weights_of(params, DEFAULT_GROUPS).items()
    }
    return with_leaves(params, found)
