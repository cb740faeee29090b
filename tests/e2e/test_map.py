"""rerax map: what it says of a map, what it makes of a tester's tables, and what it refuses."""

import re

import numpy as np
import pandas as pd
import pytest
import tiny
from arrays import write_map
from commands import refused

from rerax.cli import main
from rerax.cli.map_text import SHOWN
from rerax.faults.chip_map import read_map


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return str(tiny.write_model(tmp_path_factory.mktemp("model") / "tiny"))


def said(capsys, *arguments):
    assert main(["map", *map(str, arguments)]) == 0
    captured = capsys.readouterr()
    assert not captured.err
    return captured.out


def scattered(chips, seed=0, share=0.05, shape=(30, 240), places=(("query", 0), ("pooler", 0))):
    rng = np.random.default_rng(seed)
    return [
        (chip, name, layer, int(w), int(b), int(rng.random() < 0.75))
        for chip in chips
        for name, layer in places
        for w, b in zip(*np.nonzero(rng.random(shape) < share), strict=True)
    ]


def test_what_is_in_a_map(tmp_path, model, capsys):
    """The tiny model has 3 layers of 6 matrices, pooler and classifier."""
    cells = [cell for cell in scattered([2, 7]) if cell[:4] != (7, "query", 0, 3)]
    cells += [(7, "query", 0, 3, b, 1) for b in range(128)]
    path = write_map(tmp_path / "lot.csv", cells)
    seen = said(capsys, path)
    assert f"2 chips, 2 arrays with faults, {len(cells):,} stuck cells" in seen
    assert "14,400 cells a chip that the file spans (pooler 30x240, query 30x240)" in seen
    assert "wholly stuck within a tile: 1 wordline (1 SA1), 0 bitlines; 0 tiles" in seen
    assert "clusters: no more than chance (variance-to-mean ratio" in seen
    table = pd.read_csv(path)
    lines = [line.split() for line in seen.splitlines() if re.match(r" +[27] ", line)]
    for chip, line in zip((2, 7), lines, strict=True):
        mine = table[table.chip == chip]
        assert line[:2] == [str(chip), f"{len(mine):,}"]
        shares = len(mine), (mine.level == 0).sum(), (mine.level == 1).sum()
        assert [float(x) for x in line[2:5]] == pytest.approx([n / 14400 for n in shares], rel=5e-3)
        assert line[5:] == [str(int(chip == 7)), "0"]
    known = said(capsys, path, "--model", model)
    assert "covers 2 of 20 arrays on crossbars, 9.772 % of their cells" in known  # of 147,360
    assert "no cells of query layer 1, 2, key, value" in known
    assert "spans" not in known
    some = said(capsys, path, "--model", model, "--matrices", "pooler")
    assert "covers 1 of 1 arrays on crossbars, 100 % of their cells" in some
    assert "cells of query, not on crossbars, are left out" in some


def test_many_chips_in_three_lines(tmp_path, capsys):
    path = write_map(tmp_path / "lot.parquet", scattered(range(SHOWN + 1), share=0.01))
    found = said(capsys, path)
    assert re.findall(r"^ +(minimum|median|maximum) ", found, re.M) == [
        "minimum",
        "median",
        "maximum",
    ]
    counts = np.sort(pd.read_parquet(path).groupby("chip").size())
    for word, n in zip(("minimum", "median", "maximum"), counts[[0, 4, 8]], strict=True):
        assert re.search(rf" {word} +{n} ", found)


def test_clusters_are_named(tmp_path, capsys):
    rng = np.random.default_rng(0)
    cells = []
    for chip in range(3):
        rates = 0.03 * rng.gamma(2, 0.5, (10, 10)).repeat(12, 0).repeat(12, 1)
        where = np.nonzero(rng.random((120, 120)) < rates)
        cells += [(chip, "a", 0, int(w), int(b), 1) for w, b in zip(*where, strict=True)]
    found = said(capsys, write_map(tmp_path / "lot.csv", cells), "--tile", "12x12")
    shape = float(re.search(r"about as clustered as clustered:([\d.]+) \(", found)[1])
    assert 1.4 < shape < 2.8
    assert "over 300 tiles of 3 chips" in found


def test_conductances_to_a_sweep(tmp_path, model, capsys):
    """Arrays of a die with conductances, to a map, to rows that count its cells."""
    rng = np.random.default_rng(0)
    plan = [("P", "pooler", 0, 0), ("Q", "pooler", 0, 128), ("C", "classifier", 0, 0)]
    pd.DataFrame(
        [(name, m, 0, w, b) for name, m, w, b in plan],
        columns=["array", "matrix", "layer", "wordline", "bitline"],
    ).to_csv(tmp_path / "plan.csv", index=False)
    places = np.stack(np.meshgrid(np.arange(32), np.arange(128), indexing="ij"), -1).reshape(-1, 2)
    die = pd.concat(
        pd.DataFrame({"chip": chip, "array": name, "wordline": places[:, 0],
                      "bitline": places[:, 1], "conductance": rng.uniform(0, 100, len(places))})
        for chip in (4, 6) for name, *_ in plan
    )  # fmt: skip
    die.to_parquet(tmp_path / "die.parquet")
    made = ["--floor-plan", tmp_path / "plan.csv", "--model", model, "--low", 1, "--high", 95]
    maps = [tmp_path / "lot.csv", tmp_path / "lot.parquet"]
    for out in maps:
        found = said(capsys, tmp_path / "die.parquet", *made, "--out", out)
    inside = 2 * 30 * (240 + 16)
    unused = 2 * 3 * 32 * 128 - inside
    assert f"{unused:,} cells of arrays lie beyond the edge of their matrix: left out" in found
    corner = {name: (m, w, b) for name, m, w, b in plan}
    edge = {"pooler": 240, "classifier": 16}
    stuck = set()
    for one in die.itertuples():
        m, w, b = corner[one.array]
        at = one.chip, m, 0, w + one.wordline, b + one.bitline
        if at[3] < 30 and at[4] < edge[m] and not 1 < one.conductance < 95:
            stuck.add((*at, int(one.conductance >= 95)))
    at_1 = sum(cell[-1] for cell in stuck)
    told = f"of {inside:,} cells {len(stuck) - at_1:,} are SA0 (at or below 1), {at_1:,} SA1"
    assert told in found
    assert f"written to {maps[1]}: {len(stuck):,} stuck cells" in found
    for out in maps:
        chips = read_map(str(out))
        names = [chips.names[m] for m in chips.matrix]
        columns = (chips.layer, chips.wordline, chips.bitline, chips.level)
        cells = zip(chips.chip.tolist(), names, *(c.tolist() for c in columns), strict=True)
        assert set(cells) == stuck
    data = tiny.write_sst2(tmp_path / "data")
    frames = []
    for out in maps:
        folder = tmp_path / f"rows-{out.suffix[1:]}"
        arguments = ["sweep", "--model", model, "--task", "sst2", "--data", str(data), "--quiet"]
        arguments += ["--max-length", "32", "--matrices", "pooler,classifier"]
        assert main([*arguments, "--fault", f"map:{out}", "--out", str(folder)]) == 0
        frames.append(pd.read_parquet(folder).sort_values("chip", ignore_index=True))
    one, other = frames
    assert one.fault[0].startswith("map:lot.csv@")
    assert one.chip.tolist() == [4, 6]
    assert one.stuck_at_1.sum() == at_1
    assert one.stuck_at_0.sum() == len(stuck) - at_1
    same = ["chip", "rate", "score", "correct", "stuck_at_0", "stuck_at_1", "stuck_other"]
    assert one[same].values.tolist() == other[same].values.tolist()


HEAD = "chip,matrix,layer,wordline,bitline,level\n"


@pytest.mark.parametrize(
    ("text", "flags", "line"),
    [
        (HEAD + "0,query,0,0,240,1\n", "--model {model}", "bitline is outside 0..239: give addr"),
        (HEAD + "0,query,3,0,0,1\n", "--model {model}", "layer is outside 0..2: give"),
        (HEAD + "0,brain,0,0,0,1\n", "--model {model}", "unknown matrix 'brain': use some of"),
        (HEAD + "0,query,0,0,0,2\n", "", "level 2 is above 1, the cell's highest: give"),
        (HEAD + "0,query,0,0,,1\n", "", "has an empty bitline in row 1: give"),
        (HEAD + "0,query,0,0,x,1\n", "", "bitline is 'x' in row 1: give whole numbers"),
        ("chip,matrix\n0,query\n", "", "has no column layer, only chip, matrix: give chip"),
        ("", "", "is empty: give"),
        (None, "", "is no file: give a CSV or Parquet file"),
        (HEAD + "0,query,0,0,0,1\n", "--low 2 --high 1", "low 2 is not below high 1: give --low"),
        (HEAD + "0,query,0,0,0,1\n", "--low 2", "--high is missing: give --low and --high"),
        (HEAD + "0,query,0,0,0,1\n", "--low x --high 1", "'x' is not a number"),
        (HEAD + "0,query,0,0,0,1\n", "--low 1 --high 2", "has no column conductance, only"),
        (HEAD + "0,query,0,0,0,1\n", "--floor-plan {plan}", "has no column array, only chip"),
        ("chip,array,wordline,bitline,level\n0,Z,0,0,1\n", "--floor-plan {plan}",
         "array Z is not in"),
        ("chip,array,wordline,bitline,level\n0,A,0,0,1\n", "--floor-plan {plan} --tile 8x8",
         "overlap in query layer 0"),
        ("chip,array,wordline,bitline,level\n0,A,0,0,1\n", "", "for arrays of a die give --floor"),
        (HEAD + "0,query,0,0,0,1\n", "--out {folder}/map.txt", "neither .csv nor .parquet"),
        (HEAD + "0,query,0,0,0,1\n", "--out {folder}/lot.csv", "is what the map is made of: give"),
        (HEAD + "0,query,0,0,0,1\n", "--out {folder}/none/x.csv", "make its folder first"),
        (HEAD + "0,query,0,0,0,1\n", "--bits 9", "bits 9 is outside 2..8"),
        (HEAD + "0,query,0,0,0,1\n", "--tile 8", "tile '8' is not a size"),
        (HEAD + "0,query,0,0,0,1\n", "--matrices brain", "unknown matrices 'brain'"),
        (HEAD + "0,query,0,0,0,1\n", "--model ./nowhere", "is not a directory"),
        (HEAD + "0,a,0,2147483647,2147483647,1\n", "", "give --tile as it is"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line(capsys, tmp_path, model, text, flags, line):
    (tmp_path / "plan.csv").write_text(
        "array,matrix,layer,wordline,bitline\nA,query,0,0,0\nB,query,0,4,0\n"
        if "8x8" in flags
        else "array,matrix,layer,wordline,bitline\nA,query,0,0,0\n"
    )
    if text is not None:
        (tmp_path / "lot.csv").write_text(text)
    given = flags.format(model=model, plan=tmp_path / "plan.csv", folder=tmp_path).split()
    before = sorted(tmp_path.iterdir())
    assert line in refused(capsys, ["map", str(tmp_path / "lot.csv"), *given])
    assert sorted(tmp_path.iterdir()) == before
