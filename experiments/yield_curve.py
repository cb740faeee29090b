"""Yield against fault rate and budget, with and without zero-space protection.

    python experiments/yield_curve.py --work WORK --data DATA [--task sst2] [--chips 16]

WORK holds the models of `pruning.py`, DATA is a GLUE folder or hub id. A chip is good when it
scores within the budget of the model's float score. The model pruned to 35 %, bare and with
msb:2x3:pruned, the same chips at seven rates from 5e-4 to 5e-2; Wilson's 95 % intervals over
chips. The rows are those of `ageing.py`.
First 400 examples. About 5 minutes on two CPU cores; `--print` folds the rows again.
Expected: at a budget of one point and a rate of 5e-3 the intervals of the two do not meet.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from lives import SCHEMES, Lives, read_lives
from study import Study, counted, make_parser, markdown, new_figure

from rerax.report.format import budget_text
from rerax.stats import yield_interval

NAME = "yield_curve"
BUDGETS = (0.005, 0.01, 0.02, 0.05)


def fold(lives: Mapping[str, Lives]) -> list[dict[str, Any]]:
    """One entry for each scheme, budget and rate."""
    found = []
    for scheme, chips in lives.items():
        for budget in BUDGETS:
            for rate, passed in zip(chips.rates, chips.passed(budget), strict=True):
                n, good = len(passed), int(passed.sum())
                found.append(
                    {
                        "scheme": scheme,
                        "budget": budget,
                        "rate": float(rate),
                        "chips": n,
                        "examples": chips.examples,
                        "good": good,
                        "yield": good / n,
                        "interval": yield_interval(good, n),
                    }
                )
    return found


def table(found: Sequence[dict[str, Any]]) -> str:
    """Schemes and budgets against rates."""
    rates = sorted({one["rate"] for one in found})
    rows = []
    for scheme, budget in dict.fromkeys((o["scheme"], o["budget"]) for o in found):
        own = [o for o in found if (o["scheme"], o["budget"]) == (scheme, budget)]
        cells = {
            o["rate"]: "{:.0f} ({:.0f} to {:.0f})".format(
                *(100 * share for share in (o["yield"], *o["interval"]))
            )
            for o in own
        }
        rows.append([SCHEMES[scheme], budget_text(budget), *(cells[rate] for rate in rates)])
    head = ["yield, % (95 %)", "budget", *(f"{rate:g}" for rate in rates)]
    return markdown(head, rows) + counted(found[0])


def draw(study: Study, found: Sequence[dict[str, Any]]) -> None:
    """One panel a budget."""
    figure = new_figure(3.2 * len(BUDGETS), 3.4)
    panels = figure.subplots(1, len(BUDGETS), squeeze=False, sharey=True)[0]
    for panel, budget in zip(panels, BUDGETS, strict=True):
        for k, (scheme, label) in enumerate(SCHEMES.items()):
            own = [o for o in found if (o["scheme"], o["budget"]) == (scheme, budget)]
            rates = [o["rate"] for o in own]
            low, high = zip(*([100 * end for end in o["interval"]] for o in own), strict=True)
            shares = [100 * o["yield"] for o in own]
            panel.plot(rates, shares, "os"[k] + "-", color=f"C{k}", markersize=4, label=label)
            panel.fill_between(rates, low, high, color=f"C{k}", alpha=0.15, linewidth=0)
        panel.set(xscale="log", title=f"within {budget_text(budget)}", ylim=(-3, 103))
        panel.set_xlabel("fraction of stuck cells")
        panel.grid(alpha=0.3)
    panels[0].set_ylabel("yield, % (band: 95 %)")
    panels[0].legend(frameon=False)
    figure.savefig(study.figure(NAME), dpi=110)


def main() -> None:
    """Run what is missing, then write table and figure."""
    parser = make_parser(__doc__, chips=16)
    parser.add_argument("--task", default="sst2")
    args = parser.parse_args()
    study = Study.of(args)
    found = fold(read_lives(study, args.task))
    study.write(NAME, found)
    print(table(found))
    draw(study, found)


if __name__ == "__main__":
    main()
