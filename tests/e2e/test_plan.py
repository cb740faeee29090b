"""Plans of whole models: `rerax plan`, and sweeps whose protection is `plan`."""

import dataclasses
import json

import numpy as np
import pytest
import quick_answers
import tiny
import unoptimised

import rerax
from rerax.campaign.sweep import tree_hash
from rerax.cli import main
from rerax.crossbar.quantise import quantise
from rerax.crossbar.spec import ChipSpec
from rerax.faults import fault_model
from rerax.hardware import Hardware
from rerax.models.bert import crossbars, planning
from rerax.models.bert.folder import Model, save_model
from rerax.models.bert.names import gated_shapes
from rerax.models.bert.planning import ModelProfile, account, save_plan, total
from rerax.models.bert.sensitivity import input_power
from rerax.protection import protection
from rerax.pruning.gates import open_gates, with_zeros

GROUPS = ("encoder", "pooler", "classifier")
CHANCES = fault_model("uniform").odds(1e-2, 904 / 1079)
PARAMS = tiny.random_params()


@pytest.fixture(scope="module")
def gates():
    rng = np.random.default_rng(0)
    made = open_gates(gated_shapes(PARAMS, ("encoder",)))
    for gate in made.values():
        for side in gate.values():
            side[rng.random(side.shape) < 0.25] = -1
    return made


@pytest.fixture(scope="module", autouse=True)
def _one_clean_pass():
    """The clean pass of a model is compiled and run once for all plans."""
    known = {}

    def powers(params, config):
        number = tree_hash((params, dataclasses.asdict(config)))
        if number not in known:
            known[number] = input_power(params, config)
        return known[number]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(planning, "input_power", powers)
        unoptimised.use(patch)
        yield


@pytest.fixture(scope="module")
def model(tmp_path_factory, gates):
    folder = tiny.write_model(tmp_path_factory.mktemp("models") / "pruned")
    save_model(folder, Model(tiny.CONFIG, PARAMS, gates))
    return folder


@pytest.mark.parametrize("encoding", ["offset", "differential"])
def test_a_plan_fits_and_lessens_the_damage_of_every_matrix(gates, encoding):
    spec = ChipSpec(encoding)
    design = ModelProfile(PARAMS, tiny.CONFIG, gates)
    plan = design.allocate(spec, GROUPS, CHANCES)
    matrices = design.matrices(spec, GROUPS)
    accounts = account(plan, matrices, CHANCES, spec)
    hardware = Hardware(spec, protection=plan)
    stored = crossbars.program_bert(PARAMS, hardware, GROUPS, gates)
    dense = crossbars.program_bert(PARAMS, Hardware(spec), GROUPS)
    for path, crossbar in stored.crossbars.items():
        assert crossbar.words.shape == dense.crossbars[path].words.shape  # zero space
    books = crossbars.ledgers(PARAMS, hardware, GROUPS, gates)
    for name, one in accounts.items():
        assert one.protected <= one.plain
        book = sum(books[name][1:], books[name][0])
        assert book == one.ledger
        assert book.used + book.free + book.copies + book.left_over == book.physical
        assert book.spare == 0
    everything = total(accounts)
    assert everything.protected < 0.6 * everything.plain
    for simple in ("msb:1x3:lsb", "msb:2x3:lsb", "msb:1x3:pruned+lsb"):
        other = total(account(protection(simple), matrices, CHANCES, spec))
        assert everything.protected <= other.protected * (1 + 1e-12)


def test_sensitivity_is_the_squared_error_of_outputs(gates):
    """A code error moves a column's output by scale x input: check one column by hand."""
    params = with_zeros(PARAMS, gates)
    powers = input_power(params, tiny.CONFIG)
    assert set(powers) == set(crossbars.weights_of(PARAMS, GROUPS))
    assert powers["query"].shape == (3,)
    np.testing.assert_array_equal(powers["query"], powers["key"])  # driven by the same input
    known = ModelProfile(PARAMS, tiny.CONFIG, gates).matrices(ChipSpec(), GROUPS)
    for name in ("ffn_in", "ffn_out"):  # after a norm, whose power is 1, and after a function
        kernel = params["encoder"][name]["kernel"]
        _, scales = quantise(kernel, 8, kernel != 0)
        np.testing.assert_allclose(
            known[name].sensitivity, scales.astype(float) ** 2 * powers[name][:, None], rtol=1e-6
        )


def test_weights_of_ones_own_decide(gates, tmp_path):
    """A matrix that is said not to matter is left alone."""
    spec = ChipSpec()
    plain = ModelProfile(PARAMS, tiny.CONFIG, gates).matrices(spec, GROUPS)
    file = tmp_path / "weights.npz"
    np.savez(file, **{n: np.float64(n != "key") * np.ones(1) for n in plain})
    design = ModelProfile(PARAMS, tiny.CONFIG, gates, str(file))
    chosen = dict(design.allocate(spec, GROUPS, CHANCES).chosen)
    assert "key" not in chosen
    assert "query" in chosen
    np.savez(file, **{n: np.ones(1) for n in plain if n != "attention_output"})
    with pytest.raises(ValueError, match="lacks attention_output: give one array for each of"):
        design.matrices(spec, GROUPS)


def test_accounts_of_other_protections(gates):
    spec = ChipSpec()
    matrices = ModelProfile(PARAMS, tiny.CONFIG, gates).matrices(spec, GROUPS)
    pruned = account(protection("msb:1x3:pruned"), matrices, CHANCES, spec)
    assert pruned["query"].misses.bits == int(pruned["query"].ledger.weights)
    assert pruned["pooler"].protection == "none"  # it has no gates, so no cell was freed
    assert pruned["pooler"].ledger.copies == 0
    spare = total(account(protection("duplicate:3"), matrices, CHANCES, spec))
    assert spare.ledger.spare == 2 * spare.ledger.physical
    assert spare.ledger.reads_per_weight == 24


def test_the_command_prints_and_saves_what_a_sweep_takes(model, tmp_path, monkeypatch, capsys):
    quick_answers.use(monkeypatch)
    file, data = tmp_path / "plan.json", tiny.write_sst2(tmp_path / "glue")
    small = ["--matrices", "pooler,classifier"]
    assert main(["plan", "--model", str(model), "--json", str(file), *small]) == 0
    printed = capsys.readouterr().out
    saved = json.loads(file.read_text())
    assert saved["design"]["plan_rate"] == 0.01
    for matrix, one in saved["matrices"].items():
        assert f"{one['physical']:,}" in printed
        assert one["used"] + one["free"] + one["copies"] + one["left_over"] == one["physical"]
        assert saved["allocation"][matrix] == one["protection"]
    sweep = ["sweep", "--model", str(model), "--task", "sst2", "--data", str(data)]
    sweep += ["--chips", "1", "--rates", "1e-2", "--max-length", "32", "--quiet", *small]
    out = ["--out", str(tmp_path / "rows")]
    assert main([*sweep, *out, "--protection", f"plan:{file}"]) == 0
    first = sorted(p.name for p in (tmp_path / "rows").glob("*.parquet"))
    assert main([*sweep, *out, "--protection", "plan"]) == 0  # the same allocation, so no new row
    assert sorted(p.name for p in (tmp_path / "rows").glob("*.parquet")) == first


def test_a_finished_plan_is_known_without_planning(monkeypatch, tmp_path):
    examples, labels = tiny.random_examples(6, lengths=(8,)), tiny.random_labels(6)
    fast = {"matrices": "classifier", "chips": 2, "out": tmp_path / "rows"}

    def run(**changes):
        how = {"protection": "plan", "rates": [0.0, 1e-2], **fast, **changes}
        return rerax.sweep(PARAMS, tiny.CONFIG, examples, labels, **how)

    rows = run()
    (name,) = rows["protection"].unique().to_pylist()
    assert name.startswith("allocation:classifier=code:")
    assert protection(name).spare_arrays == 0
    quick_answers.use(monkeypatch)

    def never(*_, **__):
        raise AssertionError("planned again")

    monkeypatch.setattr(ModelProfile, "allocate", never)
    assert run().equals(rows)
    both = run(protection=["none", "plan"])["protection"].unique().to_pylist()
    assert both == ["none", name]
    with pytest.raises(AssertionError, match="planned again"):
        run(plan_rate=0.1)
    placed = run(faulty="matrices=classifier")  # the same plan, wherever faults act
    assert placed["protection"].unique().to_pylist() == [name]


def test_bad_plans(model, tmp_path, capsys, gates):
    def refused(*flags):
        assert main(["plan", "--model", str(model), *flags]) == 2
        return capsys.readouterr().err

    assert "plan-rate 0.7 is outside (0, 0.5)" in refused("--plan-rate", "0.7")
    assert "is no saved plan" in refused("--protection", "plan:none.json")
    assert "is no readable .npz file" in refused("--sensitivity", "none.npz")
    said = refused("--protection", "luck")
    assert "unknown protection 'luck': use one of " in said
    assert (
        "duplicate:3, msb:2x3:pruned (or :lsb, :pruned+lsb; with :erasures, :closest behind), "
        "none, plan, plan:FILE" in said
    )
    assert "has no room for msb:3x5:pruned" in refused("--protection", "msb:3x5:pruned")
    examples, labels = tiny.random_examples(4), tiny.random_labels(4)
    with pytest.raises(ValueError, match="plan needs a rate between 0 and"):
        rerax.sweep(PARAMS, tiny.CONFIG, examples, labels, rates=[0.0], protection="plan")
    with pytest.raises(ValueError, match="--plan-rate is for a plan"):
        rerax.sweep(PARAMS, tiny.CONFIG, examples, labels, plan_rate=0.1)
    save_plan(
        tmp_path / "spare.json",
        account(
            protection("duplicate:3"),
            ModelProfile(PARAMS, tiny.CONFIG).matrices(ChipSpec(), GROUPS),
            CHANCES,
            ChipSpec(),
        ),
        {},
    )
    assert "is not for one matrix" in refused("--protection", f"plan:{tmp_path / 'spare.json'}")
