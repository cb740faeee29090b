"""How much higher a fault rate protection bears: T for every encoding and scheme.

    python experiments/tolerance.py --work WORK --data DATA [--seed 1] [--encodings offset]

WORK holds the pruned models that `experiments/pruning.py` leaves (TASK-SEED-SPARSITY folders).
For each task and encoding, every scheme runs on the smallest pruned model in which it fits, as a
growing campaign in experiments/results/tolerance; stop and start it at will.

T = r(scheme) / r(none), where r is the fault rate at which the mean over chips has lost one
point against the same pruned model, unprotected, at rate 0: interpolated in log rate, the same
chips throughout, 95 % interval by bootstrap over chips. Three rates around what the arithmetic
of damage foretells, more where they do not bracket the loss. 64 chips for offset unprotected and
msb:2x3:pruned, 16 for the rest, the first 400 sentences of each dev set.
Takes about three hours on two CPU cores; `--print` shows the table from the rows alone.
Expected: T >= 8 with offset and msb:2x3:pruned.
"""

import argparse
import functools
import json
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from rerax.campaign import store
from rerax.campaign.point import Point
from rerax.campaign.runner import run
from rerax.campaign.workload import Progress, Settings, read_workload
from rerax.crossbar.spec import ENCODINGS, ChipSpec
from rerax.faults import Uniform
from rerax.models.bert.planning import ModelProfile, account, total
from rerax.progress import reporter
from rerax.protection import MsbEmbed, Unprotected, protection
from rerax.protection.msb.room import fits
from rerax.protection.planner import MatrixProfile, damage
from rerax.stats.tolerated import crossings

RESULTS = Path(__file__).parent / "results"
TASKS = ("sst2", "stsb")
SPARSITIES = (21, 35, 38, 50)
SCHEMES = (
    "msb:2x3:pruned",
    "msb:1x3:pruned",
    "msb:2x3:pruned:erasures",
    "msb:1x3:lsb",
    "msb:2x3:lsb",
    "msb:2x3:pruned+lsb",
    "plan",
    "plan:erasures",
    "duplicate:3",
)
PLAN_RATE = 1e-2
EXAMPLES, CHIPS, HEADLINE_CHIPS = 400, 16, 64
LOSS = 0.01
GROUPS = ("encoder", "pooler", "classifier")
SHARE = 904 / 1079
FIRST_RATES = {
    "offset": (1e-3, 2e-3, 4e-3),
    "twos_complement": (5e-4, 1.5e-3, 4e-3),
    "sign_magnitude": (1.5e-3, 4e-3, 8e-3),
    "differential": (1e-3, 2e-3, 4e-3),
}
"""Where the unprotected models are looked at first."""
MOST_RATES = 6


@dataclass(frozen=True)
class Model:
    """One pruned model on its task."""

    task: str
    sparsity: int
    folder: Path
    data: str
    out: Path = RESULTS
    max_examples: int = EXAMPLES

    @cached_property
    def workload(self) -> Any:
        """For campaigns; its name in the rows is TASK-SPARSITY."""
        name = f"{self.task}-{self.sparsity}"
        return read_workload(
            str(self.folder), self.task, name, data=self.data, max_examples=self.max_examples
        )

    @cached_property
    def design(self) -> ModelProfile:
        """For arithmetic."""
        inputs = self.workload.load()
        return ModelProfile(inputs.params, inputs.config, inputs.gates)

    def fits(self, scheme: str, spec: ChipSpec) -> bool:
        """Whether every gated matrix has room."""
        asked = protection(scheme) if not scheme.startswith("plan") else Unprotected()
        if not isinstance(asked, MsbEmbed):
            return True
        if len(asked.depths) > spec.group_bits:
            return False
        return all(
            fits(row, column, asked.copy_spec, spec)
            for known in matrices_of(self, spec).values()
            if known.gated
            for row, column in zip(known.row, known.column, strict=True)
        )

    def named(self, scheme: str, spec: ChipSpec) -> str:
        """The protection itself, where the scheme is a plan."""
        if not scheme.startswith("plan"):
            return scheme
        chances = Uniform().odds(PLAN_RATE, SHARE)
        return self.design.allocate(spec, GROUPS, chances, scheme != "plan").text

    def expected_damage(self, name: str, rate: float, spec: ChipSpec) -> float:
        """Expected damage of all matrices."""
        matrices, chances = matrices_of(self, spec), Uniform().odds(rate, SHARE)
        whole = protection(name)
        return sum(damage(whole.of(m), known, chances, spec) for m, known in matrices.items())


@functools.cache
def matrices_of(model: Model, spec: ChipSpec) -> dict[str, MatrixProfile]:
    """Codes and sensitivities of a model."""
    return model.design.matrices(spec, GROUPS)


def round_rate(rate: float) -> float:
    """Two significant digits, so that a second run asks for the same points."""
    return float(f"{rate:.1e}")


def measure(model: Model, name: str, encoding: str, rates: Sequence[float], chips: int) -> pa.Table:
    """Rows of some rates, computed where they are missing."""
    base = {"task": model.task, "model": model.workload.model, "encoding": encoding}
    points = [Point(**base, rate=rate, protection=name) for rate in rates]
    with reporter(False) as tell:

        def told(progress: Progress) -> None:
            tell(progress)

        return run(model.workload, points, Settings(chips), model.out / "tolerance", told)


def scores(rows: pa.Table) -> tuple[np.ndarray, np.ndarray]:
    """Ascending rates, and scores [rates, chips]."""
    rate, score = rows["rate"].to_numpy(), rows["score"].to_numpy()
    rates = np.unique(rate)
    return rates, np.stack([score[rate == r] for r in rates])


def crossing(rates: np.ndarray, loss: np.ndarray) -> float:
    """Rate at which the loss first passes one point, in log rate; NaN if it never does.

    Args:
        rates: ascending, all positive.
        loss: mean loss at each.
    """
    return crossings(rates, loss[:, None], LOSS)[0]


def curve(
    model: Model, name: str, encoding: str, first: Sequence[float], chips: int, start: float | None
) -> tuple[np.ndarray, np.ndarray, float]:
    """Rates, scores [rates, chips], and the score at rate 0, with rates added until they bracket.

    Args:
        first: rates to begin with.
        start: score to lose a point from; None: the one found at rate 0.
    """
    rates = sorted({round_rate(rate) for rate in first})
    zero = scores(measure(model, name, encoding, [0.0], 1))[1][0, 0]
    start = zero if start is None else start
    while True:
        found, score = scores(measure(model, name, encoding, rates, chips))
        loss = start - score.mean(1)
        if len(rates) >= MOST_RATES or start - zero >= LOSS:
            return found, score, zero
        if loss[-1] < LOSS and rates[-1] < 0.3:
            rates.append(round_rate(rates[-1] * 2))
        elif loss[0] > LOSS:
            rates.insert(0, round_rate(rates[0] / 2))
        else:
            return found, score, zero


def predicted(model: Model, name: str, encoding: str, at: float) -> float:
    """Rate at which a protected model is expected to take the damage of an unprotected one."""
    spec = ChipSpec(encoding)
    harm = model.expected_damage("none", at, spec)
    low, high = at / 100, 0.4
    for _ in range(14):
        middle = math.sqrt(low * high)
        less = model.expected_damage(name, middle, spec) < harm
        low, high = (middle, high) if less else (low, middle)
    return low


def bootstrap(
    plain: tuple[np.ndarray, np.ndarray],
    guarded: tuple[np.ndarray, np.ndarray],
    start: float,
) -> tuple[float, float | None]:
    """95 % interval of T, the same chips drawn for both curves; None where it has no end."""
    draw = np.random.Generator(np.random.PCG64(0))
    n = min(plain[1].shape[1], guarded[1].shape[1])
    chips = draw.integers(0, n, (2000, n))
    losses = [(rates, start - s.T[chips].mean(1).T) for rates, s in (plain, guarded)]
    found = np.divide(*(crossings(*one, LOSS) for one in reversed(losses)))
    ordered = np.nan_to_num(found, nan=np.inf)  # a drawn set of chips that never loses a point
    low, high = np.quantile(ordered, [0.025, 0.975], method="inverted_cdf")
    return float(low), float(high) if np.isfinite(high) else None


def tolerance(
    models: Sequence[Model], scheme: str, encoding: str, most_chips: int = HEADLINE_CHIPS
) -> dict[str, Any] | None:
    """One line of the table; None where the scheme fits no model, or nothing is lost without it."""
    spec = ChipSpec(encoding)
    model = next((m for m in models if m.fits(scheme, spec)), None)
    if model is None:
        return None
    headline = encoding == "offset" and scheme == "msb:2x3:pruned"
    chips = min(HEADLINE_CHIPS if headline else CHIPS, most_chips)
    *plain, start = curve(model, "none", encoding, FIRST_RATES[encoding], chips, None)
    at = crossing(plain[0], start - plain[1].mean(1))
    if math.isnan(at):
        print(f"{model.task} {encoding}: no point lost up to a rate of {plain[0][-1]:g}: no T")
        return None
    name = model.named(scheme, spec)
    guess = predicted(model, name, encoding, at)
    *guarded, zero = curve(
        model, name, encoding, [max(guess, at) * f for f in (0.55, 1.0, 1.8)], chips, start
    )
    reached = crossing(guarded[0], start - guarded[1].mean(1)) if start - zero < LOSS else 0.0
    interval = bootstrap((plain[0], plain[1]), (guarded[0], guarded[1]), start) if reached else None
    matrices, chances = matrices_of(model, spec), Uniform().odds(at, SHARE)
    accounts = account(protection(name), matrices, chances, spec)
    return {
        "task": model.task,
        "encoding": encoding,
        "scheme": scheme,
        "protection": name,
        "sparsity": model.sparsity,
        "chips": chips,
        "rate_unprotected": at,
        "rate_protected": None if math.isnan(reached) else reached,
        "T": None if math.isnan(reached) else reached / at,
        "T_interval": interval,
        "T_predicted": guess / at,
        "score_unprotected": start,
        "score_protected": zero,
        "reads_per_weight": total(accounts).ledger.reads_per_weight,
    }


def refold(lines: Sequence[dict[str, Any]], rows: pa.Table) -> None:
    """T and its interval once more, from the rows of all runs together."""
    frame = rows.to_pandas()
    for one in lines:
        mine = frame[
            (frame.model == f"{one['task']}-{one['sparsity']}")
            & (frame.encoding == one["encoding"])
            & (frame.sa1_share == SHARE)
            & (frame.chip < one["chips"])
            & (frame.rate > 0)
        ]
        curves = []
        for name in ("none", one["protection"]):
            own = mine[mine.protection == name].pivot_table("score", "rate", "chip").dropna()
            curves.append((own.index.to_numpy(), own.to_numpy()))
        start = one["score_unprotected"]
        if start - one["score_protected"] >= LOSS:
            continue
        plain, guarded = (crossing(r, start - s.mean(1)) for r, s in curves)
        one["rate_unprotected"] = plain
        one["rate_protected"] = None if math.isnan(guarded) else guarded
        one["T"] = None if math.isnan(guarded) else guarded / plain
        one["T_interval"] = None if math.isnan(guarded) else bootstrap(*curves, start)


def print_table(lines: Sequence[dict[str, Any]]) -> None:
    """Lines by task and encoding."""
    print("task   encoding         scheme                    model  chips     T (95 %)  predicted")
    for one in lines:
        low, high = one["T_interval"] or (None, None)
        end = "" if high is None else f"{high:.1f}"
        span = "" if low is None else f"({low:.1f} .. {end})"
        shown = ">" if one["T"] is None else f"{one['T']:.1f}"
        print(
            f"{one['task']:6} {one['encoding']:16} {one['scheme']:24} -{one['sparsity']} %  "
            f"{one['chips']:3}  {shown:>5} {span:16} {one['T_predicted']:5.1f}   "
            f"rate 0: {100 * one['score_unprotected']:.2f} -> {100 * one['score_protected']:.2f} %"
            f"  reads {one['reads_per_weight']:.2f}"
        )


def markdown(lines: Sequence[dict[str, Any]], task: str) -> str:
    """T (95 %), what was foretold, reads and the loss at rate 0 of one task, as README has it."""
    title = {"sst2": "SST-2", "stsb": "STS-B"}[task]
    names = [
        encoding.replace("twos_", "two's ").replace("sign_m", "sign-m") for encoding in ENCODINGS
    ]
    heads = [f"{title}: T (95 %), predicted", *names, "reads a weight", "loss at rate 0, points"]
    table = [f"| {' | '.join(heads)} |", "| --- " * len(heads) + "|"]
    for scheme in SCHEMES:
        own = {o["encoding"]: o for o in lines if (o["task"], o["scheme"]) == (task, scheme)}
        if not own:
            continue
        reads = {f"{one['reads_per_weight']:.1f}": None for one in own.values()}
        losses = [100 * (o["score_unprotected"] - o["score_protected"]) for o in own.values()]
        ends = {f"{loss + 0.0:.2f}".replace("-", "−"): None for loss in (min(losses), max(losses))}
        cells = [f"`{scheme}`", *(_cell(own.get(encoding)) for encoding in ENCODINGS)]
        table.append(f"| {' | '.join([*cells, ', '.join(reads), ' to '.join(ends)])} |")
    return "\n".join(table)


def _cell(one: dict[str, Any] | None) -> str:
    if one is None or one["T"] is None:
        return "no T"
    low, high = one["T_interval"]
    end = "?" if high is None else f"{high:.1f}"
    return f"{one['T']:.1f} ({low:.1f} to {end}), {one['T_predicted']:.1f}"


def place_of(one: dict[str, Any]) -> tuple[int, int, int]:
    """Place of a line in the table."""
    keys = (TASKS, one["task"]), (list(ENCODINGS), one["encoding"]), (SCHEMES, one["scheme"])
    return tuple(names.index(name) for names, name in keys)


def draw(lines: Sequence[dict[str, Any]], out: Path) -> None:
    """T with its interval for every scheme and encoding, what was predicted beside it."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 5.5), layout="constrained")
    panels = figure.subplots(1, len(TASKS), sharey=True, squeeze=False)[0]
    for panel, task in zip(panels, TASKS, strict=True):
        for k, encoding in enumerate(ENCODINGS):
            own = [one for one in lines if (one["task"], one["encoding"]) == (task, encoding)]
            own = [one for one in own if one["T"]]
            y = [SCHEMES.index(one["scheme"]) + 0.18 * (k - 1.5) for one in own]
            for place, one in zip(y, own, strict=True):
                low, high = one["T_interval"]
                panel.plot([max(low, 0.1), high or 60], [place] * 2, color=f"C{k}", linewidth=1.2)
            panel.plot(
                [one["T"] for one in own], y, "o", color=f"C{k}", markersize=5, label=encoding
            )
            expected = [one["T_predicted"] for one in own]
            panel.plot(expected, y, "|", color=f"C{k}", markersize=9, markeredgewidth=1.6)
        panel.axvline(8, color="0.5", linewidth=0.8, linestyle=":")
        panel.set(
            xscale="log", xlim=(0.5, 60), title=task, xlabel="T; dashes: predicted; dotted: 8"
        )
        panel.set_yticks(range(len(SCHEMES)), SCHEMES)
        panel.set_xticks([1, 2, 4, 8, 16, 32], ["1", "2", "4", "8", "16", "32"])
        panel.minorticks_off()
    panels[0].invert_yaxis()
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
    (out / "figures").mkdir(parents=True, exist_ok=True)
    figure.savefig(out / "figures" / "tolerance.png", dpi=110)


def main() -> None:
    """Run what is missing, write the table and draw it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", default="pruning-work", help="folder of the pruned models")
    parser.add_argument("--data", default="nyu-mll/glue", help="GLUE folder or hub id")
    parser.add_argument("--seed", type=int, default=1, help="seed of the pruned models")
    parser.add_argument("--tasks", default=",".join(TASKS), help="comma list")
    parser.add_argument("--encodings", default=",".join(ENCODINGS), help="comma list")
    parser.add_argument("--schemes", default=",".join(SCHEMES), help="comma list")
    parser.add_argument("--max-examples", type=int, default=EXAMPLES)
    parser.add_argument("--most-chips", type=int, default=HEADLINE_CHIPS)
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for rows and results")
    parser.add_argument("--print", action="store_true", help="only print and draw the table")
    args = parser.parse_args()
    file = args.out / "tolerance.json"
    lines = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else []
    done = {(one["task"], one["encoding"], one["scheme"]): one for one in lines}
    wanted = [
        (task, encoding, scheme)
        for encoding in args.encodings.split(",")
        for scheme in args.schemes.split(",")
        for task in args.tasks.split(",")
    ]
    for task, encoding, scheme in [] if args.print else wanted:
        folders = {s: Path(args.work, f"{task}-{args.seed}-{s}") for s in SPARSITIES}
        models = [
            Model(task, s, folder, args.data, args.out, args.max_examples)
            for s, folder in folders.items()
            if (folder / "model.safetensors").is_file()
        ]
        if not models:
            warnings.warn(f"{args.work} has no pruned model of {task}", stacklevel=1)
            continue
        line = tolerance(models, scheme, encoding, args.most_chips)
        if line is not None:
            done[task, encoding, scheme] = line
            file.write_text(json.dumps(list(done.values()), indent=1) + "\n", encoding="utf-8")
            print_table([line])
    lines = sorted(done.values(), key=place_of)
    refold(lines, store.read_rows(args.out / "tolerance"))
    file.write_text(json.dumps(lines, indent=1) + "\n", encoding="utf-8")
    for task in TASKS:
        print(markdown(lines, task), end="\n\n")
    draw(lines, args.out)


if __name__ == "__main__":
    main()
