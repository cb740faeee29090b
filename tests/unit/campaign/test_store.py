import errno
import json
import os
from dataclasses import replace

import pandas as pd
import pyarrow
import pytest
from folders import PAIRS, POINT, fill, make_rows, names

from rerax import io as files
from rerax.campaign import store
from rerax.campaign.block import Block, blocks_of, missing
from rerax.campaign.folder import check_folder, open_folder
from rerax.campaign.maintain import compact
from rerax.campaign.schema import SCHEMA
from rerax.campaign.sidecars import add_provenance, read_references, write_references
from rerax.sealed import write_sealed

# blocks ---------------------------------------------------------------------------------------


def test_a_request_for_certain_chips_is_cut_where_numbers_are_left_out():
    blocks = blocks_of(POINT, (3, 30, 31, 32, 33, 70))
    assert [(b.first, b.last) for b in blocks] == [(3, 3), (30, 31), (32, 33), (70, 70)]
    assert blocks_of(POINT, range(70)) == blocks_of(POINT, 70)


def test_a_request_is_cut_into_blocks_of_32():
    blocks = blocks_of(POINT, 70)
    assert [(b.first, b.last) for b in blocks] == [(0, 31), (32, 63), (64, 69)]
    assert blocks[0].name == f"{POINT.hash[:16]}-000000-000031.parquet"
    assert sum(b.chips for b in blocks) == 70


def test_only_what_is_missing_is_work(folder):
    other = replace(POINT, rate=0.5)
    assert len(fill(folder, 40)) == 2
    assert fill(folder, 40) == fill(folder, 16) == fill(folder, 33) == []
    work = missing(store.scan(folder), [other, POINT], 70)
    assert [(p.rate, b.first, b.last) for p, b in work] == [
        (0.5, 0, 31), (0.5, 32, 63), (0.5, 64, 69), (1e-3, 40, 63), (1e-3, 64, 69),
    ]  # fmt: skip


def test_growth_adds_ranges_and_changes_nothing(folder):
    fill(folder, 8)
    first = {f: f.stat().st_mtime_ns for f in folder.glob("[!_]*")}
    fill(folder, 20)
    fill(folder, 64)
    ranges = [(0, 7), (8, 19), (20, 31), (32, 63)]
    assert names(folder) == [Block(POINT.hash[:16], *ends).name for ends in ranges]
    assert store.read_rows(folder)["chip"].to_pylist() == list(range(64))
    assert pd.read_parquet(folder).chip.tolist() == list(range(64))
    assert {f: f.stat().st_mtime_ns for f in first} == first


def test_a_block_that_contradicts_another_is_refused(folder):
    fill(folder, 8)
    before = names(folder)
    block = blocks_of(POINT, 32)[0]
    with pytest.raises(ValueError, match=r"chip 0 disagrees with .* in stuck_at_0"):
        store.write_block(folder, block, make_rows(block, stuck_at_0=77))
    assert names(folder) == before


def test_pandas_reads_the_folder_at_once(folder):
    fill(folder, 40)
    fill(folder, 5, replace(POINT, rate=0.25, input_bits=None))
    (folder / "_notes.txt").write_text("not a row")
    frame = pd.read_parquet(folder)
    pd.testing.assert_frame_equal(frame, store.read_rows(folder).to_pandas())
    assert list(frame.columns) == SCHEMA.names
    assert len(frame) == 45


def test_rows_come_back_as_they_were(folder):
    fill(folder, 40)
    expected = pyarrow.concat_tables(make_rows(b) for b in blocks_of(POINT, 40))
    found = store.read_rows(folder)
    assert found.schema.equals(SCHEMA)
    assert repr(found.to_pylist()) == repr(expected.to_pylist())


def test_an_empty_folder_has_no_rows(folder):
    assert store.read_rows(folder).equals(SCHEMA.empty_table())
    assert store.scan(folder / "nowhere") == []


# interruption and damage ----------------------------------------------------------------------


def interrupted_between_rename_and_deletion(folder):
    fill(folder, 8)
    cut = folder / Block(POINT.hash[:16], 0, 7).name
    data = cut.read_bytes()
    full = Block(POINT.hash[:16], 0, 31)
    store.write_block(folder, full, make_rows(full))
    assert not cut.exists()
    cut.write_bytes(data)
    return cut


def test_a_covered_cut_block_is_read_once_and_goes_on_opening(folder):
    cut = interrupted_between_rename_and_deletion(folder)
    blocks = [Block(POINT.hash[:16], 0, 7), Block(POINT.hash[:16], 0, 31)]
    assert store.read_rows(folder, blocks)["chip"].to_pylist() == list(range(32))
    assert cut.exists()
    assert store.scan(folder) == blocks[1:]
    assert not cut.exists()


def test_blocks_of_two_platforms_may_differ_in_scores_only(folder):
    block, cut = Block(POINT.hash[:16], 0, 31), Block(POINT.hash[:16], 0, 7)
    other = make_rows(cut, platform="gpu", score=0.5, accuracy=0.5, correct=b"x")
    store.write_block(folder, block, make_rows(block))
    store.write_block(folder, cut, other)
    rows = store.read_rows(folder, [cut, block])
    assert rows["platform"].to_pylist() == ["cpu"] * 32  # the full block's row is kept
    write_sealed(folder / cut.name, make_rows(cut, platform="gpu", cells=801))
    with pytest.raises(ValueError, match=r"000007\.parquet: chip 0 .* in cells"):
        store.read_rows(folder, [cut, block])


def test_blocks_of_one_platform_must_agree_in_scores(folder):
    block, cut = Block(POINT.hash[:16], 0, 31), Block(POINT.hash[:16], 0, 7)
    store.write_block(folder, block, make_rows(block))
    write_sealed(folder / cut.name, make_rows(cut, score=0.5))
    with pytest.raises(ValueError, match=r"000007\.parquet: chip 0 .* in score"):
        store.scan(folder)
    assert len(names(folder)) == 2


def test_where_no_block_is_full_the_name_that_sorts_first_is_kept(folder):
    short, long = Block(POINT.hash[:16], 0, 7), Block(POINT.hash[:16], 0, 15)
    store.write_block(folder, long, make_rows(long, platform="gpu"))
    store.write_block(folder, short, make_rows(short))
    platforms = store.read_rows(folder, [long, short])["platform"].to_pylist()
    assert platforms == ["cpu"] * 8 + ["gpu"] * 8


@pytest.mark.parametrize("left", [0, 3, 500, -1])
def test_a_torn_file_is_set_aside_and_costs_nothing_else(folder, left):
    blocks = fill(folder, 64)
    torn = folder / blocks[0].name
    torn.write_bytes(torn.read_bytes()[:left])
    with pytest.warns(UserWarning, match=f"{torn.name} .*set aside"):
        assert store.scan(folder) == blocks[1:]
    assert (folder / "_aside" / f"{torn.name}.damaged").exists()
    assert store.read_rows(folder)["chip"].to_pylist() == list(range(32, 64))
    assert fill(folder, 64) == blocks[:1]  # and only that block is redone


def garble(file):
    data = bytearray(file.read_bytes())
    data[4:400] = b"\xff" * 396  # the footer is whole
    file.write_bytes(data)


def test_a_block_garbled_inside_is_set_aside_where_the_folder_is_worked_on(folder):
    blocks = fill(folder, 64)
    garbled = folder / blocks[1].name
    garble(garbled)
    with pytest.warns(UserWarning, match=f"{garbled.name} does not have the bytes .* left out"):
        rows = store.read_rows(folder)
    assert rows["chip"].to_pylist() == list(range(32))
    assert garbled.exists()
    with pytest.warns(UserWarning, match=f"{garbled.name} does not have the bytes .* set aside"):
        assert len(store.read_rows(folder, mend=True)) == len(rows)
    assert store.scan(folder) == blocks[:1]


@pytest.mark.parametrize("bad", [0, 1])
def test_garbled_blocks_on_opening_cost_nothing_else(folder, bad):
    """Whichever of a cut block and the one that covers it is garbled, the other one stays."""
    interrupted_between_rename_and_deletion(folder)
    cut, full = Block(POINT.hash[:16], 0, 7), Block(POINT.hash[:16], 0, 31)
    file = folder / (cut, full)[bad].name
    garble(file)
    with pytest.warns(UserWarning, match=f"{file.name} does not have the bytes .*: set aside"):
        assert store.scan(folder) == [(full, cut)[bad]]
    assert len(store.read_rows(folder)) == (32, 8)[bad]


def test_a_block_that_another_process_replaces_is_read_under_its_new_name(folder, monkeypatch):
    fill(folder, 8)
    real, told = store.sound_rows, []

    def slow(path, blocks, *rest):
        if not told:
            told.append(blocks)
            fill(folder, 32)
            compact(folder)  # which deletes the block that is about to be read
        return real(path, blocks, *rest)

    monkeypatch.setattr(store, "sound_rows", slow)
    assert len(store.read_rows(folder)) == 32


def test_looking_a_folder_over_changes_nothing(folder):
    interrupted_between_rename_and_deletion(folder)
    (folder / "notes.txt").write_text("mine")
    before = sorted(folder.iterdir())
    found = store.survey(folder)
    assert [b.last for b in found.blocks] == [31]
    assert [(a.last, b.last) for a, b in found.covered.items()] == [(7, 31)]
    assert [file.name for file in found.foreign] == ["notes.txt"]
    assert found.troubles == []
    with pytest.warns(UserWarning, match="notes.txt is not of this campaign"):
        assert len(store.read_rows(folder)) == 32
    assert sorted(folder.iterdir()) == before


def test_foreign_files_are_named_and_left_alone(folder):
    fill(folder, 32)
    (folder / "figures").mkdir()
    for name in ("notes.txt", "rows.csv", "table.parquet", "figures/a.png", "_mine.html"):
        (folder / name).write_text("mine")
    before = sorted(folder.rglob("*"))
    for reading in (store.read_rows, store.scan):
        with pytest.warns(UserWarning, match="left alone") as warned:
            reading(folder)
        told = " ".join(str(w.message) for w in warned)
        assert all(name in told for name in ("notes.txt", "rows.csv", "table.parquet", "figures"))
        assert "_mine.html is" not in told
    assert sorted(folder.rglob("*")) == before


def test_what_has_a_blocks_name_and_is_none_is_set_aside(folder):
    fill(folder, 32)
    pd.DataFrame({"a": [1]}).to_parquet(folder / f"{'0' * 16}-000000-000000.parquet")
    (folder / Block("1" * 16, 0, 30).name).write_bytes((folder / names(folder)[1]).read_bytes())
    with pytest.warns(UserWarning, match="set aside") as warned:
        assert len(store.read_rows(folder, mend=True)) == 32
    told = " ".join(str(w.message) for w in warned)
    assert all(name in told for name in ("0" * 16, "1" * 16))
    assert len(pd.read_parquet(folder)) == 32


def test_a_run_killed_before_the_rename_leaves_nothing_behind(folder, monkeypatch):
    fill(folder, 32)

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", killed)
    with pytest.raises(KeyboardInterrupt):
        fill(folder, 64)
    monkeypatch.undo()
    leftover = folder / "_writing-1-0a.part"
    leftover.write_bytes(b"PAR1 half")  # a kill without clean-up
    assert len(store.read_rows(folder)) == 32
    assert len(pd.read_parquet(folder)) == 32
    with files.whole_file(folder / "other") as out:  # another process, at work
        out.write(b"half")
        open_folder(folder, 0, 1, PAIRS)
        assert not leftover.exists()
        assert len(list(folder.glob("_writing*"))) == 1
    assert (folder / "other").read_bytes() == b"half"
    assert not list(folder.glob("_writing*"))


@pytest.mark.parametrize("chips", [32, 8])
def test_a_full_disk_costs_only_the_block_that_was_written(folder, monkeypatch, chips):
    fill(folder, chips)

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"could not be written \(No space left") as raised:
        fill(folder, 64)
    assert raised.value.errno == errno.ENOSPC
    with pytest.raises(OSError, match="No space left"):
        write_references(folder, {"cpu": {"x": 0.5}})
    monkeypatch.undo()
    assert not list(folder.glob("_writing*"))
    assert len(store.read_rows(folder)) == len(pd.read_parquet(folder)) == chips


# manifest -------------------------------------------------------------------------------------


def test_growth_adds_pairs_to_the_manifest(folder):
    more = {"rte/minilm": PAIRS["sst2/minilm"]}
    open_folder(folder, 0, 1, more)
    open_folder(folder, 0, 1, PAIRS)
    assert json.loads((folder / "_campaign.json").read_text())["pairs"] == PAIRS | more
    assert [entry.name for entry in folder.iterdir()] == ["_campaign.json"]


@pytest.mark.parametrize(
    ("seed", "semantics", "change", "told"),
    [
        (1, 1, {}, "seed is 0 there and 1 now"),
        (0, 2, {}, "semantics is 1 there and 2 now"),
        (
            0,
            1,
            {"model_hash": "c" * 64},
            "model_hash of sst2/minilm is aaaaaaaaaaaa.. there and ccc",
        ),
        (0, 1, {"data_hash": "c" * 64}, "data_hash of sst2/minilm"),
        (0, 1, {"labels": [1, 0]}, r"labels of sst2/minilm is \[0, 1\] there and \[1, 0\] now"),
        (0, 1, {"input_bits": None}, "input_bits of sst2/minilm is 8 there and null now"),
    ],
)
def test_another_campaign_is_refused_with_a_diff(folder, seed, semantics, change, told):
    before = (folder / "_campaign.json").read_bytes()
    pairs = {"sst2/minilm": PAIRS["sst2/minilm"] | change, "new/model": {}}
    with pytest.raises(ValueError, match=told) as raised:
        open_folder(folder, seed, semantics, pairs)
    assert "\n" not in str(raised.value)
    assert "--out" in str(raised.value)
    assert (folder / "_campaign.json").read_bytes() == before


def test_a_folder_that_is_no_campaign_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    for path in (tmp_path, tmp_path / "thesis.tex"):
        with pytest.raises(ValueError, match="no campaign folder: give a new --out"):
            open_folder(path, 0, 1, PAIRS)
    assert [entry.name for entry in tmp_path.iterdir()] == ["thesis.tex"]


def test_an_empty_folder_or_a_killed_start_is_a_new_campaign(tmp_path):
    (tmp_path / "_writing-7-0a.part").write_text("{")
    open_folder(tmp_path, 0, 1, PAIRS)
    assert [entry.name for entry in tmp_path.iterdir()] == ["_campaign.json"]


def test_checking_writes_nothing(tmp_path):
    check_folder(tmp_path / "new", 0, 1, PAIRS)
    assert not list(tmp_path.iterdir())


def test_a_garbled_manifest_is_refused(folder):
    (folder / "_campaign.json").write_text('{"seed":')
    with pytest.raises(ValueError, match=r"_campaign\.json is not JSON"):
        check_folder(folder, 0, 1, PAIRS)


def test_references_and_provenance_are_kept_beside_the_rows(folder):
    assert read_references(folder) == {}
    write_references(folder, {"cpu": {"x": 0.1 + 0.2}})
    assert read_references(folder) == {"cpu": {"x": 0.1 + 0.2}}
    for run in (1, 2):
        add_provenance(folder, {"run": run})
    lines = (folder / "_provenance.jsonl").read_text().splitlines()
    assert [json.loads(line)["run"] for line in lines] == [1, 2]
    assert store.scan(folder) == []


def test_a_block_of_the_same_name_is_compared_and_kept(folder):
    block = Block(POINT.hash[:16], 0, 7)
    store.write_block(folder, block, make_rows(block))
    before = (folder / block.name).read_bytes()
    for rows in (make_rows(block, score=0.25), make_rows(block, platform="gpu", stuck_at_0=77)):
        with pytest.raises(ValueError, match="chip 0 disagrees"):
            store.write_block(folder, block, rows, here=[])
    store.write_block(folder, block, make_rows(block, platform="gpu", score=0.25), here=[])
    assert (folder / block.name).read_bytes() == before


def test_a_damaged_block_of_the_same_name_is_written_anew(folder):
    block = Block(POINT.hash[:16], 0, 7)
    store.write_block(folder, block, make_rows(block))
    whole = (folder / block.name).read_bytes()
    (folder / block.name).write_bytes(whole[:-40])
    with pytest.warns(UserWarning, match="set aside"):
        store.write_block(folder, block, make_rows(block), here=[])
    assert (folder / block.name).read_bytes() == whole
