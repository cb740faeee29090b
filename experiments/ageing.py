"""Each chip followed through rising rates: when it fails, with and without protection.

    python experiments/ageing.py --work WORK --data DATA [--task sst2] [--chips 16]

WORK holds the models of `pruning.py`, DATA is a GLUE folder or hub id. The stuck cells of a chip
at one rate are a subset of those at a higher one, so it can be followed as it ages: the first of
seven rates from 5e-4 to 5e-2 at which it scores more than a point below the model's float score.
The model pruned to 35 %, bare and with msb:2x3:pruned; the two have the same stuck cells. The
rows are those of `yield_curve.py`.
First 400 examples. About 5 minutes on two CPU cores, none where those rows are there; `--print`
folds the rows again.
Expected: stuck cells rise on every chip; most chips fail later with protection than without, few
earlier; a few of the failed are back within the budget at a higher rate, as a score is no
monotone function of stuck cells.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from lives import SCHEMES, Lives, read_lives
from study import Study, counted, make_parser, markdown, new_figure

from rerax.stats import first_misses, yield_interval

NAME = "ageing"


def first_rates(lives: Mapping[str, Lives], budget: float) -> dict[str, np.ndarray]:
    """The rate at which each chip of each scheme fails first; infinite beyond the last."""
    return {
        scheme: np.nan_to_num(first_misses(chips.rates, chips.passed(budget)), nan=np.inf)
        for scheme, chips in lives.items()
    }


def fold(lives: Mapping[str, Lives], budget: float) -> dict[str, Any]:
    """What becomes of the chips."""
    failed = first_rates(lives, budget)
    plain, guarded = failed.values()
    n, found = len(plain), {}
    for scheme, chips in lives.items():
        passed = chips.passed(budget)
        again = (~passed[:-1] & passed[1:]).any(0)
        rates = [*map(float, chips.rates), None]
        counts = [int((failed[scheme] == (np.inf if r is None else r)).sum()) for r in rates]
        found[scheme] = {
            "fails_first_at": dict(zip(map(str, rates), counts, strict=True)),
            "median": None if np.isinf(median := np.median(failed[scheme])) else float(median),
            "back_within_the_budget_later": int(again.sum()),
            "stuck_cells_rise_on_every_chip": bool((np.diff(chips.stuck, axis=0) > 0).all()),
        }
    later, same, earlier = (
        int(share.sum()) for share in (guarded > plain, guarded == plain, guarded < plain)
    )
    both = np.isfinite(plain) & np.isfinite(guarded)
    return {
        "chips": n,
        "examples": next(iter(lives.values())).examples,
        "budget": budget,
        "schemes": found,
        "fails_later_with_protection": later,
        "later_interval": yield_interval(later, n),
        "same": same,
        "earlier": earlier,
        "chips_that_fail_under_both": int(both.sum()),
        "median_ratio_of_those": float(np.median(guarded[both] / plain[both]))
        if any(both)
        else None,
    }


def table(results: dict[str, Any]) -> str:
    """Chips that fail first at each rate."""
    schemes = results["schemes"]
    rates = list(next(iter(schemes.values()))["fails_first_at"])
    rows = [
        [
            SCHEMES[scheme],
            *one["fails_first_at"].values(),
            "above the last" if one["median"] is None else f"{one['median']:g}",
            one["back_within_the_budget_later"],
        ]
        for scheme, one in schemes.items()
    ]
    names = ["never" if rate == "None" else f"{float(rate):g}" for rate in rates]
    text = markdown(["chips that fail first at", *names, "median", "back later"], rows)
    text += (
        f"\n\nWith protection {results['fails_later_with_protection']} of {results['chips']} chips"
    )
    text += f" fail later, {results['same']} at the same rate, {results['earlier']} earlier"
    if results["median_ratio_of_those"] is not None:
        text += f"; median ratio of the two rates {results['median_ratio_of_those']:g}"
    return f"{text}.{counted(results)}"


def draw(study: Study, lives: Mapping[str, Lives], budget: float) -> None:
    """The scores of every chip as it ages, and the chips that are still good."""
    figure = new_figure(12, 3.8)
    *panels, last = figure.subplots(1, len(lives) + 1)
    low = min(chips.scores.min() for chips in lives.values())
    for k, (panel, (scheme, chips)) in enumerate(zip(panels, lives.items(), strict=True)):
        panel.plot(chips.rates, 100 * chips.scores, color=f"C{k}", alpha=0.35, linewidth=0.9)
        panel.axhline(100 * (chips.reference - budget), color="0.4", linewidth=0.8, linestyle=":")
        panel.set(xscale="log", title=SCHEMES[scheme], ylabel="score of each chip, %")
        panel.set(xlabel="fraction of stuck cells", ylim=(100 * low - 2, 102 * chips.reference))
        alive = np.minimum.accumulate(chips.passed(budget), axis=0).mean(1)
        style = "os"[k] + "-"
        last.plot(chips.rates, 100 * alive, style, color=f"C{k}", label=SCHEMES[scheme])
    last.set(xscale="log", xlabel="fraction of stuck cells", ylim=(-3, 103))
    last.set_title("chips that have not failed yet, %")
    last.legend(frameon=False)
    last.grid(alpha=0.3)
    figure.savefig(study.figure(NAME), dpi=110)


def main() -> None:
    """Run what is missing, then write table and figure."""
    parser = make_parser(__doc__, chips=16)
    parser.add_argument("--task", default="sst2")
    parser.add_argument("--budget", type=float, default=0.01)
    args = parser.parse_args()
    study = Study.of(args)
    lives = read_lives(study, args.task)
    results = fold(lives, args.budget)
    study.write(NAME, results)
    print(table(results))
    draw(study, lives, args.budget)


if __name__ == "__main__":
    main()
