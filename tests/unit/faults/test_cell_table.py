"""Tables of cells as CSV: the same as Parquet, or one line that says what is wrong."""

import numpy as np
import pyarrow as pa
import pytest
from arrays import write_map

from rerax.campaign.point import Point
from rerax.faults.cell_table import read_table, write_table
from rerax.faults.chip_map import read_map

CELLS = [
    (7, "pooler", 0, 3, 100, 1),
    (2, "query", 1, 0, 5, 0),
    (2, "query", 0, 29, 239, 1),
    (2, "pooler", 0, 3, 99, 0),
]
HEAD = "chip,matrix,layer,wordline,bitline,level\n"


def cells_of(chips):
    names = [chips.names[m] for m in chips.matrix]
    numbers = (chips.chip, chips.layer, chips.wordline, chips.bitline, chips.level)
    return list(zip(names, *(column.tolist() for column in numbers), strict=True))


def test_csv_holds_what_parquet_holds(tmp_path):
    one = read_map(write_map(tmp_path / "lot.parquet", CELLS))
    other = read_map(write_map(tmp_path / "lot.csv", CELLS))
    assert cells_of(one) == cells_of(other)
    assert one.digest != other.digest  # each of its own bytes
    assert Point("sst2", "m", 0.1, fault=f"map:{other.path}").fault.name.startswith("map:lot.csv@")


@pytest.mark.parametrize(
    "text",
    [
        HEAD + "7,pooler,0,3,100,1\n",
        "\ufeff" + HEAD.replace("\n", "\r\n") + "7,pooler,0,3,100,1\r\n\r\n",
        HEAD.replace(",", ", ") + "007, pooler, 0, 003, 100, 1\n",
        '"layer","chip","matrix","wordline","bitline","level","note"\n0,7,"pooler",3,100,1,\n',
    ],
)
def test_csv_as_people_write_it(tmp_path, text):
    (tmp_path / "lot.csv").write_text(text, encoding="utf-8", newline="")
    assert cells_of(read_map(str(tmp_path / "lot.csv"))) == [("pooler", 7, 0, 3, 100, 1)]


def test_names_that_look_like_numbers_stay_text(tmp_path):
    for head in ("chip,array", "chip, array"):
        (tmp_path / "die.csv").write_text(f"{head}\n0,007\n", encoding="utf-8")
        assert read_table(str(tmp_path / "die.csv")).names("array")[0] == ("007",)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty: give the names"),
        (" \n", "is empty: give the names"),
        (HEAD, "has no rows"),
        ("chip,matrix\n1,key\n", "has no column layer, only chip, matrix: give chip, matrix, l"),
        (HEAD.replace(",", ";") + "1;key;0;0;0;0\n", "only chip;matrix;.*a comma between them"),
        ("level," + HEAD + "1,1,key,0,0,0,0\n", "has two columns level: leave one of them out"),
        (HEAD + "1,key,0,0,0,1\n1,key,0,,1,1\n", "has an empty wordline in row 2: give"),
        (HEAD + "1,,0,0,0,1\n", "has an empty matrix in row 1: give"),
        (HEAD + "1,key,0,0,0,1\n1,key,0,0,1.0,1\n", "bitline is '1.0' in row 2: give whole n"),
        (HEAD.replace(",", ", ") + "1,key,0,0,1,0.5\n", "level is '0.5' in row 1: give whole nu"),
        (HEAD + "1,key,0,0,x,1\n", "bitline is 'x' in row 1: give whole numbers"),
        (HEAD + f"{10**30},key,0,0,0,1\n", "chip is '1000.*' in row 1: give whole numbers"),
        (HEAD + "1,key,0,-1,0,1\n", "wordline -1 is outside 0..2147483647: give"),
        (HEAD + "1,key,0,0,0,1\n1,key,0,0\n", "is no readable CSV file .*Expected 6 columns"),
        (HEAD + "1,key,0,0,0,1\n1,key,0,0,0,0\n", "bitline 0 is there twice: give each cell once"),
        ("\x00\x01\x02", "is no readable CSV file"),
    ],
)
def test_bad_csv_is_refused(tmp_path, text, said):
    (tmp_path / "lot.csv").write_text(text)
    with pytest.raises(ValueError, match=said) as error:
        read_map(str(tmp_path / "lot.csv"))
    assert str(error.value).startswith(str(tmp_path))
    assert "\n" not in str(error.value)


def test_bytes_that_are_no_text_are_refused(tmp_path):
    (tmp_path / "lot.csv").write_bytes(HEAD.encode() + b"1,\xff\xfe,0,0,0,1\n")
    with pytest.raises(ValueError, match="is no readable CSV file"):
        read_map(str(tmp_path / "lot.csv"))
    (tmp_path / "lot.csv").write_bytes(HEAD.encode("utf-16"))
    with pytest.raises(ValueError, match=r"lot.csv (is no readable CSV file|has no column chip)"):
        read_map(str(tmp_path / "lot.csv"))


def test_names_that_look_like_numbers_stay_names(tmp_path):
    (tmp_path / "die.csv").write_text("array,conductance\n007,1\n7,2.5\n007,3e-6\n")
    table = read_table(str(tmp_path / "die.csv"))
    names, places = table.names("array")
    assert (names, places.tolist()) == (("007", "7"), [0, 1, 0])
    np.testing.assert_array_equal(table.real("conductance"), [1, 2.5, 3e-6])


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (["1.5e-6", "much"], "conductance is 'much' in row 2: give numbers"),
        (["1", "inf"], "conductance is inf in row 2: give finite numbers"),
    ],
)
def test_bad_measurements_are_refused(tmp_path, values, said):
    (tmp_path / "die.csv").write_text("\n".join(["conductance", *values]))
    with pytest.raises(ValueError, match=said):
        read_table(str(tmp_path / "die.csv")).real("conductance")


def test_names_must_be_text(tmp_path):
    write_table(tmp_path / "lot.parquet", pa.table({"matrix": [[1], [2]]}))
    with pytest.raises(ValueError, match=r"matrix is list.*: give names"):
        read_table(str(tmp_path / "lot.parquet")).names("matrix")


def test_a_table_is_written_by_its_suffix_or_not_at_all(tmp_path):
    with pytest.raises(ValueError, match=r"lot.txt ends in neither .csv nor .parquet: give"):
        write_table(tmp_path / "lot.txt", pa.table({"chip": [1]}))
    assert not list(tmp_path.iterdir())
