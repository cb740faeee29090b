"""Dead wordlines and bitlines: what placement is worth.

    python experiments/line_faults.py --model DIR --data DIR [--task sst2]

DIR is a BERT pruned to 35 % and fine-tuned on the task. Compared on the same chips: no
protection; two MSBs voted three-fold in rerax's placement; and the same copies placed naively,
`beside` (in the freed cells of the original's own wordline first) or `below` (of its own bitline
first), which is where a plain copy loop would put them. About 25 minutes on two CPU cores.
Expected: of the copies those `beside` lose most under dead wordlines and those `below` under dead
bitlines; rerax's placement loses no more than either, but for the spread over chips.
The two naive placements also show how a protection of one's own is registered.
"""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int8, UInt8

from rerax.campaign.grid import expand
from rerax.campaign.point import Point
from rerax.campaign.runner import run
from rerax.campaign.workload import Settings, read_workload
from rerax.crossbar.encoding import encode
from rerax.crossbar.spec import ChipSpec
from rerax.crossbar.voting import majority_vote
from rerax.faults.read_out import ReadOut
from rerax.progress import reporter
from rerax.protection import Ledger, Protection, StoredMatrix, protection, register_protection
from rerax.report import summarise_points

RESULTS = Path(__file__).parent / "results"
SCHEMES = ("none", "msb:2x3:pruned", "naive:beside", "naive:below")
RATES = (0.0, 1e-3, 3e-3, 1e-2)
MSBS, COPIES = 2, 2


@dataclass(frozen=True)
class Naive(Protection):
    """Copies of the two top bits beside or below the original, for one-bit cells and one group.

    Attributes:
        order: `beside` fills the freed cells of the original's wordline first, `below` those of
            its bitline; what is left over takes any freed cell, in order.
    """

    order: str

    @property
    def text(self) -> str:
        """Such as `naive:beside`."""
        return f"naive:{self.order}"

    def ledger(
        self, row: np.ndarray, column: np.ndarray, gated: bool, spec: ChipSpec, matrix: str
    ) -> Ledger:
        """Count cells and reads of as many copies elsewhere."""
        same = protection(f"msb:{MSBS}x{COPIES + 1}:pruned")
        return same.ledger(row, column, gated, spec, matrix)

    def store(
        self, codes: Int8[np.ndarray, "*L R C"], lines: Any, spec: ChipSpec, matrix: str
    ) -> StoredMatrix:
        """Words with copies, and the cell of every copy."""
        words = encode(codes, spec)
        if lines is None:
            return StoredMatrix(words, None)
        shape = codes.shape
        layers = words.reshape(-1, *words.shape[-3:])  # one for a matrix that is not stacked
        rows, columns = (line.reshape(-1, line.shape[-1]) for line in lines)
        places = [self._copy(*layer, spec) for layer in zip(layers, rows, columns, strict=True)]
        return StoredMatrix(words, np.stack(places).reshape(*shape[:-2], MSBS, COPIES, *shape[-2:]))

    def _copy(
        self, word: np.ndarray, row: np.ndarray, column: np.ndarray, spec: ChipSpec
    ) -> np.ndarray:
        """Write copies into the words of a layer; give the cell of every copy."""
        at = place_naively(row, column, spec, self.order)
        word[:, ~(row[:, None] & column[None, :])] = 0  # freed cells start empty
        kept = np.argwhere(row[:, None] & column[None, :])
        for p in range(MSBS):
            bit = word[0, kept[:, 0], kept[:, 1]] >> (spec.bits - 1 - p) & 1
            for cells in at[p]:
                host = cells[kept[:, 0], kept[:, 1]]
                weight, plane = np.divmod(host, spec.bits)
                np.bitwise_or.at(word[0].reshape(-1), weight, (bit << plane).astype(np.uint8))
        return at.astype(np.int32)

    def recover(
        self, arrays: list[ReadOut], extra: Any, spec: ChipSpec, matrix: str
    ) -> UInt8[Array, "G R C"]:
        """Two top bits voted, one gather for each copy."""
        words = arrays[0].words
        if extra is None:
            return words
        flat, top = words[0].ravel(), jnp.uint8(0xC0)
        images = []
        for k in range(COPIES):
            image = jnp.zeros_like(words[0])
            for p in range(MSBS):
                cells = extra[p, k]
                bit = flat[cells // spec.bits] >> (cells % spec.bits).astype(jnp.uint8) & 1
                image |= bit << jnp.uint8(spec.bits - 1 - p)
            images.append(image)
        voted = majority_vote(jnp.stack([words[0], *images]))
        return ((voted & top) | (words[0] & ~top))[None]


def place_naively(row: np.ndarray, column: np.ndarray, spec: ChipSpec, order: str) -> np.ndarray:
    """[MSBS, COPIES, R, C] cell (weight number * bits + bit) of every copy; 0 where closed.

    Raises:
        ValueError: fewer freed cells than copies.
    """
    rows, columns, b = row.size, column.size, spec.bits
    kept = row[:, None] & column[None, :]
    free = np.repeat(~kept[:, :, None], b, axis=2)  # [R, C, bit]
    at = np.zeros((MSBS, COPIES, rows, columns), np.int64)
    cell = np.arange(rows * columns * b).reshape(rows, columns, b)
    waiting = []
    for i in np.flatnonzero(row) if order == "beside" else np.flatnonzero(column):
        if order == "beside":
            own, mine = cell[i][free[i]], np.flatnonzero(column)
            wanted = [(p, k, i, j) for j in mine for p in range(MSBS) for k in range(COPIES)]
        else:
            wanted, own = [], np.zeros(0, np.int64)
            for p in range(MSBS):  # a bit's own bitline is that of its bit plane
                below = cell[:, i, b - 1 - p][free[:, i, b - 1 - p]]
                pairs = [(p, k, r, i) for r in np.flatnonzero(row) for k in range(COPIES)]
                own = np.concatenate([own, below[: len(pairs)]])
                wanted += pairs[: len(below)]
                waiting += pairs[len(below) :]
        n = min(len(own), len(wanted))
        for place, target in zip(own[:n], wanted[:n], strict=True):
            at[target] = place
        free.reshape(-1)[own[:n]] = False
        waiting += wanted[n:]
    rest = cell[free]
    if len(rest) < len(waiting):
        raise ValueError(f"{len(waiting) - len(rest)} copies have no cell: prune more")
    if waiting:
        at[tuple(np.array(waiting).T)] = rest[: len(waiting)]
    return at


def main() -> None:
    """Run what is missing and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True, help="pruned BERT")
    parser.add_argument("--data", default="nyu-mll/glue", help="GLUE folder or hub id")
    parser.add_argument("--task", default="sst2")
    parser.add_argument("--chips", type=int, default=16)
    parser.add_argument("--max-examples", type=int, default=400)
    parser.add_argument("--faults", default="wordline,bitline", help="comma list")
    parser.add_argument("--schemes", default=",".join(SCHEMES), help="comma list")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for rows and results")
    args = parser.parse_args()
    register_protection("naive", lambda parts: Naive(*parts))
    workload = read_workload(
        args.model, args.task, f"{args.task}-35", data=args.data, max_examples=args.max_examples
    )
    axes = {"rate": RATES, "fault": args.faults.split(","), "protection": args.schemes.split(",")}
    points = expand(Point(task=args.task, model=workload.model, rate=0.0), axes)
    with reporter() as tell:
        rows = run(workload, points, Settings(args.chips), args.out / "line_faults", tell)
    table = [
        {
            "fault": line.settings["fault"],
            "protection": line.settings["protection"],
            "rate": line.rate,
            "mean": line.summary.mean,
            "se": line.summary.se,
            "lost": line.clean_score - line.summary.mean,
        }
        for line in summarise_points(rows)
    ]
    file = args.out / "line_faults.json"
    file.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
    for line in table:
        print(
            f"{line['fault']:9} {line['protection']:15} {line['rate']:<6g} "
            f"{100 * line['mean']:6.2f} %   lost {100 * line['lost']:5.2f} points"
        )


if __name__ == "__main__":
    main()
