"""rerax bench: what is counted, and that every part of it runs."""

import dataclasses
import json
import math
import re

import numpy as np
import pytest
import tiny
from commands import refused

from rerax.bench import cases, stages
from rerax.bench.cases import CLOSED, SHAPES, make_case, random_inputs
from rerax.bench.growth import Curve
from rerax.bench.machine import Roofline
from rerax.bench.record import print_bench
from rerax.bench.timing import medians
from rerax.cli import main
from rerax.faults import NoFault

ROOFLINE = Roofline({"int8": 4e9, "bfloat16": 2e9, "float32": 1e9}, 1e9, 2e9)


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    """Parameters drawn in NumPy, and limits measured on little."""
    monkeypatch.setattr(cases, "init_params", lambda config, key: tiny.random_params(config))
    monkeypatch.setattr("rerax.bench.machine.SIDE", {"cpu": 32})
    monkeypatch.setattr("rerax.bench.machine.MEMORY_BYTES", 1 << 20)


@pytest.fixture
def case():
    return make_case(random_inputs(tiny.CONFIG, 6))


TOOK = {"whole": 10.0, "voted": 4.5, "faulty": 3.0, "clean": 1.0}
TOOK |= {"products": 2.0, "attention": 0.5}


@pytest.fixture
def parts(case, monkeypatch):
    """A chip taken apart, by times that were not measured."""
    monkeypatch.setattr(stages, "medians", lambda works, rounds: {w: TOOK[w] for w in works})
    whole, found = stages.take_apart(case, 0.02, ROOFLINE)
    return whole, {stage.name: stage for stage in found}


def test_products_of_a_shared_layer_count_as_often_as_they_are_made():
    config = dataclasses.replace(tiny.CONFIG, num_hidden_layers=4)
    shared = dataclasses.replace(config, model_type="albert")
    assert (config.passes, shared.passes) == (1, 4)
    limits = Roofline(dict.fromkeys(("int8", "bfloat16", "float32"), 1e9), 1e9, 1e9)
    floors = [
        stages._floor_of_products(make_case(random_inputs(one, 4)), limits)[0]
        for one in (config, shared)
    ]
    assert floors[0] == pytest.approx(floors[1], rel=0.05)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("--task", "cola"), "--task without --model means nothing"),
        (("--max-length", "64"), "--max-length without --model means nothing"),
        (("--model", "DIR", "--shape", "base"), "--shape base with --model DIR: leave one"),
    ],
)
def test_flags_that_mean_nothing_are_refused(given, said, capsys):
    assert said in refused(capsys, ["bench", *given])


def test_stages_make_up_the_chip(parts):
    whole, found = parts
    assert whole == 10
    assert {name: stage.seconds for name, stage in found.items()} == {
        "sample and stick": 2,
        "vote": 1.5,
        "decode": 1,
        "crossbar products": 2,
        "attention products and softmax": 0.5,
        "inputs, GELU, norms, head": 3,
    }


def test_floors_count_what_the_model_has(case, parts):
    """Against counts made by hand from the shape."""
    _, found = parts
    config, tokens = case.network.config, case.batches.tokens
    d, f, layers = config.hidden_size, config.intermediate_size, config.num_hidden_layers
    weights = layers * (4 * d * d + 2 * d * f)
    assert case.weights == weights
    assert found["crossbar products"].floor == pytest.approx(2 * tokens * weights / 4e9)
    assert found["sample and stick"].floor == pytest.approx((2 * 8 + 2) * weights / 1e9)
    assert found["decode"].floor == pytest.approx(2 * weights / 1e9)
    assert found["vote"].floor == 0  # nothing is protected
    pairs = sum(b.ids.shape[0] * b.ids.shape[1] * b.ids.shape[2] ** 2 for b in case.batches.buckets)
    mixing = found["attention products and softmax"].floor
    assert mixing == pytest.approx(4 * pairs * d * layers / 1e9)


def test_random_models_have_room_for_protection():
    inputs = random_inputs(tiny.CONFIG, 3, pruned=True)
    closed = np.mean(inputs.gates["ffn_in"]["row"] < 0, axis=-1)
    np.testing.assert_allclose(closed, CLOSED)
    wide = dataclasses.replace(tiny.CONFIG, hidden_size=96, intermediate_size=192)
    assert make_case(random_inputs(wide, 2, pruned=True), "msb:2x3:pruned").weights


def test_an_exponent_is_a_slope():
    assert Curve("chips", (1.0, 2.0, 4.0), (3.0, 5.0, 12.0)).exponent == pytest.approx(1)
    assert Curve("rate", (1.0, 8.0), (2.0, 2.0)).exponent == 0
    assert Curve("x", (1.0, 4.0), (1.0, 2.0)).exponent == pytest.approx(math.log(2) / math.log(4))


def test_work_is_done_in_turns():
    seen = []
    works = {name: lambda name=name: seen.append(name) for name in "ab"}
    assert set(medians(works, 2)) == {"a", "b"}
    assert seen == list("ababab")


def test_the_command_writes_what_it_prints(monkeypatch, capsys, tmp_path):
    """All of it runs, but for sampling, which takes long to compile."""
    monkeypatch.setitem(SHAPES, "minilm", tiny.CONFIG)
    monkeypatch.setattr(cases, "Uniform", NoFault)
    file = tmp_path / "new" / "bench.json"
    flags = ["--examples", "4", "--rates", "1e-3", "--protection", "none", "--rounds", "1"]
    assert main(["bench", *flags, "--json", str(file)]) == 0
    printed = capsys.readouterr().out
    found = json.loads(file.read_text())
    assert found["chips"][0]["rate"] == 1e-3
    assert found["model"]["sentences"] == 4
    real = sum(map(len, random_inputs(tiny.CONFIG, 4).examples.ids))
    assert f"{found['model']['tokens']} tokens computed, {real} of them real" in printed
    assert set(found["limits"]["products"]) == {"int8", "bfloat16", "float32"}
    assert f"{1e3 * found['chips'][0]['seconds_a_chip']:.1f}" in printed
    for stage in found["chips"][0]["stages"]:
        assert stage["name"] in printed
    work = 2 * make_case(random_inputs(tiny.CONFIG, 4)).weights * found["model"]["tokens"]
    rate = work / found["chips"][0]["seconds_a_chip"]
    share = rate / max(found["limits"]["products"][name] for name in ("int8", "bfloat16"))
    (told,) = re.findall(r"crossbar products at (\d+) % of the measured rate", printed)
    assert int(told) == pytest.approx(100 * share, rel=1e-2, abs=1)
    found["growth"] = [
        {"name": "chips", "sizes": [1.0, 2.0], "seconds": [0.1, 0.2], "exponent": 1.0}
    ]
    print_bench(found)
    assert "time grows as chips ^ 1.00   (1: 100 ms, 2: 200 ms)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--shape", "large"], "give minilm or base"),
        (["--examples", "0"], "give at least 1"),
        (["--rounds", "0"], "give at least 1"),
        (["--rates", "2"], "rate"),
        (["--protection", "msb:9"], "msb"),
    ],
)
def test_bad_flags(capsys, flags, said):
    assert main(["bench", *flags, "--quiet"]) == 2
    error = capsys.readouterr().err.strip()
    assert said in error
    assert len(error.splitlines()) == 1
