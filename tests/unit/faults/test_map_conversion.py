"""What testers write, as a map: thresholds, floor plans, and what is refused."""

import numpy as np
import pyarrow as pa
import pytest

from rerax.cli.map_text import _left_out
from rerax.crossbar.spec import ChipSpec
from rerax.faults.cell_table import read_table, write_table
from rerax.faults.chip_map import read_map
from rerax.faults.floor_plan import read_floor_plan
from rerax.faults.map_conversion import Thresholds, map_table, to_map
from rerax.faults.map_summary import spanned, summarise_map

SPEC = ChipSpec(tile=(16, 20))
SHAPES = {"query": (2, 40, 6), "pooler": (1, 40, 6)}  # 40 x 48 cells
PLAN = {
    "array": ["A1", "A2", "B7", "B9"],
    "matrix": ["query", "query", "pooler", "pooler"],
    "layer": [1, 1, 0, 0],
    "wordline": [0, 16, 32, 0],
    "bitline": [20, 20, 40, 0],
}


def written(path, columns, **changes):
    write_table(path, pa.table({k: v for k, v in {**columns, **changes}.items() if v is not None}))
    return str(path)


def rows(chips):
    return list(map(tuple, map_table(chips).to_pandas().itertuples(index=False)))


def _told(made, extents):
    found = summarise_map(
        made.chips, np.ones(len(made.chips.chip), int), extents, SPEC.tile, made.table
    )
    return _left_out(made, Thresholds(2, 50), found, extents)


def test_thresholds_say_what_is_stuck(tmp_path):
    """Both ends count; SA1 is the cell's highest level; nothing depends on the order of rows."""
    table = read_table(
        written(
            tmp_path / "g.csv",
            {
                "chip": [1, 0, 0, 0, 0, 2],
                "matrix": ["query", "query", "query", "pooler", "pooler", "query"],
                "layer": [1, 0, 0, 0, 0, 0],
                "wordline": [3, 2, 1, 4, 5, 6],
                "bitline": [3, 7, 8, 1, 2, 0],
                "conductance": [50.0, 2.0, 2.1, 49.9, 1e-9, 30.0],
            },
        )
    )
    made = to_map(table, SPEC, thresholds=Thresholds(2, 50))
    expected = [(0, "pooler", 0, 5, 2, 0), (0, "query", 0, 2, 7, 0), (1, "query", 1, 3, 3, 1)]
    assert rows(made.chips) == expected
    assert made.measured == {"query": (1, 1, 2), "pooler": (1, 0, 1)}
    assert (made.healthy, made.unused) == ((2,), 0)
    four = ChipSpec(bits=7, bits_per_cell=4, tile=(16, 20))  # bitline 3 is a cell of 3 bits
    assert rows(to_map(table, four, thresholds=Thresholds(2, 49)).chips)[1:] == [
        (0, "pooler", 0, 5, 2, 0), (0, "query", 0, 2, 7, 0), (1, "query", 1, 3, 3, 7)]  # fmt: skip
    told = _told(made, {"pooler": (6, 3)})[1]
    assert "about 17 of the 18 cells a chip that" in told  # 2 of 3 chips' are measured there
    told = _told(made, {"pooler": (6, 3), "query": (7, 9)})[1]  # of query two layers
    assert "about 142 of the 144 cells a chip that" in told
    same = to_map(table, SPEC, SHAPES, thresholds=Thresholds(2, 50))
    assert rows(same.chips) == expected


@pytest.mark.parametrize(("low", "high"), [(2, 2), (3, 2), (float("nan"), 2), (2, float("inf"))])
def test_thresholds_in_the_wrong_order_are_refused(low, high):
    with pytest.raises(ValueError, match=r"low \S+ is not below high \S+: give --low"):
        Thresholds(low, high)


def test_a_floor_plan_gives_addresses(tmp_path):
    mixed = {name: [values[i] for i in (3, 1, 0, 2)] for name, values in PLAN.items()}
    plan = read_floor_plan(written(tmp_path / "plan.csv", mixed), SPEC.tile)
    die = {
        "chip": [0, 0, 4, 4],
        "array": ["B7", "A2", "A1", "B7"],
        "wordline": [7, 15, 0, 0],
        "bitline": [7, 19, 0, 1],
        "level": [1, 0, 1, 1],
    }
    made = to_map(read_table(written(tmp_path / "die.parquet", die)), SPEC, SHAPES, plan)
    assert rows(made.chips) == [
        (0, "pooler", 0, 39, 47, 1),
        (0, "query", 1, 31, 39, 0),
        (4, "pooler", 0, 32, 41, 1),
        (4, "query", 1, 0, 20, 1),
    ]
    edge = {**die, "wordline": [8, 15, 0, 0], "bitline": [7, 19, 0, 8]}  # 40 x 48 end there
    made = to_map(read_table(written(tmp_path / "die.csv", edge)), SPEC, SHAPES, plan)
    assert [row[:2] for row in rows(made.chips)] == [(0, "query"), (4, "query")]
    assert made.unused == 2
    unknown = to_map(read_table(str(tmp_path / "die.csv")), SPEC, None, plan)
    assert (len(unknown.chips.chip), unknown.unused) == (4, 0)  # where they end is not known


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"layer": None}, "has no column layer, only array, matrix, wordline, bitline: give"),
        ({"array": ["A1", "A2", "B7", "A1"]}, "array A1 is there twice: give it once"),
        ({"wordline": [0, 15, 32, 0]}, "arrays A1 and A2 of 16x20 cells overlap in query layer 1"),
        ({"bitline": [20, 39, 40, 0], "wordline": [0] * 4}, "arrays A1 and A2 .*bitlines 20 and"),
        ({"bitline": [20, 1, 40, 0], "wordline": [15, 0, 0, 0]}, "arrays A1 and A2 .* overlap in"),
        ({"wordline": [5, 16, 32, 0]}, "arrays A1 and A2 .* overlap in"),
        ({"wordline": [16, 5, 32, 0]}, "arrays A1 and A2 .* overlap in"),
        ({"wordline": [0] * 4, "bitline": [5, 20, 40, 0]}, "arrays A1 and A2 .* overlap in"),
        ({"wordline": [0] * 4, "bitline": [20, 5, 40, 0]}, "arrays A1 and A2 .* overlap in"),
        ({"wordline": [0, 16, -1, 0]}, "wordline -1 is outside 0..2147483647: give"),
        ({"bitline": ["a", "b", "c", "d"]}, "bitline is 'a' in row 1: give whole numbers"),
    ],
)
def test_bad_floor_plans_are_refused(tmp_path, changes, said):
    with pytest.raises(ValueError, match=said):
        read_floor_plan(written(tmp_path / "plan.csv", PLAN, **changes), SPEC.tile)


def test_arrays_side_by_side_do_not_overlap(tmp_path):
    """At any corner, not only at multiples of their size; in another layer anywhere."""
    at = {"wordline": [5, 21, 5, 6], "bitline": [3, 3, 23, 4], "layer": [0, 0, 0, 1]}
    read_floor_plan(written(tmp_path / "plan.csv", PLAN, **at, matrix=["query"] * 4), SPEC.tile)


DIE = {"chip": [0], "array": ["A1"], "wordline": [0], "bitline": [0], "level": [1]}


@pytest.mark.parametrize(
    ("plan", "die", "said"),
    [
        ({}, {"array": ["C3"]}, "array C3 is not in .*plan.csv: add a row for each with matrix"),
        ({}, {"wordline": [16]}, "wordline 16 of array A1 in row 1 is outside 0..15: give"),
        ({}, {"bitline": [20]}, "bitline 20 of array A1 in row 1 is outside 0..19: give"),
        ({}, {"array": None}, "has no column array, only chip, wordline, bitline, level: give"),
        ({}, {"level": [2]}, "level 2 is above 1, the cell's highest: give"),
        ({"matrix": ["query", "brain", "key", "key"]}, {}, "array A2 holds unknown matrix 'brain'"),
        ({"layer": [1, 2, 0, 0]}, {}, "array A2 begins at layer 2 of query, outside 0..1: give"),
        ({"wordline": [0, 40, 32, 0]}, {}, "array A2 begins at wordline 40 of query, outside"),
    ],
)
def test_a_table_must_fit_its_plan(tmp_path, plan, die, said):
    known = {**SHAPES, "key": SHAPES["query"]}
    with pytest.raises(ValueError, match=said):
        to_map(
            read_table(written(tmp_path / "die.csv", DIE, **die)),
            SPEC,
            known,
            read_floor_plan(written(tmp_path / "plan.csv", PLAN, **plan), SPEC.tile),
        )


def test_a_chip_stuck_beyond_the_edge_only_has_no_cells(tmp_path):
    plan = read_floor_plan(written(tmp_path / "plan.csv", PLAN), SPEC.tile)
    table = read_table(written(tmp_path / "die.csv", DIE, array=["B7"], bitline=[9]))
    with pytest.raises(ValueError, match="has no stuck cell on the model's matrices: a map needs"):
        to_map(table, SPEC, SHAPES, plan)


MEASURED = {
    "chip": [0, 0], "matrix": ["query"] * 2, "layer": [0, 0], "wordline": [0, 1],
    "bitline": [0, 0], "conductance": [1.0, 9.0],
}  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "thresholds", "said"),
    [
        ({}, None, "no column level, only .*; for conductances give --low and --high"),
        ({"conductance": None, "level": [0, 1]}, (2, 8), "has no column conductance, only"),
        ({"matrix": None, "array": ["A", "B"]}, (2, 8), "; for arrays of a die give --floor-plan"),
        ({"conductance": [1.0, None]}, (2, 8), "has an empty conductance in row 2"),
        ({"wordline": [0, 0], "conductance": [5.0, 5.0]}, (2, 8), "bitline 0 is there twice"),
        ({}, (0.5, 9.5), "has no stuck cell, all of it above 0.5 and below 9.5: a map needs"),
        ({"bitline": [0, 48], "conductance": [1.0, 5.0]}, (2, 8), "bitline is outside 0..47"),
        ({"layer": [0, 2]}, (2, 8), "layer is outside 0..1"),
        ({"matrix": ["query", "brain"]}, (2, 8), "unknown matrix 'brain'"),
    ],
)
def test_tables_that_make_no_map_are_refused(tmp_path, changes, thresholds, said):
    table = read_table(written(tmp_path / "g.csv", MEASURED, **changes))
    with pytest.raises(ValueError, match=said):
        to_map(table, SPEC, SHAPES, None, thresholds and Thresholds(*thresholds))


@pytest.mark.parametrize("name", ["map.csv", "map.parquet"])
def test_what_is_written_is_read_again(tmp_path, name):
    rng = np.random.default_rng(0)
    places = rng.permutation(40 * 48)[:500]
    table = {
        "chip": rng.integers(0, 3, 500), "matrix": rng.choice(["query", "key,2"], 500),
        "layer": rng.integers(0, 2, 500), "wordline": places // 48, "bitline": places % 48,
        "conductance": rng.random(500),
    }  # fmt: skip
    made = to_map(read_table(written(tmp_path / "g.csv", table)), SPEC, None, None,
                  Thresholds(0.2, 0.9))  # fmt: skip
    write_table(tmp_path / name, map_table(made.chips))
    assert rows(read_map(str(tmp_path / name))) == rows(made.chips)
    cells = zip(*(column.tolist() for column in table.values()), strict=True)
    stuck = {(*place, int(g >= 0.9)) for *place, g in cells if g <= 0.2 or g >= 0.9}
    assert set(rows(made.chips)) == stuck


def test_rates_are_of_all_that_was_measured(tmp_path):
    """Healthy cells count, and a healthy array makes up for no cell that another lacks."""
    grid = [(w, b) for w in range(16) for b in range(20)]
    half = grid[: len(grid) // 2]
    cells = {name: [0] * (len(grid) + len(half)) for name in ("chip", "layer")}
    cells["matrix"] = ["query"] * len(grid) + ["pooler"] * len(half)
    cells["wordline"], cells["bitline"] = zip(*grid, *half, strict=True)
    cells["conductance"] = [50.0] * len(grid) + [1.0, 1.0] + [50.0] * (len(half) - 2)
    made = to_map(
        read_table(written(tmp_path / "g.csv", cells)), SPEC, thresholds=Thresholds(2, 95)
    )
    assert spanned(made.table) == {"query": (16, 20), "pooler": (8, 20)}
    found = summarise_map(made.chips, np.ones(2, int), spanned(made.table), SPEC.tile, made.table)
    assert found.cells == 16 * 20 + 8 * 20
    whole = {"query": (16, 20), "pooler": (16, 20)}
    (told,) = _told(made, whole)[1:]
    assert "about 160 of the 640 cells" in told


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_thresholds_are_met_in_the_types_own_numbers(tmp_path, kind):
    columns = {
        "chip": [0, 0, 0], "matrix": ["query"] * 3, "layer": [0] * 3, "wordline": [0, 1, 2],
        "bitline": [0] * 3, "conductance": np.array([0.1, 5.0, 100.7], kind),
    }  # fmt: skip
    table = read_table(written(tmp_path / "g.parquet", columns))
    made = to_map(table, SPEC, thresholds=Thresholds(0.1, 100.7))
    assert made.measured == {"query": (1, 1, 1)}
    assert to_map(table, SPEC, thresholds=Thresholds(0.1, 1e300)).measured == {"query": (1, 0, 2)}
