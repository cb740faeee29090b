"""What a faulty chip costs in rerax and in everything else we could make to work.

    python experiments/benchmarks/run.py --model DIR --data DIR --out FILE.json

The question is always the same: the score of a BERT on SST-2, its weights in 8 bits on one-bit
cells of which a fraction is stuck, for one chip after the other. All tools take turns in one
process, round after round, so that a noisy machine disturbs them alike; a ratio is the median
over rounds of (seconds a chip of the tool) / (seconds a chip of rerax in the same round). Each
call of a tool starts with a chip that is not counted.

The loops that make chips one by one are timed in both ways to use several cores: one process on
all of them, and one process pinned to each (`/core`), whose chips of the same time count together.
The table marks the better one of each tool with a star; compare with that of rerax.

`--shape base` takes a BERT-base shape with random weights in place of the model, with its
tokenizer: for times, its scores mean nothing. `--device cuda` puts the PyTorch loops on the GPU,
which JAX finds by itself; give them a larger `--batch` there. `--print FILE.json` prints a table
again. PyTorch and the injectors are no dependencies of rerax: `pip install torch==2.13.0`, and
see injectors.py; what is missing is a row with the reason.
"""

import argparse
import functools
import importlib
import json
import multiprocessing
import os
import statistics
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from rows import error_row

RATES = (1e-4, 1e-3, 1e-2)
TOOLS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "rerax": ("rerax_sweep", "rerax_sweep", {}),
    "rerax-protected": ("rerax_sweep", "rerax_sweep", {"protection": "best"}),
    "rerax-float": ("rerax_sweep", "rerax_sweep", {"input_bits": None}),
    "torch_sparse-int8": ("torch_sparse", "torch_sparse", {"dtype": "int8"}),
    "torch_sparse-bf16": ("torch_sparse", "torch_sparse", {"dtype": "bfloat16"}),
    "torch_sparse-f32": ("torch_sparse", "torch_sparse", {"dtype": "float32"}),
    "torch_dense-int8": ("torch_dense", "torch_dense", {"dtype": "int8"}),
    "torch_dense-bf16": ("torch_dense", "torch_dense", {"dtype": "bfloat16"}),
    "torch_dense-f32": ("torch_dense", "torch_dense", {"dtype": "float32"}),
    "jax_tree-f32": ("jax_tree", "jax_tree", {"dtype": "float32"}),
    "pytorchfi": ("injectors", "pytorchfi", {}),
    "mrfi": ("injectors", "mrfi", {}),
    "aihwkit": ("injectors", "aihwkit", {}),
}
"""Module, function and options of everything that is timed."""
FORWARDS = ("compiled", "graphs", "compiled+graphs")
"""Ends the name of a PyTorch loop that runs the model otherwise than kernel by kernel."""
GPU_TOOLS = {
    f"{name}-{forward}": (*TOOLS[name][:2], {**TOOLS[name][2], "forward": forward})
    for name in ("torch_sparse-bf16", "torch_dense-bf16")
    for forward in FORWARDS
}
A_CORE = "/core"
"""Ends the name of a tool that runs in one process for each core."""
CPU_TOOLS = {
    f"{name}{A_CORE}": TOOLS[name] for name in TOOLS if name.startswith(("rerax", "torch"))
}
DEFAULT = {"cpu": (*TOOLS, *CPU_TOOLS), "cuda": (*TOOLS, *GPU_TOOLS)}
"""What is timed on each device unless `--only` says otherwise."""
TOOLS |= GPU_TOOLS | CPU_TOOLS

RATELESS = ("aihwkit",)
BATCHED = ("torch_dense", "torch_sparse")


class Where(NamedTuple):
    """What is scored: folders, how many sentences; PyTorch's batch if not its default, and device.

    rerax and the JAX loop run where JAX does, the injectors on the processor.
    """

    model: str
    data: str
    max_examples: int | None = None
    batch: int | None = None
    device: str = "cpu"


def call(tool: str, where: Where, rate: float, chips: int, first: int) -> dict[str, Any]:
    """One row of a tool, or one that says why there is none."""
    if tool.endswith(A_CORE):
        return call_on_cores(tool, where, rate, chips, first)
    module, name, options = TOOLS[tool]
    if module in BATCHED:
        batch = {} if where.batch is None else {"batch": where.batch}
        options = {**options, **batch, "device": where.device}
    try:
        function: Callable[..., dict[str, Any]] = getattr(importlib.import_module(module), name)
        row = function(*where[:2], rate, chips, where.max_examples, first=first, **options)
    except Exception as error:  # whatever a third party throws is the result
        said = (str(error).splitlines() or [""])[0]
        row = error_row(tool, rate, f"{type(error).__name__}: {said}")
    return {**row, "tool": tool, "first": first}


@functools.cache
def pools() -> list[ProcessPoolExecutor]:
    """A process for each core, started once and pinned to it."""
    spawn = multiprocessing.get_context("spawn")
    return [
        ProcessPoolExecutor(1, spawn, initializer=os.sched_setaffinity, initargs=(0, {core}))
        for core in sorted(os.sched_getaffinity(0))
    ]


def call_on_cores(tool: str, where: Where, rate: float, chips: int, first: int) -> dict[str, Any]:
    """The row of a tool in one process a core, all at once; its chips' seconds are divided by them.

    Each process makes as many chips as the one on all cores does, after one that is not counted.
    """
    alone = tool.removesuffix(A_CORE)
    jobs = [
        pool.submit(call, alone, where, rate, chips, first + 1_000_000 * k)
        for k, pool in enumerate(pools())
    ]
    rows = [job.result() for job in jobs]
    wrong = next((row for row in rows if "error" in row), None)
    if wrong is not None:
        return {**wrong, "tool": tool}
    together = zip(*(row["seconds"] for row in rows), strict=True)
    seconds = [statistics.fmean(one) / len(rows) for one in together]
    return {
        **rows[0],
        "tool": tool,
        "seconds": seconds,
        "seconds_a_chip": statistics.median(seconds),
        "stages": {k: v / len(rows) for k, v in rows[0]["stages"].items()},
        "scores": [score for row in rows for score in row["scores"]],
        "stuck_cells": [n for row in rows for n in row["stuck_cells"]],
        "note": f"{rows[0]['note']}; {len(rows)} processes, a core each",
    }


def take_rounds(
    tools: Sequence[str], where: Where, rates: Sequence[float], chips: int, rounds: int
) -> list[dict[str, Any]]:
    """All rows: every tool at every rate in every round, every other round backwards."""
    rows: list[dict[str, Any]] = []
    broken: set[str] = set()
    for i in range(rounds):
        for rate in rates:
            for tool in tools if i % 2 == 0 else reversed(tools):
                if tool in broken or (tool in RATELESS and rate != rates[0]):
                    continue
                row = {**call(tool, where, rate, chips, i * (chips + 1)), "round": i}
                rows.append(row)
                broken |= {tool} if "error" in row else set()
                print(f"round {i} rate {rate:g} {tool}: {_said(row)}", flush=True)
    return rows


def _said(row: dict[str, Any]) -> str:
    return row.get("error") or f"{row['seconds_a_chip']:.3f} s, score {row['mean_score']:.4f}"


def fold(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """One entry for each tool and rate: medians over chips, ratios over rounds.

    Args:
        rows: raw rows of all rounds.

    Returns:
        Entries in the order in which tools and rates first came.
    """
    groups: dict[tuple[str, float | None], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["tool"], row["rate"]), []).append(row)
    ours = {
        (row["rate"], row["round"]): row["seconds_a_chip"]
        for row in rows
        if row["tool"] == "rerax" and "error" not in row
    }
    rates = [row["rate"] for row in rows if row["tool"] == "rerax"]
    entries = []
    for (tool, rate), whole in groups.items():
        group = [row for row in whole if "error" not in row]
        if not group:
            entries.append({"tool": tool, "rate": rate, "error": whole[0]["error"]})
            continue
        paired = [(r, ours.get((rates[0] if rate is None else rate, r["round"]))) for r in group]
        ratios = [r["seconds_a_chip"] / base for r, base in paired if base]
        scores = [score for r in group for score in r["scores"]]
        entries.append(
            {
                "tool": tool,
                "rate": rate,
                "chips": len(scores),
                "seconds_a_chip": statistics.median(s for r in group for s in r["seconds"]),
                "ratio_to_rerax": statistics.median(ratios) if ratios else None,
                "ratios": ratios,
                "stages": group[-1]["stages"],
                "mean_score": statistics.fmean(scores),
                "first_call_seconds": group[0]["first_call_seconds"],
                "extrapolated": group[0]["extrapolated"],
                "note": group[0]["note"],
            }
        )
    return entries


def print_table(entries: Sequence[dict[str, Any]]) -> None:
    """Ratios above 1 are slower than rerax; a star marks the better way to use the cores."""
    print(
        f"{'tool':24} {'rate':>6} {'s a chip':>9} {'ratio':>7} {'score':>7} {'1st call':>9}  stages"
    )
    for e in sorted(entries, key=lambda e: (e["rate"] is None, e["rate"] or 0)):
        rate = "-" if e["rate"] is None else f"{e['rate']:g}"
        if "error" in e:
            print(f"{e['tool']:24} {rate:>6} {e['error']}")
            continue
        ratio = "-" if e["ratio_to_rerax"] is None else f"{e['ratio_to_rerax']:.2f}"
        stages = ", ".join(f"{name} {seconds:.3f}" for name, seconds in e["stages"].items())
        mark = " (extrapolated)" if e["extrapolated"] else ""
        print(
            f"{e['tool'] + _star(e, entries):24} {rate:>6} {e['seconds_a_chip']:9.3f} {ratio:>7} "
            f"{e['mean_score']:7.4f} {e['first_call_seconds']:9.1f}  {stages}{mark}"
        )


def _star(entry: dict[str, Any], entries: Sequence[dict[str, Any]]) -> str:
    name = entry["tool"].removesuffix(A_CORE)
    both = [
        e["seconds_a_chip"]
        for e in entries
        if e["tool"].removesuffix(A_CORE) == name
        and e["rate"] == entry["rate"]
        and "error" not in e
    ]
    return "*" if len(both) > 1 and entry["seconds_a_chip"] == min(both) else ""


def machine() -> dict[str, Any]:
    """What the times were taken on; no names."""
    from rerax.bench.machine import describe

    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {**describe(), "memory_gb": round(memory / 1e9, 1), "load_before": os.getloadavg()}


def write_base(folder: str, model: str) -> str:
    """A BERT-base shape with random weights, with the tokenizer and labels of a model."""
    import dataclasses

    import jax

    from rerax.models.bert import convert
    from rerax.models.bert.config import BertConfig
    from rerax.models.bert.model import init_params

    source = convert.read_config(Path(model))
    shape = BertConfig(vocab_size=source.vocab_size, labels=source.labels)
    config = dataclasses.replace(shape, type_vocab_size=source.type_vocab_size)
    params = jax.device_get(init_params(config, jax.random.key(0)))
    convert.save(folder, config, params, source=Path(model))
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model")
    parser.add_argument("--data")
    parser.add_argument("--shape", choices=("model", "base"), default="model")
    parser.add_argument("--rates", type=lambda s: [float(r) for r in s.split(",")], default=RATES)
    parser.add_argument("--chips", type=int, default=2, help="chips of a call, without its first")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--max-examples", type=int)
    parser.add_argument("--batch", type=int, help="of torch_dense and torch_sparse")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="of PyTorch")
    parser.add_argument("--only", type=lambda s: s.split(","), help="tools")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--print", type=Path, dest="printed")
    given = parser.parse_args()
    if given.printed:
        return print_table(fold(json.loads(given.printed.read_text(encoding="utf-8"))["rows"]))
    if not (given.model and given.data and given.out):
        parser.error("--model, --data and --out are needed")
    tools = given.only or DEFAULT[given.device]
    unknown = [tool for tool in tools if tool not in TOOLS]
    if unknown:
        parser.error(f"unknown tool {unknown[0]!r}: use some of {', '.join(TOOLS)}")
    # Or JAX takes the whole of a GPU's memory at once, and leaves PyTorch none.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    found = machine()
    with tempfile.TemporaryDirectory() as folder:
        model = write_base(folder, given.model) if given.shape == "base" else given.model
        where = Where(model, given.data, given.max_examples, given.batch, given.device)
        rows = take_rounds(tools, where, given.rates, given.chips, given.rounds)
        for pool in pools() if pools.cache_info().currsize else ():
            pool.shutdown()
    settings = {
        "model": "BERT-base shape, random weights" if given.shape == "base" else Path(model).name,
        "max_examples": given.max_examples,
        "batch": given.batch,
        "device": given.device,
        "rounds": given.rounds,
        "chips_a_call": given.chips,
    }
    result = {"machine": found, "settings": settings, "table": fold(rows), "rows": rows}
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print_table(result["table"])


if __name__ == "__main__":
    main()
