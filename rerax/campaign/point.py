"""A point: one combination of model, task, spec, protection, fault model and rate. No JAX here."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any, NamedTuple

from rerax.crossbar.spec import ChipSpec, parse_tile
from rerax.faults import DEFAULT_SA1_SHARE, Tested, Uniform, fault_model, tested
from rerax.glue.tasks import find_task
from rerax.hardware import AFault, AProtection, ATested, Hardware
from rerax.models.bert.names import DEFAULT_GROUPS, MATRICES, check_groups
from rerax.models.bert.scope import Scope
from rerax.protection import Unprotected, check_named, protection
from rerax.sealed import digest
from rerax.values import check_real, read_float, read_fraction, read_number, read_whole, shown


class Field(NamedTuple):
    """What is to be known of a field of `Point` beside its name and type.

    Attributes:
        loop: its place among the loops of a grid, outermost first: what changes the compiled
            program, then what does not.
        column: type of its column, by Arrow's name.
        read: value of a flag's text.
        write: what identity and column hold of its value.
        makes: whether `read` also makes the value of what a caller gives in its place.
        later: whether it came after rows had been kept: identity and column say nothing of its
            default.
    """

    loop: int
    column: str
    read: Callable[[Any], Any] = str
    write: Callable[[Any], Any] = lambda value: value
    makes: bool = False
    later: bool = False


def _field(*what: Any, default: Any = dataclasses.MISSING, **more: Any) -> Any:
    known = Field(*what, **more)
    return dataclasses.field(default=default, metadata={"field": known})


def _whole(name: str) -> Callable[[str], int]:
    return lambda text: read_whole(text, name)


def _matrices(given: Any) -> tuple[str, ...]:
    """Read groups of matrices from a comma list or a sequence."""
    parts = given.split(",") if isinstance(given, str) else given
    if not isinstance(parts, list | tuple) or not all(isinstance(part, str) for part in parts):
        raise ValueError(f"matrices {shown(given)} is no text: give one such as 'encoder,pooler'")
    groups = tuple(part.strip() for part in parts if part.strip())
    if groups:  # none: the model without crossbars, which no user asks for
        check_groups(groups)
    return groups


def _faulty(given: Any) -> Scope | None:
    if given is None or isinstance(given, Scope):
        return given
    if not isinstance(given, str):
        raise ValueError(f"faulty {shown(given)} is no text: give one such as 'layers=0'")
    return Scope.parse(given)


def _input_bits(text: str) -> int | None:
    return None if text == "none" else read_whole(text, "input-bits")


def _rate(rate: float) -> float:
    return float(rate) + 0.0  # no minus 0


def _share_text(share: Fraction | float | None) -> str | None:
    return None if share is None else str(Fraction(str(share)))


def _scope_text(scope: Scope | None) -> str | None:
    return None if scope is None else scope.text


def _polarity_text(polarity: str) -> str | None:
    return None if polarity == "plain" else polarity


def _sampled(given: Any) -> str | None:
    if given is not None and not isinstance(given, str):
        raise ValueError(f"sampled {shown(given)} is no text: give one such as '128:0f3a..'")
    return given


def _misread_number(sigma: float) -> float | None:
    return sigma or None


def _tested_text(found: Tested) -> str | None:
    return None if found.is_complete else found.text


def _tile_text(tile: tuple[int, int]) -> str:
    return "x".join(map(str, tile))


if TYPE_CHECKING:
    ATile = tuple[int, int]
    Matrices = tuple[str, ...]
    AScope = Scope | None
else:  # what is held; given may be the text as well
    ATile = Matrices = AScope = Any


@dataclass(frozen=True)
class Point:
    """Everything that decides a chip's row, apart from what the folder fixes for all.

    Objects are taken, or the texts that rows and flags have for them: `fault=Clustered(2.0)` or
    `fault="clustered:2"`, `tile=(64, 64)` or `tile="64x64"`. `sa1_share` is exact, and None for
    fault models without polarity; `faulty` says where faults act (`models.bert.scope`), None for
    everywhere; `tested` means nothing to protections that do not know a chip's map, and is `all`
    there; `sampled` names the table by which chips draw examples (`sampling`), None for all. What
    each field is stands once, in `FIELDS`.
    """

    task: str = _field(0, "string")
    model: str = _field(1, "string")
    rate: float = _field(16, "double", lambda text: float(read_fraction(text, "rate")), _rate)
    sa1_share: Fraction | float | None = _field(
        15, "double", lambda text: parse_share(text), _share_text, default=DEFAULT_SA1_SHARE
    )
    encoding: str = _field(9, "string", default="offset")
    bits: int = _field(5, "int32", _whole("bits"), default=8)
    bits_per_cell: int = _field(6, "int32", _whole("bits-per-cell"), default=1)
    input_bits: int | None = _field(3, "int32", _input_bits, default=8)
    dtype: str = _field(4, "string", default="float32")
    layout: str = _field(7, "string", default="interleaved")
    tile: ATile = _field(8, "string", parse_tile, _tile_text, default=(128, 128), makes=True)
    matrices: Matrices = _field(
        2, "string", _matrices, ",".join, default=DEFAULT_GROUPS, makes=True
    )
    protection: AProtection = _field(
        11, "string", protection, lambda scheme: scheme.text, default=Unprotected(), makes=True
    )
    fault: AFault = _field(
        12, "string", fault_model, lambda fault: fault.name, default=Uniform(), makes=True
    )
    faulty: AScope = _field(14, "string", _faulty, _scope_text, default=None, makes=True)
    polarity: str = _field(10, "string", str, _polarity_text, default="plain", later=True)
    tested: ATested = _field(
        13, "string", tested, _tested_text, default=Tested(), makes=True, later=True
    )
    misread: float = _field(
        17,
        "double",
        lambda text: read_float(text, "misread"),
        _misread_number,
        default=0.0,
        later=True,
    )
    sampled: str | None = _field(18, "string", _sampled, default=None, makes=True, later=True)

    def __post_init__(self) -> None:
        for name, field in FIELDS.items():
            value = getattr(self, name)
            if isinstance(value, str):
                if any("\ud800" <= letter <= "\udfff" for letter in value):
                    raise ValueError(f"{name} {value!r} is no Unicode, as rows need it: rename it")
            elif field.column == "string" and not field.makes:
                raise ValueError(f"{name} {shown(value)} is no text: give it in quotes")
        check_real("rate", self.rate)
        if not 0 <= self.rate <= 1:
            raise ValueError(f"rate {self.rate} is outside [0, 1]: give a fraction of all cells")
        if self.sa1_share is not None:
            check_real("sa1-share", self.sa1_share)
            if not 0 <= self.sa1_share <= 1:
                raise ValueError(f"sa1-share {self.sa1_share} is outside [0, 1]: give a fraction")
        for name, field in FIELDS.items():
            if field.makes:
                object.__setattr__(self, name, field.read(getattr(self, name)))
        if self.dtype not in ("float32", "bfloat16"):
            raise ValueError(f"dtype {self.dtype!r} is not supported: use float32 or bfloat16")
        hardware = self.hardware  # raises
        check_named(hardware.protection, MATRICES)
        object.__setattr__(self, "polarity", hardware.spec.polarity)
        object.__setattr__(self, "misread", hardware.spec.misread)
        object.__setattr__(self, "tested", hardware.tested)
        if hardware.spec.inverted and self.sa1_share is not None and self.sa1_share <= 0.5:
            raise ValueError(
                f"polarity {self.polarity} is for chips on which SA1 is commoner, and sa1-share is "
                f"{float(self.sa1_share):g}: use plain or alternate"
            )
        if self.faulty is not None:
            self.faulty.check(self.matrices, hardware.spec)
        find_task(self.task)  # raises

    @property
    def spec(self) -> ChipSpec:
        """The crossbar that the point is about."""
        fields = ("encoding", "bits", "bits_per_cell", "tile", "layout", "polarity", "misread")
        return ChipSpec(*(getattr(self, name) for name in fields))

    @property
    def hardware(self) -> Hardware:
        """The chip that the point is about."""
        return Hardware(self.spec, self.fault, self.protection, self.input_bits, self.tested)

    def identity(self) -> dict[str, Any]:
        """List the fields as plain JSON values: the rate a float, the share a reduced ratio."""
        return {
            name: value
            for name, value in self.columns().items()
            if not (FIELDS[name].later and value == DEFAULTS[name])
        }

    def columns(self) -> dict[str, Any]:
        """List the same, with the defaults of fields that came later."""
        return {name: field.write(getattr(self, name)) for name, field in FIELDS.items()}

    @property
    def hash(self) -> str:
        """64 hex digits that name the point wherever it is evaluated."""
        return digest(self.identity())

    @property
    def is_clean(self) -> bool:
        """Whether nothing is wrong with its chips, so that all of them are one and the same."""
        return not (self.rate or self.misread)

    @property
    def clean(self) -> "Point":
        """The point whose chips have neither faults nor cells sensed wrongly."""
        return replace(self, rate=0.0, misread=0.0)

    @property
    def clean_hash(self) -> str:
        """Name of the point's model, task, spec and protection, whatever the faults."""
        without = {"rate": 0.0, "sa1_share": None, "fault": None, "faulty": None}
        plain = replace(self, fault=Uniform(), misread=0.0)  # so that no map is read
        return digest({**plain.identity(), **without})


FIELDS: dict[str, Field] = {f.name: f.metadata["field"] for f in dataclasses.fields(Point)}
"""All that is to be known of each field of a point, by name."""

DEFAULTS: dict[str, Any] = {
    f.name: FIELDS[f.name].write(f.default)
    for f in dataclasses.fields(Point)
    if f.default is not dataclasses.MISSING
}
"""What columns hold of the fields that nobody gave."""


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
    """Compute rate and share from the two polarities' own rates, exactly.

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
