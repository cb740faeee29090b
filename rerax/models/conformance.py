"""Checks of a user's own fault models and protections against what the package assumes of them.

Those of the package are held to the same by the tests.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from rerax.crossbar.array_id import path_id
from rerax.crossbar.encoding import decode
from rerax.crossbar.keys import array_key, chip
from rerax.crossbar.spec import ChipSpec
from rerax.faults import FaultModel
from rerax.faults.read_out import ReadOut, unharmed
from rerax.faults.sampling.rates import rate_table
from rerax.hardware import Hardware
from rerax.protection import Protection, StoredMatrix
from rerax.protection.base import KNOWLEDGE
from rerax.values import is_integer, shown

SHAPE = 24, 16
RATES = 0.0, 0.02, 0.3, 1.0
"""No faults, then faults among which those of the rate before must be."""


def check_own(hardware: Hardware) -> None:
    """Refuse a fault model or a protection of the user's that breaks what rows rely on.

    Raises:
        ValueError: which, and how.
    """
    if not is_ours(hardware.fault):
        check_fault(hardware.fault, hardware.spec)
    if not is_ours(hardware.protection):
        check_protection(hardware.protection, hardware.spec)


def is_ours(thing: FaultModel | Protection) -> bool:
    """Whether a fault model or a protection is the package's own."""
    return type(thing).__module__.partition(".")[0] == "rerax"


@functools.lru_cache(64)
def check_fault(fault: FaultModel, spec: ChipSpec) -> None:
    """Refuse states that are none, faults at rate 0, and faults that a higher rate mends.

    Of a model that overrides `disturb` what it does at rate 0 is tried, to a spare array.

    Args:
        fault: the fault model.
        spec: geometry of a small array.

    Raises:
        ValueError: which.
    """
    name, own = type(fault).__name__, type(fault)
    if own.states is FaultModel.states and own.disturb is FaultModel.disturb:
        raise ValueError(f"{name} says nothing of faults: override states or disturb")
    key = array_key(chip(0, 0).key, path_id("check"), 0)
    drawn = np.random.default_rng(0).integers(0, 1 << spec.group_bits, (spec.groups, *SHAPE))
    words, none = jnp.asarray(drawn, jnp.uint8), rate_table(0.0, fault=fault)
    read = jax.jit(lambda rates: fault.disturb(words, key, rates, spec))(none)
    if not isinstance(read, ReadOut):
        raise ValueError(f"disturb of {name} gives {shown(read)}: give a rerax.ReadOut")
    if (np.asarray(read.words) != np.asarray(words)).any() or np.asarray(read.known).any():
        raise ValueError(f"{name} has faults at rate 0: it must have none")
    if own.disturb is not FaultModel.disturb:
        return
    states = jax.jit(lambda rates: fault.states(key, rates, spec, SHAPE))
    before = np.zeros((spec.cells_per_weight, *SHAPE), np.uint8)
    for rate in RATES:
        found = np.asarray(states(rate_table(rate, fault=fault)))
        wrong = sorted(set(np.unique(found).tolist()) - {0, 1, 3})
        if wrong:
            raise ValueError(
                f"states of {name} hold {wrong[0]}: give 0 healthy, 1 stuck at 0, 3 stuck at 1"
            )
        if (before.astype(bool) & (found != before)).any():
            raise ValueError(
                f"{name} has other faults at rate {rate:g} than at a lower one: those must be "
                "among them"
            )
        before = found
    if not before.any():
        raise ValueError(f"{name} has no faults at rate 1: let some cells be stuck there")


@functools.lru_cache(64)
def check_protection(scheme: Protection, spec: ChipSpec) -> None:
    """Refuse a protection that reads other codes than were stored where nothing is faulty.

    One that says it is not `exact` may. A matrix for which it has no room is not tried.

    Args:
        scheme: the protection.
        spec: geometry of a small array.

    Raises:
        ValueError: it does.
    """
    if not is_integer(scheme.spare_arrays) or scheme.spare_arrays < 0:
        raise ValueError(
            f"spare_arrays of {type(scheme).__name__} is {scheme.spare_arrays!r}: give a whole "
            "number of further arrays, or 0"
        )
    if scheme.knows not in KNOWLEDGE:
        raise ValueError(
            f"knows of {type(scheme).__name__} is {scheme.knows!r}: give one of "
            f"{', '.join(map(repr, KNOWLEDGE))}"
        )
    own = type(scheme)
    decided = isinstance(own.knows, property)  # by what the object is made of, as ours do
    overrides = own.write is not Protection.write
    if overrides and scheme.knows != "map at writing" and not decided:
        raise ValueError(
            f"{own.__name__} overrides write, which is called only where knows is 'map at "
            f"writing', and it is {scheme.knows!r}: let it say so, or leave write out"
        )
    if not scheme.exact:
        return
    most = 2 ** (spec.bits - 1) - 1
    codes = np.random.default_rng(0).integers(-most, most + 1, SHAPE).astype(np.int8)
    row, column = np.arange(SHAPE[0]) % 3 > 0, np.arange(SHAPE[1]) % 2 > 0
    for lines in (None, (row, column)):
        kept = np.ones(SHAPE, bool) if lines is None else row[:, None] & column
        try:
            stored = scheme.store(np.where(kept, codes, 0), lines, spec, "check")
            words, extra, _, spare = StoredMatrix(*stored)
        except ValueError:
            continue
        shape = np.shape(words)
        if shape != (spec.groups, *SHAPE) or getattr(words, "dtype", None) != np.uint8:
            raise ValueError(
                f"store of {type(scheme).__name__} gives words {shape}: give uint8 "
                f"{(spec.groups, *SHAPE)} for codes {SHAPE}, with extra arrays beside them "
                "(StoredMatrix)"
            )
        written, none = jnp.asarray(words), jnp.zeros(shape, jnp.uint8)
        if scheme.knows == "map at writing":
            written, chosen = scheme.write(written, none, none, extra, spec, "check")
            extra = extra, chosen
        further = written if spare is None else jnp.asarray(spare)
        arrays = [unharmed(written), *[unharmed(further)] * scheme.spare_arrays]
        read = decode(scheme.recover(arrays, extra, spec, "check"), spec)
        if read.shape != SHAPE or (np.asarray(read) != codes)[kept].any():
            raise ValueError(
                f"{type(scheme).__name__} reads other codes than were stored although nothing is "
                "faulty: mend its store or recover, or let it say `exact = False`"
            )
        if not scheme.knows.startswith("map"):
            told = [one._replace(known=jnp.full_like(one.words, 255)) for one in arrays]
            other = decode(scheme.recover(told, extra, spec, "check"), spec)
            if (np.asarray(read) != np.asarray(other))[kept].any():
                raise ValueError(
                    f"{own.__name__} reads by what a tester knows, and says that it knows "
                    f"{scheme.knows!r}: let knows be 'map at reading'"
                )
