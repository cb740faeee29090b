"""rerax yield."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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
    from rerax.campaign.sequential import SequentialYield

FIELDS = (
    "encoding bits bits_per_cell tile layout polarity misread input_bits dtype matrices fault "
    "protection tested"
)
"""Fields of a point that this command has flags for."""
HELP = {
    "fault": "uniform, clustered:2 (gamma shape), wordline, bitline, short, flip.",
    "protection": NO_PLANNER,
}
"""Of flags that other commands take more for."""


@app.command("yield")
def yields(
    *,
    models: Annotated[ModelFlags, "model task metric"],
    data: DataFlags,
    rates: Annotated[RateFlags, "rates sa1_share"],
    chips: Annotated[int, flag("Chips of every rate.", "N", "Chips")] = 64,
    examples_per_chip: Annotated[int, flag("Examples a chip answers first.", "N", "Chips")] = 64,
    error: Annotated[str, flag("Chance of a wrong decision.", "X", "Chips")] = "0.01",
    seed: Annotated[int, flag("Seed of all chips.", "N", "Chips")] = 0,
    lanes: Annotated[int | None, flag("Chips side by side.", "N", "Machine")] = None,
    point: Annotated[PointFlags, FIELDS, HELP],
    budget: Budget = "0.01",
    to: Annotated[Path | None, flag("Write the numbers here.", "FILE", name="--json")] = None,
    quiet: Quiet = False,
    wide: Wide = False,
) -> None:
    """Count the chips that pass, leaving each as soon as it is certain, on large dev sets.

    Every chip answers a few examples of its own, then twice as many, until its score is far enough
    from the budget. For tasks scored by accuracy; on hundreds of examples nothing is saved.
    Takes all faults but maps.
    """
    from rerax.campaign.folder import check_file
    from rerax.io import write_new_json

    loss, wrong = read_budget(budget), float(read_fraction(error, "error"))
    if not 0 < wrong < 0.1:
        raise ValueError(f"error {error} is outside (0, 0.1): give a chance such as 0.01")
    if to is not None:
        check_file(to)
    from rerax.campaign.point import parse_rates
    from rerax.campaign.sampling import check_task
    from rerax.campaign.sequential import sequential_yields
    from rerax.campaign.workload import Settings, read_workload
    from rerax.faults import Measured
    from rerax.progress import reporter

    asked = parse_rates(rates.rates or "1e-3")
    base = single_point(models, rates, point, asked[0], FIELDS)
    check_task(base.task)
    if isinstance(base.fault, Measured):
        raise ValueError(
            f"fault {base.fault.text} has few chips of its own, and pilots have no map: count "
            "them by rerax sweep and rerax report"
        )
    workload = read_workload(models.model, base.task, base.model, **vars(data.selection()))
    points = [replace(base, rate=rate) for rate in dict.fromkeys(asked)]
    settings = Settings(chips, seed, lanes=lanes)
    with reporter(quiet) as tell:
        how = (settings, loss, examples_per_chip, wrong, tell)
        found = list(sequential_yields(workload, points, *how))
    try:  # the one is there where the other cannot be: both took long
        _print(found, loss, wrong, wide)
    finally:
        if to is not None:
            write_new_json(to, [_plain(one) for one in found])
    if to is not None:
        print(f"written to {to}")


def _plain(one: "SequentialYield") -> dict[str, Any]:
    return {
        "rate": one.point.rate,
        "passed": one.passed.tolist(),
        "answered": one.answered.tolist(),
        "examples": one.examples,
        "interval": one.interval,
        "error": one.error,
        "pilots": one.pilots,
    }


def _print(found: "Sequence[SequentialYield]", loss: float, wrong: float, wide: bool) -> None:
    from rerax.report import Column, digits_of_share, print_columns

    yields = [100 * float(one.passed.mean()) for one in found]
    digits = [digits_of_share(y / 100, one.interval) for y, one in zip(yields, found, strict=True)]
    shares = [one.answered.mean() / one.examples for one in found]
    print_columns(
        [
            Column("rate", [rate_text(one.point.rate) for one in found]),
            Column("pass", [f"{int(one.passed.sum())} of {len(one.passed)}" for one in found]),
            Column("yield", [f"{yields[k]:.{n}f} %" for k, n in enumerate(digits)]),
            Column(
                "(95 %)",
                [
                    " .. ".join(f"{100 * end:.{n}f}" for end in one.interval) + " %"
                    for one, n in zip(found, digits, strict=True)
                ],
            ),
            Column("examples a chip", [f"{one.answered.mean():,.0f}" for one in found]),
            Column("of all", [f"{100 * share:.0f} %" for share in shares], rank=1),
        ],
        [
            f"a chip passes within {100 * loss:g} points of the float score; each is decided "
            f"wrongly with a chance of {wrong:g} at most, which the intervals allow for",
            f"beside these, {found[0].pilots} passes of pilots and the clean chip over all "
            f"{found[0].examples:,} examples",
        ],
        wide=wide,
    )
