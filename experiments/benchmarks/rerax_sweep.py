"""rerax itself, through the call that its users make: `rerax.sweep`.

A sweep first takes the float and the clean score, two passes over the sentences that a campaign
makes once for each model and protection. Seconds of a chip are therefore taken from the moment
when the chip before is done and scored to the moment when it is; where chips come in lanes, each
takes an equal share of its group's time. The table of rows, made once at the end of a call,
belongs to no chip, and the first call of a process, which compiles, is told apart.
"""

import functools
import itertools
import time
from typing import Any

import jax
from rows import Chip, make_row

import rerax
from rerax.campaign.workload import read_workload
from rerax.evaluate.engine import lane_width

PROTECTIONS = ("msb:2x3:pruned", "msb:1x3:lsb")


@functools.cache
def prepare(model_dir: str, data_dir: str, max_examples: int | None) -> tuple[Any, ...]:
    """Loaded model and sentences, and the workload that names them."""
    workload = read_workload(model_dir, "sst2", "model", data=data_dir, max_examples=max_examples)
    return workload, workload.load()


def best_protection(model_dir: str, data_dir: str, max_examples: int | None = None) -> str:
    """The scheme to time: copies in freed cells where the model has gates, else in low bits."""
    _, inputs = prepare(model_dir, data_dir, max_examples)
    return PROTECTIONS[0] if inputs.gates else PROTECTIONS[1]


def rerax_sweep(
    model_dir: str,
    data_dir: str,
    rate: float,
    chips: int,
    max_examples: int | None = None,
    *,
    protection: str = "none",
    input_bits: int | None = 8,
    dtype: str = "float32",
    first: int = 0,
) -> dict[str, Any]:
    """Time some chips after the first dispatch.

    Args:
        model_dir: Hugging Face folder of a BERT fine-tuned on SST-2.
        data_dir: folder with sst2/validation.parquet.
        rate: expected fraction of stuck cells, above 0.
        chips: dispatches to time, each of a chip, or of as many as there are lanes.
        max_examples: use only the first so many sentences.
        protection: scheme, or `best` (`best_protection`).
        input_bits: 8 for integer products, None for float inputs.
        dtype: of what is not on crossbars, and of products with float inputs.
        first: seed of the chips.

    Returns:
        The row (`rows.make_row`).
    """
    start = time.perf_counter()
    workload, inputs = prepare(model_dir, data_dir, max_examples)
    if protection == "best":
        protection = best_protection(model_dir, data_dir, max_examples)
    lanes = lane_width(inputs.config, jax.default_backend())
    done: dict[int, float] = {}  # chips done -> the moment when that many were
    table = rerax.sweep(
        inputs.params,
        inputs.config,
        inputs.examples,
        workload.labels,
        rates=(rate,),
        chips=(chips + 1) * lanes,
        chunk=lanes,
        seed=first,
        protection=protection,
        gates=inputs.gates,
        order=workload.order,
        input_bits=input_bits,
        dtype=dtype,
        on_progress=lambda progress: done.setdefault(progress.done, time.perf_counter()),
    )
    ends = [moment for chips_done, moment in done.items() if chips_done]
    took = [(after - before) / lanes for before, after in itertools.pairwise(ends)]
    assert len(took) == chips, "a dispatch is a lane group"
    scores = table["score"].to_pylist()
    stuck = [sum(pair) for pair in zip(*_stuck(table), strict=True)]
    timed = [
        Chip({"chip": took[i // lanes - 1]}, scores[i], stuck[i]) for i in range(lanes, len(scores))
    ]
    kind = "int8" if input_bits == 8 else dtype
    return make_row(
        "rerax" if protection == "none" else f"rerax {protection}",
        kind,
        rate,
        timed,
        cells=table["cells"][0].as_py(),
        packages=("rerax", "jax", "jaxlib"),
        first_call_seconds=ends[0] - start,
        note="inputs in 8 bits a token, exact integer products" if input_bits else "float inputs",
        protection=protection,
    )


def _stuck(table: Any) -> list[list[int]]:
    return [table[name].to_pylist() for name in ("stuck_at_0", "stuck_at_1")]
