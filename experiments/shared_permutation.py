"""What one order of the hidden units of a feed-forward block saves, chosen around stuck cells.

    python experiments/shared_permutation.py --model DIR --data DATA [--task sst2] [--chips 8]

DIR is a BERT fine-tuned on the task, of whose third layer both feed-forward matrices are read, in
the offset code of 8 bits and cells of one bit. Hidden unit i may stand in any column of the first
matrix if it stands in the same row of the second: no input is driven otherwise, so that this order
costs nothing in hardware. That order is taken (SciPy's assignment) whose cells leave the least
squared error, of both matrices over their own mean squares; it has to know the chip's stuck cells.
Given are the errors of both matrices together as they are, and so ordered, with and without nearest
values. It is a reference on the host, no scheme of the package: one assignment of 1,536 units takes
a chip's whole map. About four minutes on one CPU core. Expected: a unit of a MiniLM has 6,144
cells; with a thousandth of them stuck it finds a place among 1,536 where they hold what it wants,
with a hundredth one where its top bits are spared, and a tenth to a fifth of the error is left.

Then all layers are ordered so, chip by chip, and the chips scored before and after on the first 400
sentences, at the points of SCORED: about twelve minutes more. The attention's matrices stay as they
are.
"""

import argparse
import json
import tempfile
from collections.abc import Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.optimize import linear_sum_assignment
from tuning import before_and_after, score
from zero_cells import Curve

import rerax
from rerax.campaign.worker import Worker
from rerax.campaign.workload import Settings, Workload, read_workload
from rerax.crossbar.crossbar import Crossbar
from rerax.crossbar.encoding import decode
from rerax.crossbar.keys import array_key
from rerax.faults import Site
from rerax.models.bert.crossbars import crossbars_by_section
from rerax.protection.nearest_word import as_read, nearest_word

RESULTS = Path(__file__).parent / "results"
RATES = (1e-3, 1e-2, 5e-2)
LAYER = 2
SCORED = (("none", 8e-3), ("none", 2e-2), ("closest", 5e-2), ("closest", 8e-2))
"""Protection and rate."""
PAIR = ("ffn_in", "ffn_out")


def unit_errors(words: Any, stuck: Any, held: Any, spec: rerax.ChipSpec, closest: bool) -> Any:
    """Add up the squared error of every unit, a row of words [G, units, others], at every place.

    Returns:
        [units, places], whole numbers.
    """

    @jax.jit
    def table(words: Any, stuck: Any, held: Any) -> Any:
        wanted = decode(words, spec).astype(jnp.int32)

        def below(shift: Any) -> Any:  # of each unit, so many places further on
            cells, values = (jnp.roll(a, -shift, axis=1) for a in (stuck, held))
            read = (nearest_word if closest else _plain)(words, cells, values, spec)
            return jnp.sum((decode(read, spec).astype(jnp.int32) - wanted) ** 2, axis=1)

        return jax.lax.map(below, jnp.arange(words.shape[1]))

    by_shift = np.asarray(table(words, stuck, held))
    n = len(by_shift)
    unit, shift = np.meshgrid(np.arange(n), np.arange(n))
    found = np.zeros((n, n))
    found[unit, (unit + shift) % n] = by_shift
    return found


def _plain(words: Any, stuck: Any, held: Any, spec: rerax.ChipSpec) -> Any:
    return as_read(words, stuck, held)


def costs(crossbars: list[Crossbar], chip: Any, rate: float, closest: bool) -> np.ndarray:
    """Relative squared error of every hidden unit at every place, of both matrices together.

    Args:
        crossbars: of the first matrix, whose columns are units, and of the second.
        chip: whose stuck cells count.
        rate: of faults.
        closest: whether each weight is written as the nearest value.
    """
    hardware, total = rerax.Hardware(), 0.0
    for crossbar, units in zip(crossbars, (2, 1), strict=True):
        key = array_key(chip.key, crossbar.array, crossbar.layer)
        site = Site(chip.number, crossbar.array, crossbar.layer)
        words = jnp.asarray(crossbar.words)
        given = (words, key, rerax.rate_table(rate), hardware.spec, site)
        read = hardware.fault.disturb(*given)
        arrays = (words, read.known, read.words & read.known)
        ordered = [jnp.moveaxis(a, units, 1) for a in arrays]
        square = (np.asarray(decode(ordered[0], hardware.spec), float) ** 2).sum()
        total = total + unit_errors(*ordered, hardware.spec, closest) / square
    return total


def order_units(params: Any, layer: int, place: np.ndarray) -> Any:
    """Put the hidden units of a layer's feed-forward block in other places.

    Args:
        params: of the model.
        layer: its number.
        place: [units] where each unit goes.
    """
    unit = np.argsort(place)
    encoder = jax.tree_util.tree_map(np.array, params["encoder"])  # copies, which can be written
    first, second = (encoder[name] for name in PAIR)
    first["kernel"][layer] = first["kernel"][layer][:, unit]
    first["bias"][layer] = first["bias"][layer][unit]
    second["kernel"][layer] = second["kernel"][layer][unit]
    return {**params, "encoder": encoder}


def pairs_of(workload: Workload) -> list[list[Crossbar]]:
    """Lay a model out plainly, and give the two feed-forward matrices of each layer."""
    point = Curve("dense", "offset", "plain", "none", RATES).point(workload, RATES[0])
    stored = Worker.start(workload, Settings(1), [point]).whole(point).stored
    both = {name: crossbars_by_section(stored)["encoder"][name] for name in PAIR}
    layers = range(len(both[PAIR[0]].layer))
    return [[jax.tree_util.tree_map(itemgetter(k), both[name]) for name in PAIR] for k in layers]


def scores(
    args: Any, pairs: list[list[Crossbar]], protection: str, rate: float, chip: int
) -> tuple[float, float]:
    """Score one chip with hidden units as they are, and with those of all layers ordered."""
    config, params = rerax.load(args.model)
    for layer, pair in enumerate(pairs):
        table = costs(pair, rerax.chip(0, chip), rate, protection == "closest")
        params = order_units(params, layer, linear_sum_assignment(table)[1])
    given = (args.task, rate, chip, args.data, args.max_examples, protection)
    with tempfile.TemporaryDirectory() as folder:
        rerax.save(folder, config, params, source=Path(args.model))
        return score(Path(args.model), *given), score(Path(folder), *given)


def scored(lines: Sequence[dict[str, Any]]) -> str:
    """The table of scores: means in % with their standard error over chips, and what orders won."""
    table = ["| rate | written | chips | as they are | ordered | won |", "| --- " * 6 + "|"]
    for line in lines:
        shown = before_and_after(line["before"], line["after"])
        name = "plainly" if line["protection"] == "none" else f"`{line['protection']}`"
        table.append(f"| {line['rate']:g} | {name} | {shown} |")
    return "\n".join(table)


def markdown(lines: Sequence[dict[str, Any]]) -> str:
    """The table: squared errors over the mean squares of the codes, means over chips."""
    table = [
        "| rate | written | chips | as they are | ordered | over that (lowest and highest chip) |",
        "| --- " * 6 + "|",
    ]
    for line in lines:
        mean, low, high = line["ratio"]
        shown = (
            f"{line['rate']:g}",
            "`closest`" if line["nearest"] else "plainly",
            f"{line['chips']}",
            f"{line['as_they_are']:.2e}",
            f"{line['ordered']:.2e}",
            f"{mean:.2g} ({low:.2g} to {high:.2g})",
        )
        table.append(f"| {' | '.join(shown)} |")
    return "\n".join(table)


def main() -> None:
    """Measure and write it down."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True, help="folder of a BERT")
    parser.add_argument("--task", default="sst2", help="that the model was fine-tuned on")
    parser.add_argument("--data", required=True, help="GLUE folder")
    parser.add_argument("--max-examples", type=int, default=400)
    parser.add_argument("--chips", type=int, default=8)
    parser.add_argument("--rates", default=",".join(f"{rate:g}" for rate in RATES))
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for results")
    args = parser.parse_args()
    workload = read_workload(args.model, args.task, args.task, data=args.data)
    pairs = pairs_of(workload)
    crossbars = pairs[min(LAYER, len(pairs) - 1)]
    found: dict[str, Any] = {
        "model_hash": workload.model_hash,
        "task": args.task,
        "max_examples": args.max_examples,
    }
    file = args.out / "shared_permutation.json"
    lines = found["errors"] = []
    for closest in (False, True):
        for rate in map(float, args.rates.split(",")):
            tables = [costs(crossbars, rerax.chip(0, k), rate, closest) for k in range(args.chips)]
            bare = np.array([table.trace() for table in tables])
            ordered = np.array([t[linear_sum_assignment(t)].sum() for t in tables])
            ratio = ordered / bare
            lines.append(
                {
                    "rate": rate,
                    "nearest": closest,
                    "chips": args.chips,
                    "units": len(tables[0]),
                    "as_they_are": float(bare.mean()),
                    "ordered": float(ordered.mean()),
                    "ratio": [float(ratio.mean()), float(ratio.min()), float(ratio.max())],
                }
            )
            print(json.dumps(lines[-1]), flush=True)
            file.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(markdown(lines))
    found["scores"] = []
    for protection, rate in SCORED:
        both = [scores(args, pairs, protection, rate, chip) for chip in range(args.chips)]
        before, after = zip(*both, strict=True)
        line = {"protection": protection, "rate": rate, "before": before, "after": after}
        found["scores"].append(line)
        print(json.dumps(line), flush=True)
        file.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(scored(found["scores"]))


if __name__ == "__main__":
    main()
