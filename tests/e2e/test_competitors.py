"""The benchmark's competitors answer the same question as rerax, or the times mean nothing."""

import dataclasses
import importlib
import importlib.util
import sys

import numpy as np
import pytest
import scipy.stats
import tiny
from paths import ROOT

needs_torch = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None, reason="pip install torch==2.13.0 to check it"
)
BENCHMARKS = ROOT / "experiments" / "benchmarks"
LOOPS = ("torch_dense", "torch_sparse")
SAME_CHIPS = (*(pytest.param(name, marks=needs_torch) for name in LOOPS), "jax_tree")
DTYPES = ("float32", "bfloat16", "int8")


@pytest.fixture(scope="module", autouse=True)
def _path():
    sys.path.insert(0, str(BENCHMARKS))
    yield
    sys.path.remove(str(BENCHMARKS))


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    folder = tmp_path_factory.mktemp("small")
    config = dataclasses.replace(tiny.CONFIG, max_position_embeddings=128)
    return str(tiny.write_model(folder / "model", config)), str(tiny.write_sst2(folder / "data"))


def competitor(name):
    return getattr(importlib.import_module(name), name)


def options(name):
    return [{"dtype": dtype} for dtype in DTYPES] if name.startswith("torch") else [{}]


def clean_score(where, max_examples=None, **fixed):
    """rerax's own clean score of the same sentences, and the model that it was taken on."""
    import rerax_sweep

    import rerax

    workload, inputs = rerax_sweep.prepare(*where, max_examples)
    arguments = (inputs.params, inputs.config, inputs.examples, workload.labels)
    rows = rerax.sweep(*arguments, rates=(0.0,), chips=1, order=workload.order, **fixed)
    return rows["score"][0].as_py(), inputs


@needs_torch
@pytest.mark.parametrize("dtype", DTYPES)
def test_codes_are_rerax_own(small, dtype):
    """Every matrix holds exactly the words that rerax programs."""
    import torch_model

    from rerax.hardware import Hardware
    from rerax.models.bert.crossbars import crossbars_by_section, program_bert

    job = torch_model.load(*small, dtype=dtype)
    _, inputs = clean_score(small)
    sections = crossbars_by_section(program_bert(inputs.params, Hardware()))
    ours = [
        crossbar.words[i, 0]
        for i in range(inputs.config.num_hidden_layers)
        for crossbar in sections["encoder"].values()
    ]
    ours += [sections["head"][name].words[0] for name in ("pooler", "classifier")]
    # One multiset: the two sides walk the matrices in orders of their own.
    theirs = [job.store.words[block].numpy() for block in job.store.blocks]
    assert sum(map(len, theirs)) == sum(a.size for a in ours)
    if dtype != "int8":  # PyTorch keeps [out, in]
        ours = [a.T for a in ours]
    assert sorted(a.tobytes() for a in theirs) == sorted(
        np.ascontiguousarray(a).tobytes() for a in ours
    )


@pytest.mark.parametrize("name", SAME_CHIPS)
def test_rate_zero_gives_the_clean_score(small, name):
    clean, _ = clean_score(small)
    as_float, _ = clean_score(small, input_bits=None)
    for given in options(name):
        row = competitor(name)(*small, 0.0, 2, **given)
        assert row["stuck_cells"] == [0, 0]
        whole = clean if given.get("dtype") == "int8" else as_float
        slack = 0.1 if given.get("dtype") == "bfloat16" else 0.0  # roundings may flip an answer
        assert abs(row["mean_score"] - whole) <= slack, given


@pytest.mark.parametrize("name", SAME_CHIPS)
@pytest.mark.parametrize("rate", [1e-3, 0.1])
def test_as_many_cells_are_stuck_as_asked_for(small, name, rate):
    row = competitor(name)(*small, rate, 8)
    stuck, cells = sum(row["stuck_cells"]), 8 * row["cells"]
    assert scipy.stats.binomtest(stuck, cells, rate).pvalue > 1e-6
    assert row["cells"] == clean_cells(small)


def clean_cells(where):
    from rerax.hardware import Hardware
    from rerax.models.bert.crossbars import program_bert

    _, inputs = clean_score(where)
    return program_bert(inputs.params, Hardware()).cells


@needs_torch
@pytest.mark.parametrize("name", LOOPS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_stuck_bits_have_the_right_share_and_are_restored(small, name, dtype):
    """Read back from the words: no bit changes but to its stuck value, five in six to 1."""
    import torch
    import torch_model
    from rows import SA1_SHARE

    job = torch_model.load(*small, dtype=dtype)
    store, rate = job.store, 0.2
    method = importlib.import_module(name).method(store)
    up = down = ones = 0
    for number in range(8):
        struck = method.strike(rate, torch.Generator().manual_seed(number))
        clean, words = store.clean_words.numpy(), store.words.numpy()
        up += int(np.bitwise_count(words & ~clean).sum())
        down += int(np.bitwise_count(clean & ~words).sum())
        ones += int(np.bitwise_count(clean).sum())
        assert torch.equal(store.values, store.decode(store.words, slice(None)))
        method.restore(struck)
        assert torch.equal(store.words, store.clean_words)
        assert torch.equal(store.values, store.clean_values)
    zeros = 8 * store.cells - ones
    at_1, at_0 = rate * float(SA1_SHARE), rate * (1 - float(SA1_SHARE))
    assert scipy.stats.binomtest(up, zeros, at_1).pvalue > 1e-6
    assert scipy.stats.binomtest(down, ones, at_0).pvalue > 1e-6


@needs_torch
def test_pytorchfi_writes_the_very_chip(small):
    """Its declared list gives the answers that the sparse method gives."""
    pytest.importorskip("pytorchfi", reason="pip install --no-deps pytorchfi")
    import injectors
    import torch_sparse

    theirs, ours = (f(*small, 0.01, 2) for f in (injectors.pytorchfi, torch_sparse.torch_sparse))
    assert theirs["scores"] == ours["scores"]


@needs_torch
def test_mrfi_answers_by_its_own_faults(small):
    pytest.importorskip("mrfi", reason="pip install --no-deps mrfi")
    import injectors
    import torch_model

    clean = torch_model.load(*small, quantised=False).logits()
    assert not np.array_equal(injectors._mrfi_job(*small, None, 0.05).logits(), clean)


@needs_torch
def test_aihwkit_answers_by_its_own_tiles(small):
    pytest.importorskip("aihwkit", reason="pip install --no-deps aihwkit")
    import injectors
    import torch_model

    clean = torch_model.load(*small, quantised=False).logits()
    job = injectors._analog_job(*small, None)
    injectors._programmed(job)
    assert not np.array_equal(job.logits(), clean)


@needs_torch
def test_scores_agree_with_rerax_on_a_real_model(shared):
    """Mean scores over 8 chips at rate 0.01, within five standard errors of the difference."""
    import rerax_sweep

    where = (str(shared / "models" / "minilm-sst2"), str(shared / "data" / "glue"))
    ours = rerax_sweep.rerax_sweep(*where, 0.01, 8, 64)["scores"]
    for name in LOOPS:
        theirs = competitor(name)(*where, 0.01, 8, 64, dtype="int8")["scores"]
        error = np.sqrt((np.var(ours, ddof=1) + np.var(theirs, ddof=1)) / 8)
        assert abs(np.mean(ours) - np.mean(theirs)) < 5 * error, name
