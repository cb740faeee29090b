"""The picture of README.md: score against rate with and without protection on SST-2.

    python experiments/picture.py

Seconds; drawn from committed rows of the tolerance study (`results/tolerance`): the SST-2 model
pruned to 35 %, offset code, unprotected and with its two top bits voted three-fold, on the same
64 chips.
"""

import argparse
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from rerax.campaign import store
from rerax.faults import DEFAULT_SA1_SHARE
from rerax.report import figure_score_against_rate

RESULTS = Path(__file__).parent / "results"
PICTURE = RESULTS / "figures" / "protection.png"
SCHEMES = ("none", "msb:2x3:pruned")
WANTED = {"model": "sst2-35", "encoding": "offset", "sa1_share": float(DEFAULT_SA1_SHARE)}


def drawn_rows() -> pa.Table:
    """The rows of the picture."""
    rows = store.read_rows(RESULTS / "tolerance")
    chosen = pc.is_in(rows["protection"], pa.array(SCHEMES))
    for column, value in WANTED.items():
        chosen = pc.and_(chosen, pc.equal(rows[column], value))
    faulty = rows.filter(chosen)
    return faulty.sort_by([("rate", "ascending"), ("chip", "ascending")])


def draw(path: Path) -> None:
    """Draw the picture."""
    figure_score_against_rate(
        drawn_rows(), path, "SST-2, offset code: unprotected, and the two top bits voted three-fold"
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
