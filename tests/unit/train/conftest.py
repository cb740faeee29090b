"""An evaluator whose logits are sums of ids: no network."""

import numpy as np
import pytest

from rerax.evaluate import engine
from rerax.faults.read_out import Counts


@pytest.fixture
def dispatched(monkeypatch):
    """The network, and the sentences of each dispatch."""
    found = []

    def outcomes(self, seed, chips, faults, prefixes=None):
        batches = self.batches
        found.append((self, [int((bucket.index >= 0).sum()) for bucket in batches.buckets]))
        logits = np.full((1, batches.examples, 2), np.nan, np.float32)
        for bucket in batches.buckets:
            width = bucket.ids.shape[-1]
            for batch, at in zip(*np.nonzero(bucket.index >= 0), strict=True):
                row, start = divmod(bucket.first[batch, at], width)
                own = bucket.sentence[batch, row] == bucket.sentence[batch, row, start]
                ids = bucket.ids[batch, row][own]
                logits[0, bucket.index[batch, at]] = ids.sum(), -ids[-1]
        return [engine.Outcome(logits, Counts(*[np.zeros(1, np.int64)] * 5))]

    monkeypatch.setattr(engine.Evaluator, "outcomes", outcomes)
    return found
