"""Compaction: fewer files, the same rows, and everything goes on as before."""

from dataclasses import replace

import pandas as pd
import pytest
from folders import POINT, fill, make_rows, names, same

from rerax.campaign import maintain, store
from rerax.campaign.block import Block, blocks_of
from rerax.campaign.maintain import compact
from rerax.sealed import write_sealed

OTHER = replace(POINT, rate=0.5)


def test_blocks_of_a_point_become_one_file(folder):
    fill(folder, 8)
    fill(folder, 104)
    fill(folder, 64, OTHER)
    rows, frame = store.read_rows(folder), pd.read_parquet(folder)
    assert compact(folder) == (7, 2)
    assert names(folder) == sorted(
        Block(p.hash[:16], first, last).name for p, first, last in ((POINT, 0, 103), (OTHER, 0, 63))
    )
    assert same(store.read_rows(folder), rows)
    pd.testing.assert_frame_equal(pd.read_parquet(folder), frame)
    again = {f: f.stat().st_mtime_ns for f in folder.iterdir()}
    assert compact(folder)[1] == 2
    assert {f: f.stat().st_mtime_ns for f in folder.iterdir()} == again


def test_a_compacted_folder_is_done_and_grows(folder):
    fill(folder, 104)
    compact(folder)
    assert fill(folder, 104) == fill(folder, 20) == []  # the done-check
    grown = fill(folder, 200)
    assert [b.first for b in grown] == [104, 128, 160, 192]
    assert pd.read_parquet(folder).chip.tolist() == list(range(200))
    compact(folder)  # a long block joins others
    assert [b.last for b in store.scan(folder)] == [199]
    assert store.read_rows(folder)["chip"].to_pylist() == list(range(200))


def test_a_missing_block_parts_two_files(folder):
    for block in blocks_of(POINT, 160):
        if block.first != 64:
            store.write_block(folder, block, make_rows(block))
    compact(folder)
    assert [(b.first, b.last) for b in store.scan(folder)] == [(0, 63), (96, 159)]
    assert [b.first for b in fill(folder, 160)] == [64]


def test_no_file_grows_without_bound(folder, monkeypatch):
    monkeypatch.setattr(maintain, "MOST_CHIPS", 64)
    fill(folder, 160)
    compact(folder)
    assert [b.chips for b in store.scan(folder)] == [64, 64, 32]


@pytest.mark.parametrize("deleted", [0, 1, 2])
def test_a_kill_between_writing_and_deleting_loses_nothing(folder, monkeypatch, deleted):
    fill(folder, 96)
    rows = store.read_rows(folder)
    real, count = type(folder).unlink, []

    def killed(path, missing_ok=False):
        if path.name[0] != "_":
            count.append(path)
            if len(count) > deleted:
                raise KeyboardInterrupt
        real(path, missing_ok)

    monkeypatch.setattr(type(folder), "unlink", killed)
    with pytest.raises(KeyboardInterrupt):
        compact(folder)
    monkeypatch.undo()
    assert len(names(folder)) == 4 - deleted
    assert same(store.read_rows(folder), rows)
    assert len(names(folder)) == 4 - deleted  # who only reads changes nothing
    assert store.scan(folder) == [Block(POINT.hash[:16], 0, 95)]  # and the next opening clears up,
    assert len(pd.read_parquet(folder)) == 96  # so that plain pandas counts each chip once again


def test_what_is_damaged_or_left_over_is_dealt_with(folder):
    blocks = fill(folder, 128)
    (folder / blocks[1].name).write_bytes(b"PAR1")
    leftover = folder / "_writing-7-0a.part"
    leftover.write_bytes(b"half")
    with pytest.warns(UserWarning, match="set aside"):
        done = compact(folder)
    assert done == (3, 2)
    assert (folder / "_aside" / f"{blocks[1].name}.damaged").exists()
    assert not leftover.exists()


def test_no_campaign_is_no_folder_to_compact(tmp_path):
    with pytest.raises(ValueError, match="is no campaign folder: give one"):
        compact(tmp_path)


def test_blocks_that_overlap_become_one_in_which_each_chip_is_once(folder):
    """As two runs leave them that began at once with other numbers of chips."""
    for ends in ((0, 7), (0, 15), (8, 31), (32, 63)):
        block = Block(POINT.hash[:16], *ends)
        write_sealed(folder / block.name, make_rows(block))
    compact(folder)
    assert names(folder) == [Block(POINT.hash[:16], 0, 63).name]
    assert pd.read_parquet(folder).chip.tolist() == list(range(64))
