"""What the planner weighs with: from scales and inputs, or from a file."""

import jax.numpy as jnp
import numpy as np
import pytest

from rerax.models.bert.sensitivity import _recording, read_sensitivity, sensitivity

SCALES = {
    "query": np.array([[0.5, 1.0], [2.0, 4.0]], np.float32),
    "pooler": np.array([0.25, 0.5, 1.0], np.float32),
    "word_embeddings": np.array([0.1, 0.2], np.float32),
}


def test_sensitivity_is_squared_scale_times_power_of_the_inputs():
    powers = {"query": np.array([3.0, 5.0], np.float32), "pooler": np.float32(2.0)}
    found = sensitivity(SCALES, powers, {"query": 4, "pooler": 4, "word_embeddings": 50})
    assert found["query"].tolist() == [[0.75, 3.0], [20.0, 80.0]]
    assert found["pooler"].tolist() == [0.125, 0.5, 2.0]
    # One of the 50 rows of a table is driven at a time.
    np.testing.assert_allclose(found["word_embeddings"], [0.01 / 50, 0.04 / 50], rtol=1e-6)


def test_powers_are_of_the_inputs_of_each_product():
    found, product = _recording()
    x = jnp.array([[1.0, 2.0, 3.0]])
    outputs = product(("query", "key"), x, (jnp.ones((3, 2)), jnp.zeros((3, 1))))
    assert [output.tolist() for output in outputs] == [[[6.0, 6.0]], [[0.0]]]
    assert {name: float(power) for name, power in found.items()} == pytest.approx(
        {"query": 14 / 3, "key": 14 / 3}
    )


def test_a_file_gives_numbers_that_broadcast(tmp_path):
    file = tmp_path / "weights.npz"
    np.savez(file, query=np.array([[1.0], [2.0]]), pooler=3, word_embeddings=[0.0, 1.0])
    found = read_sensitivity(str(file), SCALES)
    assert found["query"].tolist() == [[1, 1], [2, 2]]
    assert found["pooler"].tolist() == [3, 3, 3]
    assert found["word_embeddings"].dtype == np.float64


GOOD = {"query": 1, "pooler": 1, "word_embeddings": 1}


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"query": 1, "pooler": 1}, "lacks word_embeddings: give one array for each of query"),
        (GOOD | {"brain": 1}, "has an unknown matrix brain"),
        (GOOD | {"pooler": [1, -1, 0]}, "pooler is not all finite and >= 0"),
        (GOOD | {"pooler": np.nan}, "pooler is not all finite"),
        (GOOD | {"pooler": "much"}, "pooler is not all finite"),
        (GOOD | {"query": [1, 2, 3]}, r"query has shape \(3,\): give one that broadcasts to"),
    ],
)
def test_bad_files_are_refused(tmp_path, arrays, said):
    np.savez(tmp_path / "weights.npz", **arrays)
    with pytest.raises(ValueError, match=said):
        read_sensitivity(str(tmp_path / "weights.npz"), SCALES)


def test_what_is_no_file_of_arrays_is_refused(tmp_path):
    (tmp_path / "weights.npz").write_text("query: 1")
    (tmp_path / "empty.npz").touch()
    np.savez(tmp_path / "whole.npz", **GOOD)
    whole = (tmp_path / "whole.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[: len(whole) // 2])
    np.savez_compressed(tmp_path / "packed.npz", **GOOD)
    packed = bytearray((tmp_path / "packed.npz").read_bytes())
    packed[60:80] = b"\xff" * 20
    (tmp_path / "packed.npz").write_bytes(packed)
    for name in ("weights.npz", "nowhere.npz", "empty.npz", "cut.npz", "packed.npz"):
        with pytest.raises(ValueError, match=r"is no readable .npz file .*: write one with"):
            read_sensitivity(str(tmp_path / name), SCALES)
