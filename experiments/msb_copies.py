"""How many top bits to copy, and how often: what fits, and what it wins.

    python experiments/msb_copies.py --work WORK --data DATA [--task sst2] [--chips 16]

WORK holds the models of `pruning.py` (TASK-SEED-21 and so on; `--sparsities` takes other ends of
their names), DATA is a GLUE folder or hub id. m = 1 to 4 most significant bits, voted k = 3 or 5
fold, in the cells freed at 21, 35 and 50 %: which fit every matrix, what they win over no
protection of the same model on the same chips, and beside it by how much the arithmetic expects
them to divide the damage (squared error of what is read, weighed by its effect). One m with k = 3
needs 20.0 %, two 33.4 %, three 42.9 %.
First 400 examples, offset. About half an hour on two CPU cores; `--print` folds the rows again.
Expected: 1, 3 and 6 of the eight schemes fit; at 5e-3 each of those wins on the same chips.
"""

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from study import (
    GROUPS,
    Study,
    by_rate,
    counted,
    facts,
    ledger_of,
    make_parser,
    markdown,
    new_figure,
)

from rerax.campaign.grid import expand
from rerax.campaign.point import Point
from rerax.crossbar.spec import ChipSpec
from rerax.faults import Uniform
from rerax.models.bert.planning import ModelProfile, expected_damage
from rerax.protection import protection
from rerax.protection.planner import MatrixProfile
from rerax.report import PointSummary
from rerax.report.format import hundredths, interval
from rerax.stats import paired_difference

NAME = "msb_copies"
SPARSITIES = ("21", "35", "50")
SCHEMES = tuple(f"msb:{m}x{k}:pruned" for k in (3, 5) for m in (1, 2, 3, 4))
RATES = (5e-3, 1e-2)
SHARE = 904 / 1079


def schemes_of(study: Study, task: str, kind: str, schemes: Sequence[str]) -> list[dict[str, Any]]:
    """Every scheme on one model: whether it fits, its reads, the damage it is expected to leave."""
    inputs, spec = study.inputs(task, kind), ChipSpec()
    design = ModelProfile(inputs.params, inputs.config, inputs.gates)
    known, found = design.matrices(spec, GROUPS), []
    plain = expected_damages("none", known, spec)
    for scheme in ("none", *schemes):
        one: dict[str, Any] = {"model": f"{task}-{kind}", "scheme": scheme, "fits": True}
        found.append(one)
        try:
            ledger = ledger_of(inputs, scheme, spec)
        except ValueError as error:
            one |= {"fits": False, "why": str(error).partition(":")[0]}
            continue
        one["reads_per_weight"] = round(ledger.reads_per_weight, 2)
        left = expected_damages(scheme, known, spec)
        one["damage_divided_by"] = {rate: round(plain[rate] / left[rate], 2) for rate in left}
    return found


def expected_damages(
    scheme: str, matrices: Mapping[str, MatrixProfile], spec: ChipSpec
) -> dict[str, float]:
    """Add up the expected damage of all matrices at each rate."""
    odds = {f"{rate:g}": Uniform().odds(rate, SHARE) for rate in RATES}
    return {
        rate: sum(expected_damage(protection(scheme), matrices, chances, spec).values())
        for rate, chances in odds.items()
    }


def add_scores(found: Sequence[dict[str, Any]], lines: Sequence[PointSummary]) -> None:
    """Put scores, and gains over no protection on the same chips, to the schemes that fit."""
    for one in found:
        own = by_rate(lines, model=one["model"], protection=one["scheme"])
        plain = by_rate(lines, model=one["model"], protection="none")
        one["points"] = []
        for rate, line in sorted(own.items()):
            base = plain[rate]
            won = paired_difference(line.chips, line.scores, base.chips, base.scores)
            gains = {"gain": won.mean, "gain_interval": won.interval}
            one["points"].append({**facts(line), **gains})


def points_of(task: str, found: Sequence[dict[str, Any]]) -> list[Point]:
    """Those that fit."""
    bases = [Point(task, o["model"], 0.0, protection=o["scheme"]) for o in found if o["fits"]]
    return [point for base in bases for point in expand(base, {"rate": (0.0, *RATES)})]


def table(found: Sequence[dict[str, Any]]) -> str:
    """One line for each scheme that fits; those that do not are named behind it."""
    rates = [f"{rate:g}" for rate in RATES]
    rows = []
    for one in (o for o in found if o["fits"]):
        cells = []
        for point in (p for p in one["points"] if p["rate"]):
            text = f"{hundredths(point['mean'])} ({hundredths(point['se'] or 0.0)})"
            if one["scheme"] != "none":
                text += f"; {hundredths(point['gain'], sign=True)} "
                text += f"({interval(point['gain_interval'], sign=True)})"
                rate = f"{point['rate']:g}"
                text += f"; {one['damage_divided_by'][rate]:g}"
            cells.append(text)
        zero = hundredths(one["points"][0]["mean"])
        name = "none" if one["scheme"] == "none" else f"`{one['scheme']}`"
        rows.append([one["model"], name, f"{one['reads_per_weight']:g}", zero, *cells])
    text = markdown(["model", "scheme", "reads a weight", "0", *rates], rows)
    for model in dict.fromkeys(o["model"] for o in found):
        refused = [o["scheme"] for o in found if o["model"] == model and not o["fits"]]
        text += f"\n\nNo room in {model}: {', '.join(f'`{name}`' for name in refused)}."
    return text + counted(found[0]["points"][-1])


def draw(study: Study, found: Sequence[dict[str, Any]]) -> None:
    """Points won at each rate, and the factor expected, one panel a model."""
    models = list(dict.fromkeys(o["model"] for o in found))
    figure = new_figure(3.9 * len(models), 4.0)
    panels = figure.subplots(1, len(models), squeeze=False, sharey=True)[0]
    for panel, model in zip(panels, models, strict=True):
        own = [o for o in found if o["model"] == model and o["fits"] and o["scheme"] != "none"]
        for k, one in enumerate(own):
            won = [p for p in one["points"] if p["rate"]]
            ends = [(p["interval"] and p["gain_interval"]) or (p["gain"],) * 2 for p in won]
            factor = one["damage_divided_by"][f"{RATES[0]:g}"]
            panel.errorbar(
                [i + 0.11 * (k - (len(own) - 1) / 2) for i in range(len(won))],
                [100 * p["gain"] for p in won],
                [
                    [100 * (p["gain"] - low) for p, (low, _) in zip(won, ends, strict=True)],
                    [100 * (high - p["gain"]) for p, (_, high) in zip(won, ends, strict=True)],
                ],
                fmt="o",
                markersize=4,
                capsize=2,
                label=f"{one['scheme'].split(':')[1]} (damage / {factor:g})",
            )
        panel.axhline(0, color="0.5", linewidth=0.8)
        panel.set_xlim(-0.5, len(RATES) - 0.5)
        panel.set_xticks(range(len(RATES)), [f"{rate:g}" for rate in RATES])
        panel.set(title=model, xlabel="fraction of stuck cells")
        if own:
            panel.legend(frameon=False, fontsize=8)
    panels[0].set_ylabel("points won on the same chips (95 %)")
    figure.savefig(study.figure(NAME), dpi=110)


def arguments() -> argparse.Namespace:
    """What the command was given."""
    parser = make_parser(__doc__, chips=16)
    parser.add_argument("--task", default="sst2")
    parser.add_argument("--sparsities", default=",".join(SPARSITIES), help="comma list, in %%")
    parser.add_argument("--schemes", default=",".join(SCHEMES), help="comma list")
    return parser.parse_args()


def main() -> None:
    """Run what is missing, then write table and figure."""
    args = arguments()
    study = Study.of(args)
    if study.stored:
        found = study.read(NAME)
    else:
        kinds = args.sparsities.split(",")
        schemes = args.schemes.split(",")
        found = [one for kind in kinds for one in schemes_of(study, args.task, kind, schemes)]
    add_scores(found, study.lines(points_of(args.task, found)))
    study.write(NAME, found)
    print(table(found))
    draw(study, found)


if __name__ == "__main__":
    main()
