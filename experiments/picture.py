"""The picture of README.md: score against rate with and without protection on SST-2.

    python experiments/picture.py

Seconds; drawn from committed rows (`results/zero_cells`): the SST-2 model pruned to 35 %, offset
code, unprotected, with its two top bits voted three-fold, and with Golay code words, on the same
chips.
"""

import argparse
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from rerax.campaign import store
from rerax.report import figure_score_against_rate

RESULTS = Path(__file__).parent / "results"
PICTURE = RESULTS / "figures" / "protection.png"
SCHEMES = ("none", "msb:2x3:pruned", "code:golay:4:pruned")
"""The first one is stored plainly, the rows of the others alternate in polarity."""
WANTED = {"model": "sst2-35", "encoding": "offset", "fault": "uniform"}


def drawn_rows() -> pa.Table:
    """The rows of the picture."""
    rows = store.read_rows(RESULTS / "zero_cells")
    chosen = pc.is_in(rows["protection"], pa.array(SCHEMES))
    for column, value in WANTED.items():
        chosen = pc.and_(chosen, pc.equal(rows[column], value))
    plainly = pc.equal(rows["protection"], SCHEMES[0])
    chosen = pc.and_(chosen, pc.equal(pc.is_null(rows["polarity"]), plainly))
    chosen = pc.and_(chosen, pc.greater(rows["rate"], 0.0))
    faulty = rows.filter(chosen)
    return faulty.sort_by([("rate", "ascending"), ("chip", "ascending")])


def draw(path: Path) -> None:
    """Draw the picture."""
    figure_score_against_rate(
        drawn_rows(), path, "SST-2: unprotected, two top bits voted three-fold, Golay code words"
    )


def main() -> None:
    """Draw it where it is kept, or elsewhere."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=PICTURE)
    out = parser.parse_args().out
    draw(out)
    print(out)


if __name__ == "__main__":
    main()
