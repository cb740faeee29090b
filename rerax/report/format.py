"""Numbers, settings and lists as the report writes them."""

from collections.abc import Sequence
from typing import Any

MINUS = "−"


def hundredths(value: float, sign: bool = False, digits: int = 2) -> str:
    """Write a score or a difference of scores in hundredths, with a plus where that matters."""
    text = f"{abs(100 * value):.{digits}f}"
    if float(text) == 0:
        return text
    return (MINUS if value < 0 else "+" if sign else "") + text


def setting_text(value: Any, digits: int = 4) -> str:
    """Write the value of a setting."""
    return f"{value:.{digits}g}" if isinstance(value, float) else str(value)


def setting_texts(values: Sequence[Any]) -> list[str]:
    """Write values of one setting, with as many digits as tell them apart.

    Example:
        >>> setting_texts([0.25, 1 / 3]), setting_texts([0.333, 0.33333, 1 / 3])
        (['0.25', '0.3333'], ['0.333', '0.33333', '0.333333'])
    """
    texts = list(map(setting_text, values))
    for digits in (6, 17):
        if len(set(texts)) == len(set(values)):
            break
        texts = [setting_text(value, digits) for value in values]
    return texts


def digits_of_share(share: float, ends: Sequence[float] | None = None) -> int:
    """Choose the digits of a share of chips in per cent, and of its interval.

    They are the fewest with which 100 % is said of no share below it and of no lower end, and 0 %
    of none above it and of no upper end.

    Args:
        share: from 0 to 1.
        ends: of its interval.

    Example:
        >>> digits_of_share(0.5), digits_of_share(255 / 256), digits_of_share(1.0, (0.9963, 1.0))
        (0, 1, 1)
    """
    low, high = (share, share) if ends is None else ends
    for digits in range(6):
        below, above = 100 - 0.5 * 10.0**-digits, 0.5 * 10.0**-digits  # what prints as 100 and 0
        full = any(below <= 100 * x < 100 - 1e-6 for x in (share, low))
        if not full and not any(1e-6 < 100 * x <= above for x in (share, high)):
            return digits
    return 6


def budget_text(budget: float) -> str:
    """Write a budget in points.

    Example:
        >>> budget_text(0.01), budget_text(0.025)
        ('1 point', '2.5 points')
    """
    return f"{100 * budget:g} point{'' if budget == 0.01 else 's'}"


def interval(ends: Sequence[float] | None, sign: bool = False, digits: int = 2) -> str:
    """Write an interval in hundredths; nothing for none."""
    if ends is None:
        return ""
    return f"{hundredths(ends[0], sign, digits)} to {hundredths(ends[1], sign, digits)}"


def count(number: int, one: str, many: str | None = None) -> str:
    """Write a number with its noun.

    Example:
        >>> count(1, "chip"), count(1200, "chip"), count(2, "series", "series")
        ('1 chip', '1,200 chips', '2 series')
    """
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def listed(items: Sequence[str], most: int = 6) -> str:
    """List items in a sentence; those beyond the first few are counted.

    Example:
        >>> listed(["a", "b", "c"]), listed(["a", "b", "c"], most=2), listed(["a, b", "c", "d"])
        ('a, b and c', 'a, b and 1 more', 'a, b; c and d')
    """
    shown = list(items[:most])
    if len(items) > most:
        shown.append(f"{len(items) - most} more")
    between = "; " if any(", " in text for text in shown) else ", "
    return shown[0] if len(shown) == 1 else f"{between.join(shown[:-1])} and {shown[-1]}"


def sentence(note: str) -> str:
    """Make a note of the table a sentence of the page."""
    return f"{note[0].upper()}{note[1:]}."
