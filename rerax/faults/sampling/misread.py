"""Levels of cells that are sensed wrongly, inside jit.

A sensed level is the cell's own plus Gaussian noise, rounded to the nearest level there is. With
noise of standard deviation sigma, in distances between adjacent levels, a cell is sensed k levels
or more away, up or down, with probability erfc((k - 1/2) / (sigma sqrt 2)).

Those cells are drawn by the process of stuck cells (`poisson_process`), under a key of their own:
what is k away lies among what is k - 1 away, and what is misread at a sigma among what is at any
larger one. Whether it is sensed higher or lower is a hash of the cell.
"""

import decimal
import itertools
from decimal import Decimal
from fractions import Fraction

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Int8, Key, UInt8

from rerax.crossbar.keys import misread_key
from rerax.crossbar.spec import ChipSpec
from rerax.faults.sampling.poisson_process import stuck_cells
from rerax.faults.sampling.rates import Axis, rate_table

NEVER, FAR = 1e-15, 9
"""Chance of a cell below which it is not sensed so far away, and standard deviations for that."""
PI = Decimal("3.14159265358979323846264338327950288419716939937510582097494459")


def sense(
    words: UInt8[Array, "G R C"], key: Key[Array, ""], spec: ChipSpec, axis: Axis
) -> UInt8[Array, "G R C"]:
    """Sense the level of every cell, some wrongly.

    Args:
        words: levels as they are, words as they lie in cells.
        key: the array's key.
        spec: geometry, and the noise (`ChipSpec.misread`).
        axis: names of the `vmap` axes over chips and arrays, if any.
    """
    chances = far_chances(spec)
    if not chances:
        return words
    steps = _steps(key, chances, spec, words.shape[1:], axis)
    sensed = []
    for group in range(spec.groups):
        word = jnp.zeros(words.shape[1:], jnp.uint8)
        for cell in range(spec.cells_per_group):
            top, shift = (1 << spec.bits_of_cell(cell)) - 1, cell * spec.bits_per_cell
            level = ((words[group] >> shift) & top).astype(jnp.int8)
            level = jnp.clip(level + steps[group * spec.cells_per_group + cell], 0, top)
            word |= level.astype(jnp.uint8) << shift
        sensed.append(word)
    return jnp.stack(sensed)


def far_chances(spec: ChipSpec) -> list[float]:
    """Compute the chances that a cell is sensed 1, 2, .. levels or more away, up or down."""
    if not spec.misread:
        return []
    most = (1 << min(spec.bits_per_cell, spec.group_bits)) - 1
    chances = [
        _outside(Fraction(2 * far - 1, 2) / Fraction(spec.misread)) for far in range(1, most + 1)
    ]
    return [chance for chance in chances if chance > NEVER]


def _outside(edge: Fraction) -> float:
    """Compute P(|z| >= edge) of a standard normal z, in decimals, the same on every machine.

    By erf x = 2 / sqrt(pi) x exp(-x^2) sum_n (2 x^2)^n / (1 * 3 * .. * (2n + 1)), x = edge / sqrt 2
    (Abramowitz and Stegun, 7.1.6), whose terms are all positive.
    """
    if edge > FAR:
        return 0.0
    with decimal.localcontext(decimal.Context(prec=60)):
        square = Decimal(edge.numerator) / Decimal(edge.denominator)
        square *= square
        term = total = Decimal(1)
        for n in itertools.count(1):
            term *= square / (2 * n + 1)
            total += term
            if term < total * Decimal("1e-50"):
                break
        return float(1 - (2 * square / PI).sqrt() * (-square / 2).exp() * total)


def _steps(
    key: Key[Array, ""],
    chances: list[float],
    spec: ChipSpec,
    shape: tuple[int, ...],
    axis: Axis,
) -> Int8[Array, "S R C"]:
    """Draw by how many levels each cell is sensed above (or below) its own."""
    tables = rate_table(chances, sa1_share=0.5).along(axis)
    rows, columns = shape
    own = misread_key(key)

    def one_further(steps: Array, table: object) -> tuple[Array, None]:
        states = stuck_cells(own, table, spec, rows, columns)  # type: ignore[arg-type]
        up = 2 * (states >> 1).astype(jnp.int8) - 1
        return steps + jnp.where(states == 0, jnp.int8(0), up), None

    none = jnp.zeros((spec.cells_per_weight, rows, columns), jnp.int8)
    return lax.scan(one_further, none, tables)[0]
