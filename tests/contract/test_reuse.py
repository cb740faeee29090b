"""Chips that start at their first faulty layer give the bits of those that start at the front."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from quick import Halves

from rerax.evaluate import prefix_cache
from rerax.evaluate.engine import Evaluator, Network, chunk_logits, extend_prefix, to_device
from rerax.faults.mask import Faults
from rerax.faults.sampling.rates import rate_table
from rerax.glue.packing import make_batches
from rerax.hardware import Hardware
from rerax.models.bert.crossbars import fault_mask, program_bert
from rerax.models.bert.names import DEFAULT_GROUPS
from rerax.models.bert.scope import Scope

BATCHES = make_batches(tiny.random_examples(24, lengths=(7, 8)), tokens=48)
SHARDS = to_device(BATCHES, 2)
PARAMS = tiny.random_params()

SCOPES = (
    "layers=0",
    "layers=1+2;matrices=query",
    "layers=2",
    "matrices=pooler",
    "matrices=encoder",
)
WIDTHS = [(8, 1), (None, 4)]
widths = pytest.mark.parametrize(("input_bits", "lanes"), WIDTHS, ids=str)


def made(input_bits, lanes):
    hardware = Hardware(fault=Halves(), input_bits=input_bits)
    stored = jax.tree.map(jnp.asarray, program_bert(PARAMS, hardware))
    return Evaluator(Network(tiny.CONFIG, lanes=lanes), stored, BATCHES, SHARDS, 4)


def mask_of(text):
    return None if text is None else fault_mask(Scope.parse(text), DEFAULT_GROUPS, 3)


def logits(evaluator, text, prefixes=None):
    faults = Faults(rate_table(0.02), mask_of(text))
    (outcome,) = evaluator.outcomes(3, range(2, 6), faults, prefixes)
    return outcome.logits, np.stack(outcome.counts)


def prefixes_into(evaluator, layer, kept=None, **limits):
    return prefix_cache.clean_prefixes(evaluator, layer, mask_of("layers=0"), kept, **limits)


@widths
def test_bit_equal_to_not_reusing_and_one_compile(input_bits, lanes):
    evaluator = made(input_bits, lanes)
    compiled, kept = [], None
    for text in SCOPES:
        expected, counts = logits(evaluator, text)
        first = Scope.parse(text).first_layer(DEFAULT_GROUPS, 3)
        kept = prefixes_into(evaluator, first, kept)
        assert kept.layer == first
        got, got_counts = logits(evaluator, text, kept.prefixes)
        np.testing.assert_array_equal(got, expected)
        np.testing.assert_array_equal(got_counts, counts)
        compiled.append((chunk_logits._cache_size(), extend_prefix._cache_size()))
    assert len(set(compiled)) == 1, "a layer was compiled for itself"


def test_the_whole_chip_restricted_to_everything_is_the_whole_chip():
    evaluator = made(8, 1)
    everything = "matrices=encoder+pooler+classifier"
    expected, counts = logits(evaluator, None)
    got, got_counts = logits(evaluator, everything)
    np.testing.assert_array_equal(got, expected)
    np.testing.assert_array_equal(got_counts, counts)
    places = ("layers=0", "layers=1", "layers=2", "matrices=pooler+classifier")
    parts = [logits(evaluator, text) for text in places]
    np.testing.assert_array_equal(sum(counts for _, counts in parts), counts)
    assert all((part != expected).any() for part, _ in parts)


def test_a_stream_of_another_layer_is_caught():
    """Plant it: chips of layer 2 start from the stream into layer 1, or skip layer 1."""
    evaluator = made(8, 1)
    expected, _ = logits(evaluator, "layers=2")
    early = prefixes_into(evaluator, 1).prefixes
    wrong = tuple(e._replace(layer=jnp.int32(2)) for e in early)
    assert (logits(evaluator, "layers=2", wrong)[0] != expected).any()
    np.testing.assert_array_equal(logits(evaluator, "layers=2", early)[0], expected)


def test_streams_too_large_are_not_kept_and_large_ones_go_to_the_host(monkeypatch):
    evaluator = made(8, 1)
    size = prefix_cache.stream_bytes(evaluator.network, SHARDS)
    assert size == sum(b.ids.size for shard in SHARDS for b in shard) * 30 * 4
    wide = dataclasses.replace(evaluator.network, lanes=4, dtype="bfloat16")
    assert prefix_cache.stream_bytes(wide, SHARDS) == 2 * size
    assert prefixes_into(evaluator, 1, host_bytes=size - 1) is None
    expected, _ = logits(evaluator, "layers=2")
    monkeypatch.setattr(prefix_cache, "DEVICE_BYTES", size - 1)
    kept = prefixes_into(evaluator, 2, prefixes_into(evaluator, 1))
    assert all(isinstance(a, np.ndarray) for a in jax.tree.leaves(kept.prefixes))
    np.testing.assert_array_equal(logits(evaluator, "layers=2", kept.prefixes)[0], expected)
