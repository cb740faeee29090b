"""Chips that start at their first faulty layer give the bits of those that start at the front."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from quick import Halves

from rerax import chip, evaluate, faults, reuse
from rerax.crossbar.spec import ChipSpec
from rerax.glue.data import make_batches
from rerax.models.bert.scope import Scope

BATCHES = make_batches(tiny.random_examples(24, lengths=(7, 8)), tokens=48)
BLOCKS = evaluate.to_device(BATCHES, 2)
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
    network = evaluate.Network(tiny.CONFIG, ChipSpec(), Halves(), input_bits, lanes=lanes)
    return network, jax.tree.map(jnp.asarray, chip.program(PARAMS, network.spec))


def logits(network, programmed, text, entries=None):
    where = None
    if text is not None:
        where = chip.acting(Scope.parse(text), chip.DEFAULT_GROUPS, 3)
    outcomes = evaluate.evaluate_chips(
        network, programmed, BATCHES, BLOCKS, seed=3, dose=faults.dose(0.02), first=2, chips=4,
        chunk=4, where=where, entries=entries,
    )  # fmt: skip
    (outcome,) = outcomes
    return outcome.logits, np.stack(outcome.counts)


def entries_into(network, programmed, layer, kept=None, **limits):
    where = chip.acting(Scope.parse("layers=0"), chip.DEFAULT_GROUPS, 3)
    return reuse.clean_entries(network, programmed, BLOCKS, layer, where, kept, **limits)


@widths
def test_bit_equal_to_not_reusing_and_one_compile(input_bits, lanes):
    network, programmed = made(input_bits, lanes)
    compiled, kept = [], None
    for text in SCOPES:
        expected, counts = logits(network, programmed, text)
        first = Scope.parse(text).first_layer(chip.DEFAULT_GROUPS, 3)
        kept = entries_into(network, programmed, first, kept)
        assert kept.layer == first
        got, got_counts = logits(network, programmed, text, kept.entries)
        np.testing.assert_array_equal(got, expected)
        np.testing.assert_array_equal(got_counts, counts)
        compiled.append((evaluate.chunk_logits._cache_size(), evaluate.clean_advance._cache_size()))
    assert len(set(compiled)) == 1, "a layer was compiled for itself"


def test_the_whole_chip_restricted_to_everything_is_the_whole_chip():
    network, programmed = made(8, 1)
    everything = "matrices=encoder+pooler+classifier"
    expected, counts = logits(network, programmed, None)
    got, got_counts = logits(network, programmed, everything)
    np.testing.assert_array_equal(got, expected)
    np.testing.assert_array_equal(got_counts, counts)
    places = ("layers=0", "layers=1", "layers=2", "matrices=pooler+classifier")
    parts = [logits(network, programmed, text) for text in places]
    np.testing.assert_array_equal(sum(counts for _, counts in parts), counts)
    assert all((part != expected).any() for part, _ in parts)


def test_a_stream_of_another_layer_is_caught():
    """Plant it: chips of layer 2 start from the stream into layer 1, or skip layer 1."""
    network, programmed = made(8, 1)
    expected, _ = logits(network, programmed, "layers=2")
    early = entries_into(network, programmed, 1).entries
    wrong = tuple(e._replace(layer=jnp.int32(2)) for e in early)
    assert (logits(network, programmed, "layers=2", wrong)[0] != expected).any()
    np.testing.assert_array_equal(logits(network, programmed, "layers=2", early)[0], expected)


def test_streams_too_large_are_not_kept_and_large_ones_go_to_the_host(monkeypatch):
    network, programmed = made(8, 1)
    size = reuse.stream_bytes(network, BLOCKS)
    assert size == sum(b.ids.size for block in BLOCKS for b in block) * 30 * 4
    wide = dataclasses.replace(network, lanes=4, dtype="bfloat16")
    assert reuse.stream_bytes(wide, BLOCKS) == 2 * size
    assert entries_into(network, programmed, 1, host_bytes=size - 1) is None
    expected, _ = logits(network, programmed, "layers=2")
    monkeypatch.setattr(reuse, "DEVICE_BYTES", size - 1)
    kept = entries_into(network, programmed, 2, entries_into(network, programmed, 1))
    assert all(isinstance(a, np.ndarray) for a in jax.tree.leaves(kept.entries))
    np.testing.assert_array_equal(
        logits(network, programmed, "layers=2", kept.entries)[0], expected
    )
