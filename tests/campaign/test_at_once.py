"""Folders that others work on, merges of unlike ones, and entries that are no files."""

import errno
import json
import os
import shutil
import threading
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
from folders import PAIRS, POINT, fill, make_rows, names, same
from paths import GOLDEN

from rerax.campaign import maintain, store
from rerax.campaign.block import Block
from rerax.campaign.folder import open_folder, write_manifest
from rerax.campaign.maintain import compact, export_csv, merge
from rerax.campaign.manifest import read_manifest
from rerax.campaign.schema import SCHEMA
from rerax.campaign.sidecars import add_provenance, read_provenance, read_references
from rerax.io import whole_file
from rerax.sealed import write_sealed

COMMITTED = GOLDEN / "first_format"
POINT_HASH = POINT.hash[:16]


def begin(path, chips=0, point=POINT, pairs=PAIRS, **changes):
    open_folder(path, 0, 1, pairs)
    fill(path, chips, point, **changes)
    return path


def flip(file):
    data = bytearray(file.read_bytes())
    data[40] ^= 1
    file.write_bytes(data)


def once(monkeypatch, module, name, before):
    """Something happens just before the first call of a function."""
    real, begun = getattr(module, name), []

    def called(*arguments, **more):
        if not begun:
            begun.append(1)
            before()
        return real(*arguments, **more)

    monkeypatch.setattr(module, name, called)


# beside others ----------------------------------------------------------------------------------


@pytest.mark.parametrize("moment", ["_listed", "read_block"])
def test_a_reader_beside_a_compaction_misses_nothing(tmp_path, monkeypatch, moment):
    begin(tmp_path, 96)
    once(monkeypatch, store, moment, lambda: compact(tmp_path))
    assert store.read_rows(tmp_path)["chip"].to_pylist() == list(range(96))


@pytest.mark.parametrize("moment", ["survey", "once_each"])
def test_a_merge_of_a_folder_at_work_misses_nothing(tmp_path, monkeypatch, moment):
    a, b = begin(tmp_path / "a", 96), begin(tmp_path / "b", 40)
    once(monkeypatch, maintain, moment, lambda: compact(a))
    merge([a, b], tmp_path / "out")
    assert store.read_rows(tmp_path / "out")["chip"].to_pylist() == list(range(96))


def test_a_folder_that_never_holds_still_is_an_error(tmp_path, monkeypatch):
    begin(tmp_path, 32)

    def gone(*_):
        raise FileNotFoundError

    monkeypatch.setattr(store, "check_footer", gone)
    monkeypatch.setattr(store, "read_block", gone)
    for look in (store.survey, store.read_rows):
        with pytest.raises(OSError, match="keeps changing while it is read: wait"):
            look(tmp_path)


def test_pairs_that_are_added_during_a_merge_stay(tmp_path, monkeypatch):
    a, out = begin(tmp_path / "a", 32), begin(tmp_path / "out")
    other = replace(POINT, task="rte")
    new = {"rte/minilm": PAIRS["sst2/minilm"]}
    once(monkeypatch, maintain, "make_folder", lambda: begin(out, 16, other, new))
    merge([a], out)
    assert set(read_manifest(out)["pairs"]) == {"sst2/minilm", "rte/minilm"}
    assert len(store.read_rows(out)) == 48


def test_a_block_that_another_process_has_made_again_is_not_set_aside(tmp_path, monkeypatch):
    begin(tmp_path, 32)
    file = tmp_path / names(tmp_path)[0]
    good = file.read_bytes()
    flip(file)
    real = store.read_block

    def read(*arguments):
        try:
            return real(*arguments)
        finally:
            file.write_bytes(good)

    monkeypatch.setattr(store, "read_block", read)
    assert len(store.read_rows(tmp_path, mend=True)) == 32
    assert not (tmp_path / "_aside").exists()


# folders that may only be read ------------------------------------------------------------------


def read_only(monkeypatch):
    def refused(*_, **__):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    for name in ("replace", "unlink", "mkdir"):
        monkeypatch.setattr(Path, name, refused)


def test_a_covered_block_that_cannot_go_is_named(tmp_path, monkeypatch):
    begin(tmp_path, 8)
    data = (tmp_path / names(tmp_path)[0]).read_bytes()
    full = Block(POINT_HASH, 0, 31)
    store.write_block(tmp_path, full, make_rows(full))
    (tmp_path / Block(POINT_HASH, 0, 7).name).write_bytes(data)
    read_only(monkeypatch)
    with pytest.warns(UserWarning, match="cannot be deleted .Read-only file system"):
        assert store.scan(tmp_path) == [Block(POINT_HASH, 0, 31)]


def test_a_damaged_block_that_cannot_be_moved_is_skipped(tmp_path, monkeypatch):
    begin(tmp_path, 8)
    data = (tmp_path / names(tmp_path)[0]).read_bytes()
    full = Block(POINT_HASH, 0, 31)
    store.write_block(tmp_path, full, make_rows(full))
    (tmp_path / Block(POINT_HASH, 0, 7).name).write_bytes(data)
    flip(tmp_path / Block(POINT_HASH, 0, 31).name)
    read_only(monkeypatch)
    with pytest.warns(UserWarning, match="skipped, as it cannot be set aside"):
        assert store.scan(tmp_path) == [Block(POINT_HASH, 0, 7)]


# order ------------------------------------------------------------------------------------------


def test_a_million_chips_are_in_order(tmp_path):
    begin(tmp_path)
    for first in (999_968, 1_000_000):
        block = Block(POINT_HASH, first, first + 31)
        store.write_block(tmp_path, block, make_rows(block))
    chips = list(range(999_968, 1_000_032))
    assert store.read_rows(tmp_path)["chip"].to_pylist() == chips
    assert compact(tmp_path)[1] == 1
    assert store.read_rows(tmp_path)["chip"].to_pylist() == chips


def test_nothing_is_written_that_would_be_called_damaged(tmp_path):
    begin(tmp_path, 8)
    before = names(tmp_path)
    block = Block(POINT_HASH, 32, 63)
    rows = make_rows(block)
    wrong = {
        "other chips": rows.take(list(range(31, -1, -1))),
        "another seed": make_rows(block, seed=3),
        "no clean_score": make_rows(block, clean_score=None),
    }
    for told, table in wrong.items():
        with pytest.raises(ValueError, match=f"{told}.*it is not written"):
            store.write_block(tmp_path, block, table)
    assert names(tmp_path) == before


def test_blocks_that_overlap_must_agree(tmp_path):
    begin(tmp_path)
    one, other = Block(POINT_HASH, 0, 19), Block(POINT_HASH, 10, 31)
    store.write_block(tmp_path, one, make_rows(one))
    with pytest.raises(ValueError, match="chip 10 disagrees"):
        store.write_block(tmp_path, other, make_rows(other, stuck_at_0=7))
    store.write_block(tmp_path, other, make_rows(other))
    assert store.read_rows(tmp_path)["chip"].to_pylist() == list(range(32))


# merges -----------------------------------------------------------------------------------------


def test_a_merge_mends_the_folder_that_it_fills(tmp_path):
    a, b = begin(tmp_path / "a", 32), begin(tmp_path / "b", 32)
    flip(a / names(a)[0])
    with pytest.warns(UserWarning, match="does not have the bytes .*set aside"):
        assert merge([b], a) == 1
    assert same(store.read_rows(a), store.read_rows(b))


def test_a_source_that_contradicts_itself_writes_nothing(tmp_path):
    a = begin(tmp_path / "a", 8)
    block = Block(POINT_HASH, 0, 31)
    write_sealed(a / block.name, make_rows(block, stuck_at_0=9))
    with pytest.raises(ValueError, match="disagrees"):
        merge([a], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_merge_into_a_folder_of_the_first_format_keeps_what_lies_beside(tmp_path):
    out, other = tmp_path / "out", tmp_path / "other"
    shutil.copytree(COMMITTED, out)
    shutil.copytree(COMMITTED, other)
    before = json.loads((COMMITTED / "_references.json").read_text())
    assert merge([other], out) == 0
    assert read_manifest(out)["format"] == 2
    assert read_references(out) == before


OLDER = [name for name in SCHEMA.names if name not in ("faulty", "flipped")]


def older(path, chips):
    begin(path)
    write_manifest(path, {**read_manifest(path), "columns": OLDER})
    fill(path, chips)
    return path


@pytest.mark.parametrize("into", ["older", "newer", "new"])
def test_a_folder_keeps_its_columns_in_a_merge(tmp_path, into):
    a, b = older(tmp_path / "older", 40), begin(tmp_path / "newer", 64)
    merge([a, b], tmp_path / into)
    columns = {tuple(pq.read_schema(f).names) for f in (tmp_path / into).glob("*.parquet")}
    assert columns == {tuple(OLDER if into == "older" else SCHEMA.names)}
    assert store.read_rows(tmp_path / into)["chip"].to_pylist() == list(range(64))


def test_what_the_older_folder_has_no_column_for_is_not_merged_into_it(tmp_path):
    a = older(tmp_path / "older", 40)
    b = begin(tmp_path / "newer", 64, flipped=3)
    with pytest.raises(ValueError, match=r"disagrees|begun without the column flipped"):
        merge([b], a)
    assert len(store.read_rows(a)) == 40


def test_a_merge_keeps_the_fuller_pair_and_each_line_once(tmp_path):
    less = {"sst2/minilm": {k: v for k, v in PAIRS["sst2/minilm"].items() if k != "labels"}}
    a, b = begin(tmp_path / "a", 8), begin(tmp_path / "b", 8, pairs=less)
    for folder in (a, b):
        add_provenance(folder, {"run": 1})
    merge([a, b], tmp_path / "out")
    assert read_manifest(tmp_path / "out")["pairs"] == PAIRS
    assert read_provenance(tmp_path / "out") == [{"run": 1}]


# entries that are no files ----------------------------------------------------------------------


def test_what_has_a_blocks_name_and_is_no_file_is_left_alone(tmp_path):
    begin(tmp_path, 32)
    blocks = [Block(POINT_HASH, first, first + 31).name for first in (32, 64, 96)]
    (tmp_path / blocks[0]).mkdir()
    (tmp_path / blocks[1]).symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / blocks[2])
    for read in (store.read_rows, lambda path: store.read_rows(path, mend=True)):
        with pytest.warns(UserWarning, match="left alone") as warned:
            assert len(read(tmp_path)) == 32
        told = " ".join(str(w.message) for w in warned)
        assert all(name in told for name in blocks)
    assert store.named(tmp_path) == [Block(POINT_HASH, 0, 31)]
    assert store.unsealed(tmp_path) == 0


def test_an_export_into_a_pipe_or_through_a_link(tmp_path):
    begin(tmp_path / "rows", 8)
    pipe, link, plain = (tmp_path / name for name in ("pipe", "link", "plain"))
    os.mkfifo(pipe)
    link.symlink_to(plain)
    export_csv(tmp_path / "rows", link)
    assert link.is_symlink()
    got = []
    reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()))
    reader.start()
    export_csv(tmp_path / "rows", pipe)
    reader.join(20)
    assert got == [plain.read_bytes()]
    assert pipe.is_fifo()
    with whole_file(Path(os.devnull)) as out:
        out.write(b"x")
    assert Path(os.devnull).is_char_device()


# side files of other shapes ---------------------------------------------------------------------


@pytest.mark.parametrize("columns", [[{}], "task", [*SCHEMA.names, "task"], ["task"], 7, [1]])
def test_columns_of_a_manifest_must_be_columns(tmp_path, columns):
    begin(tmp_path)
    file = tmp_path / "_campaign.json"
    known = {k: v for k, v in json.loads(file.read_text()).items() if k != "sha256"}
    file.write_text(json.dumps({**known, "format": 1, "columns": columns}))
    with pytest.raises(ValueError, match="damaged or was edited"):
        read_manifest(tmp_path)


@pytest.mark.parametrize(
    ("line", "left"),
    [
        ({"sources": "x", "run": 1}, {"run": 1}),
        ({"sources": {"sst2/minilm": 5}}, {}),
        ({"sources": {"sst2/minilm": None}}, {"sources": {"sst2/minilm": None}}),
        ({"maps": 3}, {}),
        ({"stopping": 5}, {}),
        ({"stopping": {"a": 1}}, {}),
        ({"stopping": {"until_se": 0.0, "max_chips": 9}}, {}),
        ({"unprotected": []}, {}),
        ({"chips": "many", "seconds": None}, {}),
    ],
)
def test_a_line_of_the_log_says_what_can_be_used(tmp_path, line, left):
    begin(tmp_path)
    add_provenance(tmp_path, line)
    with (tmp_path / "_provenance.jsonl").open("a") as log:
        log.write("1" * 5000 + "\n")
    assert read_provenance(tmp_path) == [left]


def test_an_old_side_file_with_no_numbers_is_made_again(tmp_path):
    shutil.copytree(COMMITTED, tmp_path / "old")
    (tmp_path / "old" / "_references.json").write_text('{"cpu": {"x": NaN}}')
    manifest = read_manifest(tmp_path / "old")
    with pytest.warns(UserWarning, match="computed again"):
        open_folder(tmp_path / "old", 0, 1, manifest["pairs"])
    assert read_references(tmp_path / "old") == {}
    assert len(pd.read_parquet(tmp_path / "old")) == 80
