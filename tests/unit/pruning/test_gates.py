"""Gates on disk, and what they count."""

import numpy as np
import pytest
import tiny
from safetensors.numpy import load_file, save_file

import rerax
from rerax.hardware import Hardware
from rerax.models.bert.crossbars import program_bert
from rerax.models.bert.names import SECTION, gated_shapes
from rerax.pruning import gates as g

PARAMS = tiny.random_params()
SHAPES = gated_shapes(PARAMS, ("encoder", "pooler"))


def some_closed(seed=0):
    rng = np.random.default_rng(seed)
    gates = g.open_gates(SHAPES)
    for gate in gates.values():
        for side in gate.values():
            side[rng.random(side.shape) < 0.3] = -0.5
            side[rng.random(side.shape) < 0.2] = 0.0  # still open
    return gates


def test_freed_weights_are_those_under_a_closed_gate():
    gates = some_closed()
    for name, freed in g.freed_weights(gates).items():
        kept = g.open_cells(gates[name]["row"], gates[name]["column"])
        np.testing.assert_array_equal(freed, (~kept).sum((-1, -2)))
    zeros = g.with_zeros(PARAMS, gates)
    closed = sum(
        (zeros[SECTION[n]][n]["kernel"] == 0).sum() for n in gates
    )  # no random weight is 0
    total = sum(int(np.prod(s)) for s in SHAPES.values())
    assert g.freed_share(gates) == closed / total
    for name in gates:  # biases stay
        section = SECTION[name]
        assert zeros[section][name]["bias"] is PARAMS[section][name]["bias"]


def test_a_folder_gives_back_gates_and_the_weights_under_them(tmp_path):
    gates = some_closed()
    g.save_gates(tmp_path, PARAMS, gates)
    params, found = g.load_gates(tmp_path, g.with_zeros(PARAMS, gates))
    assert set(found) == set(gates)
    for name in gates:
        for side in ("row", "column"):
            np.testing.assert_array_equal(found[name][side], gates[name][side])
        kernels = [p[SECTION[name]][name]["kernel"] for p in (params, PARAMS)]
        np.testing.assert_array_equal(*kernels)


def test_a_folder_without_gates_has_none(tmp_path):
    assert g.load_gates(tmp_path, PARAMS)[1] is None


def test_bad_files_are_named(tmp_path):
    gates = some_closed()
    g.save_gates(tmp_path, PARAMS, gates)
    with pytest.raises(ValueError, match="do not fit the weights beside them: take both files"):
        g.load_gates(tmp_path, PARAMS)  # no zeros under closed gates
    zeros = g.with_zeros(PARAMS, gates)
    without = {**zeros, "head": {}}
    with pytest.raises(ValueError, match="'pooler': the model has no such matrix"):
        g.load_gates(tmp_path, without)
    file = tmp_path / g.FILE
    whole = file.read_bytes()
    for damaged in (whole[:-7], whole[:20], b""):
        file.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"gates.safetensors is cut short or garbled"):
            g.load_gates(tmp_path, zeros)
    file.write_bytes(whole)
    tensors = load_file(file)
    tensors["query.row"][0, 0] = np.nan
    save_file(tensors, file)
    with pytest.raises(ValueError, match=r"query\.row must be finite float32"):
        g.load_gates(tmp_path, zeros)


def test_only_matrices_with_gates_can_be_named():
    with pytest.raises(ValueError, match="gates on 'embeddings': use some of encoder, pooler"):
        gated_shapes(PARAMS, ("embeddings",))


def test_one_kernel_is_named_once_and_a_bias_never():
    params = {"x": {"kernel": np.ones((4, 3), np.float32), "bias": np.ones(3, np.float32)}}
    gate = {"row": np.ones(4), "column": np.ones(3)}
    with pytest.raises(ValueError, match="gates of 'x' and 'x/kernel' are both of x/kernel"):
        rerax.mask(params, {"x": gate, "x/kernel": gate})
    with pytest.raises(ValueError, match=r"gates of 'x/bias': it has shape \(3,\) and is no kern"):
        rerax.mask(params, {"x/bias": gate})
    with pytest.raises(ValueError, match="gates of 'x/kernel' are truth values, which close"):
        rerax.mask(params, {"x": {**gate, "row": np.arange(4) > 0}})


def test_gates_that_do_not_fit_are_not_saved(tmp_path):
    gates = some_closed()
    gates["query"]["row"] = gates["query"]["row"][:, 1:]
    with pytest.raises(ValueError, match="gates of 'query' do not fit its shape"):
        g.save_gates(tmp_path, PARAMS, gates)
    assert not list(tmp_path.iterdir())
    with pytest.raises(ValueError, match=r"gates of 'a': it has shape \(3,\) and is no kernel"):
        g.open_gates({"a": (3,)})
    assert g.freed_share({}) == 0.0


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"gates": {"qeury": {}}}, "gates of 'qeury': there is no such matrix: use some of"),
        ({"params": {"params": PARAMS}}, "params have no matrix of encoder, pooler, classifier"),
    ],
)
def test_what_would_be_left_out_is_refused(given, said):
    with pytest.raises(ValueError, match=said):
        program_bert(given.pop("params", PARAMS), Hardware(), **given)


def test_gates_called_by_paths_gate_the_same():
    gates = some_closed()
    by_path = {f"{SECTION[name]}/{name}/kernel": gate for name, gate in gates.items()}
    one, other = (
        program_bert(PARAMS, Hardware(), gates=each).crossbars for each in (gates, by_path)
    )
    for path, crossbar in one.items():
        np.testing.assert_equal(crossbar.lines, other[path].lines)
        assert (crossbar.lines is not None) == (crossbar.array.name in gates)
