"""Logits and scores of a model in training, by the evaluator that also scores chips."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rerax import chip, evaluate
from rerax.crossbar.spec import ChipSpec
from rerax.faults import Healthy, dose
from rerax.glue.data import Examples, Split, make_batches
from rerax.glue.metrics import predictions_of, scores
from rerax.glue.tasks import Task
from rerax.models.bert.config import BertConfig
from rerax.pruning.gates import Gates, with_zeros


@dataclass(frozen=True)
class Scorer:
    """One split, ready to be answered again and again.

    Attributes:
        config: shape of the BERT.
        examples: the tokenised split.
        spec: the chip that the model is scored as, without faults; None scores it in float.
    """

    config: BertConfig
    examples: Examples
    spec: ChipSpec | None = None
    held: dict[str, Any] = field(default_factory=dict)

    def logits(self, params: Any, gates: Gates) -> np.ndarray:
        """Logits [E, N] in the split's own order."""
        if not self.held:
            batches = make_batches(self.examples, self.config.pad_token_id)
            network = evaluate.Network(self.config, self.spec or ChipSpec(), Healthy())
            _, blocks = evaluate.fit_memory(network, batches)
            self.held.update(
                batches=batches, network=network, blocks=evaluate.to_device(batches, blocks)
            )
        network, batches = self.held["network"], self.held["batches"]
        params = with_zeros(jax.device_get(params), jax.device_get(gates))
        groups = chip.DEFAULT_GROUPS if self.spec else ()
        placed = chip.program(params, network.spec, groups, gates)
        (outcome,) = evaluate.evaluate_chips(
            network,
            jax.tree.map(jnp.asarray, placed),
            batches,
            self.held["blocks"],
            seed=0,
            dose=dose(0.0),
            first=0,
            chips=1,
            chunk=1,
        )
        return outcome.logits[0]

    def score(
        self, params: Any, gates: Gates, task: Task, split: Split, order: Sequence[int]
    ) -> dict[str, float]:
        """The task's score and metrics."""
        answers = predictions_of(task, self.logits(params, gates)[None], order)
        found = scores(task, answers, split.labels, split.parts)
        return {
            name: float(value[0])
            for name, value in found.items()
            if name != "degenerate" and np.isfinite(value[0])
        }
