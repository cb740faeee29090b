"""PyTorch's loops beside rerax on a BERT-base shape, for `gpu.py`, with nothing to bring along."""

import sys
import tempfile
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from rerax import demo
from rerax.bench.cases import LENGTHS

sys.path.insert(0, str(Path(__file__).parent / "benchmarks"))

import run

LOOPS = ("torch_sparse-bf16", "torch_dense-bf16")
ROUNDS, CHIPS = 2, 3
BATCH = 218
"""Sentences of a batch of PyTorch, a quarter of 872: the best of those tried on an H200."""


def loops(sentences: int, rate: float) -> list[dict[str, Any]]:
    """Time chips of rerax and of PyTorch's loops in turns, in all ways to run its model.

    Args:
        sentences: how many, of the demo's words and about as long as SST-2's.
        rate: fault rate.

    Returns:
        The entries of `benchmarks/run.py`'s table.
    """
    on = "cuda" if jax.default_backend() == "gpu" else "cpu"
    forwards = ("", *(f"-{forward}" for forward in run.FORWARDS)) if on == "cuda" else ("",)
    tools = ["rerax", *(loop + forward for loop in LOOPS for forward in forwards)]
    with tempfile.TemporaryDirectory() as folder:
        demo.lay_out(Path(folder))
        write_sentences(Path(folder, "data", "sst2", "validation.parquet"), sentences)
        model = run.write_base(str(Path(folder, "base")), str(Path(folder, "model")))
        where = run.Where(model, str(Path(folder, "data")), None, min(BATCH, sentences), on)
        return run.fold(run.take_rounds(tools, where, [rate], CHIPS, ROUNDS))


def write_sentences(file: Path, number: int) -> None:
    """Write sentences of random words of the demo in place of its own; labels mean nothing.

    Args:
        file: where the demo's sentences are.
        number: of sentences.
    """
    words = sorted(
        {w for text in pq.read_table(file)["sentence"].to_pylist() for w in text.split()}
    )
    draw = np.random.default_rng(0)
    texts = [" ".join(draw.choice(words, n)) for n in draw.integers(*LENGTHS, number)]
    labels = pa.array(draw.integers(0, 2, number), pa.int64())
    index = pa.array(np.arange(number), pa.int32())
    pq.write_table(pa.table({"sentence": texts, "label": labels, "idx": index}), file)
