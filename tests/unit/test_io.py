"""Campaigns in an object store: fsspec's store in memory stands in for gs:// and s3://."""

import json
import sys
import uuid

import pandas as pd
import pytest
from folders import PAIRS, POINT, fill, make_rows

from rerax import io as files
from rerax.campaign import store
from rerax.campaign.block import Block, blocks_of
from rerax.campaign.folder import check_folder, open_folder
from rerax.campaign.maintain import compact, export_csv, merge
from rerax.campaign.sidecars import (
    add_provenance,
    read_provenance,
    read_references,
    write_references,
)


@pytest.fixture
def bucket():
    """A fresh prefix of the store, which is one for the whole process."""
    return f"memory://bucket/{uuid.uuid4().hex}"


def names(where):
    return [entry.name for entry in files.entries(where)]


def test_a_local_path_is_a_plain_path(tmp_path):
    assert files.place(str(tmp_path)) == tmp_path
    assert isinstance(files.place("a/b"), type(tmp_path))


def test_a_campaign_lives_in_an_object_store(bucket):
    out = files.place(f"{bucket}/a")
    assert store.scan(out) == []
    check_folder(out, 0, 1, PAIRS)
    open_folder(out, 0, 1, PAIRS)
    fill(out, 40)
    fill(out, 70)
    ranges = [(0, 31), (32, 39), (40, 63), (64, 69)]
    assert [name for name in names(out) if name[0] != "_"] == [
        Block(POINT.hash[:16], *ends).name for ends in ranges
    ]
    assert store.read_rows(out)["chip"].to_pylist() == list(range(70))
    pd.testing.assert_frame_equal(pd.read_parquet(str(out)), store.read_rows(out).to_pandas())
    with pytest.raises(ValueError, match="seed is 0 there and 1 now"):
        check_folder(out, 1, 1, PAIRS)


def test_a_block_is_one_put(bucket, monkeypatch):
    out = files.place(bucket)
    block = blocks_of(POINT, 32)[0]
    puts = []
    real = type(out.fs).pipe_file
    monkeypatch.setattr(
        type(out.fs), "pipe_file", lambda *a, **k: (puts.append(a[1]), real(*a, **k))[1]
    )
    store.write_block(out, block, make_rows(block))
    assert [put.rpartition("/")[2] for put in puts] == [block.name]


def test_a_put_that_fails_leaves_nothing(bucket, monkeypatch):
    out = files.place(bucket)
    fill(out, 32)
    monkeypatch.setattr(
        type(out.fs), "pipe_file", lambda *a, **k: (_ for _ in ()).throw(PermissionError(13, "no"))
    )
    with pytest.raises(OSError, match=r"could not be written \(no\)"):
        fill(out, 64)
    monkeypatch.undo()
    assert len(store.read_rows(out)) == 32


def test_damage_is_set_aside_there_too(bucket):
    out = files.place(bucket)
    blocks = fill(out, 64)
    (out / blocks[0].name).write_bytes(b"PAR1")
    (out / "notes.txt").write_bytes(b"mine")
    with (
        pytest.warns(UserWarning, match="set aside"),
        pytest.warns(UserWarning, match=r"notes.txt is not of this campaign: left alone"),
    ):
        assert store.scan(out) == blocks[1:]
    assert names(out / "_aside") == [f"{blocks[0].name}.damaged"]
    assert names(out)[-1] == "notes.txt"


def test_references_and_runs_are_kept_there_too(bucket):
    out = files.place(bucket)
    write_references(out, {"cpu": {"x": 0.5}})
    write_references(out, {"cpu": {"y": 0.25}, "gpu": {"x": 1.0}})
    assert read_references(out) == {"cpu": {"x": 0.5, "y": 0.25}, "gpu": {"x": 1.0}}
    for run in (1, 2):
        add_provenance(out, {"run": run})
    assert [entry["run"] for entry in read_provenance(out)] == [1, 2]


def test_folders_are_kept_in_order_there_too(bucket, tmp_path):
    out, local = files.place(f"{bucket}/a"), tmp_path / "local"
    for path, chips in ((out, 40), (local, 128)):
        open_folder(path, 0, 1, PAIRS)
        fill(path, chips)
    merge([local], out)
    assert compact(out)[1] == 1
    assert [b.last for b in store.scan(out)] == [127]
    assert export_csv(out, files.place(f"{bucket}/rows.csv")) == 128
    assert export_csv(out, tmp_path / "rows.csv") == 128
    assert (tmp_path / "rows.csv").read_bytes() == files.place(f"{bucket}/rows.csv").read_bytes()


def test_the_command_line_takes_urls(bucket, capsys):
    from rerax.cli import main

    out = files.place(bucket)
    open_folder(out, 0, 1, PAIRS)
    fill(out, 8)
    assert main(["report", bucket]) == 0
    assert main(["compact", bucket]) == 0
    assert "1 blocks before, 1 now" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("url", "missing", "said"),
    [
        ("gs://b/a", "gcsfs", r"install rerax\[gcs\]"),
        ("s3://b/a", "s3fs", r"install rerax\[s3\]"),
        ("s3://b/a", "upath", r"install rerax\[s3\]"),
        ("ftq://b/a", None, "unknown kind of store: give a folder"),
    ],
)
def test_a_store_without_its_library(monkeypatch, url, missing, said):
    if missing is not None:
        monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ValueError, match=said):
        files.place(url)


# the local folder -----------------------------------------------------------------------------


def test_pairs_and_references_of_two_processes_are_both_kept(tmp_path):
    """Another process writes between reading and writing, which the lock keeps apart."""
    import threading

    open_folder(tmp_path, 0, 1, PAIRS)
    pair = PAIRS["sst2/minilm"]

    def add(i):
        open_folder(tmp_path, 0, 1, {f"sst2/m{i}": pair})
        write_references(tmp_path, {"cpu": {f"h{i}": float(i)}})

    threads = [threading.Thread(target=add, args=(i,)) for i in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(json.loads((tmp_path / "_campaign.json").read_text())["pairs"]) == 17
    assert len(read_references(tmp_path)["cpu"]) == 16


def test_a_cut_line_of_the_log_is_left_out(tmp_path):
    open_folder(tmp_path, 0, 1, PAIRS)
    add_provenance(tmp_path, {"run": 1})
    with (tmp_path / "_provenance.jsonl").open("a") as log:
        log.write('{"run": ')
    assert read_provenance(tmp_path) == [{"run": 1}]


def test_names_are_of_blocks_or_of_nothing():
    block = Block("0" * 16, 32, 1_000_031)
    from rerax.campaign.block import block_of

    assert block_of(block.name) == block
    assert block_of("notes.parquet") is None
