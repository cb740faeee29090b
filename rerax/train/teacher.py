"""Logits of a teacher, computed when they are first asked for, and once."""

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
from rerax.evaluate.network import DeviceBucket, Network, Shard
from rerax.faults import NoFault
from rerax.faults.mask import Faults
from rerax.faults.sampling.rates import rate_table
from rerax.glue.data import Batches, Bucket, Examples, make_batches
from rerax.hardware import Hardware
from rerax.models.bert.crossbars import program_bert
from rerax.models.bert.folder import Model
from rerax.pruning.gates import with_zeros

BATCHES_AT_ONCE = 2
"""Of one length in a dispatch: not one, since a loop over one compiles to other last bits."""


@dataclass
class Teacher:
    """A trained model that gives logits of the sentences of a split.

    Batches have the shapes in which the whole split would be answered, and hold the sentences in
    the order in which a run first sees them: a short run asks for few, and the logits of a
    sentence do not depend on when they are asked for.

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
    is_computed: Bool[np.ndarray, "E"]

    @classmethod
    def make(
        cls,
        model: Model,
        examples: Examples,
        seen: Int[np.ndarray, "E"],
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
        batches = _in_order(make_batches(examples, config.pad_token_id), seen)
        place = np.zeros((len(examples), 2), np.int32)
        for k, bucket in enumerate(batches.buckets):
            n, row = np.nonzero(bucket.index >= 0)
            place[bucket.index[n, row]] = np.stack([np.full_like(n, k), n], axis=1)
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
        self, chosen: Int[np.ndarray, "B"], before_dispatch: Callable[[], None]
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

    def _compute(self, new: Int[np.ndarray, "B"]) -> None:
        """Compute the batches of some sentences, as many as one dispatch takes."""
        bucket, batch = self.place[new].T
        picked = [
            np.unique(batch[bucket == k])[:BATCHES_AT_ONCE]
            for k in range(len(self.batches.buckets))
        ]
        parts = tuple(
            Bucket(b.ids[p], b.types[p], b.lengths[p], b.index[p])
            for b, p in zip(self.batches.buckets, picked, strict=True)
        )
        batches = Batches(parts, self.batches.examples)
        shards = (self._shard(parts),)
        evaluator = engine.Evaluator(self.network, self.stored, batches, shards, chunk=1)
        (outcome,) = evaluator.outcomes(0, range(1), Faults(rate_table(0.0)))
        index = np.concatenate([part.index[part.index >= 0] for part in parts])
        self.computed[index] = outcome.logits[0][index]
        self.is_computed[index] = True

    def _shard(self, parts: Sequence[Bucket]) -> Shard:
        """Put batches on the device, in the one shape that all dispatches have: one program."""
        shard = []
        for part, bucket in zip(parts, self.batches.buckets, strict=True):
            spare = min(len(bucket.ids), BATCHES_AT_ONCE) - len(part.ids)
            mask = np.arange(part.ids.shape[-1]) < part.lengths[..., None]
            whole = (np.pad(a, [(0, spare), (0, 0), (0, 0)]) for a in (part.ids, part.types, mask))
            ids, types, real = map(jnp.asarray, whole)
            shard.append(DeviceBucket(ids, types, real, jnp.int32(len(part.ids))))
        return tuple(shard)


def _in_order(batches: Batches, seen: Int[np.ndarray, "E"]) -> Batches:
    """Order the sentences of each length as they are first seen."""
    rank = np.argsort(seen)

    def moved(bucket: Bucket) -> Bucket:
        n, rows, length = bucket.ids.shape
        index = bucket.index.reshape(-1)
        order = np.argsort(np.where(index < 0, len(rank), rank[index]), kind="stable")
        return Bucket(
            bucket.ids.reshape(-1, length)[order].reshape(n, rows, length),
            bucket.types.reshape(-1, length)[order].reshape(n, rows, length),
            bucket.lengths.reshape(-1)[order].reshape(n, rows),
            index[order].reshape(n, rows),
        )

    return Batches(tuple(map(moved, batches.buckets)), batches.examples)


def teacher_logits(
    teacher: tuple[Model, tuple[int, ...]] | None,
    examples: Examples,
    seen: Int[np.ndarray, "E"],
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
