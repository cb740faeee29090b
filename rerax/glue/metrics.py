"""Scores of GLUE, and of tasks of one's own, in JAX.

The metric functions are pure and work in the dtype they are given, under `jit` and `vmap`.
`scores` applies them to many chips in float64 on the CPU, so that a score is the same number
wherever the logits came from and whichever chips are scored with it.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from rerax.glue.tasks import Task

Metric = Callable[..., Any]


def accuracy(predictions: Int[Array, " E"], labels: Int[Array, " E"]) -> Float[Array, ""]:
    """Compute the share of examples predicted right."""
    return jnp.mean((predictions == labels).astype(_real()))


def f1(predictions: Int[Array, " E"], labels: Int[Array, " E"]) -> Float[Array, ""]:
    """Compute F1 of class 1; 0 where neither labels nor predictions have it."""
    hits = _count((predictions == 1) & (labels == 1))
    marked = _count(predictions == 1) + _count(labels == 1)
    return jnp.where(marked > 0, 2 * hits / jnp.maximum(marked, 1), 0)


def macro_f1(
    predictions: Int[Array, " E"], labels: Int[Array, " E"], classes: int = 2
) -> Float[Array, ""]:
    """Compute the mean of F1 over those of the classes that labels or predictions have.

    A prediction that is no class (-1) is wrong, and of none.
    """
    answered, right = _by_class(predictions, classes), _by_class(labels, classes)
    hits = jnp.sum(answered * right, axis=0)
    marked = answered.sum(axis=0) + right.sum(axis=0)
    each = 2 * hits / jnp.maximum(marked, 1)
    return each.sum() / _count(marked > 0)


def matthews(
    predictions: Int[Array, " E"], labels: Int[Array, " E"], classes: int = 2
) -> Float[Array, ""]:
    """Compute Matthews correlation of two classes or more; 0 where either side has only one.

    Also 0 where a prediction is no class at all (-1).

    Source: Gorodkin, "Comparing two K-category assignments by a K-category correlation
    coefficient", 2004, eq. 8; of two classes it is Matthews' own.
    """
    answered, right = _by_class(predictions, classes), _by_class(labels, classes)
    n, p, q = jnp.asarray(len(labels), _real()), answered.sum(axis=0), right.sum(axis=0)
    covariance = n * jnp.sum(answered * right) - jnp.sum(p * q)
    spread = (n * n - jnp.sum(p * p)) * (n * n - jnp.sum(q * q))
    usable = (spread > 0) & (predictions >= 0).all()
    return jnp.where(usable, covariance / jnp.sqrt(jnp.maximum(spread, 1)), 0)


def pearson(predictions: Float[Array, " E"], labels: Float[Array, " E"]) -> Float[Array, ""]:
    """Compute Pearson's correlation; 0 where either side is constant or predictions not finite."""
    usable = ~is_degenerate(predictions) & (labels.min() < labels.max())
    x = jnp.where(usable, predictions, jnp.arange(len(labels), dtype=predictions.dtype))
    x, y = x - x.mean(), labels - labels.mean()
    x, y = x / jnp.abs(x).max(), y / jnp.maximum(jnp.abs(y).max(), jnp.finfo(y.dtype).tiny)
    spread = jnp.sqrt((x * x).sum() * (y * y).sum())
    value = (x * y).sum() / jnp.where(spread > 0, spread, 1)
    return jnp.where(usable, jnp.clip(value, -1, 1), 0)


def spearman(predictions: Float[Array, " E"], labels: Float[Array, " E"]) -> Float[Array, ""]:
    """Compute Spearman's rank correlation with average ranks for ties; 0 as in `pearson`."""
    finite = jnp.isfinite(predictions).all()
    ranks = jnp.where(finite, average_ranks(predictions), 0)
    return pearson(ranks, average_ranks(labels))


def average_ranks(x: Float[Array, " E"]) -> Float[Array, " E"]:
    """Rank values from 1, tied ones sharing their mean rank."""
    ordered = jnp.sort(x)
    below = jnp.searchsorted(ordered, x, side="left")
    upto = jnp.searchsorted(ordered, x, side="right")
    return (below + upto + 1).astype(x.dtype) / 2


def is_degenerate(predictions: Array) -> Bool[Array, ""]:
    """Whether predictions are constant, or any of them is no class or not a finite number."""
    if jnp.issubdtype(predictions.dtype, jnp.integer):
        broken = (predictions < 0).any()
    else:
        broken = ~jnp.isfinite(predictions).all()
    return broken | (predictions == predictions[0]).all()


def predictions_of(
    task: Task, logits: Float[np.ndarray, "chips E N"], order: Sequence[int]
) -> np.ndarray:
    """Decide what each chip answers to each example.

    Args:
        task: the task.
        logits: outputs of the model.
        order: GLUE label id of each output (`label_order.label_order`).

    Returns:
        [chips, E]: int32 GLUE labels, -1 where a logit is not finite; the logit itself, float32,
        for regression.
    """
    if task.is_regression:
        return logits[..., 0].astype(np.float32)
    labels = np.asarray(order, np.int32)[logits.argmax(axis=-1)]
    return np.where(np.isfinite(logits).all(axis=-1), labels, np.int32(-1))


def scores(
    task: Task, predictions: np.ndarray, labels: np.ndarray, parts: Sequence[tuple[str, int]]
) -> dict[str, np.ndarray]:
    """Compute score, metrics and degeneracy of every chip.

    Args:
        task: the task.
        predictions: [chips, E] from `predictions_of`.
        labels: [E] labels of the split.
        parts: (name, examples) of the split's parts; only mnli has two.

    Returns:
        "score" (the mean of `task.scored_by`; GLUE's rule: cola Matthews; mrpc and qqp the mean
        of accuracy and F1; stsb the mean of Pearson and Spearman; mnli matched accuracy; else
        accuracy), each of the task's
        metrics, all float64 [chips], and "degenerate", bool [chips]. A metric whose part is
        absent is NaN.
    """
    wide = np.float64 if task.is_regression else np.int32
    matched = parts[0][1]
    with jax.enable_x64(True), jax.default_device(jax.local_devices(backend="cpu")[0]):
        # One call a chip: the width of a vmap would move the last bit of a correlation, and a
        # chip's score must not depend on the block that it is in.
        truth = jnp.asarray(labels, wide)
        chips = [
            _scores_of_one(task, jnp.asarray(answers, wide), truth, matched=matched)
            for answers in predictions
        ]
        return {name: np.stack([chip[name] for chip in chips]) for name in chips[0]}


@functools.partial(jax.jit, static_argnames=("task", "matched"))
def _scores_of_one(task: Task, predictions: Array, labels: Array, matched: int) -> dict[str, Array]:
    """Score one chip: `matched` says how many examples belong to the first part."""
    first, rest = slice(0, matched), slice(matched, None)
    degenerate = is_degenerate(predictions)
    out: dict[str, Any] = {}
    for name in task.metrics:
        if name == "accuracy_mismatched":
            has = matched < len(labels)
            out[name] = accuracy(predictions[rest], labels[rest]) if has else jnp.array(jnp.nan)
        else:
            more = {"classes": task.num_labels} if name in ("macro_f1", "matthews") else {}
            out[name] = _METRICS[name](predictions[first], labels[first], **more)
    score = sum(out[name] for name in task.scored_by) / len(task.scored_by)
    return {"score": score, **out, "degenerate": degenerate}


def correct_bits(predictions: np.ndarray, labels: np.ndarray) -> list[bytes]:
    """Pack whether each example of each chip is predicted right: one little-endian bit each."""
    right = predictions == labels
    return [row.tobytes() for row in np.packbits(right, axis=-1, bitorder="little")]


_METRICS: dict[str, Metric] = {
    "accuracy": accuracy,
    "f1": f1,
    "macro_f1": macro_f1,
    "matthews": matthews,
    "pearson": pearson,
    "spearman": spearman,
}


def _by_class(ids: Int[Array, " E"], classes: int) -> Float[Array, "E K"]:
    return (ids[:, None] == jnp.arange(classes, dtype=ids.dtype)[None]).astype(_real())


def _real() -> Any:
    return jnp.result_type(float)


def _count(where: Array) -> Array:
    return jnp.sum(where, dtype=_real())
