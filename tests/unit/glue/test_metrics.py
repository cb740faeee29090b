"""Scores against scikit-learn and SciPy, ties and one-class cases included."""

import jax
import numpy as np
import pytest
import scipy.stats
import sklearn.metrics
from hypothesis import given, settings
from hypothesis import strategies as st

from rerax.glue import metrics
from rerax.glue.tasks import TASKS, find_task

N = 37  # one length, so that each task compiles once
classes = st.lists(st.integers(0, 1), min_size=N, max_size=N)
coarse = st.lists(st.sampled_from([0.0, 0.5, 1.0, 1.25, 4.75, 5.0]), min_size=N, max_size=N)


def scores(task, predictions, labels, parts=None):
    task = find_task(task) if isinstance(task, str) else task
    out = metrics.scores(
        task,
        np.asarray(predictions)[None],
        np.asarray(labels),
        parts or (("validation", len(labels)),),
    )
    assert all(value.dtype in (np.float64, bool) for value in out.values())
    return {name: value[0] for name, value in out.items()}


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=12)
@given(classes, classes)
def test_classification_equals_scikit_learn(predictions, labels):
    expected = {
        "accuracy": sklearn.metrics.accuracy_score(labels, predictions),
        "f1": sklearn.metrics.f1_score(labels, predictions, zero_division=0),
        "matthews": sklearn.metrics.matthews_corrcoef(labels, predictions),
    }
    for task in ("cola", "mrpc", "sst2", "rte"):
        got = scores(task, np.array(predictions, np.int32), np.array(labels, np.int32))
        for name in TASKS[task].metrics:
            assert got[name] == pytest.approx(expected[name], abs=1e-12)
        assert got["degenerate"] == (len(set(predictions)) == 1)
    cola = scores("cola", np.array(predictions, np.int32), np.array(labels, np.int32))
    mrpc = scores("mrpc", np.array(predictions, np.int32), np.array(labels, np.int32))
    assert cola["score"] == cola["matthews"]
    assert mrpc["score"] == pytest.approx((expected["accuracy"] + expected["f1"]) / 2, abs=1e-12)


@settings(max_examples=15)
@given(coarse, coarse)
def test_correlations_equal_scipy(predictions, labels):
    got = scores("stsb", np.array(predictions, np.float32), np.array(labels, np.float32))
    if len(set(predictions)) == 1 or len(set(labels)) == 1:
        assert got["score"] == 0
    else:
        pearson = scipy.stats.pearsonr(predictions, labels).statistic
        spearman = scipy.stats.spearmanr(predictions, labels).statistic
        assert got["pearson"] == pytest.approx(pearson, abs=1e-12)
        assert got["spearman"] == pytest.approx(spearman, abs=1e-12)
        assert got["score"] == pytest.approx((pearson + spearman) / 2, abs=1e-12)
    assert got["degenerate"] == (len(set(predictions)) == 1)


@settings(max_examples=15)
@given(coarse)
def test_ranks_equal_scipy(values):
    got = metrics.average_ranks(jax.numpy.asarray(values, jax.numpy.float32))
    np.testing.assert_array_equal(got, scipy.stats.rankdata(values))


@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf])
def test_not_finite_scores_zero_and_is_degenerate(broken):
    predictions = np.linspace(0, 5, N).astype(np.float32)
    labels = predictions[::-1].copy()
    predictions[3] = broken
    got = scores("stsb", predictions, labels)
    assert (got["score"], got["pearson"], got["spearman"]) == (0, 0, 0)
    assert got["degenerate"]
    logits = np.zeros((1, 4, 2), np.float32)
    logits[0, :, 1] = 1
    logits[0, 2, 0] = broken
    answers = metrics.predictions_of(find_task("sst2"), logits, (0, 1))
    assert answers.tolist() == [[1, 1, -1, 1]]
    result = scores("sst2", answers[0], np.ones(4, np.int32))
    assert (result["score"], result["degenerate"]) == (0.75, True)


def test_extreme_finite_predictions_do_not_overflow():
    predictions = np.array([1e38, -1e38, 3e38, 0.0] * 9 + [1.0], np.float32)
    got = scores("stsb", predictions, np.arange(N, dtype=np.float32))
    expected = scipy.stats.pearsonr(predictions.astype(float) / 1e38, np.arange(N)).statistic
    assert got["pearson"] == pytest.approx(expected, abs=1e-12)


def test_mnli_keeps_its_two_dev_sets_apart():
    labels = np.array([0, 1, 2, 2, 1], np.int32)
    answers = np.array([0, 1, 0, 2, 0], np.int32)
    both = scores("mnli", answers, labels, (("m", 3), ("mm", 2)))
    assert both["score"] == both["accuracy"] == pytest.approx(2 / 3)
    assert both["accuracy_mismatched"] == 0.5
    alone = scores("mnli", answers[:3], labels[:3], (("m", 3),))
    assert np.isnan(alone["accuracy_mismatched"])


def test_outputs_are_read_in_the_models_own_order():
    logits = np.array([[[9.0, 0, 1], [0, 9, 1], [0, 1, 9]]], np.float32)
    answers = metrics.predictions_of(find_task("mnli"), logits, (2, 0, 1))
    assert answers.tolist() == [[2, 0, 1]]


def test_chips_are_scored_alone_and_order_does_not_matter():
    rng = np.random.default_rng(0)
    labels, answers = rng.integers(0, 2, N), rng.integers(0, 2, (5, N))
    task = find_task("mrpc")
    parts = (("validation", N),)
    together = metrics.scores(task, answers, labels, parts)["score"]
    shuffle = rng.permutation(N)
    again = metrics.scores(task, answers[:, shuffle], labels[shuffle], parts)["score"]
    np.testing.assert_allclose(again, together, rtol=1e-15)
    for i in range(5):
        assert metrics.scores(task, answers[i : i + 1], labels, parts)["score"][0] == together[i]


@pytest.mark.parametrize("chips", [1, 7, 16])
def test_a_block_cut_short_scores_its_chips_to_the_same_bit(chips):
    """Correlations are float sums, whose order a batched executable may change."""
    rng = np.random.default_rng(0)
    labels = (rng.integers(0, 21, 150) / 4).astype(np.float32)
    answers = (labels + rng.normal(size=(32, 150))).astype(np.float32)
    task, parts = find_task("stsb"), (("validation", 150),)
    whole = metrics.scores(task, answers, labels, parts)
    compiled = metrics._scores_of_one._cache_size()
    cut = metrics.scores(task, answers[:chips], labels, parts)
    assert metrics._scores_of_one._cache_size() == compiled
    for name, values in cut.items():
        np.testing.assert_array_equal(values, whole[name][:chips])


def test_matthews_of_an_answer_that_is_no_class_is_zero():
    labels = np.array([1, 0, 1, 1, 0, 1], np.int32)
    answers = np.array([1, 0, 1, 0, 0, 1], np.int32)
    assert scores("cola", answers, labels)["score"] > 0.5
    answers[4] = -1
    got = scores("cola", answers, labels)
    assert (got["score"], got["matthews"], got["degenerate"]) == (0, 0, True)
    assert got["accuracy"] == pytest.approx(4 / 6)


def test_metrics_work_in_float32_under_jit():
    rng = np.random.default_rng(1)
    x, y = (jax.numpy.asarray(rng.normal(size=N).astype(np.float32)) for _ in range(2))
    got = jax.jit(metrics.pearson)(x, y)
    assert got.dtype == np.float32
    assert float(got) == pytest.approx(scipy.stats.pearsonr(x, y).statistic, abs=1e-6)


def test_correct_bits():
    answers = np.array([[0, 1, 1, 0, 1, 0, 0, 0, 1], [1] * 9])
    bits = metrics.correct_bits(answers, np.array([0, 1, 0, 0, 1, 1, 0, 0, 1]))
    assert bits == [bytes([0b11011011, 0b1]), bytes([0b00110010, 0b1])]


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=12)
@given(
    st.lists(st.integers(0, 2), min_size=N, max_size=N),
    st.lists(st.integers(0, 2), min_size=N, max_size=N),
)
def test_three_labels_equal_scikit_learn(predictions, labels):
    expected = {
        "accuracy": sklearn.metrics.accuracy_score(labels, predictions),
        "macro_f1": sklearn.metrics.f1_score(labels, predictions, average="macro"),
        "matthews": sklearn.metrics.matthews_corrcoef(labels, predictions),
    }
    for name, value in expected.items():
        task = find_task(f"own:{name}").with_labels("abc")
        got = scores(task, np.array(predictions, np.int32), np.array(labels, np.int32))
        assert got["score"] == got[name] == pytest.approx(value, abs=1e-12)
        assert got["accuracy"] == pytest.approx(expected["accuracy"])


def test_an_answer_that_is_no_class_is_wrong_in_the_mean_of_f1():
    task = find_task("own:macro_f1").with_labels("abc")
    got = scores(task, np.array([0, -1, 1, 2], np.int32), np.array([0, 0, 1, 2], np.int32))
    assert got["score"] == pytest.approx((2 / 3 + 1 + 1) / 3)
