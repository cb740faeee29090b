"""Chips that descend from others: how many of their faults they keep, and which."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from arrays import array_key, p_values
from quick import WITHOUT_OPTIMISING

from rerax.crossbar.spec import ChipSpec
from rerax.evaluate.descendants import MOST_STAGES, descendants, keep_limits
from rerax.evaluate.engine import Evaluator, Network
from rerax.faults import fault_model
from rerax.faults.mask import Faults
from rerax.faults.sampling.rates import Thinning, rate_table
from rerax.glue.packing import make_batches
from rerax.hardware import Hardware
from rerax.models.bert.crossbars import program_bert
from rerax.stats.splitting import Generation

RATES = (0.3, 0.2, 0.05)
SHAPE = (96, 64)
SPEC = ChipSpec()


def states(branches, levels, chip=0, fault="uniform"):
    """Stuck cells of a descendant of a chip."""
    limits = np.zeros(MOST_STAGES, np.uint32)
    limits[: len(RATES) - 1] = keep_limits(RATES)
    own = np.zeros(MOST_STAGES, np.uint32)
    own[: len(branches)] = branches
    table = rate_table(RATES[0])
    thinned = dataclasses.replace(table, thinning=Thinning(own, limits, np.int32(levels)))
    found = _states(array_key(chip), thinned, fault)
    return np.asarray(found)


def _states(key, table, fault):
    return _drawn(key, table, fault)


@functools.partial(jax.jit, static_argnames="fault", compiler_options=WITHOUT_OPTIMISING)
def _drawn(key, table, fault):
    return fault_model(fault).states(key, table, SPEC, SHAPE)


def test_descendants_have_the_faults_of_their_rate_exactly():
    """Cells: p each by chance, where thinning cells in place of points would give fewer."""
    cells = 8 * SHAPE[0] * SHAPE[1]
    for level, rate in enumerate(RATES):
        hits = [(states([k, k + 1], level, chip=k) > 0).sum() for k in range(6)]
        assert p_values(np.array(hits), cells, rate).min() > 1e-4
        pooled = p_values(np.array([sum(hits)]), 6 * cells, rate)
        assert pooled.min() > 1e-3


def test_a_descendant_has_faults_of_its_chip_and_siblings_have_others():
    root, child = states([], 0), states([5], 1)
    sibling, grandchild = states([6], 1), states([5, 9], 2)
    plain = np.asarray(_states(array_key(0), rate_table(RATES[0]), "uniform"))
    np.testing.assert_array_equal(root, plain)  # the chip itself, as any sweep has it
    for below, above in ((child, root), (sibling, root), (grandchild, child)):
        assert 0 < (below > 0).sum() < (above > 0).sum()
        np.testing.assert_array_equal(below[below > 0], above[below > 0])  # polarities too
    both = ((child > 0) & (sibling > 0)).sum() / (root > 0).sum()
    assert both == pytest.approx((0.2 / 0.3) ** 2, abs=0.05)
    assert (grandchild > 0).sum() != (states([6, 9], 2) > 0).sum() or (
        grandchild != states([6, 9], 2)
    ).any()


def test_lines_are_thinned_by_lines():
    for level, rate in enumerate(RATES):
        found = [states([k], level, chip=k, fault="wordline") for k in range(6)]
        lines = np.array([(one > 0).any(axis=(0, 2)).mean() for one in found])
        assert lines.mean() == pytest.approx(1 - (1 - rate) ** 4, abs=0.08)  # four tiles across


@pytest.mark.parametrize("lanes", [1, 2])
def test_logits_are_those_of_the_chips_alone_and_roots_are_common_chips(lanes):
    examples = tiny.random_examples(12, lengths=(6, 9))
    batches = make_batches(examples, tokens=64)
    stored = program_bert(tiny.random_params(), Hardware(input_bits=None), ("pooler", "classifier"))
    evaluator = Evaluator.make(Network(tiny.CONFIG, lanes=lanes), stored, batches, chunk=4)
    table = rate_table(RATES[0])
    number, path = np.arange(6), np.arange(6, dtype=np.uint32)[:, None]
    roots = Generation(number, np.zeros((6, 0), np.uint32), np.ones(6))
    found = np.concatenate(list(descendants(evaluator, 3, table, RATES[:1], roots)))
    whole = np.concatenate([o.logits for o in evaluator.outcomes(3, range(6), Faults(table))])
    np.testing.assert_array_equal(found, whole)

    below = Generation(number, path, np.ones(6))
    lower = np.concatenate(list(descendants(evaluator, 3, table, RATES[:2], below)))
    assert (lower != whole).any()
    alone = [
        next(iter(descendants(evaluator, 3, table, RATES[:2],
                              Generation(number[k:k + 1], path[k:k + 1], np.ones(1)))))
        for k in (0, 4)
    ]  # fmt: skip
    np.testing.assert_array_equal(np.concatenate(alone), lower[[0, 4]])
    assert jnp.isfinite(lower).all()
