"""The benchmark times rerax itself, and says why another tool is missing. No PyTorch needed."""

import dataclasses
import sys

import pytest
import quick_answers
import tiny
from paths import ROOT

BENCHMARKS = ROOT / "experiments" / "benchmarks"


@pytest.fixture
def run(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import run

    yield run
    sys.modules.pop("run")


def test_rerax_is_timed_chip_by_chip_and_a_broken_tool_gives_its_reason(run, monkeypatch, tmp_path):
    quick_answers.use(monkeypatch)
    config = dataclasses.replace(tiny.CONFIG, max_position_embeddings=128)
    where = run.Where(
        str(tiny.write_model(tmp_path / "model", config)), str(tiny.write_sst2(tmp_path / "data"))
    )
    monkeypatch.setitem(run.TOOLS, "absent", ("no_such_module", "absent", {}))
    rows = run.take_rounds(["absent", "rerax"], where, (0.01,), 2, 2)
    broken, timed = run.fold(rows)
    assert "no_such_module" in broken["error"]
    assert timed["chips"] == 4
    assert timed["seconds_a_chip"] > 0
    assert timed["ratios"] == [1.0, 1.0]
