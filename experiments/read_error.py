"""Squared error of the codes that chips read, for every protection, at three rates.

    python experiments/read_error.py --model DIR [--chips 16] [--schemes "A;B"] [--out FILE]

DIR is a BERT fine-tuned by anyone, of which one matrix is read: query of the third encoder layer,
in the offset code of 8 bits and cells of one bit. A few minutes on two CPU cores. What is given is
the mean of (read - written)^2 over the mean of written^2, and its standard error over chips.
Squared error is no score: it says how much is left to do harm, not how much it does. What a scheme
rounds to make room counts as error. For schemes that need freed cells, the rows and columns of
least norm are closed, a fifth of each (36 % of the cells), and the rest counts. `assigned` is what
no permutation of a tile's rows can better: SciPy's assignment of wanted rows to rows of cells, on 8
of the chips. What is measured joins the file that is there. `--print` shows the table again.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.optimize import linear_sum_assignment

import rerax
from rerax.crossbar.encoding import decode
from rerax.crossbar.keys import array_key
from rerax.faults import Site
from rerax.faults.mask import Faults
from rerax.models.reading import kept_codes, read_codes
from rerax.protection import protection
from rerax.protection.nearest_word import as_read, nearest_word

SCHEMES = (
    *("none", "closest", "sign", "bit", "closest+sign", "closest+bit", "duplicate:3"),
    *("rotate:16", "rotate:16:closest", "assigned", "assigned:closest"),
    *(
        "code:secded:8:spare",
        "code:bch:5:spare",
        "code:golay:4:spare",
        "code:golay:4:spare:erasures",
    ),
    *("code:secded:7:lsb", "code:bch:6:lsb", "code:bch:6:lsb:closest", "msb:2x3:lsb"),
    *("code:hamming:4:pruned", "code:bch:5:pruned", "code:golay:4:pruned"),
    *("code:golay:4:pruned:closest", "msb:2x3:pruned", "msb:2x3:pruned:closest"),
    *("msb:4x2:pruned:erasures", "msb:4x2:pruned:erasures:closest"),
)
PARTLY = tuple(f"closest, {found}" for found in ("share:0.99", "share:0.95", "rate:0.5"))
"""Where a test does not find every stuck cell (`rerax.Tested`)."""
RATES = (1e-3, 1e-2, 5e-2)
ASSIGNED = "assigned"
LAYER = 2
CLOSED = 0.2
"""Share of the rows, and of the columns, that are closed for schemes that need freed cells."""


def closed_lines(weights: np.ndarray) -> dict[str, np.ndarray]:
    """Give gates that close the rows and columns of least norm."""
    gates = {}
    for name, axis in (("row", 1), ("column", 0)):
        norm = np.linalg.norm(weights, axis=axis)
        gates[name] = np.where(norm < np.quantile(norm, CLOSED), np.float32(-1), np.float32(1))
    return gates


def least_errors(
    words: np.ndarray, stuck: np.ndarray, held: np.ndarray, spec: rerax.ChipSpec, closest: bool
) -> int:
    """Add up the squared errors of a matrix whose rows are assigned to rows of cells, by tile.

    A tile is `spec.tile` rows of the columns that `rotate` takes together.

    Args:
        words: wanted, [G, R, C].
        stuck, held: bits that stuck cells hold, and what they read.
        spec: encoding and cells.
        closest: whether each weight is written as the nearest value.
    """

    @jax.jit
    def cost(words: Any, stuck: Any, held: Any) -> Any:
        wanted = decode(words, spec).astype(jnp.int32)

        def below(shift: Any) -> Any:  # of each wanted row, on the row so far below
            cells, values = (jnp.roll(a, -shift, axis=1) for a in (stuck, held))
            read = nearest_word(words, cells, values, spec)
            found = read if closest else as_read(words, cells, values)
            return jnp.sum((decode(found, spec).astype(jnp.int32) - wanted) ** 2, axis=1)

        return jax.lax.map(below, jnp.arange(words.shape[1]))

    total, blocks = 0, np.array(spec.column_blocks(words.shape[2]))
    for top in range(0, words.shape[1], spec.tile[0]):
        for block in range(blocks.max() + 1):
            here = (slice(None), slice(top, top + spec.tile[0]), blocks == block)
            by_shift = np.asarray(cost(*(jnp.asarray(a[here]) for a in (words, stuck, held))))
            n = len(by_shift)
            row, shift = np.meshgrid(np.arange(n), np.arange(n))
            costs = np.zeros((n, n), int)
            costs[row, (row + shift) % n] = by_shift
            total += int(costs[linear_sum_assignment(costs)].sum())
    return total


def assigned(weights: np.ndarray, closest: bool, chips: int) -> dict[str, Any]:
    """Mean and standard error over chips, at each rate, of rows assigned at their best."""
    hardware = rerax.Hardware()
    crossbar = rerax.program({"query": weights}, hardware, lambda *_: True).crossbars["query"]
    words = np.asarray(crossbar.words)
    written = np.asarray(decode(jnp.asarray(words), hardware.spec), int)
    found = {}
    for rate in RATES:
        shares = []
        for number in range(chips):
            own = rerax.chip(0, number)
            key = array_key(own.key, crossbar.array, crossbar.layer)
            site = Site(own.number, crossbar.array, crossbar.layer)
            given = (crossbar.words, key, rerax.rate_table(rate), hardware.spec, site)
            read = hardware.fault.disturb(*given)
            known = np.asarray(read.known)
            held = np.asarray(read.words) & known
            least = least_errors(words, known, held, hardware.spec, closest)
            shares.append(least / (written**2).sum())
        spread = float(np.std(shares, ddof=1) / np.sqrt(chips)) if chips > 1 else 0.0
        found[f"{rate:g}"] = {"mean": float(np.mean(shares)), "se": spread}
    return found


def errors(weights: np.ndarray, scheme: str, chips: int) -> dict[str, Any]:
    """Mean and standard error over chips, at each rate."""
    name, _, found_by_test = scheme.partition(", ")
    if name.startswith(ASSIGNED):
        return assigned(weights, name.endswith(":closest"), min(chips, 8))
    hardware = rerax.Hardware(protection=name, tested=found_by_test or "all")
    gates = {"query": closed_lines(weights)} if hardware.protection.needs_gates else None
    stored = rerax.program({"query": weights}, hardware, lambda *_: True, gates)
    crossbar = stored.crossbars["query"]
    plain = rerax.program({"query": weights}, rerax.Hardware(), lambda *_: True, gates)
    flat = plain.crossbars["query"]
    codes = decode(jnp.asarray(flat.words), hardware.spec)
    written = np.asarray(kept_codes(flat, codes), int)

    @jax.jit
    def read(number: Any, rates: Any) -> Any:
        codes, _ = read_codes(crossbar, rerax.chip(0, number), Faults(rates), hardware)
        return kept_codes(crossbar, codes)

    found = {}
    for rate in RATES:
        table = rerax.rate_table(rate, tested=hardware.tested)
        shares = []
        for number in range(chips):
            codes = np.asarray(read(jnp.uint32(number), table), int)
            shares.append(((codes - written) ** 2).mean() / (written**2).mean())
        spread = float(np.std(shares, ddof=1) / np.sqrt(chips))
        found[f"{rate:g}"] = {"mean": float(np.mean(shares)), "se": spread}
    return found


def markdown(results: dict[str, Any]) -> str:
    """Table of all schemes: what each must know of a chip, and its error at each rate."""
    rates = [f"{rate:g}" for rate in RATES]
    lines = [
        f"| scheme | knows | {' | '.join(rates)} |",
        "| --- | --- " + "| --- " * len(rates) + "|",
    ]
    for scheme, at in results["schemes"].items():
        shown = [f"{at[rate]['mean']:.2e} ± {at[rate]['se']:.0e}" for rate in rates]
        name, comma, found_by_test = scheme.partition(", ")
        known = "closest" if name.startswith(ASSIGNED) else name
        knows = protection(known).knows + (f", {found_by_test}" if comma else "")
        lines.append(f"| `{name}` | {knows} | {' | '.join(shown)} |")
    return "\n".join(lines)


def main() -> None:
    """Measure and write it down."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model")
    parser.add_argument("--chips", type=int, default=16)
    parser.add_argument("--schemes", default=";".join((*SCHEMES, *PARTLY)), help="list, by ;")
    parser.add_argument("--out", type=Path, default=Path("experiments/results/read_error.json"))
    parser.add_argument("--print", action="store_true", help="show the table of --out")
    arguments = parser.parse_args()
    if arguments.print:
        print(markdown(json.loads(arguments.out.read_text(encoding="utf-8"))))
        return
    if arguments.model is None:
        parser.error("--model is missing: give the folder of a BERT")
    _, params = rerax.load(arguments.model)
    kernels = params["encoder"]["query"]["kernel"]
    weights = np.asarray(kernels[min(LAYER, len(kernels) - 1)])
    head = {"chips": arguments.chips, "shape": list(weights.shape)}
    schemes = {}
    if arguments.out.is_file():
        earlier = json.loads(arguments.out.read_text(encoding="utf-8"))
        schemes = earlier["schemes"] if {**earlier, **head} == earlier else {}
    for scheme in arguments.schemes.split(";"):
        schemes[scheme] = errors(weights, scheme, arguments.chips)
    order = [*SCHEMES, *PARTLY, *schemes]
    results = {
        **head,
        "schemes": {name: schemes[name] for name in sorted(schemes, key=order.index)},
    }
    print(markdown(results))
    arguments.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
