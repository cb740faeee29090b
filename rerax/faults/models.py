"""What a fault model is, and the plainest ones: stuck cells, flipped bits, none at all."""

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Int32, Key, UInt8, UInt32

from rerax._types import AnyArray
from rerax.crossbar.spec import ChipSpec
from rerax.faults.sampling.process import STUCK, Cells, Dose, sample, stuck_cells, stuck_words

HALF = 16
"""Bits of half a 32-bit number."""


class Counts(NamedTuple):
    """Faulty cells of one array, an int32 scalar each; after a sum over arrays, int64 [chips].

    `flipped` counts bits.
    """

    stuck_at_0: AnyArray
    stuck_at_1: AnyArray
    stuck_other: AnyArray
    shorted: AnyArray
    flipped: AnyArray


class Disturbed(NamedTuple):
    """What an array reads, and what is wrong with it.

    Attributes:
        words: stored words as read.
        known: the bits of each word that a tester would know to be stuck: those of stuck cells.
            Transient flips and shorts leave it zero.
        counts: faulty cells.
    """

    words: UInt8[Array, "G R C"]
    known: UInt8[Array, "G R C"]
    counts: Counts


class Site(NamedTuple):
    """Which base array this is: all that a map of measured chips needs to know of it."""

    chip: UInt32[Array, ""]
    matrix: str
    layer: int | UInt32[Array, ""]


@runtime_checkable
class FaultModel(Protocol):
    """What a notebook implements to add a fault model; instances are hashable and stateless."""

    @property
    def has_polarity(self) -> bool:
        """Whether `sa1_share` means anything to it."""
        ...

    def tables(self, rate: float) -> Any:
        """Arrays of its own that `disturb` finds in `dose.tables`; () where it needs none.

        Their shapes must not depend on the rate, so that one compile serves every rate.
        """
        ...

    def disturb(
        self,
        words: UInt8[Array, "G R C"],
        key: Key[Array, ""],
        dose: Dose,
        spec: ChipSpec,
        lanes: str | None = None,
        site: Site | None = None,
    ) -> Disturbed:
        """Words as read from the array with this key at this dose, and what is faulty in it.

        What the caller does not use of the result costs nothing inside `jit`.

        It must be nested in rate and a pure function of its arguments, `lanes` apart, which
        names an enclosing `vmap` axis over chips and must change no outcome. Random models know
        the array by its key alone; `site` says which base array it is (None: a spare one).
        """
        ...


def stick(words: UInt8[Array, "G R C"], states: UInt8[Array, "S R C"], spec: ChipSpec) -> Disturbed:
    """Stuck cells hold their level whatever was written.

    Args:
        words: stored words.
        states: of every cell: 0 healthy, 1 stuck at 0, 3 stuck at 1.
        spec: how words become cells.
    """
    mask, value = stuck_words(states, spec)
    lowest = jnp.uint8(lowest_bits(spec))  # words are fewer than cells, and so counted sooner
    stuck, at_1 = _ones_of_both(mask & lowest, value & lowest)
    counts = counts_of(stuck_at_0=stuck - at_1, stuck_at_1=at_1)
    return Disturbed((words & ~mask) | value, mask, counts)


def _ones_of_both(
    one: UInt8[Array, "G R C"], other: UInt8[Array, "G R C"]
) -> tuple[Int32[Array, ""], Int32[Array, ""]]:
    """`ones` of two arrays in one pass: along a row both counts fit into halves of 32 bits."""
    if 8 * one.shape[-1] >= 1 << HALF:
        return ones(one), ones(other)
    low, high = (lax.population_count(words).astype(jnp.uint32) for words in (one, other))
    rows = jnp.sum(low + (high << HALF), axis=-1, dtype=jnp.uint32)
    halves = (rows & ((1 << HALF) - 1), rows >> HALF)
    first, second = (jnp.sum(half.astype(jnp.int32), dtype=jnp.int32) for half in halves)
    return first, second


@dataclass(frozen=True)
class Uniform:
    """Every cell stuck independently with the same probability."""

    has_polarity: bool = True

    def tables(self, rate: float) -> tuple[()]:
        """None."""
        return ()

    def disturb(
        self,
        words: UInt8[Array, "G R C"],
        key: Key[Array, ""],
        dose: Dose,
        spec: ChipSpec,
        lanes: str | None = None,
        site: Site | None = None,
    ) -> Disturbed:
        """Stuck cells hold their level whatever was written."""
        _, rows, columns = words.shape
        return stick(words, stuck_cells(key, dose, spec, rows, columns, lanes), spec)


@dataclass(frozen=True)
class Flip:
    """Transient bit flips: every stored bit inverted independently, held for one evaluation."""

    has_polarity: bool = False

    def tables(self, rate: float) -> tuple[()]:
        """None."""
        return ()

    def disturb(
        self,
        words: UInt8[Array, "G R C"],
        key: Key[Array, ""],
        dose: Dose,
        spec: ChipSpec,
        lanes: str | None = None,
        site: Site | None = None,
    ) -> Disturbed:
        """Inverts bits; the same process as `Uniform`, over bits in place of cells."""
        _, rows, columns = words.shape
        states = sample(key, dose, Cells(spec, rows, columns, spec.bits_per_cell), lanes)
        planes = states.reshape(spec.groups, -1, rows, columns)[:, : spec.group_bits] & STUCK
        shifts = jnp.arange(spec.group_bits, dtype=jnp.uint8)[None, :, None, None]
        flips = jnp.sum(planes << shifts, axis=1, dtype=jnp.uint8)
        return Disturbed(words ^ flips, jnp.zeros_like(words), counts_of(flipped=ones(flips)))


@dataclass(frozen=True)
class Healthy:
    """No faults, and nothing to sample: a clean pass in its cheapest form. For Python only."""

    has_polarity: bool = False

    def tables(self, rate: float) -> tuple[()]:
        """None."""
        return ()

    def disturb(
        self,
        words: UInt8[Array, "G R C"],
        key: Key[Array, ""],
        dose: Dose,
        spec: ChipSpec,
        lanes: str | None = None,
        site: Site | None = None,
    ) -> Disturbed:
        """The words as they are."""
        return Disturbed(words, jnp.zeros_like(words), counts_of())


def ones(words: UInt8[Array, "*shape"]) -> Int32[Array, ""]:
    """Bits that are set in all of the words."""
    return jnp.sum(lax.population_count(words), dtype=jnp.int32)


def lowest_bits(spec: ChipSpec) -> int:
    """A word with the lowest bit of each of its cells set."""
    return sum(1 << low for low in range(0, spec.group_bits, spec.bits_per_cell))


def counts_of(**known: Int32[Array, ""]) -> Counts:
    """Counts that are 0 where nothing is given."""
    return Counts(**{**dict.fromkeys(Counts._fields, jnp.int32(0)), **known})
