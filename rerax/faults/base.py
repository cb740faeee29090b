"""What a fault model is, and the table of those that have a name. No JAX here."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, NamedTuple

from jaxtyping import UInt8

from rerax.crossbar.array_id import ArrayId
from rerax.crossbar.spec import ChipSpec
from rerax.registry import Entry, Registry

DEFAULT_SA1_SHARE = Fraction(904, 1079)
"""SA1 : SA0 = 9.04 : 1.75, the split usually quoted from March-test work on HfO2 chips."""


class Site(NamedTuple):
    """Which base array of which chip: all that a map of measured chips needs to know of it."""

    chip: Any
    array: ArrayId
    layer: Any


@dataclass(frozen=True)
class Odds:
    """What can happen to one cell.

    Attributes:
        at_0, at_1: probability that it is stuck at its lowest, at its highest level.
        flip: probability that one of its bits reads inverted.
        known: whether a tester would find its stuck cells.
        by_wordline: whether all cells of a wordline within one tile are stuck alike.
        by_bitline: whether those of a bitline within one tile are wrong together.
        by_tile: whether tiles have rates of their own, so that wrong cells of a tile come together.
    """

    at_0: float = 0.0
    at_1: float = 0.0
    flip: float = 0.0
    known: bool = True
    by_wordline: bool = False
    by_bitline: bool = False
    by_tile: bool = False


class FaultModel:
    """What a fault model has to be: a frozen dataclass, without state, nested in rate.

    The faults at a rate must be among those at any higher one, follow from the arguments alone,
    and be none at rate 0. Methods import JAX themselves, so that names can be checked without it.
    """

    has_polarity: bool = True
    """Whether `sa1_share` means anything to it."""

    tells_arrays_apart: bool = True
    """Whether `disturb` looks at its site; if not, arrays of one shape share a compiled sampler."""

    @property
    def text(self) -> str:
        """Its name in rows and flags (`register_fault`), as `fault_model` takes it.

        Raises:
            ValueError: it has none.
        """
        raise ValueError(
            f"fault {self!r} has no name for rows: give it a property `text` and enter it with "
            "rerax.register_fault"
        )

    @property
    def name(self) -> str:
        """What names it in rows: `text`, but that no two names mean the same faults."""
        return self.text

    def tables(self, rate: float) -> Any:
        """Make arrays of its own that `disturb` finds in `rates.tables`; () where it needs none.

        Their shapes must not depend on the rate, so that one compile serves every rate.
        """
        return ()

    def check_arrays(
        self, shapes: Mapping[str, tuple[int, int, int]], others: Collection[str], spec: ChipSpec
    ) -> None:
        """Refuse arrays that it does not fit.

        Args:
            shapes: layers, rows and columns of each array on crossbars, by name.
            others: leaves of the model that are not on crossbars.
            spec: how they are laid out.

        Raises:
            ValueError: why.
        """

    def states(self, key: Any, rates: Any, spec: ChipSpec, shape: tuple[int, int]) -> Any:
        """Draw stuck cells of one array, UInt8 [S, R, C]: 0 healthy, 1 stuck at 0, 3 stuck at 1.

        Args:
            key: the array's key.
            rates: the rate (`rerax.rate_table`).
            spec: geometry.
            shape: rows R and columns C of the matrix.
        """
        raise NotImplementedError(f"{type(self).__name__} has neither states nor disturb")

    def disturb(
        self,
        words: UInt8[Any, "G R C"],
        key: Any,
        rates: Any,
        spec: ChipSpec,
        site: Site | None = None,
    ) -> Any:
        """Read words from a faulty array, and say what is faulty in it (`faults.read_out.ReadOut`).

        What the caller does not use of the result costs nothing inside `jit`. By default the
        cells that `states` gives hold their level whatever was written.

        Args:
            words: stored words.
            key: the array's key, by which random models know it.
            rates: the rate.
            spec: geometry.
            site: which base array it is; None: a spare one.
        """
        from rerax.faults.read_out import stick

        states = self.states(key, rates, spec, words.shape[1:])
        wanted = (spec.cells_per_weight, *words.shape[1:])
        if states.shape != wanted or str(states.dtype) != "uint8":
            raise ValueError(
                f"states of {type(self).__name__} are {states.dtype} {states.shape}: give uint8 "
                f"{wanted}, one for each cell"
            )
        return stick(words, states, spec)

    def counts_in(
        self, bits: Any, words: UInt8[Any, "G R C"], key: Any, rates: Any, spec: ChipSpec
    ) -> Any:
        """Count faulty cells that hold one of the chosen bits; None: as what is read tells.

        Only models whose faulty cells cannot be told from what they read have more to say.
        """
        return None

    def odds_on(self, rate: float, sa1_share: float, matrices: Collection[str]) -> Odds:
        """Give the odds of a cell of some matrices: `odds`, but for a model that tells them apart.

        Args:
            rate, sa1_share: see `odds`.
            matrices: their names.
        """
        return self.odds(rate, sa1_share)

    def odds(self, rate: float, sa1_share: float) -> Odds:
        """Give the odds of one cell, for the planner.

        Raises:
            ValueError: they are not known.
        """
        raise ValueError(f"the odds of fault {self.text!r} are not known: plan for uniform, say")


@dataclass(frozen=True)
class NoFault(FaultModel):
    """No faults, and nothing to sample: a clean pass in its cheapest form. For Python only."""

    tells_arrays_apart = False

    has_polarity = False

    def disturb(
        self,
        words: UInt8[Any, "G R C"],
        key: Any,
        rates: Any,
        spec: ChipSpec,
        site: Site | None = None,
    ) -> Any:
        """Return the words as they are."""
        from rerax.faults.read_out import unharmed

        return unharmed(words)

    def odds(self, rate: float, sa1_share: float) -> Odds:
        """Return odds of no fault."""
        return Odds()


FAULTS = Registry("fault", FaultModel)


def register_fault(kind: str, make: Callable[[str], FaultModel], form: str = "") -> None:
    """Give a fault model a name, so that `fault_model`, sweeps and flags find it.

    A name that is registered again means the new model. Rows in a folder keep no more than the
    name, so a model that has changed needs another.

    Args:
        kind: the name, `KIND` or the part of `KIND:TEXT` before the colon; none of the package's.
        make: gives the model for the text after the colon, "" where there is none.
        form: what stands behind the colon, for messages, as `A` of `clustered:A`; "": nothing.

    Raises:
        ValueError: a name that rows and flags cannot hold, or one of the package's.
    """
    whole = f"{kind}:{form}" if form else kind
    entry = Entry(lambda name: make(name.partition(":")[2]), whole, bool(form))
    FAULTS.enter(kind, make, entry)


def registered_faults() -> Mapping[str, str]:
    """List the forms of all names, by kind, in order."""
    return FAULTS.forms()


def fault_model(name: Any) -> FaultModel:
    """Make the fault model of that name, such as `uniform` or `clustered:2`; one is given back.

    Raises:
        ValueError: unknown name (the known ones are listed), or a bad text after the colon.
    """
    return FAULTS.make(name)
