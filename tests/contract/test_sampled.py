"""Chips that draw their examples: they answer what they would answer of all, however it is cut."""

import numpy as np
import pytest
import tiny
from quick import Halves

from rerax.evaluate.engine import Network
from rerax.evaluate.sampled import WHOLE, SampledEvaluator, sampled_logits
from rerax.faults.mask import Faults
from rerax.faults.sampling.rates import rate_table
from rerax.glue.packing import pack_rows
from rerax.hardware import Hardware
from rerax.models.bert.crossbars import program_bert

EXAMPLES = tiny.random_examples(60, lengths=(5, 9, 12, 17))
ROWS = {
    str(width): [row for row in rows if row]
    for width, rows in pack_rows([len(ids) for ids in EXAMPLES.ids], 1).items()
}
RNG = np.random.default_rng(0)
CHANCES = {w: RNG.integers(WHOLE // 8, WHOLE, len(rows)).tolist() for w, rows in ROWS.items()}
STORED = program_bert(tiny.random_params(), Hardware(fault=Halves()))
CHIPS = 10


def evaluator(chunk=4, lanes=1, chances=CHANCES, stored=STORED):
    return SampledEvaluator.make(
        Network(tiny.CONFIG, lanes=lanes), stored, EXAMPLES, ROWS, chances, chunk
    )


def answers(rate, chips=range(CHIPS), **how):
    """Examples and logits of each chip."""
    found = []
    for outcome in evaluator(**how).outcomes(0, chips, Faults(rate_table(rate))):
        found += list(zip(outcome.examples, outcome.logits, strict=True))
    return found


@pytest.mark.parametrize("rate", [0.0, 0.05])
def test_a_chip_answers_what_it_would_answer_of_all(rate):
    """To the bit; so without faults no answer of any chip differs from the clean chip's."""
    outcomes = evaluator().clean.outcomes(0, range(CHIPS), Faults(rate_table(rate)))
    whole = np.concatenate([outcome.logits for outcome in outcomes])
    if not rate:
        assert (whole == whole[0]).all()
    for chip, (examples, logits) in enumerate(answers(rate)):
        assert len(set(examples.tolist())) == len(examples) > 10
        np.testing.assert_array_equal(logits, whole[chip][examples])


def test_chunks_and_first_chips_change_nothing():
    whole = answers(0.05)
    for part in (answers(0.05, chunk=1), answers(0.05, range(3, 9), chunk=3)):
        first = 0 if len(part) == CHIPS else 3
        for (examples, logits), (others, theirs) in zip(part, whole[first:], strict=False):
            np.testing.assert_array_equal(examples, others)
            np.testing.assert_array_equal(logits, theirs)


def test_one_program_serves_every_rate_and_chip():
    before = sampled_logits._cache_size()
    for rate in (0.0, 0.01, 0.3):
        answers(rate, chunk=5)
    assert sampled_logits._cache_size() == before + 1


def test_examples_are_drawn_by_chip_alone_and_as_often_as_they_should_be():
    """The same under a protection and at another rate, others on another chip."""
    drawn = [set(examples.tolist()) for examples, _ in answers(0.0, range(200), chunk=50)]
    voted = program_bert(tiny.random_params(), Hardware(fault=Halves(), protection="duplicate:3"))
    for chip, (examples, _) in enumerate(answers(0.05, stored=voted)):
        assert set(examples.tolist()) == drawn[chip]
    assert len({frozenset(one) for one in drawn}) > 190
    for width, rows in ROWS.items():
        for row, chance in zip(rows, CHANCES[width], strict=True):
            share = np.mean([row[0] in one for one in drawn])
            assert abs(share - chance / WHOLE) < 5 * 0.5 / np.sqrt(200)
            assert all(({*row} <= one) or not ({*row} & one) for one in drawn)


def test_lanes_draw_what_chips_draw_alone():
    """Last bits may differ between lane widths, examples may not."""
    for (examples, logits), (others, theirs) in zip(
        answers(0.05, lanes=5, chunk=5), answers(0.05), strict=True
    ):
        np.testing.assert_array_equal(examples, others)
        np.testing.assert_allclose(logits, theirs, atol=1e-4)


def test_a_row_that_is_always_drawn_is_and_the_rest_never():
    chances = {w: [WHOLE * (k == 0) for k in range(len(rows))] for w, rows in ROWS.items()}
    firsts = sorted(example for rows in ROWS.values() for example in rows[0])
    for examples, _ in answers(0.05, range(3), chances=chances):
        assert sorted(examples.tolist()) == firsts


def test_what_is_drawn_in_rounds_is_drawn_once_and_as_at_once():
    """With growing chances a chip draws further rows, none of them twice."""
    whole = evaluator()
    smaller = {w: [c // 3 for c in of] for w, of in CHANCES.items()}
    none = {w: [0] * len(of) for w, of in CHANCES.items()}
    parts = [whole.between(none, smaller), whole.between(smaller, CHANCES)]
    faults = Faults(rate_table(0.05))
    found = [list(own.outcomes(0, range(CHIPS), faults)) for own in (whole, *parts)]
    for at_once, first, second in zip(*found, strict=True):
        for k, examples in enumerate(at_once.examples):
            both = np.concatenate([first.examples[k], second.examples[k]])
            assert len(set(both.tolist())) == len(both)
            order, theirs = np.argsort(both), np.argsort(examples)
            np.testing.assert_array_equal(both[order], examples[theirs])
            logits = np.concatenate([first.logits[k], second.logits[k]])
            np.testing.assert_array_equal(logits[order], at_once.logits[k][theirs])
