"""Files of measured chips: what is read, what is refused, what they realise."""

import os

import numpy as np
import pyarrow as pa
import pytest
import tiny
from arrays import write_map

from rerax.campaign.point import Point
from rerax.crossbar.spec import ChipSpec
from rerax.faults.chip_map import absent_arrays, check_map, read_map, realised_rate
from rerax.models.bert.model import init_params
from rerax.models.bert.names import MATRICES

SHAPES = tiny.CONFIG.matrix_shapes
CELLS = [
    (7, "pooler", 0, 3, 100, 1),
    (2, "query", 1, 0, 5, 0),
    (2, "query", 0, 29, 239, 1),
    (2, "pooler", 0, 3, 99, 0),
]


def test_a_map_is_sorted_and_knows_its_chips(tmp_path):
    chips = read_map(write_map(tmp_path / "lot.parquet", CELLS))
    assert chips.chips.tolist() == [2, 7]
    found = zip(chips.chip, chips.matrix, chips.layer, chips.wordline, chips.bitline, chips.level,
                strict=True)  # fmt: skip
    rows = [(int(c), chips.names[m], *map(int, rest)) for c, m, *rest in found]
    assert rows == [CELLS[3], CELLS[2], CELLS[1], CELLS[0]]


def test_narrow_integers_and_dictionaries_are_read(tmp_path):
    columns = {
        "chip": pa.array([0, 0], pa.uint8()),
        "matrix": pa.array(["query", "key"]).dictionary_encode(),
        "level": pa.array([0, 1], pa.int8()),
    }
    chips = read_map(write_map(tmp_path / "lot.parquet", CELLS[:2], **columns))
    assert dict(zip([chips.names[m] for m in chips.matrix], chips.level, strict=True)) == {
        "query": 0,
        "key": 1,
    }


def test_a_changed_file_is_read_again(tmp_path):
    path = tmp_path / "lot.parquet"
    first = read_map(write_map(path, CELLS))
    assert read_map(str(path)) is first
    second = read_map(write_map(path, CELLS[1:]))
    assert second.digest != first.digest
    assert len(second.chip) == 3


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"level": None}, "has no column level, only chip, matrix, layer, wordline, bitline: give"),
        ({"wordline": [0, -1, 2, 3]}, "wordline -1 is outside 0..2147483647: give"),
        ({"chip": [0, 2**32, 2, 3]}, "chip 4294967296 is outside 0..4294967295: give"),
        ({"level": [0, 16, 0, 0]}, "level 16 is outside 0..15: give"),
        ({"bitline": [0.0, 1.0, 2.0, 3.0]}, "bitline is double: give whole numbers"),
        ({"layer": ["0", "0", "0", "0"]}, "layer is string: give whole numbers"),
        ({"bitline": [0, None, 2, 3]}, "has an empty bitline in row 2: give"),
        ({"chip": [], "matrix": [], "layer": [], "wordline": [], "bitline": [], "level": []},
         "has no rows"),
        ({"chip": [1] * 4, "matrix": ["key"] * 4, "layer": [0] * 4, "wordline": [5, 6, 5, 7],
          "bitline": [8] * 4, "level": [0, 0, 1, 0]},
         "chip 1, key layer 0, wordline 5, bitline 8 is there twice: give each cell once"),
    ],
)  # fmt: skip
def test_bad_files_are_refused(tmp_path, changes, said):
    if changes.get("chip") == []:
        changes = {name: pa.array([], pa.int64()) for name in changes} | {
            "matrix": pa.array([], pa.string())
        }
    path = write_map(tmp_path / "lot.parquet", CELLS, **changes)
    with pytest.raises(ValueError, match=said) as error:
        read_map(path)
    assert str(error.value).startswith(path)
    assert "\n" not in str(error.value)


def test_other_files_are_refused(tmp_path):
    (tmp_path / "lot.txt").write_text("chip,matrix\n")
    with pytest.raises(ValueError, match=r"is not a Parquet file, and not called .csv: write"):
        read_map(str(tmp_path / "lot.txt"))
    with pytest.raises(ValueError, match="is no file: give map:FILE"):
        read_map(str(tmp_path / "nowhere"))
    (tmp_path / "lot.parquet").write_bytes(b"PAR1torn")
    with pytest.raises(ValueError, match="is no readable Parquet file"):
        read_map(str(tmp_path / "lot.parquet"))


@pytest.mark.parametrize(
    ("cell", "spec", "said"),
    [
        ((0, "brain", 0, 0, 0, 0), ChipSpec(), "unknown matrix 'brain': use some of query, key"),
        ((0, "query", 3, 0, 0, 0), ChipSpec(), r"query layer 3.*: layer is outside 0..2: give"),
        ((0, "pooler", 1, 0, 0, 0), ChipSpec(), "layer is outside 0..0: give"),
        ((0, "query", 0, 30, 0, 0), ChipSpec(), "wordline is outside 0..29: give"),
        ((0, "query", 0, 0, 240, 0), ChipSpec(), "bitline is outside 0..239: give"),
        ((0, "query", 0, 0, 239, 2), ChipSpec(), "level 2 is above 1, the cell's highest: give"),
        ((0, "query", 0, 0, 120, 0), ChipSpec(bits_per_cell=2), "bitline is outside 0..119: give"),
        ((0, "query", 0, 0, 3, 2), ChipSpec(bits=7, bits_per_cell=2), "level 2 is above 1"),
        ((0, "query", 0, 0, 90, 2), ChipSpec(bits=7, bits_per_cell=2, layout="separate"),
         "level 2 is above 1"),
    ],
)  # fmt: skip
def test_cells_that_the_model_lacks_are_refused(tmp_path, cell, spec, said):
    chips = read_map(write_map(tmp_path / "lot.parquet", [CELLS[3], cell]))
    with pytest.raises(ValueError, match=said):
        check_map(chips, SHAPES, spec)


def test_cells_at_the_ends_are_accepted(tmp_path):
    spec = ChipSpec("differential", 8, 4, layout="separate")  # cells of 4 and 3 bits
    cells = [(0, "query", 2, 29, 119, 7), (0, "query", 0, 0, 0, 15), (0, "ffn_in", 0, 0, 147, 7)]
    check_map(read_map(write_map(tmp_path / "lot.parquet", cells)), SHAPES, spec)


def test_the_rate_is_what_the_cells_on_crossbars_realise(tmp_path):
    chips = read_map(write_map(tmp_path / "lot.parquet", CELLS))
    some = {name: SHAPES[name] for name in ("pooler", "classifier")}
    assert realised_rate(chips, some, ChipSpec()) == 2 / (2 * 8 * (30 * 30 + 30 * 2))
    query = {"query": SHAPES["query"]}
    assert realised_rate(chips, query, ChipSpec("differential", 5, 2)) == 2 / (2 * 3 * 900 * 4)
    assert realised_rate(chips, {}, ChipSpec()) == 0
    both = {name: SHAPES[name] for name in ("query", "pooler", "classifier")}
    assert absent_arrays(chips, both) == ["query layer 2", "classifier"]


def test_shapes_are_those_of_the_parameters():
    import jax

    params = jax.eval_shape(lambda: init_params(tiny.CONFIG, jax.random.key(0)))
    for section, leaves in params.items():
        for name, leaf in leaves.items():
            for kind in ("kernel", "table"):
                if kind in leaf:
                    shape = leaf[kind].shape
                    assert SHAPES[name] == (shape if section == "encoder" else (1, *shape))
    assert set(SHAPES) == set(MATRICES)


def test_a_points_identity_has_the_files_hash_and_not_its_folder(tmp_path):
    def point(folder, cells):
        (tmp_path / folder).mkdir(exist_ok=True)
        path = write_map(tmp_path / folder / "lot.parquet", cells)
        return Point("sst2", "m", 0.1, None, fault=f"map:{path}")

    one, other = point("a", CELLS), point("b", CELLS)
    assert one.hash == other.hash
    assert one.identity()["fault"] == f"map:lot.parquet@{read_map(one.fault.path).digest[:16]}"
    assert point("c", CELLS[1:]).hash != one.hash
    os.remove(one.fault.path)
    assert one.clean_hash == other.clean_hash  # the clean score needs no map
    with pytest.raises(ValueError, match="is no file"):
        _ = one.hash
    assert np.isfinite(other.rate)
