"""A model folder: zeros under closed gates on disk, their values back when it is loaded."""

import numpy as np
import tiny

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
