"""A protection that needs freed cells, on matrices without gates: refused, or told."""

import json
import warnings
from dataclasses import replace

import folders
import numpy as np
import pytest
import tiny
from arrays import write_map
from commands import refused
from made_rows import POINT, make_rows

import rerax
from rerax.campaign import store
from rerax.campaign.folder import open_folder
from rerax.campaign.grid import expand
from rerax.campaign.point import Point
from rerax.campaign.sidecars import add_provenance, read_provenance
from rerax.campaign.worker import Worker
from rerax.campaign.workload import Settings, read_workload, unprotected_text
from rerax.cli import main
from rerax.crossbar.spec import SEMANTICS, ChipSpec
from rerax.faults import fault_model
from rerax.hardware import Hardware
from rerax.models.bert.crossbars import program_bert
from rerax.models.bert.folder import Model, save_model
from rerax.models.bert.names import gated_shapes
from rerax.models.bert.planning import account, expected_damage
from rerax.protection import left_bare, protection
from rerax.protection.planner import MatrixProfile
from rerax.pruning.gates import open_gates
from rerax.report import make_page, print_table

PARAMS = tiny.random_params()
GATED = {"query": True, "pooler": False, "classifier": False}
DENSE = dict.fromkeys(GATED, False)
BARE = ["pooler", "classifier"]
TOLD = "leaves pooler, classifier unprotected: without gates they have no freed cells"


def closed(groups=("pooler",)):
    gates = open_gates(gated_shapes(PARAMS, groups))
    for gate in gates.values():
        gate["row"][..., ::3] = -1.0
    return gates


@pytest.mark.parametrize(
    ("name", "bare"),
    [
        ("msb:2x3:pruned", ("pooler", "classifier")),
        ("msb:5.3:pruned:erasures", ("pooler", "classifier")),
        ("msb:2x3:lsb", ()),
        ("msb:2x3:pruned+lsb", ()),
        ("duplicate:3", ()),
        ("none", ()),
        ("allocation:query=msb:2x3:pruned/pooler=msb:1x3:pruned", ("pooler",)),
        ("allocation:query=msb:2x3:pruned/pooler=msb:1x3:lsb", ()),
        ("allocation:", ()),
    ],
)
def test_matrices_without_gates_are_named(name, bare):
    assert left_bare(protection(name), GATED) == bare
    if ":pruned" in name and ":pruned+" not in name:
        with pytest.raises(ValueError, match=r"and no matrix has gates \(query.*\): prune with"):
            left_bare(protection(name), DENSE)
    else:
        assert left_bare(protection(name), DENSE) == ()


@pytest.mark.parametrize(
    "name", ["msb:2x3:pruned:closest", "code:golay:4:pruned:closest", "code:golay:4:pruned"]
)
def test_accounts_are_of_what_is_written(name):
    """Where no gates are, nearest values are written all the same, and a plan says so."""
    rng = np.random.default_rng(0)
    codes = np.clip(np.rint(rng.normal(0, 40, (1, 32, 32))), -127, 127).astype(np.int8)
    lines = np.ones((1, 32), bool)
    known = {"pooler": MatrixProfile(codes, lines, lines, False, np.ones((1, 32)))}
    half = np.arange(32)[None] % 2 == 0
    gated = MatrixProfile(codes * half[:, :, None], half, lines, True, np.ones((1, 32)))
    chances = fault_model("uniform").odds(0.01, 0.8)
    acts = "closest" if name.endswith("closest") else "none"
    damages = [expected_damage(protection(n), known, chances, ChipSpec()) for n in (name, acts)]
    assert damages[0] == damages[1]
    found = account(protection(name), {**known, "query": gated}, chances, ChipSpec())
    assert [found[matrix].protection for matrix in ("pooler", "query")] == [acts, name]
    told = unprotected_text([name], ["pooler"])
    assert ("with nearest values alone" in told) == (acts == "closest")


def test_a_plan_that_cannot_be_read_is_not_written(tmp_path, capsys):
    asked = ["plan", "--model", "any", "--json", str(tmp_path / "plan.json")]
    told = "--json with duplicate:3: leave it out, plan:FILE takes no further arrays"
    assert told in refused(capsys, [*asked, "--protection", "duplicate:3"])
    assert not list(tmp_path.iterdir())


def test_what_the_refusal_offers_fits():
    with pytest.raises(ValueError, match=r"^msb:2x3:pruned:.* use msb:2x3:lsb:erasures or"):
        left_bare(protection("msb:2x3:pruned:erasures"), DENSE)
    with pytest.raises(ValueError, match=r"^allocation:query=.* or use another plan or"):
        left_bare(protection("allocation:query=msb:2x3:pruned"), DENSE)
    left_bare(protection("allocation:key=msb:2x3:pruned"), GATED)  # key is not on crossbars


def test_low_bits_serve_a_model_without_gates():
    """Both purses without freed cells are low bits alone, to the bit."""
    both, low = (protection(f"msb:2x3:{into}") for into in ("pruned+lsb", "lsb"))
    codes = np.random.default_rng(0).integers(-127, 128, (16, 12)).astype(np.int8)
    stored = [scheme.store(codes, None, ChipSpec(), "query").words for scheme in (both, low)]
    np.testing.assert_array_equal(*stored)


def test_laying_out_is_refused():
    with pytest.raises(ValueError, match="no matrix has gates"):
        program_bert(PARAMS, Hardware(protection="msb:2x3:pruned"))
    with pytest.raises(ValueError, match=r"no matrix has gates \(classifier\)"):
        program_bert(PARAMS, Hardware(protection="msb:1x3:pruned"), ("classifier",), closed())


def test_a_sweep_in_python_is_refused(tmp_path):
    with pytest.raises(ValueError, match="msb:2x3:pruned keeps copies in cells that pruning freed"):
        rerax.sweep(
            PARAMS,
            tiny.CONFIG,
            tiny.random_examples(2),
            tiny.random_labels(2),
            protection=["none", "msb:2x3:pruned"],
            out=tmp_path / "rows",
        )
    assert not (tmp_path / "rows").exists()


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """One without gates, one whose pooler has some."""
    folder = tmp_path_factory.mktemp("models")
    for name in ("dense", "pruned"):
        tiny.write_model(folder / name)
    save_model(folder / "pruned", Model(tiny.CONFIG, PARAMS, closed()))
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return tiny.write_sst2(tmp_path_factory.mktemp("glue"), 4)


def test_the_commands_refuse_a_dense_model(models, data, tmp_path, capsys):
    model, out = str(models / "dense"), tmp_path / "rows"
    sweep = ["sweep", "--model", model, "--task", "sst2", "--data", str(data), "--out", str(out)]
    flags = ["--max-length", "32", "--protection", "none,msb:2x3:pruned", "--quiet"]
    assert "no matrix has gates (query, " in refused(capsys, [*sweep, *flags], out)
    assert "or use msb:2x3:lsb or duplicate:3" in refused(
        capsys, ["plan", "--model", model, "--protection", "msb:2x3:pruned"]
    )


def test_what_stays_unprotected_is_told_at_the_start(models, data):
    """And recorded, which is what the table and the report read."""
    workload = read_workload(
        str(models / "pruned"), "sst2", "pruned", data=str(data), max_length=32
    )
    points = expand(
        Point("sst2", "pruned", 0.0, matrices="pooler,classifier"),
        {"protection": ("none", "msb:1x3:pruned", "msb:1x3:lsb"), "rate": (0.0, 0.1)},
    )
    with pytest.warns(UserWarning, match="unprotected") as told:
        worker = Worker.start(workload, Settings(), points)
    assert [str(warning.message) for warning in told] == [
        "msb:1x3:pruned leaves classifier unprotected: without gates they have no freed cells"
    ]
    expected = {"sst2/pruned": {"msb:1x3:pruned": ["classifier"]}}
    assert worker.provenance()["unprotected"] == expected
    plain = Worker.start(workload, Settings(), points[:1])
    assert plain.provenance()["unprotected"] == {}


def test_the_plan_says_what_it_leaves(models, tmp_path, capsys):
    weights = tmp_path / "weights.npz"
    np.savez(weights, pooler=np.ones(1), classifier=np.ones(1))
    plan = ["plan", "--model", str(models / "pruned"), "--matrices", "pooler,classifier"]
    plan += ["--sensitivity", str(weights)]
    assert main([*plan, "--protection", "msb:1x3:pruned"]) == 0
    assert "msb:1x3:pruned leaves classifier unprotected: " in capsys.readouterr().out
    assert main(plan) == 0  # what the planner chooses, it can keep
    assert "unprotected: without" not in capsys.readouterr().out


def test_a_plan_for_a_map_is_for_its_rate_and_polarities(models, tmp_path, capsys):
    rows = [(0, "pooler", 0, w, b, 1) for w in range(4) for b in range(0, 64, 2)]  # of 30 x 30
    lot, file = write_map(tmp_path / "lot.parquet", rows), tmp_path / "plan.json"
    plan = ["plan", "--model", str(models / "pruned"), "--matrices", "pooler"]
    assert main([*plan, "--protection", "none", "--fault", f"map:{lot}", "--json", str(file)]) == 0
    found = json.loads(file.read_text())
    assert found["design"]["plan_rate"] == 128 / (30 * 30 * 8)
    capsys.readouterr()
    share = [*plan, "--protection", "none", "--fault", "uniform", "--sa1-share", "1:0"]
    share += ["--plan-rate", str(128 / (30 * 30 * 8)), "--json", str(tmp_path / "other.json")]
    assert main(share) == 0
    other = json.loads((tmp_path / "other.json").read_text())
    assert found["matrices"] == other["matrices"]


def test_the_table_of_a_folder_says_it(tmp_path, capsys):
    """After a sweep, whether it had work or not, and in the report."""
    out, point = tmp_path / "rows", replace(POINT, protection="msb:2x3:pruned")
    open_folder(out, 0, SEMANTICS, folders.PAIRS)
    folders.fill(out, 4, point)
    add_provenance(out, {"unprotected": {"sst2/minilm": {point.protection.text: BARE}}})
    print_table(store.read_rows(out), runs=read_provenance(out))
    assert f"msb:2x3:pruned {TOLD}\n" in capsys.readouterr().out
    page = tmp_path / "page.html"
    assert main(["report", str(out), "--html", str(page)]) == 0
    assert TOLD in capsys.readouterr().out
    assert TOLD in page.read_text()


def test_nothing_is_told_of_points_that_are_not_there(capsys):
    runs = [
        {"unprotected": {"sst2/minilm": {"msb:2x3:pruned": BARE}}},
        {"unprotected": {"sst2/other": {"msb:1x3:pruned": ["pooler"]}}},
        {"started": "by an older version"},
    ]
    protected = make_rows(replace(POINT, protection="msb:2x3:pruned"), [0.9, 0.8])
    print_table(protected, runs=runs)
    text = capsys.readouterr().out
    assert text.count("unprotected") == 1
    assert f"msb:2x3:pruned {TOLD}\n" in text
    assert TOLD in make_page(protected, runs=runs)
    print_table(make_rows(POINT, [0.9, 0.8]), runs=runs)
    assert "unprotected" not in capsys.readouterr().out


def test_no_warning_where_all_is_protected():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert left_bare(protection("msb:2x3:pruned"), {"query": True}) == ()


def test_the_refusal_offers_no_name_that_is_refused_itself():
    with pytest.raises(ValueError, match=r"give gates, or use duplicate:3$"):
        left_bare(protection("code:golay:5:pruned"), DENSE)
    with pytest.raises(ValueError, match=r"give gates, or use duplicate:3$"):
        left_bare(protection("msb:3x3:pruned"), DENSE)  # low bits hold two of them
