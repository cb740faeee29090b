"""Files that are changed at random: whatever happens to them, no number is wrong without a word.

    RERAX_FUZZ=200 RERAX_FUZZ_OUT=fuzz.json python -m pytest -n 0 tests/campaign/test_fuzz.py

makes 200 times as many changes as an ordinary run, and writes how each kind ended.
"""

import json
import os
import random
import warnings
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from folders import PAIRS, fill

from rerax.campaign import store
from rerax.campaign.folder import open_folder
from rerax.campaign.manifest import read_manifest
from rerax.campaign.sidecars import (
    add_plans,
    add_provenance,
    read_plans,
    read_provenance,
    read_references,
    write_references,
)

TIMES = int(os.environ.get("RERAX_FUZZ", "1"))
BLOCKS, JSON_FILES = 1000 * TIMES, 500 * TIMES


# changes ----------------------------------------------------------------------------------------


def flip(data, at, draw):
    data[at] ^= 1 << draw.randrange(8)


def replace(data, at, draw):
    data[at] = draw.randrange(256)


def blank(data, at, draw):
    n = draw.randrange(1, 64)
    data[at : at + n] = bytes(len(data[at : at + n]))


def scramble(data, at, draw):
    n = draw.randrange(1, 64)
    data[at : at + n] = draw.randbytes(len(data[at : at + n]))


def remove(data, at, draw):
    del data[at : at + draw.randrange(1, 64)]


def double(data, at, draw):
    n = draw.randrange(1, 64)
    data[at:at] = data[at : at + n]


def cut(data, at, draw):
    del data[at:]


def exchange(data, at, draw):
    n, other = draw.randrange(1, 64), draw.randrange(len(data))
    a, b = data[at : at + n], data[other : other + n]
    data[at : at + n], data[other : other + n] = b, a


CHANGES = (flip, flip, flip, replace, blank, scramble, remove, double, cut, exchange)


def changed(original, draw):
    """The bytes with one change, and its name; the ends of a file are hit more often."""
    while True:
        data, change = bytearray(original), draw.choice(CHANGES)
        near_the_end = draw.random() < 0.3
        low = max(0, len(data) - 2500) if near_the_end else 0
        change(data, draw.randrange(low, len(data)), draw)
        if data != original:
            return bytes(data), change.__name__


def other_value(draw):
    return draw.choice([None, True, 0, 1, -1, 2, 1e300, "", "x", [], [1], {}, {"a": 1}])


def changed_json(original, draw):
    """The same of a JSON text: a change of bytes, or of one of its values or keys."""
    if draw.random() < 0.4:
        return changed(original, draw)
    lines = original.decode().split("\n") if original.startswith(b'{"') else [original.decode()]
    which = draw.randrange(len([line for line in lines if line]))
    found = json.loads(lines[which])
    inside = found
    while True:
        key = draw.choice(sorted(inside))
        if isinstance(inside[key], dict) and inside[key] and draw.random() < 0.7:
            inside = inside[key]
            continue
        kind = draw.choice(["value", "removed", "renamed", "added", "all"])
        if kind == "value":
            inside[key] = other_value(draw)
        elif kind == "added":
            inside["more"] = other_value(draw)
        elif kind == "all":
            found = other_value(draw)
        else:
            value = inside.pop(key)
            if kind == "renamed":
                inside[key + "x"] = value
        lines[which] = json.dumps(found)
        return "\n".join(lines).encode(), f"{kind} of JSON"


def keep(tally, name):
    """Write how the changes ended, where that is asked for."""
    out = os.environ.get("RERAX_FUZZ_OUT")
    if out:
        file = Path(out)
        known = json.loads(file.read_text()) if file.is_file() else {}
        ends = {f"{change}: {end}": n for (change, end), n in sorted(tally.items())}
        known[name] = {"changes": sum(tally.values()), **ends}
        file.write_text(json.dumps(known, indent=1) + "\n")


# blocks -----------------------------------------------------------------------------------------


def test_changed_blocks(tmp_path):
    """Each is left out and named, or its rows are what they were."""
    open_folder(tmp_path, 0, 1, PAIRS)
    block = fill(tmp_path, 32)[0]
    file = tmp_path / block.name
    original, draw, tally = file.read_bytes(), random.Random(17), Counter()
    rows = repr(store.read_rows(tmp_path).to_pylist())
    for _ in range(BLOCKS):
        data, change = changed(original, draw)
        file.write_bytes(data)
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            found = store.read_rows(tmp_path)
        if len(found):
            assert repr(found.to_pylist()) == rows, change
            end = "read as it was"
        else:
            assert any(file.name in str(w.message) for w in told), change
            end = "left out and named"
        assert file.read_bytes() == data
        tally[change, end] += 1
    assert sum(tally.values()) == BLOCKS
    keep(tally, "blocks")


def test_a_change_that_is_not_seen_would_be_noticed(tmp_path, monkeypatch):
    """Planted: reading without the file's checksum, as earlier versions did, takes wrong rows."""
    monkeypatch.setattr("rerax.sealed._is_broken", lambda data: False)
    monkeypatch.setattr("rerax.sealed.pq.ParquetFile", _without_checksums())
    monkeypatch.setitem(globals(), "BLOCKS", 1000)
    with pytest.raises(AssertionError):
        test_changed_blocks(tmp_path)


def _without_checksums():
    real = pq.ParquetFile
    return lambda source, **_: real(source)


# the files beside them --------------------------------------------------------------------------

READERS = {
    "_campaign.json": read_manifest,
    "_references.json": read_references,
    "_plans.json": read_plans,
    "_provenance.jsonl": read_provenance,
}


def test_changed_files_beside_the_rows(tmp_path):
    """Each is refused in one line, or made anew with a word, or says what it said."""
    open_folder(tmp_path, 0, 1, PAIRS)
    write_references(tmp_path, {"cpu": {"x": 0.1 + 0.2, "y": 0.5}, "gpu": {"x": 0.25}})
    add_plans(tmp_path, {"a" * 64: "query=msb:2x3:pruned", "b" * 64: "none"})
    for run in range(3):
        add_provenance(tmp_path, {"run": run, "sources": {"sst2/minilm": {"model": "m"}}})
    draw, tally = random.Random(18), Counter()
    originals = {name: (tmp_path / name).read_bytes() for name in READERS}
    meant = {name: read(tmp_path) for name, read in READERS.items()}
    for i in range(JSON_FILES):
        name = list(READERS)[i % len(READERS)]
        data, change = changed_json(originals[name], draw)
        (tmp_path / name).write_bytes(data)
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            found, error = _tried(READERS[name], tmp_path)
        end = "read as it was" if found == meant[name] else "made anew"
        if error:
            assert name == "_campaign.json", (change, error)
            assert "\n" not in error
            assert name in error
            end = "refused"
        if end == "made anew" and name != "_provenance.jsonl":  # a log: it decides no number
            assert found == {}, change
            assert any(name in str(w.message) for w in told), change
        if name == "_provenance.jsonl":
            assert all(isinstance(entry, dict) for entry in found)
            end = "read without a crash"
        tally[change, f"{name} {end}"] += 1
        (tmp_path / name).write_bytes(originals[name])
    keep(tally, "files beside the rows")


def _tried(read, path):
    try:
        return read(path), ""
    except ValueError as error:
        return None, str(error)
