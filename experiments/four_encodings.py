"""Four encodings under the same rates: what a stuck cell costs depends on how codes are written.

    python experiments/four_encodings.py --work WORK --data DATA [--tasks sst2] [--chips 8]

WORK holds the models of `pruning.py`, DATA is a GLUE folder or hub id. The dense model and the one
pruned to 35 %, unprotected, at four rates; every encoding is compared with offset chip by chip.
offset, two's complement and sign-magnitude have the same cells, so their chips have the same stuck
cells; differential takes 14 cells a weight for 8, so its chips share their number only.
First 400 examples. About 6 minutes on two CPU cores; `--print` folds the rows again. The larger
`results/sst2_encodings` (16 chips, the whole dev set) is another model's.
Expected: at 5e-3 sign-magnitude beats offset on the same chips, its interval just above 0, in the
dense and in the pruned model, and two's complement does not.
"""

from collections.abc import Sequence
from typing import Any

from study import Study, by_rate, counted, facts, make_parser, markdown, new_figure

from rerax.campaign.grid import expand
from rerax.campaign.point import Point
from rerax.crossbar.spec import ENCODINGS
from rerax.report import PointSummary
from rerax.report.format import hundredths, interval
from rerax.stats import paired_difference

NAME = "four_encodings"
KINDS = ("dense", "35")
RATES = (1e-4, 1e-3, 5e-3, 1e-2)


def points_of(tasks: Sequence[str], kinds: Sequence[str], encodings: Sequence[str]) -> list[Point]:
    """The grid."""
    axes = {"encoding": encodings, "rate": (0.0, *RATES)}
    models = [(task, f"{task}-{kind}") for task in tasks for kind in kinds]
    return [p for task, model in models for p in expand(Point(task, model, 0.0), axes)]


def gain(line: PointSummary, base: PointSummary) -> dict[str, Any]:
    """What an encoding wins over offset on the chips of the same numbers."""
    won = paired_difference(line.chips, line.scores, base.chips, base.scores)
    return {"gain": won.mean, "gain_interval": won.interval}


def fold(lines: Sequence[PointSummary]) -> list[dict[str, Any]]:
    """One entry for each model, encoding and rate."""
    found = []
    for line in lines:
        model, encoding = line.settings["model"], line.settings["encoding"]
        base = by_rate(lines, model=model, encoding="offset").get(line.rate)
        won = {} if base is None or encoding == "offset" else gain(line, base)
        found.append({"model": model, "encoding": encoding, **facts(line), **won})
    return found


def cell(one: dict[str, Any]) -> str:
    """Mean (SE), and the gain over offset with its interval."""
    text = hundredths(one["mean"])
    if one["se"] is not None:
        text += f" ({hundredths(one['se'])})"
    if one["rate"] and "gain" in one:
        span = interval(one["gain_interval"], sign=True)
        text += f"; {hundredths(one['gain'], sign=True)}{f' ({span})' if span else ''}"
    return text


def table(found: Sequence[dict[str, Any]]) -> str:
    """Models and encodings against rates."""
    rates = sorted({one["rate"] for one in found})
    series = dict.fromkeys((one["model"], one["encoding"]) for one in found)
    rows = []
    for model, encoding in series:
        own = [one for one in found if (one["model"], one["encoding"]) == (model, encoding)]
        cells = {one["rate"]: cell(one) for one in own}
        rows.append([model, encoding, *(cells.get(rate, "") for rate in rates)])
    head = ["model", "encoding", *(f"{rate:g}" for rate in rates)]
    return markdown(head, rows) + counted(found[-1])


def draw(study: Study, found: Sequence[dict[str, Any]]) -> None:
    """Mean score against rate, one panel a model."""
    models = list(dict.fromkeys(one["model"] for one in found))
    figure = new_figure(4.5 * len(models), 3.6)
    panels = figure.subplots(1, len(models), squeeze=False, sharey=True)[0]
    for panel, model in zip(panels, models, strict=True):
        for k, encoding in enumerate(ENCODINGS):
            own = [o for o in found if (o["model"], o["encoding"]) == (model, encoding)]
            own = [o for o in own if o["rate"]]
            panel.errorbar(
                [o["rate"] * (1 + 0.05 * (k - 1.5)) for o in own],
                [100 * o["mean"] for o in own],
                [100 * (o["se"] or 0.0) for o in own],
                fmt="os^D"[k] + "-",
                color=f"C{k}",
                markersize=4,
                capsize=2,
                label=encoding,
            )
        panel.set(xscale="log", title=model, xlabel="fraction of stuck cells")
        panel.grid(alpha=0.3)
    panels[0].set_ylabel("score, % (bars: SE over chips)")
    panels[0].legend(frameon=False)
    figure.savefig(study.figure(NAME), dpi=110)


def main() -> None:
    """Run what is missing, then write table and figure."""
    parser = make_parser(__doc__, chips=8)
    parser.add_argument("--tasks", default="sst2", help="comma list")
    parser.add_argument("--kinds", default=",".join(KINDS), help="of models, comma list")
    parser.add_argument("--encodings", default=",".join(ENCODINGS), help="comma list")
    args = parser.parse_args()
    study = Study.of(args)
    grid = (names.split(",") for names in (args.tasks, args.kinds, args.encodings))
    found = fold(study.lines(points_of(*grid)))
    study.write(NAME, found)
    print(table(found))
    draw(study, found)


if __name__ == "__main__":
    main()
