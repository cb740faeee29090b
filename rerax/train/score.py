"""Score a model in training, by the evaluator that also scores chips."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rerax.crossbar.spec import ChipSpec
from rerax.evaluate import engine
from rerax.faults import NoFault
from rerax.faults.mask import Faults
from rerax.faults.sampling.rates import rate_table
from rerax.glue.data import Examples, Split
from rerax.glue.metrics import predictions_of, scores
from rerax.glue.tasks import Task
from rerax.hardware import Hardware
from rerax.models.bert.config import BertConfig
from rerax.models.bert.crossbars import program_bert
from rerax.models.bert.names import DEFAULT_GROUPS
from rerax.pruning.gates import Gates, with_zeros

_SIGNS = np.float32(1), np.float32(-1)


@dataclass(frozen=True)
class Scorer:
    """Scores models on one split; what does not change with the weights is made once.

    Attributes:
        config: shape of the BERT.
        examples: the tokenised split.
        spec: the chip that the model is scored as, without faults; None scores it in float.
    """

    config: BertConfig
    examples: Examples
    spec: ChipSpec | None = None

    def logits(self, params: Any, gates: Gates) -> np.ndarray:
        """Compute logits [E, N], in the split's own order."""
        # A tied gate may stand at 0 exactly, open: taken for the ones of a mask, they are refused.
        gates = {
            name: {side: np.where(np.asarray(g) >= 0, *_SIGNS) for side, g in sides.items()}
            for name, sides in gates.items()
        }
        params = with_zeros(jax.device_get(params), gates)
        groups = DEFAULT_GROUPS if self.spec else ()
        hardware = Hardware(self.spec or ChipSpec(), NoFault())
        stored = jax.tree.map(jnp.asarray, program_bert(params, hardware, groups, gates))
        evaluator = engine.Evaluator(stored=stored, chunk=1, **self._prepared)
        (outcome,) = evaluator.outcomes(0, range(1), Faults(rate_table(0.0)))
        return outcome.logits[0]

    @functools.cached_property
    def _prepared(self) -> dict[str, Any]:
        batches = engine.batches_of(self.config, self.examples)
        network = engine.Network(self.config)
        _, shards = engine.fit_memory(network, batches)
        return {
            "network": network,
            "batches": batches,
            "shards": engine.to_device(batches, shards),
        }

    def score(
        self, params: Any, gates: Gates, task: Task, split: Split, order: Sequence[int]
    ) -> dict[str, float]:
        """Compute the task's score and metrics."""
        answers = predictions_of(task, self.logits(params, gates)[None], order)
        found = scores(task, answers, split.labels, split.parts)
        return {
            name: float(value[0])
            for name, value in found.items()
            if name != "degenerate" and np.isfinite(value[0])
        }
