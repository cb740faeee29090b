"""What one order of the hidden units of a feed-forward block saves, chosen around stuck cells.

    python experiments/shared_permutation.py --model DIR [--chips 4]

DIR is a BERT fine-tuned by anyone, of whose third layer both feed-forward matrices are read, in
the offset code of 8 bits and cells of one bit. Hidden unit i may stand in any column of the first
matrix if it stands in the same row of the second: no input is driven otherwise, so that this order
costs nothing in hardware. That order is taken (SciPy's assignment) whose cells leave the least
squared error, of both matrices over their own mean squares; it has to know the chip's stuck cells.
Given are the errors of both matrices together as they are, and so ordered, with and without nearest
values. It is a reference on the host, no scheme of the package: one assignment of 1,536 units takes
a chip's whole map. About half an hour on two CPU cores. Expected: some per cent less error, since
every unit has stuck cells by the hundred.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.optimize import linear_sum_assignment

import rerax
from rerax.crossbar.crossbar import Crossbar
from rerax.crossbar.encoding import decode
from rerax.crossbar.keys import array_key
from rerax.faults import Site
from rerax.protection.nearest_word import as_read, nearest_word

RESULTS = Path(__file__).parent / "results"
RATES = (1e-3, 1e-2, 5e-2)
LAYER = 2


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
        given = (crossbar.words, key, rerax.rate_table(rate), hardware.spec, site)
        read = hardware.fault.disturb(*given)
        arrays = (crossbar.words, read.known, read.words & read.known)
        ordered = [jnp.moveaxis(jnp.asarray(a), units, 1) for a in arrays]
        square = (np.asarray(decode(ordered[0], hardware.spec), float) ** 2).sum()
        total = total + unit_errors(*ordered, hardware.spec, closest) / square
    return total


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
            f"{mean:.3f} ({low:.3f} to {high:.3f})",
        )
        table.append(f"| {' | '.join(shown)} |")
    return "\n".join(table)


def main() -> None:
    """Measure and write it down."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True, help="folder of a BERT")
    parser.add_argument("--chips", type=int, default=4)
    parser.add_argument("--rates", default=",".join(f"{rate:g}" for rate in RATES))
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for results")
    args = parser.parse_args()
    _, params = rerax.load(args.model)
    layers = params["encoder"]
    weights = {
        name: np.asarray(layers[name]["kernel"][min(LAYER, len(layers[name]["kernel"]) - 1)])
        for name in ("ffn_in", "ffn_out")
    }
    stored = rerax.program(weights, rerax.Hardware(), lambda *_: True)
    crossbars = [stored.crossbars[name] for name in weights]
    lines = []
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
            file = args.out / "shared_permutation.json"
            file.write_text(json.dumps(lines, indent=1) + "\n", encoding="utf-8")
    print(markdown(lines))


if __name__ == "__main__":
    main()
