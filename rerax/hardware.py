"""The chip that a model is put on: everything about it that is no number. No JAX here."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rerax.crossbar.spec import ChipSpec
from rerax.faults import FaultModel, Measured, Tested, Uniform, fault_model, tested
from rerax.protection import Protection, Unprotected, protection
from rerax.values import is_integer, shown

if TYPE_CHECKING:
    ASpec = ChipSpec
    AFault = FaultModel
    AProtection = Protection
    ATested = Tested
else:  # what is held; given may be the text as well
    ASpec = AFault = AProtection = ATested = Any

_SPEC, _FAULT, _PROTECTION, _TESTED = ChipSpec(), Uniform(), Unprotected(), Tested()


@dataclass(frozen=True)
class Hardware:
    """Crossbars, their faults, and what protects the weights on them.

    Static and hashable: one compiled program for each value.

    Attributes:
        spec: how weights become cells.
        fault: the fault model, or its name.
        protection: what is stored beside the weights and voted on reading, or its name.
        input_bits: 8 for integer products of codes, None for float inputs.
        tested: which stuck cells a protection that knows a chip's map knows (`Tested`), or its
            text; it means nothing to others, nor where faults are no stuck cells, and is `all`
            there.

    Raises:
        ValueError: an object of another kind, or a protection that the spec has no bits for.

    Example:
        >>> Hardware(fault="clustered:2", protection="msb:1x3:lsb").protection.msbs
        1
    """

    spec: ASpec = _SPEC
    fault: AFault = _FAULT
    protection: AProtection = _PROTECTION
    input_bits: int | None = 8
    tested: ATested = _TESTED

    def __post_init__(self) -> None:
        if not isinstance(self.spec, ChipSpec):
            raise ValueError(f"spec {shown(self.spec)} is none: give a rerax.ChipSpec")
        object.__setattr__(self, "fault", fault_model(self.fault))
        object.__setattr__(self, "protection", protection(self.protection))
        found = tested(self.tested)
        if found.rate < 1 and isinstance(self.fault, Measured):
            raise ValueError(
                f"{found.text} is of no use to {self.fault.text}, whose cells have no rate: use "
                "share:0.99, or leave it out"
            )
        if not (self.protection.knows.startswith("map") and _is_found(self.fault)):
            found = _TESTED
        object.__setattr__(self, "tested", found)
        for thing in (self.fault, self.protection):
            check_hashable(thing)
        self.protection.check(self.spec)
        check_input_bits(self.input_bits)


def _is_found(fault: FaultModel) -> bool:
    """Whether a test can find what is wrong, as far as the model says."""
    try:
        return fault.odds(0.5, 0.5).known
    except ValueError:
        return True


def check_hashable(thing: FaultModel | Protection) -> None:
    """Refuse objects that compiled programs cannot be told apart by."""
    try:
        hash(thing)
    except TypeError as error:
        raise ValueError(
            f"{shown(thing)} has no hash ({error}): make it a dataclass(frozen=True) whose fields "
            "are numbers, texts and tuples"
        ) from None


def check_input_bits(bits: int | None) -> None:
    """Refuse widths of inputs that are not supported."""
    if bits is not None and not (is_integer(bits) and bits == 8):
        raise ValueError(f"input-bits {shown(bits)} is not supported: use 8 or none")
