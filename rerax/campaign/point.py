"""A point: one combination of model, task, spec, protection, fault model and rate. No JAX here."""

import contextlib
import hashlib
import json
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from rerax.crossbar.spec import ChipSpec, parse_tile
from rerax.glue.tasks import find_task
from rerax.measured import map_of
from rerax.models.bert.names import check_groups
from rerax.models.bert.scope import Scope
from rerax.names import check_fault, check_protection
from rerax.values import check_real, is_integer, read_fraction, read_number, shown

_TEXTS = ("task", "model", "encoding", "layout", "tile", "dtype", "matrices", "protection", "fault")
"""Fields that are texts."""


@dataclass(frozen=True)
class Point:
    """Everything that decides a chip's row, apart from what the folder fixes for all.

    `sa1_share` is exact, and None for fault models without polarity; `matrices` is a comma list
    in a fixed order; `faulty` says where faults act (`models.bert.scope`), None for everywhere.
    """

    task: str
    model: str
    rate: float
    sa1_share: Fraction | float | None = Fraction(904, 1079)
    encoding: str = "offset"
    bits: int = 8
    bits_per_cell: int = 1
    layout: str = "interleaved"
    tile: str = "128x128"
    input_bits: int | None = 8
    dtype: str = "float32"
    matrices: str = "encoder,pooler,classifier"
    protection: str = "none"
    fault: str = "uniform"
    faulty: str | None = None

    def __post_init__(self) -> None:
        for name in _TEXTS:
            value = getattr(self, name)
            if not isinstance(value, str):
                raise ValueError(f"{name} {shown(value)} is no text: give it in quotes")
            if any("\ud800" <= letter <= "\udfff" for letter in value):
                raise ValueError(f"{name} {value!r} is no Unicode, as rows need it: rename it")
        check_real("rate", self.rate)
        if not 0 <= self.rate <= 1:
            raise ValueError(f"rate {self.rate} is outside [0, 1]: give a fraction of all cells")
        if self.sa1_share is not None:
            check_real("sa1-share", self.sa1_share)
            if not 0 <= self.sa1_share <= 1:
                raise ValueError(f"sa1-share {self.sa1_share} is outside [0, 1]: give a fraction")
        spec = self.spec  # raises
        if self.input_bits is not None and not (
            is_integer(self.input_bits) and self.input_bits == 8
        ):
            raise ValueError(f"input-bits {shown(self.input_bits)} is not supported: use 8 or none")
        if self.dtype not in ("float32", "bfloat16"):
            raise ValueError(f"dtype {self.dtype!r} is not supported: use float32 or bfloat16")
        if self.groups:  # none: the model without crossbars, which no user asks for
            check_groups(self.groups)
        if self.scope is not None:
            self.scope.check(self.groups, spec)
        find_task(self.task)  # raises
        check_fault(self.fault)
        check_protection(self.protection, spec.group_bits)

    @property
    def groups(self) -> tuple[str, ...]:
        """Groups of matrices on crossbars."""
        return tuple(filter(None, self.matrices.split(",")))

    @property
    def scope(self) -> Scope | None:
        """Where faults act; None for everywhere."""
        if self.faulty is not None and not isinstance(self.faulty, str):
            raise ValueError(f"faulty {shown(self.faulty)} is no text: give one such as 'layers=0'")
        return None if self.faulty is None else Scope.parse(self.faulty)

    @property
    def spec(self) -> ChipSpec:
        """The crossbar that the point is about."""
        tile = parse_tile(self.tile)
        return ChipSpec(self.encoding, self.bits, self.bits_per_cell, tile, self.layout)

    def identity(self) -> dict[str, Any]:
        """Fields as plain JSON values: the rate a float, the share a reduced ratio."""
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__}
        share = None if self.sa1_share is None else str(Fraction(str(self.sa1_share)))
        rate = float(self.rate) + 0.0  # no minus 0
        faulty = None if self.scope is None else self.scope.text
        plain = {"rate": rate, "sa1_share": share, "faulty": faulty}
        return {**fields, **plain, "fault": canonical_fault(self.fault)}

    @property
    def hash(self) -> str:
        """64 hex digits that name the point wherever it is evaluated."""
        return digest(self.identity())

    @property
    def clean_hash(self) -> str:
        """Name of the point's model, task, spec and protection, whatever the faults."""
        without = {"rate": 0.0, "sa1_share": None, "fault": None, "faulty": None}
        plain = replace(self, fault="uniform")  # so that no map is read
        return digest({**plain.identity(), **without})


def digest(value: Any) -> str:
    """SHA-256 of canonical JSON: sorted keys, no spaces, no NaN, shortest floats."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def canonical_fault(text: str) -> str:
    """The one way to write a fault model's name: a shape as its shortest number, a map of
    measured chips as the file's name and hash, wherever it lies.

    Raises:
        ValueError: a bad map (`rerax.measured.read_map`).

    Example:
        >>> canonical_fault("clustered:2.0"), canonical_fault("clustered:5e-1")
        ('clustered:2', 'clustered:0.5')
    """
    kind, _, rest = text.partition(":")
    if kind == "clustered":
        with contextlib.suppress(ValueError):  # a bad one is refused where the model is made
            return f"{kind}:{repr(float(rest)).removesuffix('.0')}"
    chips = map_of(text)
    return text if chips is None else f"{kind}:{chips.name}"


def parse_rates(text: str) -> tuple[float, ...]:
    """Read a comma list of rates in [0, 1].

    Raises:
        ValueError: an entry that is empty, not a number (`values.read_number`) or outside [0, 1].

    Example:
        >>> parse_rates("0,1e-4,0.001")
        (0.0, 0.0001, 0.001)
    """
    return tuple(float(read_fraction(item, "rate")) for item in text.split(","))


def parse_share(text: str) -> Fraction:
    """Read the share of SA1 among stuck cells: `SA1:SA0` parts, a ratio or a decimal.

    Raises:
        ValueError: not a number, or outside [0, 1].

    Example:
        >>> parse_share("9.04:1.75"), parse_share("0.5"), parse_share("904/1079")
        (Fraction(904, 1079), Fraction(1, 2), Fraction(904, 1079))
    """
    separator = ":" if ":" in text else "/"
    first, found, second = text.partition(separator)
    if not found:
        return read_fraction(text, "sa1-share")
    a, b = (read_number(part, "sa1-share") for part in (first, second))
    whole = a + b if separator == ":" else b
    if a < 0 or b < 0 or whole == 0 or a > whole:
        raise ValueError(
            f"sa1-share {text!r} is outside [0, 1]: give SA1:SA0 parts such as 9.04:1.75"
        )
    return a / whole


def rate_and_share(sa0: str, sa1: str) -> tuple[float, Fraction]:
    """Rate and share from the two polarities' own rates, exactly.

    Raises:
        ValueError: not numbers, negative, or together above 1.

    Example:
        >>> rate_and_share("0.0175", "0.0904")
        (0.1079, Fraction(904, 1079))
    """
    low, high = read_fraction(sa0, "sa0"), read_fraction(sa1, "sa1")
    if low + high > 1:
        raise ValueError(f"sa0 {sa0} and sa1 {sa1} sum to more than 1: give fractions of all cells")
    share = high / (low + high) if low + high else Fraction(904, 1079)
    return float(low + high), share
