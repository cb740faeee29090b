"""A tiny BERT to train, random sentences and random gates."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import tiny

from rerax.crossbar import keys
from rerax.models.bert.names import gated_shapes
from rerax.pruning.gates import open_gates
from rerax.train.batches import Batch
from rerax.train.recipe import Recipe

# Dropout doubles the time to compile: what it does is in tests/unit/bert, and runs have it on.
CONFIG = dataclasses.replace(
    tiny.CONFIG, num_hidden_layers=2, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0
)
PARAMS = jax.tree.map(jnp.asarray, tiny.random_params(CONFIG, scale=4.0))
SHAPES = tuple(gated_shapes(PARAMS, ("encoder", "pooler")).items())
ROOT = keys.root_key(0)
TOKENS = 12


def batch(n=8, seed=0, config=CONFIG):
    rng = np.random.default_rng(seed)
    ids = rng.integers(5, config.vocab_size, (n, TOKENS)).astype(np.int32)
    mask = np.arange(TOKENS) < rng.integers(4, TOKENS + 1, (n, 1))
    labels = rng.integers(0, 2, n).astype(np.int32)
    teacher = rng.normal(size=(n, config.num_labels)).astype(np.float32)
    parts = (ids, np.zeros_like(ids), mask, labels, np.ones(n, np.float32), teacher)
    return Batch(*map(jnp.asarray, parts))


def recipe(**changes):
    return Recipe(**{"task": "sst2", "steps": 100, "lr": 1e-3, "warmup": 0.0, **changes})


def random_gates(seed, closed=0.3):
    rng = np.random.default_rng(seed)
    gates = open_gates(dict(SHAPES))
    for gate in gates.values():
        for side in gate.values():
            side[rng.random(side.shape) < closed] = -0.5
    return gates
