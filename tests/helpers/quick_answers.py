"""Answers of chips that no network gives, for tests whose subject is not what chips answer."""

import zlib

import jax
import numpy as np

from rerax.evaluate import engine
from rerax.faults.read_out import Counts

network_answers = engine.Evaluator.outcomes


def outcomes(self, seed, chips, faults, prefixes=None):
    """Stands in for `Evaluator.outcomes`: seed, model, rates and chip decide the logits.

    Every chip of a rate above 0 counts its own number of cells stuck at 0, so that rows differ. A
    model without crossbars answers the last example otherwise than its clean chip.
    """
    rates = faults.rates
    faulty = bool(np.any(rates.intervals) or rates.above)
    embeddings = [kept for leaf, kept in zip(self.stored.leaves, self.stored.rest, strict=True)
                  if leaf.path.startswith("embeddings")]  # fmt: skip
    drawn_by = [seed, _number(embeddings), _number(rates) if faulty else 0]
    shape = (self.batches.examples, self.network.config.num_labels)
    for start in range(chips.start, chips.stop, self.chunk):
        numbers = np.arange(start, min(start + self.chunk, chips.stop))
        draws = [np.random.default_rng([*drawn_by, n if faulty else 0]) for n in numbers]
        logits = np.stack([draw.normal(size=shape).astype(np.float32) for draw in draws])
        if not self.stored.crossbars:
            logits[:, -1] *= -1
        none = np.zeros(len(numbers), np.int64)
        stuck = numbers + 1 if faulty else none
        yield engine.Outcome(logits, Counts(stuck, none, none, none, none))


def use(monkeypatch):
    """Let chips answer so from now on; their clean streams are not computed either."""
    monkeypatch.setattr("rerax.evaluate.engine.Evaluator.outcomes", outcomes)
    monkeypatch.setattr("rerax.evaluate.prefix_cache.clean_prefixes", lambda *_: None)


def outcomes_of_floats(self, *how):
    """The same, but the answers of a model without crossbars are its own."""
    return (outcomes if self.stored.crossbars else network_answers)(self, *how)


def _number(tree):
    leaves = map(np.asarray, jax.tree.leaves(tree))
    return zlib.crc32(b"".join(leaf.tobytes() for leaf in leaves))
