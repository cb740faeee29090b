"""Numbers as people write them: each has one meaning, or is refused. No JAX here."""

import math
import numbers
import operator
import re
from decimal import Decimal
from fractions import Fraction
from typing import Any, TypeGuard

_NUMBER = re.compile(r"[+-]?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,9})?")
_WHOLE = re.compile(r"[+-]?(?:0|[1-9][0-9]*)")
_ZERO_IN_FRONT = re.compile(r"0[0-9]+")
_WITH_COMMA = re.compile(r"[+-]?[0-9]+,[0-9]+")
_FAR = 400  # orders of magnitude, beyond any float
_MOST_SHOWN = 80  # characters of a value in an error
_MOST_DIGITS = 18  # of a whole number, which a row holds in 64 bits
MOST_BUDGET = 0.5
MOST_DIGITS, ROUNDED = 7, 5  # of a rate, as written


def printable(text: str) -> str:
    """Escape the control characters of a text, which could command a terminal.

    Example:
        >>> printable("a[b]" + chr(27) + "c")
        'a[b]\\\\x1bc'
    """
    escapes = (c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return "".join(escapes)


def rate_text(rate: float) -> str:
    """Write a fault rate as one would give it to `--rates`, alike on every page and in every table.

    Rates of more than `MOST_DIGITS` digits, which nobody gave (a map realises them), are rounded.

    Example:
        >>> rate_text(0.003), rate_text(0.25), rate_text(0.0), rate_text(1 / 300)
        ('3e-3', '0.25', '0', '3.3333e-3')
    """
    digits = next((n for n in range(MOST_DIGITS) if float(f"{rate:.{n}e}") == rate), ROUNDED - 1)
    mantissa, _, exponent = f"{rate:.{digits}e}".partition("e")
    if rate == 0 or int(exponent) >= -1:
        return f"{rate:.{digits - int(exponent)}f}" if digits > int(exponent) else f"{rate:g}"
    return f"{mantissa}e{int(exponent)}"


def is_whole(text: str) -> bool:
    """Whether a text is a whole number in plain digits, none of them a zero in front."""
    return bool(_WHOLE.fullmatch(text)) and len(text) <= _MOST_DIGITS


def is_integer(value: Any) -> TypeGuard[int]:
    """Whether a value is one of Python's whole numbers, which JSON can hold."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_real(value: Any) -> TypeGuard[float]:
    """Whether a value is a number of any library, and no truth value."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def shown(value: Any) -> str:
    """Show a value of any kind in a line, cut where it is long."""
    text = " ".join(repr(value).split())
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}.."


def type_text(value: Any) -> str:
    """Name a value's type in words, where the value itself would be long."""
    return f"of type {type(value).__name__}"


def plain(value: Any) -> Any:
    """Convert arrays and numbers of a library to lists and numbers of Python; keep other values."""
    return value.tolist() if hasattr(value, "tolist") else value


def check_integer(name: str, value: Any) -> None:
    """Refuse what a caller gives in place of a whole number."""
    if not is_integer(value):
        raise ValueError(f"{name} {shown(value)} is not a whole number: give one such as 8")


def as_integer(name: str, value: Any) -> int:
    """Give a whole number of Python for one of any library.

    Raises:
        ValueError: something else, a truth value too.

    Example:
        >>> import numpy
        >>> as_integer("seed", numpy.int64(3))
        3
    """
    try:
        if isinstance(value, bool):
            raise TypeError
        return operator.index(value)
    except TypeError:  # JAX's error for a traced number is one too
        raise ValueError(
            f"{name} {shown(value)} is not a whole number: give one such as 8"
        ) from None


def check_real(name: str, value: Any) -> None:
    """Refuse what a caller gives in place of a number."""
    if not is_real(value):
        raise ValueError(f"{name} {shown(value)} is not a number: give one such as 0.01")


def read_number(text: str, name: str = "") -> Fraction:
    """Read a decimal number exactly.

    Refused are a comma, a zero in front of a digit (what a decimal comma leaves in a comma list),
    underscores, digits other than 0 to 9, NaN and infinity.

    Args:
        text: the number.
        name: what it is of, for the error.

    Raises:
        ValueError: not such a number.

    Example:
        >>> read_number("1e-3"), read_number("0.25")
        (Fraction(1, 1000), Fraction(1, 4))
    """
    text = text.strip()
    if _NUMBER.fullmatch(text) and abs(Decimal(text).adjusted()) <= _FAR:
        return Fraction(Decimal(text))
    if not text:
        why = "is empty: give a number such as 1e-3, and no comma at the end"
    elif _ZERO_IN_FRONT.fullmatch(text):
        why = f"begins with a zero: give decimals with a point, not a comma, such as 0.{text[:8]}"
    elif _WITH_COMMA.fullmatch(text):
        why = f"has a comma: give decimals with a point, such as {text.replace(',', '.')}"
    else:
        why = "is not a number: give a number such as 1e-3"
    raise ValueError(f"{name} {text!r} {why}".lstrip())


def read_fraction(text: str, name: str) -> Fraction:
    """Read a number in [0, 1] exactly.

    Raises:
        ValueError: not a number, or outside.
    """
    value = read_number(text, name)
    if not 0 <= value <= 1:
        raise ValueError(
            f"{name} {text.strip()} is outside [0, 1]: give a fraction of all cells, with a "
            "decimal point"
        )
    return value


def read_float(text: str, name: str = "") -> float:
    """Read a finite float (`read_number`).

    Raises:
        ValueError: not a number, or one that no float holds.
    """
    try:
        return float(read_number(text, name))
    except OverflowError:
        raise ValueError(f"{name} {text!r} is too large: give a number such as 0.01") from None


def read_whole(text: str, name: str = "") -> int:
    """Read a whole number.

    Raises:
        ValueError: anything but digits with a sign, or a zero in front.

    Example:
        >>> read_whole("64")
        64
    """
    text = text.strip()
    if is_whole(text):
        return int(text)
    if _WHOLE.fullmatch(text):
        why = f"is too large: give at most {_MOST_DIGITS} digits"
    elif _ZERO_IN_FRONT.fullmatch(text):
        why = f"begins with a zero: give {text.lstrip('0') or '0'}"
    else:
        why = "is not a whole number: give digits alone, such as 8"
    raise ValueError(f"{name} {text!r} {why}".lstrip())


def read_budget(value: float | str) -> float:
    """Read a loss of score that a passing chip may have, a fraction or a percentage.

    A budget of half the score and more lets nearly every chip pass and is a mistake: whoever
    writes 1 means one point.

    Args:
        value: 0.01, or the text "0.01" or "1%", each one point of score.

    Raises:
        ValueError: not a number, negative, or 0.5 and more.

    Example:
        >>> read_budget("1%"), read_budget(0.02), read_budget("0.015")
        (0.01, 0.02, 0.015)
    """
    if isinstance(value, str):
        text = value.strip()
        number = text.removesuffix("%")
        found = read_number(number, "budget") / (1 if number == text else 100)
        if 0 <= found < MOST_BUDGET:
            return float(found)
    else:
        check_real("budget", value)
        text = f"{value:g}"
        if math.isfinite(value) and 0 <= value < MOST_BUDGET:
            return float(value)
    raise ValueError(
        f"budget {text} is outside [0, {MOST_BUDGET}), which is in units of the score: give 0.01 "
        "or 1% for one point"
    )
