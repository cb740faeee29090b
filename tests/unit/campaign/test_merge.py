"""Merging: one campaign from several folders, or a refusal that says what differs."""

import json
from dataclasses import replace

import pandas as pd
import pyarrow.parquet as pq
import pytest
from folders import PAIRS, POINT, fill, make_rows, names, same

from rerax.campaign import store
from rerax.campaign.block import Block
from rerax.campaign.folder import open_folder, write_manifest
from rerax.campaign.maintain import compact, merge
from rerax.campaign.manifest import read_manifest
from rerax.campaign.schema import FIRST_COLUMNS
from rerax.campaign.sidecars import (
    add_plans,
    add_provenance,
    read_plans,
    read_provenance,
    read_references,
    write_references,
)

OTHER = replace(POINT, rate=0.5)


def campaign(path, *requests, pairs=PAIRS, seed=0, semantics=1, **changes):
    open_folder(path, seed, semantics, pairs)
    for point, chips in requests:
        pair = pairs.get(f"{point.task}/{point.model}", {})
        hashes = {name: pair[name] for name in ("model_hash", "data_hash") if name in pair}
        fill(path, chips, point, **{"seed": seed, **hashes, **changes})
    return path


def content(*paths):
    return {f: f.read_bytes() for path in paths for f in sorted(path.rglob("*")) if f.is_file()}


def test_folders_come_together_and_stay_as_they_are(tmp_path):
    a = campaign(tmp_path / "a", (POINT, 40))
    b = campaign(tmp_path / "b", (POINT, 70), (OTHER, 8))
    new = {"rte/minilm": PAIRS["sst2/minilm"]}
    c = campaign(tmp_path / "c", (replace(POINT, task="rte"), 3), pairs=new)
    for i, path in enumerate((a, b, c)):
        write_references(path, {"cpu": {f"h{i}": 0.5 + i}})
        add_provenance(path, {"run": i})
    before = content(a, b, c)
    out = tmp_path / "out"
    assert merge([a, b, c], out) == 5
    all_of_them = ((POINT, 70), (OTHER, 8), (replace(POINT, task="rte"), 3))
    whole = campaign(tmp_path / "whole", *all_of_them, pairs=PAIRS | new)
    assert same(store.read_rows(out), store.read_rows(whole))
    assert len(pd.read_parquet(out)) == 81
    assert json.loads((out / "_campaign.json").read_text())["pairs"] == PAIRS | new
    assert read_references(out) == {"cpu": {"h0": 0.5, "h1": 1.5, "h2": 2.5}}
    assert [entry["run"] for entry in read_provenance(out)] == [0, 1, 2]
    assert content(a, b, c) == before
    again = content(out)
    assert merge([a, b, c], out) == 0  # and so a merge that was killed goes on
    assert content(out) == again


def test_a_merged_folder_grows(tmp_path):
    a, b = campaign(tmp_path / "a", (POINT, 40)), campaign(tmp_path / "b", (OTHER, 8))
    merge([a, b], tmp_path / "out")
    assert fill(tmp_path / "out", 40) == []
    assert len(fill(tmp_path / "out", 64)) == 1
    assert merge([campaign(tmp_path / "c", (POINT, 128))], tmp_path / "out") == 2
    assert len(store.read_rows(tmp_path / "out")) == 128 + 8


def test_compacted_folders_merge(tmp_path):
    a, b = campaign(tmp_path / "a", (POINT, 96)), campaign(tmp_path / "b", (POINT, 160))
    (b / Block(POINT.hash[:16], 0, 31).name).unlink()
    compact(a)
    compact(b)  # chips 0..95 and 32..159: neither holds all of the other
    merge([a, b], tmp_path / "out")
    assert pd.read_parquet(tmp_path / "out").chip.tolist() == list(range(160))
    assert merge([b], a) == 2
    assert pd.read_parquet(a).chip.tolist() == list(range(160))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"seed": 1}, "seed is 0 in .*a and 1 in .*b"),
        ({"semantics": 0}, "semantics is 1 in .*a and 0 in .*b"),
        ({"model_hash": "c" * 64}, r"model_hash of sst2/minilm is a+\.\. in .*a and c+\.\. in"),
        ({"data_hash": "c" * 64}, "data_hash of sst2/minilm"),
        ({"input_bits": None}, "input_bits of sst2/minilm is 8 in .*a and null in .*b"),
        ({"labels": [1, 0]}, "labels of sst2/minilm"),
    ],
    ids=lambda x: next(iter(x)) if isinstance(x, dict) else "",
)
def test_two_campaigns_are_refused_with_a_diff(tmp_path, change, told):
    a = campaign(tmp_path / "a", (POINT, 8))
    fixed = {k: v for k, v in change.items() if k in ("seed", "semantics")}
    pairs = {
        "sst2/minilm": {**PAIRS["sst2/minilm"], **{k: change[k] for k in change - fixed.keys()}}
    }
    b = campaign(tmp_path / "b", (OTHER, 8), pairs=pairs, **fixed)
    with pytest.raises(ValueError, match=told) as raised:
        merge([a, b], tmp_path / "out")
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "out").exists()
    before = content(a)
    with pytest.raises(ValueError, match=told.partition(" ")[0]):
        merge([b], a)
    assert content(a) == before


@pytest.mark.parametrize(
    ("changes", "refused"),
    [
        ({"score": 0.5}, True),
        ({"stuck_at_0": 77}, True),
        ({"score": 0.5, "platform": "gpu"}, False),
        ({"stuck_at_0": 77, "platform": "gpu"}, True),
        ({"float_score": 0.1}, False),
    ],
    ids=str,
)
def test_the_same_chips_must_agree(tmp_path, changes, refused):
    a = campaign(tmp_path / "a", (POINT, 8))
    b = campaign(tmp_path / "b", (OTHER, 8))
    block = Block(POINT.hash[:16], 0, 31)
    store.write_block(b, block, make_rows(block, **{"platform": "cpu", **changes}))
    if refused:
        field = "stuck_at_0" if "stuck_at_0" in changes else "score"
        with pytest.raises(ValueError, match=f"chip 0 disagrees with .* in {field}"):
            merge([a, b], tmp_path / "out")
        assert not (tmp_path / "out").exists()
    else:
        merge([a, b], tmp_path / "out")
        rows = store.read_rows(tmp_path / "out", points={POINT.hash[:16]}).to_pandas()
        assert rows.chip.tolist() == list(range(32))
        assert set(rows.platform) == {changes.get("platform", "cpu")}  # the full block's rows


def test_rows_that_an_old_folder_has_no_column_for_are_refused_before_any_is_written(tmp_path):
    old = campaign(tmp_path / "old", (POINT, 8))
    write_manifest(old, {**read_manifest(old), "columns": list(FIRST_COLUMNS)})
    for name in names(old):
        pq.write_table(pq.read_table(old / name).select(FIRST_COLUMNS), old / name)
    turned = replace(POINT, polarity="alternate")
    new = campaign(tmp_path / "new", (replace(POINT, rate=1e-4), 8), (turned, 8))
    before = content(old)
    with pytest.raises(ValueError, match="begun without the column polarity, which these rows"):
        merge([new], old)
    assert content(old) == before
    plain = campaign(tmp_path / "plain", (replace(POINT, rate=1e-4), 8))
    assert merge([plain], old) == 1


def test_of_blocks_alike_the_first_folder_counts(tmp_path):
    a = campaign(tmp_path / "a", (POINT, 8), platform="cpu")
    b = campaign(tmp_path / "b", (POINT, 8), platform="gpu", score=0.5)
    merge([b, a], tmp_path / "out")
    assert set(store.read_rows(tmp_path / "out")["platform"].to_pylist()) == {"gpu"}


def test_damaged_files_of_a_source_are_named_and_left_out(tmp_path):
    a = campaign(tmp_path / "a", (POINT, 96))
    torn, garbled = a / names(a)[0], a / names(a)[1]
    torn.write_bytes(torn.read_bytes()[:100])
    data = bytearray(garbled.read_bytes())
    data[4:400] = b"\xff" * 396
    garbled.write_bytes(data)
    before = content(a)
    with pytest.warns(UserWarning, match="left out") as warned:
        merge([a], tmp_path / "out")
    told = " ".join(str(w.message) for w in warned)
    assert torn.name in told
    assert garbled.name in told
    assert store.read_rows(tmp_path / "out")["chip"].to_pylist() == list(range(64, 96))
    assert content(a) == before


def test_folders_that_are_no_campaigns(tmp_path):
    a = campaign(tmp_path / "a", (POINT, 8))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(ValueError, match="mine is no campaign folder"):
        merge([a, tmp_path / "mine"], tmp_path / "out")
    with pytest.raises(ValueError, match="mine is there and is no campaign folder"):
        merge([a], tmp_path / "mine")
    assert not (tmp_path / "out").exists()


def test_plans_are_merged_too(tmp_path):
    a = campaign(tmp_path / "a", (POINT, 8))
    add_plans(a, {"asked": "allocation:query=msb:1x3:pruned"})
    b = campaign(tmp_path / "b", (OTHER, 8))
    add_plans(b, {"asked": "allocation:query=closest", "other": "allocation:key=closest"})
    merge([a, b], tmp_path / "out")  # a folder keeps its own, by which its rows are known
    assert read_plans(tmp_path / "out") == {
        "asked": "allocation:query=msb:1x3:pruned",
        "other": "allocation:key=closest",
    }


@pytest.mark.parametrize("there", [False, True])
def test_a_folder_of_nothing_is_merged_into_itself_in_vain(tmp_path, there):
    where = tmp_path / "nothere"
    if there:
        where.mkdir()
    with pytest.raises(ValueError, match="nothere"):
        merge([where], where)
    assert where.exists() == there
    assert not there or not any(where.iterdir())
