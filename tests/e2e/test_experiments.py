"""Every experiment runs, in small, from the very command that its docstring gives."""

import dataclasses
import json
import math
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import tiny
from paths import HELPERS, ROOT

from rerax.cli import main
from rerax.models.bert.folder import Model, save_model
from rerax.models.bert.names import TIES, gated_shapes
from rerax.pruning.gates import open_gates

EXPERIMENTS = ROOT / "experiments"
if not EXPERIMENTS.is_dir():
    pytest.skip("no experiments beside the tests", allow_module_level=True)

CONFIG = dataclasses.replace(tiny.CONFIG, num_hidden_layers=2, max_position_embeddings=128)
MODULES = {"folder_kills", "gpu_exact", "gpu_torch", "nine_tables", "quoted", "study"}
"""Files that experiments share; they have no command."""
FEW = "--chips 2 --max-examples 8"
STUDY = f"{FEW} --out OUT"
REDUCED = {
    "agreement": "--chips 2 --out OUT/agreement.json",
    "campaign": "--work FOLDER --chips 32 --repeats 1 --out OUT/campaign.json",
    "cost": "--rounds 1 --memory few:1 --out OUT/cost.json",
    "coverage": "--campaigns 20 --max-chips 64 --out OUT/coverage.json",
    "demo_model": "--steps 4",
    "family_cost": "--sentences 2 --rounds 1 --families bert --out OUT/family_cost.json",
    "gates_cost": "--tasks sst2 --dtypes float32 --parts steps --batches 1 --rounds 1 "
    "--out OUT/gates_cost.json",
    "gpu": "--only peaks,chip,exact,torch --shape minilm --sentences 2 --lanes 1 "
    "--fused interpret --out OUT/gpu.json",
    "gpu_products": "--lower",
    "kills": "--kills 1 --folder-kills 3 --seed 43 --chips 64 --out OUT/kills.json",
    "layer_sensitivity": f"{FEW} --rounds 1 --places encoder --out OUT/layer_sensitivity.json",
    "layers_and_bits": f"{STUDY} --layers 2",
    "many_blocks": "--blocks 13 --repeats 1 --out OUT/many_blocks.json",
    "line_faults": f"{FEW} --faults bitline --schemes none,naive:below --out OUT",
    "msb_copies": f"{STUDY} --sparsities 35 --schemes msb:2x3:pruned,msb:4x3:pruned",
    "protection_cost": "--rounds 1 --schemes none,msb:2x3:pruned --out OUT/protection_cost.json",
    "picture": "--out OUT/picture.png",
    "pruning": "--tasks sst2 --seeds 0 --sparsities 0,0.21 --max-examples 8 --rows OUT/rows.jsonl",
    "read_error": "--chips 2 --schemes none;closest --out OUT/read_error.json",
    "report_size": "--chips 4 --out OUT/report_size.json",
    "fault_training": "--tasks sst2 --seed 1 --models hardened35 --max-examples 8 --out OUT",
    "rivals": f"{FEW} --tasks sst2 --seed 1 --curves 0,1 --most-rates 2 --out OUT",
    "rare_coverage": "--campaigns 2 --out OUT",
    "rare_failures": "--roots 16 --share 0.001 --rates 1 --out OUT",
    "sampled_examples": "--task sst2 --rates 3e-2 --examples 4 --full 4 --sampled 4 --out OUT",
    "shared_permutation": "--chips 1 --rates 1e-2 --max-examples 8 --out OUT",
    "nine_tasks": "--tasks sst2 --seeds 1 --curves bare --most-rates 2 --chips 2 --max-examples 8 "
    "--out OUT",
    "tuning": "--tasks sst2 --seed 1 --rates 2e-2 --chips 1 --steps 2 --max-examples 8 --out OUT",
    "refit": f"--tasks sst2 --seed 1 --curves 0 --sentences 4 --most-rates 3 --chips 2 {STUDY}",
    "zero_cells": f"--tasks sst2 --seed 1 --curves 0 --most-rates 2 --line-chips 2 {STUDY}",
}
"""What the test adds to each command, so that it takes seconds."""
MADE = {
    "demo_model": ["FOLDER/model.safetensors"],
    "line_faults": ["OUT/line_faults.json", "OUT/line_faults/_campaign.json"],
    "picture": ["OUT/picture.png"],
    "pruning": ["OUT/rows.jsonl", "NEW/sst2-0-21/gates.safetensors"],
    **{
        name: [f"OUT/{name}.json", f"OUT/figures/{name}.png"]
        for name, given in REDUCED.items()
        if given.startswith(STUDY)
    },
}
"""Files that must be there afterwards; of the others, NAME.json."""
PRINTS = {"gpu_products"}
"""Experiments that leave no file without a GPU."""
PRUNED = {"line_faults", "protection_cost"}
"""Experiments whose DIR is a pruned model."""


def closed(params, sparsity):
    """Gates that free a share of every matrix: first rows, or columns where rows are tied."""
    gates, tied = open_gates(gated_shapes(params, ("encoder",))), set().union(*TIES["all"].values())
    for matrix, gate in gates.items():
        lines = gate["column" if (matrix, "row") in tied else "row"]
        lines[:, : math.ceil(sparsity * lines.shape[-1])] = -1.0
    return gates


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """Models as `pruning.py` leaves them, with random gates."""
    folder, params = tmp_path_factory.mktemp("work"), tiny.random_params(CONFIG)
    tiny.write_model(folder / "sst2-1-dense", CONFIG)
    for sparsity in (0.21, 0.35):
        out, gates = folder / f"sst2-1-{100 * sparsity:.0f}", closed(params, sparsity)
        tiny.write_model(out, CONFIG)
        save_model(out, Model(CONFIG, params, gates))
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("glue")
    tiny.write_sst2(folder, 8, words=(5,))
    return tiny.write_sst2(folder, 32, seed=1, split="train", words=(5,))


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    """One folder for all, so that experiments find each other's rows."""
    return tmp_path_factory.mktemp("out")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A function that runs an experiment in small: what it printed, and its exit status."""
    flags = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
    settings = {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
    settings["JAX_COMPILATION_CACHE_DIR"] = str(tmp_path_factory.mktemp("programs"))
    settings["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    worker = subprocess.Popen(
        [sys.executable, str(HELPERS / "worker.py")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=ROOT,
        env=os.environ | settings,
    )

    def told(name, arguments):
        file = str(EXPERIMENTS / f"{name}.py")
        worker.stdin.write(json.dumps([file, [*map(str, arguments)]]) + "\n")
        worker.stdin.flush()
        return json.loads(worker.stdout.readline())

    yield told
    worker.stdin.close()
    worker.wait()
    worker.stdout.close()


@pytest.fixture(scope="module")
def campaign(work, data, tmp_path_factory):
    """A campaign of the dense model, which stands there as `made`."""
    folder = tmp_path_factory.mktemp("rows") / "rows"
    given = ["--model", work / "sst2-1-dense", "--name", "made", "--task", "sst2", "--data", data]
    given += [
        "--rates",
        "0,1e-2",
        "--chips",
        "2",
        "--max-examples",
        "8",
        "--quiet",
        "--out",
        folder,
    ]
    assert main(["sweep", *map(str, given)]) == 0
    return folder


def names():
    return sorted(file.stem for file in EXPERIMENTS.glob("*.py"))


def docstring(name):
    text = (EXPERIMENTS / f"{name}.py").read_text(encoding="utf-8")
    return re.match(r'"""(.*?)"""', text, re.DOTALL)[1]


def command(name):
    """Words of the docstring's command, and the optional ones in brackets."""
    found = re.search(r"^    python experiments/(\S+)\.py((?:.*\\\n)*.*)$", docstring(name), re.M)
    assert found, f"{name}.py gives no command"
    assert found[1] == name
    line = found[2].replace("\\\n", " ").partition("      ")[0]  # what follows is a remark
    optional = re.findall(r"\[([^]]*)\]", found[2])
    return shlex.split(re.sub(r"\[[^]]*\]", " ", line)), [shlex.split(o) for o in optional]


def state():
    """Everything in experiments/, to see that nothing there was touched."""
    files = (f for f in EXPERIMENTS.rglob("*") if f.is_file() and f.suffix != ".pyc")
    return {f: f.stat().st_mtime_ns for f in files}


def test_every_experiment_is_run_here():
    assert set(names()) == set(REDUCED) | MODULES


@pytest.mark.parametrize("name", sorted(REDUCED))
def test_flags_of_the_docstring_exist(name, run):
    status, printed = run(name, ["--help"])
    assert status == 0
    known, own = set(re.findall(r"--[a-z][a-z-]*", printed)), docstring(name)
    for text in re.findall(r"`(?:rerax|pip) [^`]*`", own):
        own = own.replace(text, "")  # flags of others
    assert set(re.findall(r"--[a-z][a-z-]*", own)) <= known


@pytest.mark.slow  # eleven minutes on a slow machine, most of it compiling
@pytest.mark.parametrize("name", sorted(REDUCED))
def test_the_command_of_the_docstring_runs_in_small(name, run, work, data, out, campaign, tmp_path):
    before, (given, optional) = state(), command(name)
    model = work / ("sst2-1-35" if name in PRUNED else "sst2-1-dense")
    places = {"DATA": data, "WORK": tmp_path if name == "pruning" else work, "MODEL": model}
    places |= {"OUT": out, "FOLDER": tmp_path, "NEW": tmp_path, "ROWS": campaign, "NAME": "made"}

    def put(word):
        return re.sub(r"\b[A-Z]{3,}\b", lambda m: str(places.get(m[0], m[0])), word)

    arguments = []
    for i, word in enumerate(given):
        dir_of = data if given[i - 1] == "--data" else model
        arguments.append(str(dir_of) if word == "DIR" else put(word))
    arguments += [put(words[0]) for words in optional if not words[0].startswith("-")]
    status, printed = run(name, [*arguments, *map(put, REDUCED[name].split())])
    assert status == 0, status
    assert printed.strip()
    for file in MADE.get(name, [] if name in PRINTS else [f"OUT/{name}.json"]):
        made = Path(put(file))
        assert made.stat().st_size
        if made.suffix == ".json":
            assert json.loads(made.read_text(encoding="utf-8"))
    assert state() == before


def rounded(text):
    """Read JSON but for the last digits of its numbers, which sums of another processor move."""
    return json.loads(text, parse_float=lambda number: float(f"{float(number):.12g}"))


@pytest.mark.parametrize("name", sorted(n for n, g in REDUCED.items() if g.startswith(STUDY)))
def test_results_are_what_the_rows_say(name, run, tmp_path):
    results = EXPERIMENTS / "results"
    if not (results / f"{name}.json").is_file():
        pytest.skip(f"{name} has no results yet")
    (tmp_path / "study").symlink_to(results / "study")
    shutil.copy(results / f"{name}.json", tmp_path)
    status, printed = run(name, ["--print", "--out", tmp_path])
    assert status == 0, status
    assert printed.strip() in (EXPERIMENTS / "README.md").read_text(encoding="utf-8")
    folders = (tmp_path, results)
    made, committed = (rounded((folder / f"{name}.json").read_text()) for folder in folders)
    assert made == committed
