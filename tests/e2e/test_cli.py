"""The command line as a contract: good runs, growth, and one clear line for bad input."""

import contextlib
import json
import os
import shutil

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import quick_answers
import tiny
import unoptimised
from arrays import write_map
from commands import refused, without
from light import COMMAND, run_steps
from safetensors.numpy import load_file, save_file

from rerax import sealed
from rerax.cli import app, main


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny.write_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return tiny.write_sst2(tmp_path_factory.mktemp("glue"), words=(5,))


@pytest.fixture(autouse=True)
def _quick(request, monkeypatch):
    """Chips answer at once, except where the subject is a sweep from end to end."""
    unoptimised.use(monkeypatch)
    if request.function is not test_sweep_grow_resume_and_report:
        quick_answers.use(monkeypatch)


@pytest.fixture
def flags(model, data, tmp_path):
    """Flags of a small sweep; a test replaces or adds some."""
    base = {
        "--model": str(model),
        "--task": "sst2",
        "--data": str(data),
        "--out": str(tmp_path / "out"),
        "--rates": "0,0.02",
        "--chips": "3",
        "--matrices": "pooler,classifier",
        "--max-length": "32",
    }

    def make(**changes):
        named = {"--" + k.replace("_", "-"): str(v) for k, v in changes.items()}
        return ["sweep", *(x for pair in {**base, **named}.items() for x in pair), "--quiet"]

    return make


def test_sweep_grow_resume_and_report(flags, tmp_path, capsys):
    out, small = tmp_path / "out", {"matrices": "classifier"}  # compiles soonest
    assert main(flags(**small)) == 0
    table = capsys.readouterr().out
    assert "yield" in table
    assert "2e-2" in table
    first = {p.name: (p.stat().st_mtime_ns, p.read_bytes()) for p in out.iterdir()}
    frame = pd.read_parquet(out)
    assert sorted(frame.groupby("rate").size().items()) == [(0.0, 3), (0.02, 3)]
    assert (frame[frame.rate == 0].score == frame.clean_score.iloc[0]).all()
    assert frame[frame.rate == 0].correct.nunique() == 1
    assert (frame.cells == frame.cells_dense).all()
    assert frame[frame.rate > 0][["stuck_at_0", "stuck_at_1"]].gt(0).all(axis=None)

    assert main(flags(**small)) == 0  # again: nothing is done, nothing is written
    assert capsys.readouterr().out == table
    assert {p.name: (p.stat().st_mtime_ns, p.read_bytes()) for p in out.iterdir()} == first

    small |= {"chips": 40, "rates": "0.02"}
    assert main(flags(**small)) == 0  # growth: a full block replaces the cut one
    grown = pd.read_parquet(out)
    bigger = grown[grown.rate == 0.02].sort_values("chip")
    assert bigger.chip.tolist() == list(range(40))
    facts = ["chip", "score", "correct", "stuck_at_0", "stuck_at_1"]
    first = frame[frame.rate == 0.02].sort_values("chip")
    assert bigger[bigger.chip < 3][facts].values.tolist() == first[facts].values.tolist()
    capsys.readouterr()
    assert main(["report", str(out), "--figures", str(tmp_path / "figures")]) == 0
    assert "2e-2" in capsys.readouterr().out
    assert (tmp_path / "figures" / "score_against_rate.png").stat().st_size > 10_000


def test_correct_bits_are_the_score(flags, tmp_path):
    assert main(flags()) == 0
    for row in pd.read_parquet(tmp_path / "out").itertuples():
        bits = np.unpackbits(np.frombuffer(row.correct, np.uint8), bitorder="little")
        assert bits[: row.examples].mean() == pytest.approx(row.score, rel=1e-12)
        assert not bits[row.examples :].any()


def test_sa0_and_sa1_set_rate_and_share(flags, tmp_path):
    arguments = flags(sa0="0.0175", sa1="0.0904")
    at = arguments.index("--rates")
    assert main(arguments[:at] + arguments[at + 2 :]) == 0
    frame = pd.read_parquet(tmp_path / "out")
    assert frame.rate.unique().tolist() == [0.1079]
    assert frame.sa1_share.unique() == pytest.approx([904 / 1079])


def test_measured_chips(flags, tmp_path, capsys):
    path = write_map(
        tmp_path / "lot.parquet",
        [(4, "pooler", 0, w, b, 1) for w in range(30) for b in (7, 15)]
        + [(2, "classifier", 0, 3, 7, 0)],
    )
    arguments = without(flags(fault=f"map:{path}"), "--rates", "--chips")
    assert main(arguments) == 0
    captured = capsys.readouterr()
    assert "map:lot.parquet@" in captured.out
    frame = pd.read_parquet(tmp_path / "out").sort_values("chip")
    assert frame.chip.tolist() == [2, 4]
    assert frame.rate.tolist() == [61 / (2 * frame.cells[0])] * 2
    moved = (tmp_path / "elsewhere").mkdir() or tmp_path / "elsewhere" / "lot.parquet"
    shutil.move(path, moved)
    assert main(without(flags(fault=f"map:{moved}"), "--rates", "--chips")) == 0
    assert capsys.readouterr().out == captured.out  # nothing is done again
    assert len(list((tmp_path / "out").glob("[0-9a-f]*.parquet"))) == 2


@pytest.mark.parametrize(
    ("changes", "given", "said"),
    [
        ({}, ("--rates",), "--rates with map:"),
        ({}, ("--chips",), "--chips with map:"),
        ({"sa0": 0.1, "sa1": 0.1}, (), "--sa0 with map:"),
        ({"sa1_share": 0.5}, (), "--sa1-share with map:"),
        ({"more": "uniform"}, (), "give it as the only fault"),
        ({"layout": "separate", "bits": "4"}, (), "wordline 3, bitline 300: bitline is outside"),
        ({"missing": True}, (), "is no file: give map:FILE"),
    ],
)
def test_a_map_brings_its_own_rates_and_chips(flags, tmp_path, capsys, changes, given, said):
    path = write_map(tmp_path / "lot.parquet", [(0, "pooler", 0, 3, 300, 1)])
    if changes.pop("missing", False):
        path += "x"
    faults = ",".join([f"map:{path}", *filter(None, [changes.pop("more", None)])])
    arguments = flags(fault=faults, **changes)
    dropped = {"--rates", "--chips"} - set(given)
    assert said in refused(capsys, without(arguments, *dropped), tmp_path / "out")


@pytest.mark.parametrize(
    ("fields", "given", "said"),
    [
        ("rate=0.0", ("--until-se", "0.01", "--max-chips", "64"), "brings its own chips: leave ou"),
        ("rate=0.0", ("--until-se", "0.01", "--max-chips", "64", "--dry-run"), "its own chips"),
        ("rate=0.0", ("--chips", "7"), "--chips with map:"),
        ("rate=1e-3", (), "rate 1e-3 with map:"),
    ],
)
def test_a_map_in_a_study_brings_its_own_rates_and_chips(
    model, data, tmp_path, capsys, fields, given, said
):
    """A rule would ask chips of it that the map does not have, as if they were without faults."""
    path = write_map(tmp_path / "lot.csv", [(100, "pooler", 0, 3, 7, 1)])
    study, out = tmp_path / "study.py", tmp_path / "out"
    study.write_text(
        "from rerax import Point\n"
        f"MODELS = {{'tiny': {str(model)!r}}}\n"
        f"at = dict(matrices='pooler', fault='map:{path}')\n"
        f"points = lambda: [Point('sst2', 'tiny', {fields}, **at)]\n"
    )
    asked = ["sweep", study, "--data", data, "--max-length", "32", "--out", out, *given]
    assert said in refused(capsys, list(map(str, asked)), out)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"rates": "1e99999999999999999999"}, "is not a number"),
        ({"fault": "flip", "sa1_share": "0.5"}, "--sa1-share with flip: leave it out, it means no"),
        ({"rates": "0,1.5"}, "rate 1.5 is outside [0, 1]"),
        ({"rates": "-0.1"}, "outside [0, 1]"),
        ({"rates": "0,many"}, "rate 'many' is not a number"),
        ({"rates": "nan"}, "is not a number"),
        ({"sa1_share": "2"}, "outside [0, 1]"),
        ({"sa1_share": "0:0"}, "outside [0, 1]"),
        ({"sa0": "0.1"}, "--sa0 and --sa1 belong together"),
        ({"task": "sst3"}, "unknown task 'sst3': use one of cola, sst2"),
        ({"encoding": "offset,gray"}, "unknown encoding 'gray': use one of offset, twos"),
        ({"fault": "meteor"}, "unknown fault 'meteor': use one of bitline, clustered:A"),
        ({"fault": "clustered:many"}, "clustered shape 'many' is not a number"),
        ({"fault": "clustered:0"}, "clustered shape 0 is outside 0.1..100"),
        ({"layout": "spiral"}, "unknown layout"),
        ({"matrices": "encoder,brain"}, "unknown matrices 'brain'"),
        ({"bits": "9"}, "bits 9 is outside 2..8"),
        ({"bits": "1"}, "bits 1 is outside 2..8"),
        ({"bits": "eight"}, "not a whole number"),
        ({"bits_per_cell": "3"}, "use 1, 2 or 4"),
        ({"tile": "128"}, "give wordlines x bitlines"),
        ({"input_bits": "7"}, "input-bits 7"),
        ({"dtype": "int4"}, "dtype 'int4'"),
        ({"chips": "0"}, "chips 0 is too few"),
        ({"chips": "some"}, "some"),
        ({"seed": "-1"}, "seed -1 is outside"),
        ({"max_examples": "0"}, "max-examples 0"),
        ({"max_length": "41"}, "max-length 41 is outside 4..40"),
        ({"labels": "good,bad"}, "labels good,bad are not sst2's"),
        ({"task": "mnli"}, "the model has 2 outputs, mnli needs 3"),
        ({"task": "cola"}, "named negative, positive, cola's labels unacceptable, acceptable"),
        ({"split": "test"}, "no such split, the folder has validation"),
        ({"model": "./nowhere"}, "is not a directory"),
        ({"model": "nobody/nothing"}, "could not be had from the hub"),
        ({"data": "./nowhere"}, "is not a folder"),
        ({"data": "nyu-mll/glue"}, "could not be had from the hub"),
        ({"budget": "-1"}, "budget"),
        ({"data": __file__, "split": "test"}, f"--split test with {__file__}: leave it out"),
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore")
def test_bad_flags(capsys, flags, tmp_path, changes, said):
    assert said in refused(capsys, flags(**changes), tmp_path / "out")


def test_a_dry_run_joins_no_processes(flags, tmp_path, capsys):
    """Nobody would answer, and it would wait for minutes."""
    among = ["--coordinator", "127.0.0.1:1", "--processes", "2", "--process", "1"]
    assert main([*flags(), "--dry-run", *among]) == 0
    assert "6 to do" in capsys.readouterr().out


def test_nothing_asked_is_help(capsys):
    assert main([]) == 0
    assert "sweep" in capsys.readouterr().out


def test_the_last_of_two_values_is_told(capsys):
    said = refused(capsys, ["size", "--half-width", "0.01", "--half-width", "x", "--sd", "0.1"])
    assert "'x' is not a number" in said
    assert "0.01" not in said
    assert "not " not in refused(capsys, ["plan", "--tile", "--model", "m"])


def test_an_error_is_a_line_of_bounded_length(capsys):
    said = refused(capsys, ["plan", "--model", "m", "--layout", "x" * 5000])
    assert len(said) < 1000
    assert said.endswith("xxx': use one of interleaved, separate")


def test_unknown_and_missing_flags(capsys, tmp_path):
    assert "--speed" in refused(capsys, ["sweep", "--speed", "9"])
    assert "--task" in refused(capsys, ["sweep", "--model", "x", "--out", str(tmp_path / "o")])
    assert "fly" in refused(capsys, ["fly"])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"rates": "2"}, "rate 2 is outside"),
        ({"protection": "rust"}, "unknown protection 'rust': use one of closest"),
        ({"protection": "msb:3x3:lsb", "bits": "2"}, "msbs 3 are more than the 2 bits of a group"),
        ({"fault": "rust"}, "unknown fault 'rust'"),
        ({"plan_rate": "0.7"}, "plan-rate 0.7 is outside"),
        ({"max_examples": "0"}, "max-examples 0 is too few"),
        ({"max_length": "3"}, "max-length 3 is too few: give at least 4"),
        ({"split": "a b"}, "split 'a b' is no name"),
        ({"labels": "good,bad"}, "labels good,bad are not sst2's"),
        ({"task": "sst2,sst3"}, "unknown task 'sst3'"),
    ],
    ids=str,
)
@pytest.mark.parametrize("more", [(), ("--dry-run",)], ids=["run", "dry"])
def test_values_are_told_before_anything_is_read(capsys, flags, tmp_path, changes, said, more):
    """Though the model is not there either."""
    line = [*flags(model="./nowhere", **changes), *more]
    assert said in refused(capsys, line, tmp_path / "out")


def test_a_dry_run_refuses_copies_without_gates(capsys, flags, model, tmp_path):
    """As the run does; a file of gates beside the weights is asked, not the weights."""
    line = flags(protection="msb:2x3:pruned")
    said = refused(capsys, line, tmp_path / "out")
    assert "keeps copies in cells that pruning freed, and no matrix has gates" in said
    assert refused(capsys, [*line, "--dry-run"], tmp_path / "out") == said
    gated = shutil.copytree(model, tmp_path / "gated")
    gate = {"classifier.row": np.ones(30, np.float32), "classifier.column": -np.ones(2, np.float32)}
    save_file(gate, gated / "gates.safetensors")
    line = flags(protection="msb:2x3:pruned", model=gated)
    assert main([*line, "--dry-run"]) == 0
    capsys.readouterr()
    (gated / "gates.safetensors").write_bytes(b"no gates")
    assert "cut short or garbled" in refused(capsys, [*line, "--dry-run"], tmp_path / "out")


@pytest.fixture
def broken(model, tmp_path):
    """A copy of the model to break."""
    return shutil.copytree(model, tmp_path / "broken")


def edit_tensors(folder, change):
    tensors = dict(load_file(folder / "model.safetensors"))
    change(tensors)
    save_file(tensors, folder / "model.safetensors")


def edit_config(folder, **fields):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **fields}))


POOLER = "bert.pooler.dense.weight"


def no_weights(folder):
    (folder / "model.safetensors").unlink()


def only_pickles(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def cut_short(folder):
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[: len(whole) // 2])


def garbled(folder):
    (folder / "model.safetensors").write_bytes(os.urandom(1000))


def missing_tensor(folder):
    edit_tensors(folder, lambda t: t.pop("bert.encoder.layer.1.output.dense.weight"))


def extra_tensor(folder):
    edit_tensors(folder, lambda t: t.update(surprise=np.zeros(3, np.float32)))


def misshapen_tensor(folder):
    edit_tensors(folder, lambda t: t.update({POOLER: np.zeros((3, 3), np.float32)}))


def nan_weights(folder):
    edit_tensors(folder, lambda t: t.update({POOLER: np.full((30, 30), np.nan, np.float32)}))


def infinite_weights(folder):
    edit_tensors(folder, lambda t: t.update({POOLER: np.full((30, 30), np.inf, np.float32)}))


def integer_weights(folder):
    edit_tensors(folder, lambda t: t.update({POOLER: np.zeros((30, 30), np.int32)}))


def no_head(folder):
    edit_tensors(folder, lambda t: [t.pop(n) for n in ("classifier.weight", "classifier.bias")])


def small_vocabulary(folder):
    edit_config(folder, vocab_size=20)
    name = "bert.embeddings.word_embeddings.weight"
    edit_tensors(folder, lambda t: t.update({name: t[name][:20].copy()}))


def no_config(folder):
    (folder / "config.json").unlink()


def bad_config(folder):
    (folder / "config.json").write_text("{")


def other_model(folder):
    edit_config(folder, model_type="bart")


def no_tokenizer(folder):
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).unlink(missing_ok=True)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (no_weights, "has no model.safetensors"),
        (only_pickles, "loading a pickle can run any code"),
        (cut_short, "cut short or garbled"),
        (garbled, "cut short or garbled"),
        (missing_tensor, "'encoder.layer.1.output.dense.weight' is missing"),
        (extra_tensor, "'surprise'"),
        (misshapen_tensor, "has shape (3, 3), config.json asks for (30, 30)"),
        (nan_weights, "has NaN or infinite weights"),
        (infinite_weights, "has NaN or infinite weights"),
        (integer_weights, "is I32"),
        (no_head, "has no classifier"),
        (small_vocabulary, "beyond the vocabulary of 20"),
        (no_config, "has no config.json"),
        (bad_config, "is not JSON"),
        (other_model, "model_type 'bart' is not supported"),
        (no_tokenizer, "has no tokenizer"),
    ],
    ids=lambda x: getattr(x, "__name__", ""),
)
def test_bad_models(capsys, flags, broken, tmp_path, spoil, said):
    spoil(broken)
    assert said in refused(capsys, flags(model=broken), tmp_path / "out")


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"label": None}, "no column label"),
        ({"sentence": None}, "no column sentence"),
        ({"sentence": np.arange(24)}, "it must be text"),
        ({"label": np.full(24, 2)}, "label 2 is not one of the task's"),
        ({"label": np.full(24, -1)}, "has no labels"),
        ({"label": ["yes"] * 24}, "they must be numbers"),
    ],
    ids=str,
)
def test_bad_data(capsys, flags, tmp_path, columns, said):
    tiny.write_sst2(tmp_path / "data", **columns)
    assert said in refused(capsys, flags(data=tmp_path / "data"), tmp_path / "out")


def test_empty_and_torn_data(capsys, flags, tmp_path):
    folder = tiny.write_sst2(tmp_path / "data")
    file = folder / "sst2" / "validation.parquet"
    pq.write_table(pq.read_table(file).slice(0, 0), file)
    assert "has no examples" in refused(capsys, flags(data=folder), tmp_path / "out")
    file.write_bytes(b"PAR1")
    assert "no readable Parquet" in refused(capsys, flags(data=folder), tmp_path / "out")


def test_another_campaigns_folder(capsys, flags, model, tmp_path):
    assert main(flags()) == 0
    capsys.readouterr()
    before = sorted((p.name, p.read_bytes()) for p in (tmp_path / "out").iterdir())
    line = refused(capsys, flags(seed=1))
    assert "seed is 0 there and 1 now" in line
    assert "input_bits of sst2/tiny is 8 there and null now" in refused(
        capsys, flags(input_bits="none")
    )
    assert "data_hash of sst2/tiny" in refused(capsys, flags(max_examples=5))
    other = tiny.write_model(tmp_path / "other" / "tiny", seed=1)
    assert "model_hash of sst2/tiny" in refused(capsys, flags(model=other))
    assert sorted((p.name, p.read_bytes()) for p in (tmp_path / "out").iterdir()) == before
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    assert "is no campaign folder" in refused(capsys, flags(out=tmp_path / "mine"))


def test_a_disk_that_fills_up(capsys, flags, tmp_path, monkeypatch):
    """The first point's block is kept, the second one's write fails half-way."""
    real, written = sealed.whole_file, []

    @contextlib.contextmanager
    def fill(file):
        with real(file) as out:
            written.append(1)
            if len(written) > 1:
                out.write(b"half")
                raise OSError(28, "No space left on device")
            yield out

    with monkeypatch.context() as patch:
        patch.setattr(sealed, "whole_file", fill)
        assert main(flags()) == 2
    error = capsys.readouterr().err.strip()
    assert "No space left on device" in error
    assert len(error.splitlines()) == 1
    assert not [p for p in (tmp_path / "out").iterdir() if p.name.startswith("_writing")]
    assert pd.read_parquet(tmp_path / "out").rate.unique().tolist() == [0.0]
    assert main(flags()) == 0
    assert len(pd.read_parquet(tmp_path / "out")) == 6


def test_interruption_keeps_finished_blocks(capsys, flags, tmp_path, monkeypatch):
    from rerax.campaign import worker

    real = worker.Worker.rows

    def interrupt(self, point, block, known):
        if point.rate > 0:
            raise KeyboardInterrupt
        return (yield from real(self, point, block, known))

    monkeypatch.setattr(worker.Worker, "rows", interrupt)
    assert main(flags()) == 130
    assert "goes on from there" in capsys.readouterr().err
    assert len(pa.parquet.read_table(tmp_path / "out")) == 3


BAD_VALUES = [
    *(("rates", "2"), ("rates", "x"), ("sa1_share", "3"), ("protection", "msb:2x4:pruned")),
    *(("protection", "rust"), ("fault", "rust"), ("fault", "clustered:0"), ("encoding", "gray")),
    *(("tile", "128"), ("layout", "spiral"), ("bits", "9"), ("bits", "x"), ("matrices", "brain")),
    *(("until_se", "0"), ("until_se", "x"), ("budget", "1"), ("chips", "0"), ("seed", "-1")),
    *(("task", "sst2,sst3"), ("labels", "good,bad"), ("split", "a b"), ("max_examples", "0")),
    *(("max_length", "3"), ("plan_rate", "0.7"), ("faulty_bits", "9"), ("dtype", "int4")),
]


def bad_elsewhere(flags):
    """Lines of other commands with one bad value, and dry runs of what a run refuses."""
    dry = [*flags(protection="msb:2x3:pruned"), "--dry-run"]
    other = {
        "plan": [("--fault", "rust"), ("--protection", "msb:3x2:lsb"), ("--bits", "8,4")],
        "bench": [("--rates", "2"), ("--protection", "rust")],
        "train": [("--encoding", "gray"), ("--lr", "0"), ("--gates", "brain"), ("--task", "x")],
        "size": [("--yield", "2"), ("--half-width", "x")],
        "map": [("--low", "2"), ("--tile", "8"), ("--out", "lot.txt"), ("--floor-plan", "none")],
    }
    wanted = {
        "plan": ["--model", "m"],
        "train": ["--model", "m", "--out", "o", "--task", "rte"],
        "map": ["lot.csv"],
    }
    return [
        *(dry, [*dry, "--plan-rate", "0.1"], ["sweep", "--nothing"]),
        *([key, *wanted.get(key, ()), *pair] for key, pairs in other.items() for pair in pairs),
    ]


def test_commands_that_need_no_model_import_nothing_heavy(flags, model, data, tmp_path):
    assert main(flags()) == 0
    study = tmp_path / "study.py"
    study.write_text(
        f"from rerax import Point\nMODELS = {{'tiny': {str(model)!r}}}\nDATA = {str(data)!r}\n\n\n"
        "def points():\n    return [Point('sst2', 'tiny', 0.0)]\n"
    )
    out, lot = str(tmp_path / "out"), write_map(tmp_path / "lot.csv", [(0, "pooler", 0, 3, 7, 1)])
    named = [[one.name or one.callback.__name__] for one in app.registered_commands]
    commands = {
        0: [
            *([*command, "--help"] for command in ([], *named)),
            flags(),
            ["sweep", str(study), "--out", f"{out}2", "--max-length", "32", "--dry-run"],
            ["report", out, "--html", str(tmp_path / "page.html")],
            ["merge", out, "--out", str(tmp_path / "merged")],
            ["compact", out],
            ["export", out, "--csv", str(tmp_path / "rows.csv")],
            ["map", lot, "--model", str(model), "--out", f"{lot}.csv"],
            flags(),
        ],
        2: [*(flags(**{name: value}) for name, value in BAD_VALUES), *bad_elsewhere(flags)],
    }
    steps = [(command, code) for code, some in commands.items() for command in some]
    told = run_steps(COMMAND, [command for command, _ in steps])
    for (command, code), found in zip(steps, told, strict=True):
        heavy = ["jinja2"] if "--html" in command else []  # for that step alone
        assert found == (code, heavy), command


def test_merge_compact_and_export(flags, tmp_path, capsys):
    for name, rates in (("a", "0,0.02"), ("b", "0.02,0.05")):
        assert main(flags(out=tmp_path / name, rates=rates)) == 0
    parts = [str(tmp_path / "a"), str(tmp_path / "b")]
    assert main(["merge", *parts, "--out", str(tmp_path / "c")]) == 0
    capsys.readouterr()
    assert main(["report", str(tmp_path / "c")]) == 0
    assert "5e-2" in capsys.readouterr().out
    before = pd.read_parquet(tmp_path / "c")
    assert main(["compact", str(tmp_path / "c")]) == 0
    assert pd.read_parquet(tmp_path / "c").equals(before)
    assert main(["export", str(tmp_path / "c"), "--csv", str(tmp_path / "rows.csv")]) == 0
    assert "9 rows" in capsys.readouterr().out
    assert pd.read_csv(tmp_path / "rows.csv").score.tolist() == before.score.tolist()
    done = {p: p.stat().st_mtime_ns for p in (tmp_path / "c").iterdir()}
    assert main(flags(out=tmp_path / "c", rates="0,0.02,0.05")) == 0  # nothing is left to do
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "c").iterdir()} == done
    assert main(flags(out=tmp_path / "d", seed=1)) == 0
    capsys.readouterr()
    line = refused(capsys, ["merge", parts[0], str(tmp_path / "d"), "--out", str(tmp_path / "e")])
    assert "seed is 0 in" in line
    assert "no campaign folder" in refused(capsys, ["compact", str(tmp_path)])
    target = str(tmp_path / "x.csv")
    assert "no campaign folder" in refused(capsys, ["export", str(tmp_path), "--csv", target])
