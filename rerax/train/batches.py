"""Which sentences each step sees: a pure function of seed and step, so it needs no saved state."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Bool, Float32, Int32, Key

from rerax.crossbar import keys
from rerax.glue.data import Examples
from rerax.train.recipe import steps_per_epoch

LENGTHS = (
    *(8, 12, 16, 20, 24, 28, 32, 36, 40, 48, 56, 64),
    *(80, 96, 112, 128, 192, 256, 384, 512),
)
"""Token lengths T that batches come in."""
WINDOW = 50
"""Batches whose sentences are sorted by length together: little padding, nearly random order."""


class Batch(NamedTuple):
    """Sentences of one step.

    Attributes:
        ids, types: [B, T] token ids and segment ids.
        mask: [B, T] True on real tokens.
        labels: [B] index of the right output, or the score for regression.
        weight: [B] 1, and 0 in a padding row.
        teacher_logits: [B, N] zeros without a teacher.
    """

    ids: Int32[np.ndarray, "B T"]
    types: Int32[np.ndarray, "B T"]
    mask: Bool[np.ndarray, "B T"]
    labels: Int32[np.ndarray, " B"] | Float32[np.ndarray, " B"]
    weight: Float32[np.ndarray, " B"]
    teacher_logits: Float32[np.ndarray, "B N"]


@dataclass(frozen=True)
class TrainingBatches:
    """The batches of all steps.

    Attributes:
        examples: the tokenised training split.
        labels: what the outputs should be, for every example.
        teacher_logits: gives the teacher's logits of some sentences.
        batch_size: sentences a step.
        root: the run's root key.
        pad_token_id: fills up short sentences.
        epochs: the sentences of each step, of the last epoch that was asked for.
    """

    examples: Examples
    labels: np.ndarray
    teacher_logits: Callable[[np.ndarray], np.ndarray]
    batch_size: int
    root: Key[jax.Array, ""]
    pad_token_id: int
    epochs: dict[int, list[np.ndarray]] = field(default_factory=dict)

    @property
    def per_epoch(self) -> int:
        """Count the steps of one epoch."""
        return steps_per_epoch(len(self.examples), self.batch_size)

    def batch(self, step: int) -> Batch:
        """Make the batch of a step, counted from 0."""
        epoch, place = divmod(step, self.per_epoch)
        if epoch not in self.epochs:
            self.epochs.clear()
            self.epochs[epoch] = epoch_order(self.examples, self.batch_size, self.root, epoch)
        return self._padded(self.epochs[epoch][place])

    def _padded(self, chosen: np.ndarray) -> Batch:
        # Few lengths and one number of rows, so that few programs are compiled.
        longest = max(len(self.examples.ids[i]) for i in chosen)
        length = next((t for t in LENGTHS if t >= longest), longest)
        ids = np.full((self.batch_size, length), self.pad_token_id, np.int32)
        types = np.zeros((self.batch_size, length), np.int32)
        mask = np.zeros((self.batch_size, length), bool)
        for row, i in enumerate(chosen):
            n = len(self.examples.ids[i])
            ids[row, :n], types[row, :n] = self.examples.ids[i], self.examples.types[i]
            mask[row, :n] = True
        fill = self.batch_size - len(chosen)
        return Batch(
            ids,
            types,
            mask,
            np.pad(self.labels[chosen], (0, fill)),
            np.pad(np.ones(len(chosen), np.float32), (0, fill)),
            np.pad(self.teacher_logits(chosen), ((0, fill), (0, 0))),
        )


def epoch_order(
    examples: Examples, batch_size: int, root: Key[jax.Array, ""], epoch: int
) -> list[np.ndarray]:
    """Draw the sentences of each step of an epoch.

    Args:
        examples: the tokenised training split.
        batch_size: sentences a step.
        root: the run's root key.
        epoch: which, from 0.
    """
    lengths = np.array([len(row) for row in examples.ids])
    order = _permutation(keys.training_key(root, "order", 2 * epoch), len(lengths))
    window = WINDOW * batch_size
    parts = [order[i : i + window] for i in range(0, len(order), window)]
    order = np.concatenate([p[np.argsort(lengths[p], kind="stable")] for p in parts])
    batches = [order[i : i + batch_size] for i in range(0, len(order), batch_size)]
    shuffle = _permutation(keys.training_key(root, "order", 2 * epoch + 1), len(batches))
    return [batches[i] for i in shuffle]


def _permutation(key: Key[jax.Array, ""], n: int) -> np.ndarray:
    return np.asarray(jax.random.permutation(key, n))
