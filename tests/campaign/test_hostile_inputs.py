"""Models, data and commands that are wrong at random: taken, or refused in one line.

    RERAX_FUZZ=20 python -m pytest -n 0 tests/campaign/test_hostile_inputs.py

tries 20 times as many as an ordinary run. Damaged campaign folders are in `test_fuzz`.
"""

import copy
import json
import os
import random
import shutil
import subprocess
import sys
import warnings
from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tiny
import typer
from folders import PAIRS, POINT, fill
from paths import PYTHONPATH, ROOT

from rerax.campaign.folder import open_folder
from rerax.campaign.sidecars import add_plans, add_provenance, write_references
from rerax.campaign.workload import read_workload
from rerax.cli import app, main
from rerax.glue.data import load_tokenizer, read_split, tokenise
from rerax.glue.tasks import TASKS, find_task
from rerax.models.bert import convert
from rerax.models.bert.families import FAMILIES
from rerax.sealed import SEAL, digest

TIMES = int(os.environ.get("RERAX_FUZZ", "1"))
FILES, COMMANDS = 300 * TIMES, 1000 * TIMES
DEEP = 3000
ODD = ["", " ", "x", "\x1b[31m", "a\nb", "\u202e", "\ud800", "Zürich", "0" * 5000, "9" * 5000]


def deep(draw):
    """Lists or objects inside each other."""
    value = 1
    for _ in range(draw.choice([3, 60])):
        value = [value] if draw.random() < 0.5 else {"a": value}
    return value


def other_value(draw):
    """A value of any kind that JSON has, and of some that it has not."""
    numbers = [0, 1, -1, 2, 10**30, 1e300, -0.0, float("nan"), float("inf"), 0.5, 1 << 63]
    kinds = [None, True, False, [], {}, [1], {"a": 1}, ["bert"], {"0": None}, {"1": "x", "0": "x"}]
    return draw.choice([*numbers, *kinds, *ODD, deep(draw)])


def changed_fields(fields, draw):
    """The same object with a value changed, a key dropped, renamed, added or doubled."""
    found = copy.deepcopy(fields)
    for _ in range(draw.choice([1, 1, 2, 4])):
        inside = found
        while isinstance(inside, dict) and inside:
            key = draw.choice(sorted(inside))
            if isinstance(inside[key], dict) and inside[key] and draw.random() < 0.6:
                inside = inside[key]
                continue
            kind = draw.choice(["value", "value", "value", "dropped", "renamed", "added", "copied"])
            if kind == "value":
                inside[key] = other_value(draw)
            elif kind == "added":
                inside[draw.choice(ODD)] = other_value(draw)
            elif kind == "copied":
                inside[key] = copy.deepcopy(inside[draw.choice(sorted(inside))])
            else:
                value = inside.pop(key)
                if kind == "renamed":
                    inside[key + draw.choice(ODD)] = value
            break
    return found


def changed_json(fields, draw):
    """Bytes of a changed object; some are cut, some doubled, some nested beyond any reader."""
    kind = draw.random()
    if kind < 0.03:
        return b"[" * DEEP
    if kind < 0.06:
        return b'{"a":' * DEEP + b"1" + b"}" * DEEP
    if kind < 0.09:
        return json.dumps(other_value(draw)).encode()
    data = json.dumps(changed_fields(fields, draw)).encode()
    if kind < 0.15:
        return data[: draw.randrange(len(data))]
    if kind < 0.2:
        at = draw.randrange(len(data))
        return data[:at] + draw.randbytes(3) + data[at:]
    return data


def outcome(work):
    """How a call of the library ended: "taken", or the one line of its refusal.

    Any other exception than those that the command line puts in a line goes through.
    """
    told = None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            work()
        except (ValueError, OSError) as error:
            told = error
    if told is None:
        return "taken"
    assert not isinstance(told, UnicodeError | pa.ArrowException), repr(told)[:300]
    assert ": " in str(told), told  # the value and the rule, the fix
    return str(told)


def settle(tally):
    """Both ends must have been reached, or the changes were none or hit one check alone."""
    assert tally["taken"] > 0
    assert len(tally) > 10, tally


# files ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny.write_model(tmp_path_factory.mktemp("models") / "tiny")


def test_configurations(model, tmp_path):
    folder = copy_of(model, tmp_path / "model")
    data = tiny.write_sst2(tmp_path / "data", n=2)
    fields = json.loads((model / "config.json").read_text())
    fields |= {"architectures": ["BertForSequenceClassification"], "problem_type": None}
    draw, tally = random.Random(21), Counter()
    for _ in range(FILES):
        (folder / "config.json").write_bytes(changed_json(fields, draw))
        end = outcome(lambda: convert.load(folder))
        tally[end[:60]] += 1
        if end == "taken":
            end = outcome(lambda: read_workload(str(folder), "sst2", "m", data=str(data)).load())
            tally[end[:60]] += 1
    settle(tally)


def copy_of(model, folder):
    """A folder of links to a model's files, but for its config.json."""
    folder.mkdir()
    for file in model.iterdir():
        (folder / file.name).symlink_to(file)
    (folder / "config.json").unlink()
    return folder


def test_shard_indexes(model, tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_bytes((model / "config.json").read_bytes())
    (folder / "one.safetensors").write_bytes((model / "model.safetensors").read_bytes())
    index = folder / "model.safetensors.index.json"
    names = [name for name, _ in convert._tensors(model, FAMILIES["bert"])]
    fields = {
        "metadata": {"total_size": 1},
        "weight_map": dict.fromkeys(names[:9], "one.safetensors"),
    }
    draw, tally = random.Random(22), Counter()
    for _ in range(FILES):
        index.write_bytes(changed_json(fields, draw))
        tally[outcome(lambda: convert.load(folder))[:120]] += 1
        read = outcome(lambda: convert.weight_files(folder))
        assert read == "taken" or "index" in read
    settle(tally)


# data -------------------------------------------------------------------------------------------

TEXTS = ["good film", "", "\x00\x1b", "Zürich \U0001f600", "w" * 100_000, " " * 50, "\n", "[SEP]"]


def odd_column(draw, n):
    """A column of any type that Parquet holds."""
    kinds = {
        pa.int64(): [0, 1, -1, 7, 2**62],
        pa.uint64(): [0, 1, 2**64 - 1],
        pa.int8(): [0, 1, -1],
        pa.float64(): [0.0, 1.0, 0.5, float("nan"), float("inf"), -0.0, 1e300],
        pa.float16(): [np.float16(0), np.float16(1)],
        pa.decimal128(5, 1): [0, 1, None],
        pa.bool_(): [True, False],
        pa.null(): [None],
        pa.string(): TEXTS,
        pa.large_string(): TEXTS,
        pa.binary(): [b"good", b"\xff"],
        pa.list_(pa.string()): [["a"], [], None],
        pa.struct([("a", pa.int64())]): [{"a": 1}, None],
        pa.date32(): [0, 1],
        pa.timestamp("us"): [0, 1],
        pa.duration("s"): [0, 1],
        pa.dictionary(pa.int8(), pa.string()): ["0", "1", "good"],
        pa.dictionary(pa.int8(), pa.int64()): [0, 1, None],
        pa.map_(pa.string(), pa.int64()): [[("a", 1)]],
    }
    kind = draw.choice(list(kinds))
    values = [draw.choice(kinds[kind]) for _ in range(n)]
    if draw.random() < 0.2:
        values[draw.randrange(n)] = None
    return pa.array(values, kind)


def odd_table(task, draw):
    """A data set of a task with one or two things that it should not have."""
    n = draw.choice([1, 2, 5])
    columns = {field: pa.array([draw.choice(TEXTS) for _ in range(n)]) for field in task.fields}
    labels = [draw.choice([0, 1]) for _ in range(n)]
    columns["label"] = pa.array(labels, draw.choice([pa.int64(), pa.float64(), pa.int8()]))
    columns["idx"] = pa.array(range(n))
    names = list(columns)
    for _ in range(draw.choice([0, 1, 1, 2])):
        at = draw.choice(names)
        kind = draw.choice(["other", "other", "dropped", "renamed", "wrong"])
        if kind == "other":
            columns[at] = odd_column(draw, n)
        elif kind == "dropped":
            columns.pop(at, None)
        elif kind == "renamed" and at in columns:
            columns[draw.choice([*ODD[:5], "Label"])[:9] or "x"] = columns.pop(at)
        elif kind == "wrong":
            columns["label"] = pa.array([draw.choice([-1, 2, 9, -(2**40)])] * n)
    found = list(columns.items())
    if found and draw.random() < 0.1:  # one of them twice
        found.append(draw.choice(found))
    table = pa.Table.from_arrays([c for _, c in found], names=[name for name, _ in found])
    if draw.random() < 0.2:
        features = {"label": {"names": other_value(draw), "_type": "ClassLabel"}}
        text = json.dumps(draw.choice([{"info": {"features": features}}, other_value(draw)]))
        table = table.replace_schema_metadata({"huggingface": text.encode("utf-8", "replace")})
    return table.slice(0, 0) if draw.random() < 0.05 else table


LIMITS = {"max_length": 16, "positions": 40, "vocab_size": 50}


def test_data_sets(model, tmp_path):
    tokenizer = load_tokenizer(model)
    draw, tally = random.Random(23), Counter()
    for i in range(FILES):
        task = find_task(draw.choice(list(TASKS)))
        file = tmp_path / str(i) / task.name / f"{task.parts('validation')[0]}.parquet"
        file.parent.mkdir(parents=True)
        pq.write_table(odd_table(task, draw), file)
        if draw.random() < 0.1:
            data = bytearray(file.read_bytes())
            data[draw.randrange(len(data)) :] = draw.randbytes(draw.choice([0, 4, 40]))
            file.write_bytes(data)
        end = outcome(lambda task=task, i=i: read_split(task, tmp_path / str(i), "validation"))
        tally[end.replace(str(tmp_path / str(i)), "")[:60]] += 1
        if end == "taken":
            split = read_split(task, tmp_path / str(i), "validation")
            read = outcome(lambda split=split: tokenise(split, tokenizer, **LIMITS))
            assert read == "taken"
    settle(tally)


# Python -----------------------------------------------------------------------------------------


def test_sweeps_with_arguments_of_wrong_kinds():
    """In a process where nothing else checks kinds; what is taken there has been sound."""
    process = subprocess.run(
        [sys.executable, ROOT / "tests" / "helpers" / "odd_sweeps.py"],
        env={**os.environ, "PYTHONPATH": f"{PYTHONPATH}{os.pathsep}{ROOT / 'tests' / 'helpers'}"},
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stderr
    found = json.loads(process.stdout)
    for name, ends in found.items():
        for value, end in ends:
            kind, _, line = end.partition(": ")
            assert end == "taken" or (kind == "ValueError" and ": " in line), (name, value, end)
            assert len(end.splitlines()) == 1, (name, value, end)
        assert sum(end != "taken" for _, end in ends) > 20, name
    assert ["np.int64(8)", "taken"] in found["chips"]
    assert ["np.float32(0.5)", "taken"] in found["rates"]


# commands ---------------------------------------------------------------------------------------

NUMBERS = ["nan", "inf", "-1", "1e999", "1e-999", "0x10", "1_0", "1,,2", "01", "1e-3,", "5%"]
SCHEMES = ["none", "plan", "plan:", "plan:nowhere", "msb:2x3:pruned", "msb:9x3:lsb", "duplicate:4"]
NAMES = ["map:", "map:nowhere", "clustered:", "clustered:nan", "128x", "-1x5", "each", "layers="]
OTHERS = ["0.5", "2.5", "8", "64", "sst2", ",", "~", ".", "allocation:" * 400, "\udcff"]
TEXTS_OF_LINES = [text for text in ODD if text != "\ud800"]  # which no system hands over
VALUES = [*TEXTS_OF_LINES, *NUMBERS, *SCHEMES, *NAMES, *OTHERS]
DISTRIBUTED = {"--distributed", "--coordinator", "--processes", "--process"}  # a good set waits


@pytest.fixture
def bases(model, tmp_path, monkeypatch):
    """A line of each command, and what is put behind it so that nothing long begins."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    open_folder(tmp_path / "rows", 0, 1, PAIRS)
    fill(tmp_path / "rows", 8)
    data = tiny.write_sst2(tmp_path / "data", n=2)
    (tmp_path / "file").write_text("x")
    (tmp_path / "lot.csv").write_text(
        "chip,matrix,layer,wordline,bitline,level\n0,pooler,0,1,1,1\n"
    )
    copy_of(model, (tmp_path / "broken"))
    asked = ["--model", str(model), "--task", "sst2", "--data", str(data), "--max-length", "16"]
    return {
        # Twice, for the first may be taken as the value of a flag that has lost its own.
        "sweep": (["--out", "new", *asked], ["--dry-run", "--dry-run"]),
        "plan": (["--protection", "msb:1x3:lsb"], ["--model", "broken"]),
        "train": ([*asked, "--out", "trained"], ["--model", "broken"]),
        "bench": (["--examples", "2"], ["--model", "broken"]),
        "chip": (["rows", "--point", "0", "--chip", "0"], ["--model", "broken"]),
        "report": (["rows"], ["--figures", "file"]),
        "merge": (["rows", "--out", "merged"], []),
        "compact": (["rows"], []),
        "export": (["rows", "--csv", "rows.csv"], []),
        "size": (["--half-width", "0.01", "--sd", "0.05"], []),
        "map": (["lot.csv"], []),
        "rare": ([*asked, "--rate", "0.1"], ["--model", "broken"]),
        "yield": ([*asked, "--rates", "0.1"], ["--model", "broken"]),
        "demo": (["--no-open"], ["--out", "file/out"]),
    }


def odd_line(draw, bases, flags):
    """A command with one to three flags of odd values, dropped flags, arguments too many."""
    command = draw.choice(sorted(bases))
    line, behind = list(bases[command][0]), bases[command][1]
    for _ in range(draw.choice([1, 1, 2, 3])):
        kind = draw.random()
        if kind < 0.8 and flags[command]:
            name, takes = draw.choice(flags[command])
            line += [name, draw.choice(VALUES)] if takes else [name]
        elif kind < 0.9 and line:
            line.pop(draw.randrange(len(line)))
        else:
            line.insert(draw.randrange(len(line) + 1), draw.choice(VALUES))
    return [command, *line, *behind]


def flags_of_commands():
    found = {}
    for name, command in typer.main.get_command(app).commands.items():
        options = [p for p in command.params if p.param_type_name == "option"]
        found[name] = [
            (p.opts[0], not p.is_flag) for p in options if p.opts[0] not in DISTRIBUTED | {"--help"}
        ]
    return found


@pytest.mark.filterwarnings("ignore")
def test_commands(bases, tmp_path, capfd):
    """Done, or refused in one line of bounded length; nothing half-written, no traceback."""
    flags, draw, tally = flags_of_commands(), random.Random(24), Counter()
    assert set(flags) == set(bases)
    for _ in range(COMMANDS):
        line = odd_line(draw, bases, flags)
        try:
            code = main(line)
        except BaseException as error:
            raise AssertionError(f"{line}: {error!r}"[:2000]) from error
        told = capfd.readouterr().err.splitlines()
        errors = [text for text in told if not text.startswith("warning: ")]
        assert code in (0, 2), line
        if code == 2:
            assert len(errors) == 1, (line, told)
            assert errors[0].startswith("error: "), line
            assert 10 < len(errors[0]) < 1000, line
            assert errors[0].isprintable(), line
        tally[line[0], code] += 1
        assert not list(tmp_path.rglob("_writing*")), line
        assert not (tmp_path / "new").exists()
    assert {code for _, code in tally} == {0, 2}
    assert all(tally[command, 2] for command in bases), tally


# campaign folders -------------------------------------------------------------------------------

RUN = {
    "chips": 3,
    "seconds": 2.0,
    "host": "h",
    "devices": 1,
    "pair": "sst2/minilm",
    "sources": {
        "sst2/minilm": {
            "model": "m",
            "data": "d",
            "split": "validation",
            "max_examples": 2,
            "max_length": 16,
            "labels": ["negative", "positive"],
        }
    },
    "maps": {"map:x@1": "x"},
    "stopping": {"until_se": 0.01, "max_chips": 64, "looks": [64]},
    "unprotected": {"sst2/minilm": {"msb:2x3:pruned": ["query"]}},
    "reads": [{"task": "sst2", "protection": "none", "reads": 8.0}],
    "command": "rerax sweep --out rows",
    "versions": {"jax": "1"},
    "started": "2026-01-01T00:00:00",
}
NAMES_BESIDE = ("_campaign.json", "_references.json", "_plans.json", "_provenance.jsonl")


@pytest.fixture
def beside(tmp_path):
    """A folder with all its files beside the rows, and those files."""
    open_folder(tmp_path / "rows", 0, 1, PAIRS, {"nyu-mll/glue sst2": "a" * 64})
    fill(tmp_path / "rows", 8)
    write_references(tmp_path / "rows", {"cpu": {"x": 0.5}})
    add_plans(tmp_path / "rows", {"a" * 64: "none"})
    add_provenance(tmp_path / "rows", RUN)
    files = [tmp_path / "rows" / name for name in NAMES_BESIDE]
    return {file: file.read_bytes() for file in files}


def wrong_shape(files, draw):
    """Change what one of the files says: valid JSON with a right seal, or of format 1 without."""
    for file, content in files.items():
        file.write_bytes(content)
    file = draw.choice(sorted(files))
    fields = {key: v for key, v in json.loads(files[file]).items() if key != "sha256"}
    manifest = json.loads(files[file.parent / "_campaign.json"])
    if draw.random() < 0.3 and file.suffix == ".json":
        bare = {**{key: v for key, v in manifest.items() if key != "sha256"}, "format": 1}
        fields = bare if file.name == "_campaign.json" else fields
        (file.parent / "_campaign.json").write_text(json.dumps(bare))
        file.write_text(json.dumps(changed_fields(fields, draw)))
        return file.name
    found = changed_fields(fields, draw)
    try:
        written = found if file.suffix == ".jsonl" else {**found, SEAL: digest(found)}
    except ValueError:  # NaN, of which no seal is made
        written = found
    file.write_text(json.dumps(written) + "\n")
    return file.name


@pytest.mark.filterwarnings("ignore")
def test_wrong_shapes_beside_the_rows(model, beside, tmp_path, monkeypatch, capfd):
    """Every command that reads a folder takes it or refuses it in one line."""
    monkeypatch.chdir(tmp_path)
    data = str(tiny.write_sst2(tmp_path / "data", n=2))
    chip = ["chip", "rows", "--point", POINT.hash[:16], "--chip", "0"]
    asked = ["--model", str(model), "--task", "sst2", "--data", data, "--max-length", "16"]
    commands = [
        *(["report", "rows", "--html", "r.html"], ["merge", "rows", "--out", "merged"]),
        *(chip, [*chip, "--model", str(model), "--data", data], ["compact", "rows"]),
        *(["export", "rows", "--csv", "x.csv"], ["size", "--from", "rows", "--half-width", "0.01"]),
        ["sweep", "--out", "rows", "--name", "other", *asked, "--protection", "plan", "--dry-run"],
    ]
    draw, tally = random.Random(25), Counter()
    for _ in range(FILES // 10):
        name = wrong_shape(beside, draw)
        shutil.rmtree("merged", ignore_errors=True)
        for line in commands:
            with warnings.catch_warnings():
                warnings.simplefilter("always")  # a line each, as users have them
                code = main(line)
            told = capfd.readouterr().err.splitlines()
            errors = [text for text in told if not text.startswith("warning: ")]
            assert code == 0 or (code == 2 and len(errors) == 1 and ": " in errors[0][7:]), told
            tally[name, code] += 1
    assert {name for name, _ in tally} == set(NAMES_BESIDE)
    assert tally["_campaign.json", 2]
