"""rerax map."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rerax.cli.flags import PointFlags, Wide, app, changed, flag, names

if TYPE_CHECKING:
    from rerax.faults.chip_map import Shapes
    from rerax.faults.map_conversion import Thresholds


@app.command()
def map(
    file: Annotated[
        str, typer.Argument(help="CSV or Parquet file of cells, as a tester wrote it.")
    ],
    model: Annotated[
        str | None, flag("Model whose arrays it should fit: its folder, or hub id.", "DIR")
    ] = None,
    floor_plan: Annotated[
        Path | None,
        flag("File that says which array of the die holds which part of which matrix.", "FILE"),
    ] = None,
    low: Annotated[float | None, flag("Conductance at or below which a cell is SA0.", "X")] = None,
    high: Annotated[float | None, flag("Conductance at or above which a cell is SA1.", "Y")] = None,
    out: Annotated[
        Path | None, flag("Write the map here, as .csv or .parquet, for map:FILE.", "FILE")
    ] = None,
    *,
    on: Annotated[PointFlags, "encoding bits bits_per_cell tile layout matrices,.."],
    wide: Wide = False,
) -> None:
    """Say what is in a map of measured chips, or make one of what a tester wrote.

    Rates by polarity, broken lines and clusters; with --model, what of it the map covers. A table
    of conductances becomes a map by --low and --high, one that names arrays of a die by
    --floor-plan.
    """
    from rerax.campaign.folder import check_file
    from rerax.campaign.point import FIELDS
    from rerax.crossbar.spec import ChipSpec
    from rerax.models.bert.names import check_groups, matrices_of

    shape = ("encoding", "bits", "bits_per_cell", "tile", "layout")
    spec = ChipSpec(**{name: FIELDS[name].read(getattr(on, name)) for name in shape})
    check_groups(names(on.matrices))
    thresholds = _thresholds(low, high)
    if out is not None:
        _check_out(out, file, floor_plan)
        check_file(out)
    from rerax.cli.map_text import print_map
    from rerax.faults.cell_table import read_table, write_table
    from rerax.faults.floor_plan import read_floor_plan
    from rerax.faults.map_conversion import map_table, to_map
    from rerax.faults.map_summary import extents_of, highest_levels, spanned, summarise_map

    table = read_table(file)
    plan = None if floor_plan is None else read_floor_plan(str(floor_plan), spec.tile)
    shapes = None if model is None else _shapes(model)
    made = to_map(table, spec, shapes, plan, thresholds)
    chips = made.chips
    known = set(matrices_of(names(on.matrices)))
    placed = None if shapes is None else {name: s for name, s in shapes.items() if name in known}
    if placed is None:
        chosen = known if "--matrices" in changed(on) else set(made.table.names)
        extents = {name: size for name, size in spanned(made.table).items() if name in chosen}
        if not extents:
            raise ValueError(f"{file} has no cell of {on.matrices}: give --matrices that it has")
    else:
        extents = extents_of(placed, spec)
    highest = highest_levels(chips, shapes, spec)
    found = summarise_map(chips, highest, extents, spec.tile, made.table)
    if out is not None:
        write_table(out, map_table(chips))
    print_map(made, found, thresholds, extents, placed, spec, wide)
    if out is not None:
        print(f"written to {out}: {len(chips.chip):,} stuck cells")


def _thresholds(low: float | None, high: float | None) -> "Thresholds | None":
    """Read the thresholds of conductances; None where neither is given."""
    if low is None and high is None:
        return None
    from rerax.faults.map_conversion import Thresholds

    if low is None or high is None:
        missing = "low" if low is None else "high"
        raise ValueError(f"--{missing} is missing: give --low and --high, or neither")
    return Thresholds(low, high)


def _check_out(out: Path, *read: "str | Path | None") -> None:
    """Refuse to write a map over what it is made of, or under a name that says no format."""
    from rerax.faults.cell_table import check_suffix
    from rerax.io import at_home

    check_suffix(out)
    for file in (at_home(one) for one in read if one is not None):
        if out.exists() and file.exists() and out.samefile(file):
            raise ValueError(f"{out} is what the map is made of: give --out another name")


def _shapes(model: str) -> "Shapes":
    """Read the shapes of a model's matrices from its config."""
    from rerax.models.bert import convert

    return convert.read_config(convert.locate(model)).matrix_shapes
