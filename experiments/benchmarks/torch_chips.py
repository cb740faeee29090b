"""One PyTorch chip after the other: strike, answer, score, restore, with a clock beside."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch_model
from rows import Chip, Watch, make_row

INPUTS = {
    "float32": "float32 inputs and products",
    "bfloat16": "bfloat16 weights, inputs and activations",
    "int8": "inputs in 8 bits a token and exact integer products, as rerax has by default",
}


@dataclass(frozen=True)
class Method:
    """A way to make a chip.

    Attributes:
        strike: (rate, generator) -> what was struck; faulty weights are in place afterwards.
        restore: puts back what was struck.
        count: distinct stuck cells of what was struck, not timed.
    """

    strike: Callable[[float, torch.Generator], Any]
    restore: Callable[[Any], None]
    count: Callable[[Any], int]


def run(
    name: str,
    make: Callable[[torch_model.Store], Method],
    model_dir: str,
    data_dir: str,
    rate: float,
    chips: int,
    max_examples: int | None = None,
    *,
    dtype: str = "float32",
    batch: int = torch_model.BATCH,
    device: str = "cpu",
    forward: str = "eager",
    first: int = 0,
) -> dict[str, Any]:
    """Time some chips of a method after a warm-up.

    Args:
        name: of the method.
        make: gives the method for a laid out model.
        model_dir: Hugging Face folder of a BERT fine-tuned on SST-2.
        data_dir: folder with sst2/validation.parquet.
        rate: expected fraction of stuck cells, below 1.
        chips: chips to time.
        max_examples: use only the first so many sentences.
        dtype: of the products, see `torch_model.DTYPES`.
        batch: sentences a batch.
        device: cpu or cuda.
        forward: how the model is run, see `torch_model.FORWARDS`.
        first: number of the first chip, which seeds it.

    Returns:
        The row of the method (`rows.make_row`).
    """
    start = time.perf_counter()
    how = {"device": device, "forward": forward}
    job = torch_model.kept(model_dir, data_dir, max_examples, dtype, batch, **how)
    method = make(job.store)
    one_chip(job, method, rate, first)
    warm = time.perf_counter() - start
    timed = [one_chip(job, method, rate, first + i) for i in range(chips)]
    return make_row(
        name,
        dtype,
        rate,
        timed,
        cells=job.store.cells,
        packages=("torch", "transformers"),
        first_call_seconds=warm,
        note=INPUTS[dtype],
    )


def one_chip(job: torch_model.Job, method: Method, rate: float, number: int) -> Chip:
    """Make, score and restore chip `number`."""
    watch, device = Watch(), job.store.words.device
    generator = torch.Generator(device).manual_seed(number)

    def finished(work: Callable[[], Any]) -> Any:
        result = work()
        if device.type == "cuda":
            torch.cuda.synchronize()
        return result

    struck = watch.time("strike", lambda: finished(lambda: method.strike(rate, generator)))
    score = watch.time("forward", job.score)
    stuck = method.count(struck)
    watch.time("restore", lambda: finished(lambda: method.restore(struck)))
    return Chip(watch.stages, score, stuck)


def bits_set(words: torch.Tensor) -> int:
    """Bits set in all of some words."""
    return int(np.bitwise_count(words.cpu().numpy()).sum(dtype=np.int64))
