"""Whatever is stuck in closed lines counts nothing in the logits."""

import numpy as np
import pytest
import tiny
from arrays import random_gates
from quick import Halves

from rerax.evaluate.engine import Evaluator, Network, chunk_logits
from rerax.faults.mask import Faults
from rerax.faults.sampling.rates import rate_table
from rerax.glue.packing import make_batches
from rerax.hardware import Hardware
from rerax.models import reading
from rerax.models.bert.crossbars import program_bert
from rerax.models.bert.names import gated_shapes

BATCHES = make_batches(tiny.random_examples(16, lengths=(8,)), tokens=64)
PARAMS = tiny.random_params()
MASKED = Hardware(fault=Halves())
RATES = (0.0, 0.05)


@pytest.fixture(scope="module")
def gates():
    rng = np.random.default_rng(2)
    shapes = gated_shapes(PARAMS, ("encoder", "pooler"))
    return {n: random_gates(rng, s[:-2], *s[-2:]) for n, s in shapes.items()}


def logits(hardware, gates, rate):
    programmed = program_bert(PARAMS, hardware, gates=gates)
    evaluator = Evaluator.make(Network(tiny.CONFIG), programmed, BATCHES, chunk=3)
    (outcome,) = evaluator.outcomes(3, range(3), Faults(rate_table(rate)))
    return outcome.logits


@pytest.fixture(scope="module")
def masked(gates):
    return {rate: logits(MASKED, gates, rate) for rate in RATES}


def test_float_inputs_leave_closed_lines_out_too(gates, masked):
    """With float inputs logits differ by the rounding of inputs, and by no more."""
    floating = logits(Hardware(fault=Halves(), input_bits=None), gates, 0.05)
    spread = np.abs(floating).max()
    assert 0 < np.abs(floating - masked[0.05]).max() < 0.2 * spread


def test_faults_in_closed_lines_would_be_heard_if_these_were_left_in(gates, masked, monkeypatch):
    monkeypatch.setattr(reading, "masked_codes", lambda codes, _: codes)
    chunk_logits.clear_cache()
    for rate in RATES:
        assert (masked[rate] != logits(MASKED, gates, rate)).any() == (rate > 0)
    chunk_logits.clear_cache()
