"""rerax rare."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from rerax.cli.flags import (
    NO_PLANNER,
    Budget,
    DataFlags,
    ModelFlags,
    PointFlags,
    Quiet,
    RateFlags,
    Wide,
    app,
    flag,
    single_point,
)
from rerax.values import rate_text, read_budget, read_fraction

if TYPE_CHECKING:
    from rerax.campaign.rare import RareFailures

FIELDS = (
    "encoding bits bits_per_cell tile layout polarity input_bits dtype matrices fault protection "
    "tested"
)
"""Fields of a point that this command has flags for."""
HELP = {
    "fault": "uniform, wordline or bitline.",
    "protection": NO_PLANNER,
    "tested": "Stuck cells that a test found, for what knows the map: all, or share:0.99.",
}
"""Of flags that other commands take more for."""
FLOOR = 1e-6
"""Lowest rate that is looked at where a yield is asked for."""


@app.command()
def rare(
    *,
    models: Annotated[ModelFlags, "model task metric"],
    data: DataFlags,
    rate: Annotated[str | None, flag("Fault rate.", "P", "Chips")] = None,
    wanted: Annotated[
        str | None,
        flag(
            "Find the rate at which this share of the chips passes.", "Y", "Chips", name="--yield"
        ),
    ] = None,
    roots: Annotated[int, flag("Root chips.", "N", "Chips")] = 256,
    seed: Annotated[int, flag("Seed of all chips.", "N", "Chips")] = 0,
    lanes: Annotated[int | None, flag("Chips side by side.", "N", "Machine")] = None,
    rates: Annotated[RateFlags, "sa1_share"],
    point: Annotated[PointFlags, FIELDS, HELP],
    budget: Budget = "0.01",
    to: Annotated[Path | None, flag("Write the numbers here.", "FILE", name="--json")] = None,
    quiet: Quiet = False,
    wide: Wide = False,
) -> None:
    """Estimate how rarely a chip fails, from chips that fail often at higher rates.

    Give --rate, or --yield to find the rate. Failing chips get descendants at lower rates, which
    keep some of their faults; the weights of those that still fail make the estimate. Takes uniform
    faults, wordlines and bitlines.
    """
    from rerax.campaign.folder import check_file

    loss = read_budget(budget)
    if (rate is None) == (wanted is None):
        raise ValueError("give either --rate, a fault rate, or --yield, a share such as 0.9999")
    if to is not None:
        check_file(to)
    if roots < 1:
        raise ValueError(f"roots {roots} is too few: give at least 1")
    lowest = FLOOR if rate is None else float(read_fraction(rate, "rate"))
    failing = None
    if wanted is not None:
        failing = float(1 - read_fraction(wanted, "yield"))
        if not 0 < failing <= 0.2:
            raise ValueError(f"yield {wanted} is outside [0.8, 1): count chips by rerax sweep")
    if not 0 < lowest < 0.4:
        raise ValueError(f"rate {lowest:g} is outside (0, 0.4): give a fault rate in between")
    from rerax.campaign.rare import check_point, rare_failures
    from rerax.campaign.workload import Settings, read_workload
    from rerax.io import write_new_json
    from rerax.progress import reporter

    asked = single_point(models, rates, point, lowest, FIELDS)
    check_point(asked)
    workload = read_workload(models.model, asked.task, asked.model, **vars(data.selection()))
    settings = Settings(roots, seed, lanes=lanes)
    with reporter(quiet) as tell:
        found = rare_failures(workload, asked, settings, loss, failing, tell)
    try:  # the one is there where the other cannot be: both took long
        _print(found, failing, wide)
    finally:
        if to is not None:
            write_new_json(to, asdict(found))
    if to is not None:
        print(f"written to {to}")


def _print(found: "RareFailures", failing: float | None, wide: bool) -> None:
    from rerax.report import Column, print_columns

    notes = [
        f"{found.roots} root chips begin at rate {rate_text(found.rates[0])}; in all "
        f"{sum(found.evaluated):,} chips, and {found.pilots:,} pilots that chose the rates",
        "fail: chance that a chip fails, with its 95 % interval; counting: chips that would give "
        "as narrow an interval if they were counted one by one",
    ]
    if any(ends is None for ends in found.intervals):
        notes.append("no interval: no descendant has failed there, so give more --roots")
    if failing is not None:
        if found.crossing is None:
            notes.append(f"yield {1 - failing:.12g} lies at none of these rates")
        else:
            at, low, high = found.crossing
            notes.append(
                f"yield {1 - failing:.12g} at rate {at:.3g} (95 % interval "
                f"{f'{low:.3g}' if low else f'below {found.rates[-1]:.3g}'} to "
                f"{f'{high:.3g}' if high < 1 else f'above {found.rates[0]:.3g}'})"
            )
    print_columns(
        [
            Column("rate", [rate_text(rate) for rate in found.rates]),
            Column("fail", [f"{chance:.3g}" for chance in found.chances]),
            Column(
                "(95 %)",
                ["" if e is None else f"{e[0]:.2g} .. {e[1]:.2g}" for e in found.intervals],
            ),
            Column("chips", [f"{n:,}" for n in found.evaluated], rank=2),
            Column("counting", [_many(found.counted(k)) for k in range(len(found.rates))], rank=1),
        ],
        notes,
        wide=wide,
    )


def _many(chips: float) -> str:
    return "" if chips != chips else f"{chips:,.0f}"
