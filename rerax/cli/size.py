"""rerax size."""

import math
from typing import Annotated, Any

from rerax.cli.flags import Wide, app, flag
from rerax.values import rate_text


@app.command()
def size(
    half_width: Annotated[
        float | None,
        flag("Half-width of the 95 % interval, as a fraction: 0.01 is one point.", "X"),
    ] = None,
    sd: Annotated[float | None, flag("Standard deviation of the chips' scores.", "S")] = None,
    source: Annotated[
        str | None, flag("Take it from this campaign's rows.", "FOLDER", name="--from")
    ] = None,
    share: Annotated[
        float | None, flag("For a yield near Y instead of a mean.", "Y", name="--yield")
    ] = None,
    wide: Wide = False,
) -> None:
    """How many chips an interval of a given half-width needs, of a mean score or of a yield.

    Of a yield it also says how many chips without a failure show at least that yield.
    """
    from rerax.report.format import budget_text
    from rerax.stats import chips_for_mean, chips_for_yield, chips_without_failure

    if sum(given is not None for given in (sd, source, share)) != 1:
        raise ValueError("size needs one of --from, --sd and --yield: give exactly one")
    if share is not None and half_width is None:
        _check("yield", share, 0 < share < 1, "above 0 and below 1")
        print(_without_failure(share, chips_without_failure(share)))
        return
    if half_width is None:
        raise ValueError("--half-width is missing: give what the interval is to have, such as 0.01")
    _check("half-width", half_width, 1e-6 <= half_width < 1, "from 1e-6 to below 1")
    within = f"95 % interval of half-width {budget_text(half_width)}"
    if sd is not None:
        _check("sd", sd, 0 <= sd <= 1, "from 0 to 1")
        chips = chips_for_mean(half_width, sd)
        print(f"{chips} chips for a {within} (SD {100 * sd:g}){_tested(chips)}")
    elif share is not None:
        _check("yield", share, 0 <= share <= 1, "from 0 to 1")
        chips = chips_for_yield(share, half_width)
        print(f"{chips} chips for a {within} (yield {100 * share:.12g} %)")
        if 0 < share < 1:
            print(_without_failure(share, chips_without_failure(share)))
    elif source is not None:
        _print_sizes(source, half_width, within, wide)


def _without_failure(share: float, chips: int) -> str:
    return f"{chips} chips without a failure show a yield of at least {100 * share:.12g} % at 95 %"


def _check(name: str, value: float, fine: bool, rule: str) -> None:
    if not (fine and math.isfinite(value)):
        raise ValueError(f"{name} {value:g} is outside its range: give a fraction {rule}")


def _tested(chips: int) -> str:
    from rerax.stats.mean import TESTED_FROM

    return "" if chips >= TESTED_FROM else f"; intervals are tested from {TESTED_FROM} chips on"


def _print_sizes(folder: str, half_width: float, within: str, wide: bool) -> None:
    """Print the chips that each faulty point of a folder needs, and the most of them."""
    from rerax.report import Column, print_columns, setting_columns
    from rerax.stats import chips_for_mean, skewness

    lines = _lines(folder)
    sds = [line.summary.se * len(line.scores) ** 0.5 for line in lines]
    skews = [float(skewness(line.scores)) for line in lines]
    needs = [chips_for_mean(half_width, *both) for both in zip(sds, skews, strict=True)]
    print_columns(
        [
            *setting_columns(lines),
            Column("rate", [rate_text(line.rate) for line in lines]),
            Column("chips", [str(len(line.scores)) for line in lines], rank=1),
            Column("SD", [f"{100 * sd:.2f}" for sd in sds], rank=2),
            Column("skewness", [f"{skew:.2f}" for skew in skews], rank=3),
            Column("needs", list(map(str, needs))),
        ],
        [
            f"{max(needs)} chips a point for a {within}, if SD and skewness stay as they are"
            f"{_tested(min(needs))}"
        ],
        wide=wide,
    )


def _lines(folder: str) -> list[Any]:
    """Read the points of a folder whose chips differ: those of two chips or more."""
    from rerax.campaign.manifest import read_manifest
    from rerax.campaign.store import read_rows
    from rerax.io import place
    from rerax.report import summarise_points

    read_manifest(place(folder))  # raises
    rows = read_rows(place(folder))
    lines = [x for x in (summarise_points(rows) if len(rows) else []) if x.summary.se is not None]
    if not lines:
        raise ValueError(f"{folder} has no faulty point with two chips: sweep some, or give --sd")
    return lines
