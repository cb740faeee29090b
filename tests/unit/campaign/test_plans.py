"""Points of a plan: what is asked for, what a folder remembers, what their hash is made of."""

import json
from dataclasses import replace

import numpy as np
import pytest
import tiny

from rerax.campaign import plans, sidecars
from rerax.campaign.plans import check_flags, with_allocations
from rerax.campaign.point import Point
from rerax.campaign.workload import Workload
from rerax.protection import Allocation

PLAN = Point("sst2", "m", 0.01, protection="plan")
WORKLOAD = Workload(
    "sst2", "m", "a" * 64, "b" * 64, (0, 1), np.zeros(0), (), tiny.CONFIG, lambda: None
)


class ModelProfile:
    """In a planner's place: says in the protection what it was asked."""

    def __init__(self):
        self.asked = []

    def allocate(self, spec, groups, chances, erasures):
        self.asked.append((spec.encoding, groups, round(chances.at_0 + chances.at_1, 9), erasures))
        return Allocation.make({"query": "msb:1x3:lsb" + ":erasures" * erasures})


@pytest.fixture
def design(monkeypatch):
    design = ModelProfile()
    monkeypatch.setattr(plans, "_design", lambda workload, sensitivity: design)
    return design


def test_one_plan_serves_all_rates_of_a_spec_and_is_made_for_the_highest_below_one_half(design):
    points = [replace(PLAN, rate=rate) for rate in (0.0, 1e-3, 1e-2, 0.6)]
    points += [replace(PLAN, encoding="differential", protection="plan:erasures", rate=0.2)]
    found, made = with_allocations([*points, replace(PLAN, protection="none")], WORKLOAD)
    groups = ("encoder", "pooler", "classifier")
    assert design.asked == [("offset", groups, 0.01, False), ("differential", groups, 0.2, True)]
    name = "allocation:query=msb:1x3:lsb"
    assert [point.protection.text for point in found] == [name] * 4 + [f"{name}:erasures", "none"]
    assert [point.rate for point in found[:4]] == [0.0, 1e-3, 1e-2, 0.6]
    assert sorted(made.values()) == [name, f"{name}:erasures"]


def test_a_rate_to_plan_for_can_be_given(design):
    with_allocations([PLAN], WORKLOAD, plan_rate=0.3)
    assert design.asked[0][2] == 0.3
    with pytest.raises(ValueError, match=r"plan-rate 0.5 is outside \(0, 0.5\): give a rate"):
        with_allocations([PLAN], WORKLOAD, plan_rate=0.5)
    with pytest.raises(ValueError, match=r"plan needs a rate between 0 and 0.5 .* give --plan-"):
        with_allocations([replace(PLAN, rate=0.7)], WORKLOAD)


def test_a_folder_remembers_what_was_asked(design, tmp_path):
    _, made = with_allocations([PLAN], WORKLOAD)
    sidecars.add_plans(tmp_path, made)
    found, same = with_allocations([PLAN], WORKLOAD, out=tmp_path)
    assert len(design.asked) == 1
    assert same == made
    assert found[0].protection.text == "allocation:query=msb:1x3:lsb"
    others = (
        (replace(PLAN, bits=6), WORKLOAD, None),
        (PLAN, replace(WORKLOAD, model_hash="c" * 64), None),
        (PLAN, WORKLOAD, str(tmp_path / "weights.npz")),
    )
    np.savez(tmp_path / "weights.npz", query=1)
    for point, workload, weights in others:
        left, none = with_allocations([point], workload, None, weights, tmp_path, find=False)
        assert left == (point,)  # unknown, and not to be found here
        assert none == {}


def test_a_saved_plan_is_taken_from_its_file(design, tmp_path):
    file = tmp_path / "plan.json"
    file.write_text(json.dumps({"allocation": {"key": "msb:2x3:pruned", "query": "none"}}))
    found, made = with_allocations([replace(PLAN, protection=f"plan:{file}")], WORKLOAD)
    assert found[0].protection.text == "allocation:key=msb:2x3:pruned"
    assert made == {}
    assert design.asked == []


def test_flags_of_a_plan_are_refused_where_none_is_asked_for(tmp_path):
    plain = [replace(PLAN, protection="none")]
    with pytest.raises(ValueError, match="--plan-rate is for a plan: leave it out"):
        check_flags(plain, 0.1, None)
    with pytest.raises(ValueError, match="--sensitivity is for a plan: leave it out"):
        check_flags(plain, None, "weights.npz")
    check_flags([PLAN], 0.1, "weights.npz")
    with pytest.raises(ValueError, match=r"sensitivity .*nowhere.npz cannot be read .*: give an"):
        with_allocations([PLAN], WORKLOAD, None, str(tmp_path / "nowhere.npz"))
