"""The only place where random keys are made.

A key is named by what it belongs to, never by where or when it is used: seed, chip, matrix,
layer. Everything else (which point of a process, which cell) is a *counter* fed to the
Threefry-2x32 block function under that key, so that any single draw can be had without those
before it, in any order, chunk or lane. Neither JAX's default generator nor its partitionable
switch has a say: keys ask for `threefry2x32` by name and bits come from `threefry`.
"""

import functools
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key, UInt32

from rerax._types import AnyArray
from rerax.crossbar.array_id import ArrayId
from rerax.values import as_integer

if TYPE_CHECKING:
    AWhole = int
    ANumber = int | UInt32[Array, ""]
else:  # what is of another kind is refused below, in a line of our own
    AWhole = ANumber = Any

_TRAINING = 0xFFFFFFFF  # no chip has this number
_SPARE, _SAMPLED = 0x80000000, 0xFFFFFFFF  # no matrix has these numbers
# no purposes of an array have these numbers
_MISSED, _MISREAD, _THINNED = 0xFFFFFFFF, 0xFFFFFFFE, 0xFFFFFFFD
_PURPOSES = {"head": 0, "order": 1, "dropout": 2, "faults": 3}

Words = tuple[UInt32[Array, "*shape"], UInt32[Array, "*shape"]]


def root_key(seed: AWhole) -> Key[Array, ""]:
    """Make the root of all keys of one campaign.

    Args:
        seed: whole number from 0 to 2^32 - 1.

    Raises:
        ValueError: no whole number, or one outside that range.
    """
    seed = as_integer("seed", seed)
    if not 0 <= seed < 2**32:
        raise ValueError(f"seed {seed} is outside 0..4294967295: give a whole number in the range")
    return jax.random.key(jnp.uint32(seed), impl="threefry2x32")


def chip_key(root: Key[Array, ""], chip: UInt32[Array, ""]) -> Key[Array, ""]:
    """Derive the key of one manufactured chip (lifetime: the chip's)."""
    return jax.random.fold_in(root, chip)


class Chip(NamedTuple):
    """One manufactured chip: all that tells it from others.

    Attributes:
        number: its number.
        key: its key, which its stuck cells follow from.
    """

    number: UInt32[Array, ""]
    key: Key[Array, ""]


def chip(seed: AWhole, number: ANumber) -> Chip:
    """Make one chip of a campaign.

    Args:
        seed: the campaign's seed.
        number: the chip's number, 0 to 2^32 - 2; inside `jit` it may be traced.

    Raises:
        ValueError: a seed or a number that is not whole, or outside its range.
    """
    root = root_key(seed)
    if isinstance(number, jax.core.Tracer):
        if number.ndim or not jnp.issubdtype(number.dtype, jnp.integer):
            raise ValueError(
                f"the chip's number is a traced {number.dtype} {number.shape}: give a whole "
                "number, and map over several with jax.vmap"
            )
        return chip_of(root, number.astype(jnp.uint32))
    if np.ndim(number):
        raise ValueError(f"{np.size(number)} numbers of chips: map over them with jax.vmap")
    whole = as_integer("chip", number)
    if not 0 <= whole < _TRAINING:
        raise ValueError(f"chip {whole} is outside 0..{_TRAINING - 1}: give one in the range")
    return chip_of(root, jnp.uint32(whole))


def chip_of(root: Key[Array, ""], number: UInt32[Array, ""]) -> Chip:
    """Make one chip from the campaign's root key."""
    return Chip(number, chip_key(root, number))


def array_key(
    chip_key: Key[Array, ""],
    array: ArrayId,
    layer: int | UInt32[AnyArray, ""],
    numbers: UInt32[Array, " k"] | None = None,
) -> Key[Array, ""]:
    """Derive the key of a matrix's base array in a layer (0 where it is not stacked).

    Args:
        chip_key: the chip's.
        array: the matrix's identity.
        layer: number of the layer.
        numbers: those of the identity, where they are traced; None: as `array` has them.
    """
    folded = array.numbers if numbers is None else tuple(numbers)
    return jax.random.fold_in(functools.reduce(jax.random.fold_in, folded, chip_key), layer)


def spare_key(chip_key: Key[Array, ""], j: int) -> Key[Array, ""]:
    """Derive the key of a chip's spare crossbars number `j`, to be used like the chip's own."""
    return jax.random.fold_in(chip_key, _SPARE + j)


def sampled_key(chip_key: Key[Array, ""]) -> Key[Array, ""]:
    """Derive the key of which examples a chip answers, from the chip's own."""
    return jax.random.fold_in(chip_key, _SAMPLED)


def missed_key(array_key: Key[Array, ""]) -> Key[Array, ""]:
    """Derive the key of what the test of an array does not find, from the array's own."""
    return jax.random.fold_in(array_key, _MISSED)


def thinned_key(array_key: Key[Array, ""], branch: UInt32[Array, ""]) -> Key[Array, ""]:
    """Derive the key of which points of an array's process a descendant of its chip keeps."""
    return jax.random.fold_in(jax.random.fold_in(array_key, _THINNED), branch)


def misread_key(array_key: Key[Array, ""]) -> Key[Array, ""]:
    """Derive the key of what is sensed wrongly of an array, from the array's own."""
    return jax.random.fold_in(array_key, _MISREAD)


def training_key(
    root: Key[Array, ""], purpose: str, index: int | UInt32[Array, ""]
) -> Key[Array, ""]:
    """Derive the key of one use in a training run.

    Args:
        root: the run's root key.
        purpose: `head` (a new classifier), `order` (of sentences), `dropout` or `faults`.
        index: epoch or step.
    """
    run_key = jax.random.fold_in(jax.random.fold_in(root, _TRAINING), _PURPOSES[purpose])
    return jax.random.fold_in(run_key, index)


def purpose_keys(key: Key[Array, ""], n: int) -> UInt32[Array, "n 2"]:
    """Derive key words for the `n` separate purposes that one array's key serves."""
    return jax.vmap(lambda i: jax.random.key_data(jax.random.fold_in(key, i)))(
        jnp.arange(n, dtype=jnp.uint32)
    )


def threefry(
    key: UInt32[Array, "2"] | tuple[Array, Array], x0: Array, x1: Array
) -> tuple[Array, Array]:
    """Compute Threefry-2x32 with 20 rounds: two random words for each pair of counter words.

    Args:
        key: two key words.
        x0, x1: uint32 counters of equal shape.

    Returns:
        Two uint32 arrays of that shape.

    Source: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011. It equals
    JAX's own primitive bit for bit; written out because unrolled and fused with its consumer
    it costs a fourth of the library's rolled loop on a CPU.
    """
    rotations = ((13, 15, 26, 6), (17, 29, 16, 24))
    schedule = (key[0], key[1], key[0] ^ key[1] ^ jnp.uint32(0x1BD11BDA))
    x0, x1 = x0 + schedule[0], x1 + schedule[1]
    for i in range(5):
        for r in rotations[i % 2]:
            x0 = x0 + x1
            x1 = ((x1 << r) | (x1 >> (32 - r))) ^ x0
        x0 = x0 + schedule[(i + 1) % 3]
        x1 = x1 + schedule[(i + 2) % 3] + jnp.uint32(i + 1)
    return x0, x1
