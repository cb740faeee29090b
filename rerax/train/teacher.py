"""Logits of a teacher, computed when they are first asked for, and once."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float32, Int

from rerax.crossbar.spec import ChipSpec
from rerax.evaluate import engine
from rerax.evaluate.network import Network
from rerax.faults import NoFault
from rerax.faults.mask import Faults
from rerax.faults.sampling.rates import rate_table
from rerax.glue.data import Examples
from rerax.glue.packing import Batches, Bucket
from rerax.hardware import Hardware
from rerax.models.bert.crossbars import program_bert
from rerax.models.bert.folder import Model
from rerax.pruning.gates import with_zeros

BATCHES_AT_ONCE = 2
"""Of one width in a dispatch: not one, since a loop over one compiles to other last bits."""


@dataclass
class Teacher:
    """A trained model that gives logits of the sentences of a split.

    Batches are packed in the order in which a run first sees the sentences: a short run asks for
    few, and the logits of a sentence do not depend on when they are asked for.

    Attributes:
        network: static description.
        stored: its weights on the device.
        batches: the split's batches.
        place: [E, 2] bucket and batch of each sentence.
        outputs: its output for each of the student's.
        computed: [E, N] logits of the whole split.
        is_computed: [E] which of them are there.
    """

    network: Network
    stored: Any
    batches: Batches
    place: Int[np.ndarray, "E 2"]
    outputs: Sequence[int]
    computed: Float32[np.ndarray, "E N"]
    is_computed: Bool[np.ndarray, " E"]

    @classmethod
    def make(
        cls,
        model: Model,
        examples: Examples,
        seen: Int[np.ndarray, " E"],
        outputs: Sequence[int],
    ) -> "Teacher":
        """Make a teacher that has computed nothing yet.

        Args:
            model: the trained model.
            examples: the tokenised split.
            seen: all sentences in the order in which the run first sees them.
            outputs: its output for each of the student's.
        """
        config, params, gates = model
        hardware = Hardware(ChipSpec(), NoFault())
        stored = program_bert(with_zeros(params, gates or {}), hardware, (), gates)
        batches = engine.batches_of(config, examples, seen.tolist())
        place = np.zeros((len(examples), 2), np.int32)
        for k, bucket in enumerate(batches.buckets):
            batch, at = np.nonzero(bucket.index >= 0)
            place[bucket.index[batch, at]] = np.stack([np.full_like(batch, k), batch], axis=1)
        return cls(
            Network(config),
            jax.tree.map(jnp.asarray, stored),
            batches,
            place,
            outputs,
            np.zeros((len(examples), config.num_labels), np.float32),
            np.zeros(len(examples), bool),
        )

    def logits(
        self, chosen: Int[np.ndarray, " B"], before_dispatch: Callable[[], None]
    ) -> Float32[np.ndarray, "B N"]:
        """Give the logits of some sentences, in the student's order of outputs.

        Args:
            chosen: which of the split.
            before_dispatch: called before every dispatch; there is one at a time.
        """
        while (new := chosen[~self.is_computed[chosen]]).size:
            before_dispatch()
            self._compute(new)
        return self.computed[chosen][:, list(self.outputs)]

    def _compute(self, new: Int[np.ndarray, " B"]) -> None:
        """Compute the batches of some sentences, as many as one dispatch takes."""
        bucket, batch = self.place[new].T
        picked = [
            np.unique(batch[bucket == k])[:BATCHES_AT_ONCE]
            for k in range(len(self.batches.buckets))
        ]
        parts = tuple(
            Bucket(*(array[p] for array in dataclasses.astuple(b)))
            for b, p in zip(self.batches.buckets, picked, strict=True)
        )
        shard = tuple(  # in the one shape that all dispatches have: one program
            engine.device_bucket(b, p, min(len(b.ids), BATCHES_AT_ONCE))
            for b, p in zip(self.batches.buckets, picked, strict=True)
        )
        batches = Batches(parts, self.batches.examples)
        evaluator = engine.Evaluator(self.network, self.stored, batches, (shard,), chunk=1)
        (outcome,) = evaluator.outcomes(0, range(1), Faults(rate_table(0.0)))
        index = np.concatenate([part.index[part.index >= 0] for part in parts])
        self.computed[index] = outcome.logits[0][index]
        self.is_computed[index] = True


def teacher_logits(
    teacher: tuple[Model, tuple[int, ...]] | None,
    examples: Examples,
    seen: Int[np.ndarray, " E"],
    order: Sequence[int],
    before_dispatch: Callable[[], None],
) -> Callable[[np.ndarray], np.ndarray]:
    """Make a function that gives the logits to imitate of some sentences.

    Without a teacher these are zeros, whose weight in the loss is 0.

    Args:
        teacher: the model, and GLUE label id of each of its outputs, if any.
        examples: the tokenised split.
        seen: all sentences in the order in which the run first sees them.
        order: GLUE label id of each output of the student.
        before_dispatch: called before every dispatch.
    """
    if teacher is None:
        return lambda chosen: np.zeros((len(chosen), len(order)), np.float32)
    model, own = teacher
    outputs = [own.index(label) for label in order]
    made = Teacher.make(model, examples, seen, outputs)
    return functools.partial(made.logits, before_dispatch=before_dispatch)
