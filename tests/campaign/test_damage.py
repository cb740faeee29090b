"""Trouble with a campaign's files: each kind is seen, and nothing of the user's is lost."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import types
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import quick_campaign
import tiny
from folders import PAIRS, POINT, fill, make_rows, names, same
from paths import GOLDEN, PYTHONPATH

from rerax import io as files
from rerax.campaign import runner, store
from rerax.campaign.block import Block, block_of, blocks_of
from rerax.campaign.dry_run import dry_run
from rerax.campaign.folder import check_folder, check_target, open_folder
from rerax.campaign.maintain import compact, export_csv, merge
from rerax.campaign.manifest import MANIFEST, Fixed, read_manifest
from rerax.campaign.point import Point
from rerax.campaign.schema import FIRST_COLUMNS, SCHEMA, narrow
from rerax.campaign.sidecars import (
    PROVENANCE,
    add_provenance,
    read_plans,
    read_provenance,
    read_references,
    write_references,
)
from rerax.campaign.workload import Settings, read_workload
from rerax.cli import main
from rerax.models.bert.planning import save_plan
from rerax.report import write_page
from rerax.report.figures import _save
from rerax.sealed import is_sealed, write_sealed

COMMITTED = GOLDEN / "first_format"


def content(path):
    return {f: f.read_bytes() for f in sorted(path.rglob("*")) if f.is_file()}


# a file that cannot be read ---------------------------------------------------------------------


def refuse(monkeypatch, name, code):
    """Reading any file of that name fails, as on a bad disk or without the right to it."""
    real = Path.open

    def refused(path, mode="r", *rest, **more):
        if path.name == name and "r" in mode:
            raise OSError(code, os.strerror(code))
        return real(path, mode, *rest, **more)

    def read_bytes(path):
        with path.open("rb") as stream:
            return stream.read()

    monkeypatch.setattr(Path, "open", refused)
    monkeypatch.setattr(Path, "read_bytes", read_bytes)


@pytest.mark.parametrize(("code", "told"), [(errno.EIO, "the disk"), (errno.EACCES, "the right")])
def test_what_cannot_be_read_is_no_damage(folder, monkeypatch, code, told):
    blocks = fill(folder, 64)
    before = content(folder)
    refuse(monkeypatch, blocks[0].name, code)
    reading = [
        lambda: store.scan(folder),
        lambda: store.read_rows(folder),
        lambda: store.read_rows(folder, mend=True),
        lambda: compact(folder),
    ]
    for read in reading:
        with pytest.raises(
            OSError, match=rf"{blocks[0].name} could not be read .*{told}"
        ) as raised:
            read()
        assert raised.value.errno == code
    monkeypatch.undo()
    assert content(folder) == before


@pytest.mark.parametrize("name", ["_campaign.json", "_references.json"])
def test_side_files_that_cannot_be_read_stay_too(folder, monkeypatch, name):
    write_references(folder, {"cpu": {"x": 0.5}})
    before = content(folder)
    refuse(monkeypatch, name, errno.EIO)
    with pytest.raises(OSError, match=f"{name} could not be read"):
        write_references(folder, {"cpu": {"y": 0.5}})
    monkeypatch.undo()
    assert content(folder) == before


# a file that cannot be written ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "told"),
    [
        (errno.ENOSPC, "make room"),
        (errno.EDQUOT, "make room"),
        (errno.EIO, "the disk"),
        (errno.EACCES, "the right"),
        (errno.EROFS, "another place"),
        (errno.ENAMETOOLONG, "a shorter name"),
    ],
)
def test_advice_fits_what_the_system_said(tmp_path, monkeypatch, code, told):
    def refused(*_):
        raise OSError(code, os.strerror(code))

    (tmp_path / "file").write_text("old")
    monkeypatch.setattr(os, "fsync", refused)
    with pytest.raises(OSError, match=told) as raised, files.whole_file(tmp_path / "file") as out:
        out.write(b"new")
    monkeypatch.undo()
    assert "\n" not in str(raised.value)
    assert "[Errno" not in str(raised.value)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text() == "old"


def test_a_folder_that_is_missing_is_named_as_such(tmp_path):
    with (
        pytest.raises(OSError, match="make its folder first"),
        files.whole_file(tmp_path / "no" / "file"),
    ):
        pass


def test_trouble_with_what_is_read_is_not_called_trouble_with_what_is_written(tmp_path):
    wrong = files.storage_error("rows", OSError(errno.EIO, "bad"), "read")
    with pytest.raises(OSError, match="rows could not be read"), files.whole_file(tmp_path / "f"):
        raise wrong


@pytest.mark.parametrize(
    ("code", "fails"), [(errno.EINVAL, False), (errno.ENOTSUP, False), (errno.EIO, True)]
)
def test_a_folder_that_knows_no_sync_is_no_error(tmp_path, monkeypatch, code, fails):
    """SMB and some FUSE file systems have none; a disk that fails still does."""
    real = os.fsync

    def sync(descriptor):
        if Path(f"/proc/self/fd/{descriptor}").resolve().is_dir():
            raise OSError(code, os.strerror(code))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", sync)
    if fails:
        with pytest.raises(OSError, match="the disk"), files.whole_file(tmp_path / "f") as out:
            out.write(b"x")
    else:
        with files.whole_file(tmp_path / "f") as out:
            out.write(b"x")
    assert (tmp_path / "f").read_bytes() == b"x"


@pytest.mark.parametrize(
    "write",
    [
        lambda file, folder: export_csv(folder, file),
        lambda file, folder: save_plan(file, {}, {}),
        lambda file, folder: write_page(store.read_rows(folder), file),
        lambda file, folder: _save(
            types.SimpleNamespace(savefig=lambda out, **_: out.write(b"x")), file
        ),
        lambda file, folder: files.write_new_json(file, {}),
    ],
    ids=["export", "plan", "page", "figure", "bench"],
)
def test_a_full_disk_leaves_the_old_file(folder, tmp_path, monkeypatch, write):
    fill(folder, 8)
    out = tmp_path / "out"
    out.write_text("old")

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="make room"):
        write(out, folder)
    assert out.read_text() == "old"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["campaign", "out"]


# rows that are whole and wrong ------------------------------------------------------------------


def swap_names(folder):
    """Two blocks under each other's name."""
    one, other = (folder / name for name in names(folder)[:2])
    data = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(data)


def of_another_point(folder):
    block = Block("0" * 16, 0, 31)
    (folder / block.name).write_bytes((folder / names(folder)[0]).read_bytes())


def rows_of(**changes):
    def write(folder):
        block = Block(POINT.hash[:16], 0, 31)
        write_sealed(folder / block.name, make_rows(block, **changes))

    return write


@pytest.mark.parametrize(
    ("change", "told", "wrong"),
    [
        (swap_names, "holds other chips than its name says", 2),
        (of_another_point, "holds rows of another point", 1),
        (rows_of(seed=3), "is of another seed than the campaign's 0", 1),
        (rows_of(point_hash="f" * 64), "holds rows of another point", 1),
        (rows_of(model_hash="c" * 64), "is of another campaign .model_hash of sst2/minilm", 1),
        (rows_of(data_hash=None), "is of another campaign .data_hash of sst2/minilm", 1),
        (rows_of(model="other"), "is of sst2/other, which this campaign does not have", 1),
    ],
)
def test_a_block_is_what_its_name_and_the_manifest_say(folder, change, told, wrong):
    fill(folder, 64)
    change(folder)
    files_before = len(names(folder))
    with pytest.warns(UserWarning, match=f"{told}.*: left out") as warned:
        rows = store.read_rows(folder)
    assert len(warned) == wrong
    assert len(rows) == 32 * (files_before - wrong)
    assert len(names(folder)) == files_before  # who only reads changes nothing
    with pytest.warns(UserWarning, match=f"{told}.*: set aside in"):
        store.read_rows(folder, mend=True)
    assert len(names(folder)) == files_before - wrong
    assert len(list((folder / "_aside").iterdir())) == wrong


def test_what_is_set_aside_never_replaces_what_was(folder):
    for seed in (1, 2):
        rows_of(seed=seed)(folder)
        with pytest.warns(UserWarning, match="set aside"):
            store.read_rows(folder, mend=True)
    kept = sorted(p for p in (folder / "_aside").iterdir())
    assert {pq.read_table(file)["seed"][0].as_py() for file in kept} == {1, 2}
    assert not list(folder.rglob("*.parquet"))  # so that no reader's pattern finds them


def test_blocks_of_earlier_versions_are_read_and_counted(folder):
    """They carry no checksums; what Parquet itself notices is noticed."""
    blocks = fill(folder, 64)
    assert store.unsealed(folder) == 0
    old = folder / blocks[0].name
    pq.write_table(make_rows(blocks[0]), old, compression="zstd")
    assert store.unsealed(folder) == 1
    assert not is_sealed(old)
    assert len(store.read_rows(folder)) == 64
    data = bytearray(old.read_bytes())
    data[4:400] = b"\xff" * 396
    old.write_bytes(data)
    with pytest.warns(UserWarning, match="is cut short or garbled: left out"):
        assert len(store.read_rows(folder)) == 32


def test_the_report_says_how_many_have_none(folder, tmp_path, capsys):
    blocks = fill(folder, 64)
    assert main(["report", str(folder), "--html", str(tmp_path / "r.html")]) == 0
    said = "written by an earlier version, without checksums"
    assert said not in capsys.readouterr().out
    for n, words in ((1, "1 block was"), (2, "2 blocks were")):
        pq.write_table(make_rows(blocks[n - 1]), folder / blocks[n - 1].name)
        assert main(["report", str(folder), "--html", str(tmp_path / "r.html")]) == 0
        assert f"{words} {said}" in capsys.readouterr().out
        assert f"{words} {said}" in (tmp_path / "r.html").read_text()


def test_a_file_that_is_not_the_campaigns_is_named_once(folder, capsys):
    fill(folder, 8)
    (folder / "notes.txt").write_text("mine")
    with warnings.catch_warnings():
        warnings.simplefilter("always")  # as where a library has touched the filters
        assert main(["compact", str(folder)]) == 0
        assert main(["merge", str(folder), "--out", str(folder)]) == 0
    assert capsys.readouterr().err.count("notes.txt is not") == 2


def test_errors_of_the_system_are_put_in_words(folder, monkeypatch, capsys):
    monkeypatch.setattr(
        "rerax.campaign.store.entries", lambda path: (_ for _ in ()).throw(raw_error())
    )
    assert main(["report", str(folder)]) == 2
    error = capsys.readouterr().err
    assert error == (
        "error: rows could not be used (Input/output error): the disk or the way to it fails, so "
        "check that first and run again\n"
    )


def raw_error():
    return OSError(errno.EIO, os.strerror(errno.EIO), "rows")


def test_pages_carry_parquets_own_checksums(folder):
    """Which another reader can verify, where it does not know of the seal."""
    block = fill(folder, 32)[0]
    file = folder / block.name
    data = bytearray(file.read_bytes())
    column = pq.read_metadata(file).row_group(0).column(SCHEMA.names.index("score"))
    start = column.dictionary_page_offset or column.data_page_offset
    data[start + column.total_compressed_size - 1] ^= 1
    with pytest.raises(OSError, match="CRC"):
        pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True).read()


# the files beside the rows ----------------------------------------------------------------------


def edit(file, **changes):
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def test_an_edited_manifest_is_refused(folder):
    edit(folder / "_campaign.json", seed=1)
    for check in (lambda: check_folder(folder, 1, 1, PAIRS), lambda: read_manifest(folder)):
        with pytest.raises(ValueError, match="damaged or was edited: restore it"):
            check()


@pytest.mark.parametrize("field", ["format", "semantics"])
@pytest.mark.parametrize(
    "command",
    [
        ["report", "C"],
        ["report", "C", "--html", "r.html"],
        ["compact", "C"],
        ["export", "C", "--csv", "rows.csv"],
        ["merge", "C", "--out", "new"],
        ["chip", "C", "--point", "a", "--chip", "0"],
        ["size", "--half-width", "0.01", "--from", "C"],
        ["sweep", "--out", "C"],
        ["sweep", "--out", "C", "--dry-run"],
    ],
    ids=" ".join,
)
def test_a_newer_manifest_is_refused_by_every_command(
    folder, tmp_path, monkeypatch, capsys, command, field
):
    from rerax.demo import MODEL
    from rerax.demo.sentences import write_data

    fill(folder, 8)
    edit(folder / "_campaign.json", **{field: 9})
    if command[0] == "sweep":
        data = tmp_path / "data"
        write_data(data)
        command = [*command, "--model", str(MODEL), "--task", "sst2", "--data", str(data)]
        command += ["--max-length", "64", "--quiet"]
    monkeypatch.chdir(tmp_path)
    before = content(folder)
    assert main([word if word != "C" else str(folder) for word in command]) == 2
    error = capsys.readouterr().err
    assert f"has {field} 9, this version knows" in error
    assert error.count("\n") == 1
    assert content(folder) == before
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("wrong", ["value", "removed", "no json", "list"])
def test_references_that_were_edited_are_computed_again(folder, wrong):
    write_references(folder, {"cpu": {"x": 0.5}})
    file = folder / "_references.json"
    kept = json.loads(file.read_text())
    changed = {
        "value": {**kept, "cpu": {"x": 0.6}},
        "removed": {"cpu": {"x": 0.5}},
        "list": [1],
    }
    file.write_text("{" if wrong == "no json" else json.dumps(changed[wrong]))
    with pytest.warns(UserWarning, match="_references.json is damaged or was edited"):
        assert read_references(folder) == {}
    with pytest.warns(UserWarning, match="edited"):
        write_references(folder, {"cpu": {"x": 0.5}})
    assert read_references(folder) == {"cpu": {"x": 0.5}}


def test_plans_that_were_edited_are_found_again(folder):
    from rerax.campaign.sidecars import add_plans

    add_plans(folder, {"a": "none"})
    edit(folder / "_plans.json", a="duplicate:3")
    with pytest.warns(UserWarning, match="_plans.json is damaged or was edited"):
        assert read_plans(folder) == {}


def test_a_torn_line_does_not_swallow_the_next(folder):
    add_provenance(folder, {"run": 1})
    with (folder / PROVENANCE).open("ab") as log:
        log.write(b'{"run": 2, "half\xc3')
    for run in (3, 4):
        add_provenance(folder, {"run": run})
    with (folder / PROVENANCE).open("ab") as log:
        log.write(b"[1]\n7\n")
    assert read_provenance(folder) == [{"run": 1}, {"run": 3}, {"run": 4}]


# unfinished files -------------------------------------------------------------------------------


def test_unfinished_files_are_judged_by_their_owner(folder):
    """It lives: they stay, however old. It was killed: they go, however young."""
    program = (
        "import pathlib, sys, time\n"
        "from rerax.io import whole_file\n"
        "with whole_file(pathlib.Path(sys.argv[1]) / 'late.parquet') as out:\n"
        "    print('writing', flush=True)\n"
        "    time.sleep(60)\n"
    )
    writer = subprocess.Popen(
        [sys.executable, "-c", program, str(folder)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": PYTHONPATH},
    )
    try:
        assert writer.stdout.readline() == b"writing\n"
        unfinished = next(folder.glob("_writing*"))
        os.utime(unfinished, (0, 0))
        assert files.remove_leftovers(folder) == 0
        assert unfinished.exists()
    finally:
        writer.send_signal(signal.SIGKILL)
        writer.communicate()
    os.utime(unfinished, (time.time() + 9, time.time() + 9))
    assert files.remove_leftovers(folder) == 1
    assert not unfinished.exists()


def test_no_readers_pattern_finds_an_unfinished_file(folder):
    fill(folder, 32)
    with files.whole_file(folder / Block(POINT.hash[:16], 32, 63).name) as out:
        out.write(b"PAR1 half")
        assert len(list(folder.rglob("*.parquet"))) == 1
        assert len(pd.read_parquet(folder)) == 32


def test_a_run_lists_its_folder_a_fixed_number_of_times(tmp_path, monkeypatch):
    listed = []
    real = Path.iterdir
    monkeypatch.setattr(Path, "iterdir", lambda path: (listed.append(path), real(path))[1])
    monkeypatch.setattr(Path, "glob", None)
    monkeypatch.setattr(quick_campaign.Worker, "log", tmp_path / "log", raising=False)
    monkeypatch.setattr(quick_campaign.Worker, "seconds", 0.0, raising=False)
    monkeypatch.setitem(sys.modules, "rerax.campaign.worker", quick_campaign)
    counts = []
    for chips in (40, 400, 1000):
        listed.clear()
        settings = quick_campaign.Settings(chips=chips)
        points = quick_campaign.POINTS[:2]
        quick_campaign.run(quick_campaign.WORKLOAD, points, settings, tmp_path / "c")
        counts.append(len(listed))
    assert counts[1] == counts[2] < 10


# files of the user's ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["report.html", "sub/rows.csv", "figures"])
def test_nothing_is_written_among_the_rows(folder, name):
    with pytest.raises(ValueError, match="would lie among the rows of the campaign"):
        check_target(folder / name)
    check_target(folder / f"_{name}")
    check_target(folder.parent / name)


def test_the_campaign_itself_is_no_folder_for_other_files(folder, capsys):
    fill(folder, 8)
    before = content(folder)
    for command in (
        ["report", str(folder), "--figures", str(folder)],
        ["demo", "--out", str(folder)],
        ["train", "--model", "nowhere", "--task", "sst2", "--out", str(folder)],
    ):
        assert main(command) == 2
        assert "is a campaign, and what else lies there breaks" in capsys.readouterr().err
    assert content(folder) == before


@pytest.mark.parametrize("command", ["yield", "rare --rate 1e-3"])
def test_numbers_that_could_not_be_written_are_refused_first(tmp_path, capsys, command):
    (tmp_path / "file").write_text("mine")
    where = ["--json", str(tmp_path / "file" / "numbers.json")]
    assert main([*command.split(), "--model", "nowhere", "--task", "sst2", *where]) == 2
    assert f"lies below {tmp_path / 'file'}, which is no folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    "command",
    [
        ["report", "C", "--html", "C/report.html"],
        ["report", "C", "--figures", "C/figures"],
        ["report", "C", "--latex", "C/table.tex"],
        ["export", "C", "--csv", "C/rows.csv"],
        ["chip", "C", "--point", "a", "--chip", "0", "--save", "C/weights"],
        ["chip", "C", "--point", "a", "--chip", "0", "--export-map", "C/map.parquet"],
        ["plan", "--model", "nowhere", "--json", "C/plan.json"],
        ["train", "--model", "nowhere", "--task", "sst2", "--out", "C/trained"],
        [
            "sweep",
            "--model",
            "M",
            "--task",
            "sst2",
            "--data",
            "D",
            "--max-length",
            "64",
            "--quiet",
            "--out",
            "C/inner",
        ],
        ["merge", "C", "--out", "C/inner"],
    ],
    ids=" ".join,
)
def test_no_command_writes_among_the_rows(folder, tmp_path, capsys, command):
    from rerax.demo import MODEL
    from rerax.demo.sentences import write_data

    fill(folder, 8)
    before = content(folder)
    known = {"M": str(MODEL), "D": str(tmp_path / "data")}
    if "D" in command:
        write_data(tmp_path / "data")
    words = [known.get(word, word) for word in command]
    words = [str(folder) + word[1:] if word in ("C", "C/inner") or word[:2] == "C/" else word
             for word in words]  # fmt: skip
    assert main(words) == 2
    assert "would lie among the rows" in capsys.readouterr().err
    assert content(folder) == before
    assert sorted(p.name for p in folder.iterdir()) == sorted({p.name for p in before})


# columns ----------------------------------------------------------------------------------------

OLDER = pa.schema([field for field in SCHEMA if field.name not in ("faulty", "flipped")])


def older_folder(path):
    """A folder begun before two of today's columns."""
    open_folder(path, 0, 1, PAIRS)
    from rerax.campaign.folder import write_manifest

    write_manifest(path, {**read_manifest(path), "columns": OLDER.names})
    for block in blocks_of(POINT, 40):
        write_sealed(path / block.name, narrow(make_rows(block), OLDER))


def test_a_folder_keeps_the_columns_it_was_begun_with(tmp_path):
    older_folder(tmp_path / "a")
    rows = store.read_rows(tmp_path / "a")
    assert rows.schema.equals(SCHEMA)
    assert rows["flipped"].null_count == len(rows) == 40
    open_folder(tmp_path / "a", 0, 1, PAIRS)
    fill(tmp_path / "a", 96)
    compact(tmp_path / "a")
    assert {tuple(pq.read_schema(f).names) for f in (tmp_path / "a").glob("*.parquet")} == {
        tuple(OLDER.names)
    }
    whole = tmp_path / "whole"
    open_folder(whole, 0, 1, PAIRS)
    fill(whole, 96)
    assert same(store.read_rows(tmp_path / "a"), store.read_rows(whole))
    assert list(pd.read_parquet(tmp_path / "a").columns) == OLDER.names


def test_what_an_older_folder_has_no_column_for_is_refused(tmp_path):
    older_folder(tmp_path)
    before = content(tmp_path)
    block = Block(replace(POINT, rate=0.5).hash[:16], 0, 7)
    with pytest.raises(ValueError, match=r"begun without the column flipped.*give a new --out"):
        store.write_block(tmp_path, block, make_rows(block, replace(POINT, rate=0.5), flipped=3))
    assert content(tmp_path) == before


def test_a_campaign_of_the_first_format_is_read_and_grown(tmp_path):
    """A committed one: its manifest names no columns, and nothing carries a hash."""
    out = tmp_path / "campaign"
    shutil.copytree(COMMITTED, out)
    before, old = store.read_rows(out), content(out)
    assert store.unsealed(out) == len(list(out.glob("*.parquet")))
    manifest = read_manifest(out)
    open_folder(out, manifest["seed"], manifest["semantics"], manifest["pairs"])
    assert read_manifest(out)["format"] == 2
    assert read_references(out) == json.loads((COMMITTED / "_references.json").read_text())
    first = sorted(out.glob("*.parquet"))[0]
    block = block_of(first.name)
    grown = Block(block.point, 0, 31)
    rows = store.read_rows(out, [block])
    more = rows.set_column(
        rows.column_names.index("chip"), "chip", pa.array(np.arange(16, 32), pa.int64())
    )
    store.write_block(out, grown, pa.concat_tables([rows, more]))
    assert not first.exists()
    assert tuple(pq.read_schema(out / grown.name).names) == FIRST_COLUMNS
    assert len(store.read_rows(out)) == len(before) + 16 == len(pd.read_parquet(out))
    for file, data in old.items():
        if file.suffix == ".parquet" and file != first:
            assert file.read_bytes() == data
    assert not (out / "_aside").exists()


def test_a_run_grows_a_campaign_of_the_first_format(tmp_path):
    """Whatever rows say today that their other columns imply, such a folder can do without."""
    model, data = tiny.write_model(tmp_path / "model"), tiny.write_sst2(tmp_path / "data", 8)
    workload = read_workload(str(model), "sst2", "tiny", data=str(data), max_length=16)
    points = [
        Point(task="sst2", model="tiny", rate=1e-2, protection=p) for p in ("none", "closest")
    ]
    whole = runner.run(workload, points, Settings(4), tmp_path / "whole")
    assert set(whole["knows"].to_pylist()) == {"nothing", "map at writing"}
    out, first = tmp_path / "old", runner.run(workload, points, Settings(2))
    manifest = read_manifest(tmp_path / "whole")
    out.mkdir()
    kept = {name: manifest[name] for name in ("seed", "semantics", "pairs")}
    (out / MANIFEST).write_text(json.dumps({"format": 1, **kept}))
    for point in points:
        block = Block(point.hash[:16], 0, 1)
        own = first.filter(pc.equal(first["point_hash"], point.hash))
        pq.write_table(own.select(FIRST_COLUMNS), out / block.name)
    rows = runner.run(workload, points, Settings(4), out)
    assert {tuple(pq.read_schema(f).names) for f in out.glob("*.parquet")} == {FIRST_COLUMNS}
    assert rows["knows"].null_count == len(rows) == 8
    assert rows.select(FIRST_COLUMNS).equals(whole.select(FIRST_COLUMNS))
    merge([out, tmp_path / "whole"], tmp_path / "both")
    both = store.read_rows(tmp_path / "both")
    assert both.num_rows == 8
    flips = [replace(points[0], protection="sign")]
    with pytest.raises(ValueError, match=r"begun without the column metadata_bits"):
        runner.run(workload, flips, Settings(4), out)
    before = content(out)
    turned = [replace(points[0], polarity="alternate")]
    for refused in (
        lambda: runner.run(workload, turned, Settings(4), out),
        lambda: dry_run([(workload, turned)], Settings(4), out),
    ):
        with pytest.raises(ValueError, match=r"begun without the column polarity, .*give a new"):
            refused()
    assert content(out) == before


def test_the_first_columns_never_change():
    assert len(FIRST_COLUMNS) == 42
    assert tuple(SCHEMA.names[:42]) == FIRST_COLUMNS
    assert pq.read_schema(next(COMMITTED.glob("*.parquet"))).equals(
        pa.schema([SCHEMA.field(name) for name in FIRST_COLUMNS])
    )
    assert Fixed().schema.equals(SCHEMA)


# other readers ----------------------------------------------------------------------------------


def test_pandas_polars_and_duckdb_read_the_same_rows(folder):
    import duckdb
    import polars

    fill(folder, 40)
    fill(folder, 5, replace(POINT, rate=0.25))
    rows_of(seed=3)(folder)  # is set aside
    with pytest.warns(UserWarning, match="set aside"):
        store.read_rows(folder, mend=True)
    with files.whole_file(folder / Block(POINT.hash[:16], 32, 63).name) as out:
        out.write(b"PAR1 half")
        expected = store.read_rows(folder).to_pandas()[["point_hash", "chip", "score"]]
        pattern = f"{folder}/*.parquet"
        frames = {
            "pandas": pd.read_parquet(folder),
            "polars": polars.read_parquet(pattern, hive_partitioning=False).to_pandas(),
            "duckdb": duckdb.sql(
                f"select * from read_parquet('{pattern}', hive_partitioning=false)"
            ).df(),
        }
    for name, frame in frames.items():
        found = frame[["point_hash", "chip", "score"]].sort_values(["point_hash", "chip"])
        wanted = expected.sort_values(["point_hash", "chip"])
        assert (found.to_numpy() == wanted.to_numpy()).all(), name
