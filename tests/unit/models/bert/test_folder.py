"""A model folder: zeros under closed gates on disk, their values back when it is loaded."""

import contextlib

import numpy as np
import pytest
import tiny

from rerax.campaign.workload import read_workload
from rerax.models.bert import convert
from rerax.models.bert.folder import Model, files_hash, load_model, save_model
from rerax.models.bert.names import gated_shapes
from rerax.pruning.gates import FILE, open_gates

PARAMS = tiny.random_params()
KERNEL = PARAMS["head"]["pooler"]["kernel"]


def pooler(params):
    return params["head"]["pooler"]["kernel"]


def test_a_saved_model_has_zeros_under_closed_gates_and_the_gates_beside_it(tmp_path):
    gates = open_gates(gated_shapes(PARAMS, ("pooler",)))
    gates["pooler"]["row"][::3] = -1
    save_model(tmp_path / "m", Model(tiny.CONFIG, PARAMS, gates))
    kernel = pooler(convert.load(tmp_path / "m")[1])
    assert not kernel[::3].any()
    np.testing.assert_array_equal(kernel[1::3], KERNEL[1::3])
    found = load_model(tmp_path / "m")
    assert found.config == tiny.CONFIG
    np.testing.assert_array_equal(pooler(found.params), KERNEL)
    np.testing.assert_array_equal(found.gates["pooler"]["row"], gates["pooler"]["row"])
    pruned = files_hash(tmp_path / "m")
    save_model(tmp_path / "m", Model(tiny.CONFIG, PARAMS, None))  # a dense one in its place
    assert not (tmp_path / "m" / FILE).exists()
    found = load_model(tmp_path / "m")
    assert found.gates is None
    assert pooler(found.params)[::3].all()
    assert files_hash(tmp_path / "m") != pruned


def test_gates_may_be_called_by_paths(tmp_path):
    gates = open_gates(gated_shapes(PARAMS, ("pooler",)))
    gates["pooler"]["row"][::3] = -1
    save_model(tmp_path / "m", Model(tiny.CONFIG, PARAMS, {"head/pooler": gates["pooler"]}))
    found = load_model(tmp_path / "m")
    assert list(found.gates) == ["pooler"]
    np.testing.assert_array_equal(pooler(found.params), KERNEL)
    tiny.write_tokenizer(tmp_path / "m", tiny.CONFIG.vocab_size)
    data = str(tiny.write_sst2(tmp_path / "data"))
    workload = read_workload(str(tmp_path / "m"), "sst2", "m", data=data, max_length=32)
    assert workload.gated == ("pooler",)


@pytest.mark.parametrize("pruned", [True, False])
@pytest.mark.parametrize("killed", ["save_gates", "convert.save"])
def test_a_kill_leaves_no_zeros_without_their_gates(tmp_path, monkeypatch, killed, pruned):
    """A reader takes the whole earlier model, or refuses what it finds."""
    gates = open_gates(gated_shapes(PARAMS, ("pooler",)))
    gates["pooler"]["row"][::3] = -1
    save_model(tmp_path / "m", Model(tiny.CONFIG, PARAMS, gates))

    def kill(*_, **__):
        raise KeyboardInterrupt

    other = {"pooler": {**gates["pooler"], "row": -gates["pooler"]["row"]}} if pruned else None
    monkeypatch.setattr(f"rerax.models.bert.folder.{killed}", kill)
    with contextlib.suppress(KeyboardInterrupt):
        save_model(tmp_path / "m", Model(tiny.CONFIG, tiny.random_params(seed=1), other))
    if pruned and killed == "convert.save":
        with pytest.raises(ValueError, match="do not fit the weights beside them"):
            load_model(tmp_path / "m")
        return
    found = load_model(tmp_path / "m")
    assert (found.gates is not None) == bool(pruned or killed == "convert.save")
    assert pooler(found.params).all()


def test_a_model_that_is_refused_leaves_the_earlier_one(tmp_path):
    gates = open_gates(gated_shapes(PARAMS, ("pooler",)))
    save_model(tmp_path / "m", Model(tiny.CONFIG, PARAMS, gates))
    before = {file.name: file.read_bytes() for file in (tmp_path / "m").iterdir()}
    spoilt = tiny.random_params()
    spoilt["head"]["classifier"]["kernel"][:] = np.nan
    gates["pooler"]["row"][::3] = -1
    with pytest.raises(ValueError, match="head/classifier/kernel has NaN or infinite weights"):
        save_model(tmp_path / "m", Model(tiny.CONFIG, spoilt, gates))
    assert {file.name: file.read_bytes() for file in (tmp_path / "m").iterdir()} == before
