"""Names of fault models and protections, read without making one. No JAX here.

`faults` and `protection` make what is named, so that a wrong name is refused before they are
imported.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from rerax.gamma import check_shape
from rerax.values import is_whole

# fault models -----------------------------------------------------------------------------------

FAULTS: dict[str, Callable[[str], Any]] = {}
"""Fault models by name. Each is made from the text after the colon, "" where there is none."""

WITH_TEXT = {"clustered": "A", "map": "FILE"}
"""Names that need such a text, and what stands there."""

_OWN_FAULTS = ("uniform", "clustered", "wordline", "bitline", "short", "flip", "map")
"""What `faults` enters in `FAULTS` once it is imported."""


def check_fault(name: str) -> None:
    """Refuse the name of a fault model that there is not; no file of a `map` is read.

    Raises:
        ValueError: unknown name (the known ones are listed), or a bad text after the colon.
    """
    kind, colon, text = name.partition(":")
    kinds = dict.fromkeys((*_OWN_FAULTS, *FAULTS))
    known = ", ".join(f"{k}:{WITH_TEXT[k]}" if k in WITH_TEXT else k for k in kinds)
    complete = bool(text) if kind in WITH_TEXT else not colon
    if kind not in kinds or not complete:
        raise ValueError(f"unknown fault {name!r}: use one of {known}")
    if kind == "clustered":
        try:
            shape = float(text)
        except ValueError:
            raise ValueError(
                f"clustered shape {text!r} is not a number: give a gamma shape such as 2"
            ) from None
        check_shape(shape)


# protections ------------------------------------------------------------------------------------

PROTECTIONS: dict[str, Callable[[list[str]], Any]] = {}
"""Kind of protection -> what makes one from the parts of its name behind the first colon."""

FORMS = {
    "none": "none",
    "duplicate": "duplicate:3",
    "msb": "msb:2x3:pruned (or :lsb, :pruned+lsb; with :erasures behind)",
    "allocation": "",  # what a plan is resolved to; nobody writes it
    "plan": "plan, plan:FILE",
}
"""How names of a kind look, for those who have to give one; other kinds by their name alone."""

PURSES = ("pruned", "lsb", "pruned+lsb")


class Msb(NamedTuple):
    """What the name of embedded copies says (`protection.MsbEmbed`)."""

    msbs: int
    copies: int | tuple[int, ...]
    into: str
    erasures: bool


def check_protection(name: str, group_bits: int = 8) -> None:
    """Refuse the name of a protection that there is not; no file of a plan is read.

    Args:
        name: as `protection.protection` takes it, or `plan` and the like.
        group_bits: bits of a group, of which no more can be voted.

    Raises:
        ValueError: unknown name (the known ones are listed), or parts that it does not take.
    """
    kind, *parts = name.split(":")
    kinds = dict.fromkeys((*FORMS, *PROTECTIONS))
    if kind not in kinds:
        known = ", ".join(FORMS.get(k, k) for k in kinds if FORMS.get(k) != "")
        raise ValueError(f"unknown protection {name!r}: use one of {known}")
    if kind == "none":
        check_none(parts)
    elif kind == "duplicate":
        check_copies(read_duplicate(parts)[0])
    elif kind == "msb":
        check_msbs(read_msb(parts), group_bits)
    elif kind == "allocation":
        for own in read_allocation(parts).values():
            check_protection(own, group_bits)


def check_none(parts: list[str]) -> None:
    """Refuse what stands behind `none`."""
    if parts:
        raise ValueError(f"protection none takes nothing, not {':'.join(parts)!r}: use none")


def read_duplicate(parts: list[str]) -> tuple[int, bool]:
    """Copies, and whether known stuck cells are left out, behind `duplicate:`.

    Raises:
        ValueError: anything else.
    """
    parts, erasures = _erasures(parts)
    if len(parts) != 1 or not is_whole(parts[0]):
        raise ValueError(f"duplicate:{':'.join(parts)} is not understood: use duplicate:3")
    return int(parts[0]), erasures


def read_msb(parts: list[str]) -> Msb:
    """What stands behind `msb:`.

    Raises:
        ValueError: anything that is no width, depth and place of copies.
    """
    parts, erasures = _erasures(parts)
    deep = parts[0] if parts else ""
    msbs, x, copies = deep.partition("x")
    depths = deep.split(".")
    if len(parts) == 2 and x and is_whole(msbs) and is_whole(copies):
        return Msb(int(msbs), int(copies), parts[1], erasures)
    if len(parts) == 2 and all(map(is_whole, depths)):
        return Msb(len(depths), tuple(map(int, depths)), parts[1], erasures)
    raise ValueError(
        f"msb:{':'.join(parts)} is not understood: use msb:2x3:pruned, :lsb or :pruned+lsb, or a "
        "depth for each bit, msb:5.3:pruned"
    )


def read_allocation(parts: list[str]) -> dict[str, str]:
    """Name of the protection of each matrix behind `allocation:`.

    Raises:
        ValueError: no such pairs, or a protection that is not for one matrix.
    """
    text = ":".join(parts)
    pairs = [item.partition("=") for item in text.split("/") if item]
    if not all(equals and name for _, equals, name in pairs):
        raise ValueError(f"allocation {text!r} is not understood: use MATRIX=PROTECTION/...")
    chosen = {matrix: name for matrix, _, name in pairs}
    check_allocation(chosen)
    return chosen


def check_allocation(chosen: Mapping[str, str]) -> None:
    """Refuse protections that span matrices or arrays."""
    for matrix, name in chosen.items():
        if name.partition(":")[0] in ("allocation", "duplicate", "plan"):
            raise ValueError(
                f"{matrix}={name} is not for one matrix: use msb, with no further array"
            )


def depths_of(msbs: int, copies: int | tuple[int, ...]) -> tuple[int, ...]:
    """Images of each voted bit, from the top down."""
    return (copies,) * msbs if isinstance(copies, int) else copies


def check_msbs(given: Msb, group_bits: int = 8) -> None:
    """Refuse embedded copies that cannot be voted.

    Raises:
        ValueError: a field outside its range, or more bits than a group has.
    """
    msbs, copies, into, _ = given
    if into not in PURSES:
        raise ValueError(f"copies into {into!r}: use one of {', '.join(PURSES)}")
    if not 1 <= msbs <= 8:
        raise ValueError(f"msbs {msbs} is outside 1..8: give a whole number in the range")
    depths = depths_of(msbs, copies)
    for depth in depths:
        check_copies(depth)
    if len(depths) != msbs or list(depths) != sorted(depths, reverse=True):
        raise ValueError(
            f"copies {copies} do not fit {msbs} msbs: give one odd number, or one for each bit "
            "from the top down, none above the one before"
        )
    if msbs > group_bits:
        raise ValueError(f"msbs {msbs} are more than the {group_bits} bits of a group: give fewer")


def check_copies(copies: int) -> None:
    """Refuse a number of images that has no majority."""
    if not 3 <= copies <= 99 or copies % 2 == 0:
        raise ValueError(f"{copies} copies cannot be voted: give an odd number from 3 to 99")


def left_bare(name: str, gated: Mapping[str, bool]) -> tuple[str, ...]:
    """Matrices that a protection means to protect and cannot, having no gates and so no room.

    Copies that may go to low bits as well (`lsb`, `pruned+lsb`) do without freed cells.

    Args:
        name: of the protection.
        gated: whether each matrix on crossbars has gates.

    Raises:
        ValueError: not one of those that it means to protect has gates, so it would do nothing.
    """
    kind, *parts = name.split(":")
    chosen = read_allocation(parts) if kind == "allocation" else None
    asked = [m for m in gated if _freed_only(name if chosen is None else chosen.get(m, "none"))]
    bare = tuple(matrix for matrix in asked if not gated[matrix])
    if bare and len(bare) == len(asked):
        raise ValueError(
            f"{name} keeps copies in cells that pruning freed, and no matrix has gates "
            f"({', '.join(bare)}): prune with rerax train --sparsity, or use "
            f"{'another plan' if chosen else name.replace(':pruned', ':lsb')} or duplicate:3"
        )
    return bare


def _freed_only(name: str) -> bool:
    kind, *parts = name.split(":")
    return kind == "msb" and read_msb(parts).into == "pruned"


def _erasures(parts: list[str]) -> tuple[list[str], bool]:
    return (parts[:-1], True) if parts[-1:] == ["erasures"] else (parts, False)
