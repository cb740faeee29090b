"""What a GPU does with a chip: rates of products, the chip and its kernels by time.

    python experiments/gpu.py [--out experiments/results/gpu.json]

A random BERT-base and sentences of 32 tokens, so that there is one shape to compile. `--only`
names parts, and FILE is written after each, for machines that are rented by the minute:

- `peaks`: limits as `rerax bench` takes them, and products of PyTorch where it is installed;
- `chip`: one lane group from end to end, and the share of the best product rate that it reaches;
  with `--lanes`, of another width than the backend's; and with arrays read in turns, not at once;
- `kernels`: what the device spends the time of such a group on;
- `fused`: the same chips through plain operations and through kernels that end a product with the
  rest (`rerax.crossbar.fused`): seconds, and how far their answers agree;
- `fused_kernels`: `kernels`, through the fused ones;
- `points`: seconds of a MiniLM's chip by dtype, protection and rate;
- `exact`: stuck cells beside those of a CPU, sums and ends of fused products beside NumPy's;
- `campaigns`: 10,000 chips of the demo model and 1,000 of the BERT-base shape, their rows written;
- `torch`: rerax and PyTorch's loops in turns, kernel by kernel, compiled and in CUDA graphs.

XLA_FLAGS are noted; what the command line sets there stands in `rerax/cli/programs.py`. Half a
minute a part, most of it compiling, two minutes for each of the last three; `--print` prints FILE
again. The last wants PyTorch, and is a row with the reason without it.
"""

import argparse
import collections
import gzip
import itertools
import json
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import gpu_exact
import gpu_torch
import jax
import numpy as np
from jax.experimental.compilation_cache import compilation_cache

import rerax
from rerax import demo
from rerax.bench import cases, machine
from rerax.bench.timing import Work, seconds
from rerax.campaign.workload import Inputs, read_workload
from rerax.models import reading
from rerax.models.bert.fused_layer import ENCODER, can_fuse

OUT = Path(__file__).parent / "results" / "gpu.json"
TOKENS, RATE, TRIES = 32, 1e-3, 3
MOST_KERNELS = 40
RATES = (1e-4, 1e-3, 1e-2)
POINTS = (
    *itertools.product(("float32",), ("none", "msb:2x3:pruned", "code:hamming:4:pruned")),
    ("bfloat16", "none"),
)
"""Dtype and protection; of a BERT-base, `fused` has both dtypes."""
CAMPAIGNS = {"demo": 10_000, "base": 1_000}
"""Chips of each."""


def make_case(given: argparse.Namespace, scheme: str = "none") -> cases.BenchCase:
    """A model laid out for this backend, in lanes of the width asked for."""
    shape, lengths = cases.SHAPES[given.shape], (TOKENS, TOKENS + 1)
    inputs = cases.random_inputs(shape, given.sentences, pruned=True, lengths=lengths)
    case = cases.make_case(inputs, scheme)
    lanes = given.lanes or case.network.lanes
    network = replace(case.network, lanes=lanes, kernels=given.kernels)
    return replace(case, network=network)


def peaks(given: argparse.Namespace) -> dict[str, Any]:
    """Products and bytes a second, by XLA and by PyTorch."""
    return {"xla": asdict(machine.measure_roofline()), "torch": torch_products()}


def torch_products() -> dict[str, float] | None:
    """Operations a second of PyTorch's products of random factors, by number format."""
    try:
        import torch
    except ImportError:
        return None
    if not torch.cuda.is_available():
        return None
    side = machine.OTHER_SIDE

    def rate(multiply: Callable[[], Any]) -> float:
        def work() -> None:
            multiply()
            torch.cuda.synchronize()

        seconds(work)
        return 2 * side**3 / min(seconds(work) for _ in range(machine.TRIES))

    a, b = (torch.randn(side, side, device="cuda") for _ in range(2))
    x, y = (torch.randint(-127, 128, (side, side), device="cuda", dtype=torch.int8) for _ in "xy")
    halves = a.bfloat16(), b.bfloat16()
    return {
        "int8": rate(lambda: torch._int_mm(x, y.t())),
        "bfloat16": rate(lambda: halves[0] @ halves[1]),
        "float32": rate(lambda: a @ b),
    }


def chip(given: argparse.Namespace) -> list[dict[str, Any]]:
    """Seconds of a chip from end to end, its products a second, and what compiling took."""
    case = make_case(given)
    work, lanes = case.chips(RATE), case.network.lanes
    first, again = first_calls(work)
    a_chip = least_seconds(work) / lanes
    operations = 2 * case.batches.tokens * case.weights
    found = {
        "lanes": lanes,
        "flags": os.environ.get("XLA_FLAGS", ""),
        "first_call_seconds": first,
        "from_disk_seconds": again,
        "seconds_a_chip": a_chip,
        "products": operations / a_chip,
    }
    return [{**found, "arrays_in_turns_seconds_a_chip": in_turns(given)}]


def in_turns(given: argparse.Namespace) -> float:
    """Seconds of a chip whose arrays of one shape are read one after the other, as on a CPU."""
    before = reading.reads_at_once
    reading.reads_at_once = lambda: False
    jax.clear_caches()
    case = make_case(given)
    work = case.chips(RATE)
    seconds(work)
    a_group = least_seconds(work)
    reading.reads_at_once = before
    jax.clear_caches()
    return a_group / case.network.lanes


def least_seconds(work: Work) -> float:
    """Time work that is compiled already: the least of TRIES."""
    return min(seconds(work) for _ in range(TRIES))


def first_calls(work: Work) -> tuple[float, float]:
    """Time the first call of some work, with nothing compiled and with its programs on disk."""
    settings = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")
    before = [getattr(jax.config, name) for name in settings]
    with tempfile.TemporaryDirectory() as folder:
        for name, value in zip(settings, (folder, 0.0), strict=True):
            jax.config.update(name, value)
        taken = []
        for _ in range(2):
            compilation_cache.reset_cache()  # or the folder of before would go on serving
            jax.clear_caches()
            taken.append(seconds(work))
        for name, value in zip(settings, before, strict=True):
            jax.config.update(name, value)
        compilation_cache.reset_cache()
    return taken[0], taken[1]


def kernels(given: argparse.Namespace) -> dict[str, Any]:
    """Seconds that the device spends on each of its kernels in one lane group."""
    work = make_case(given).chips(RATE)
    seconds(work)
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            jax.block_until_ready(work())
        (file,) = Path(folder).rglob("*.trace.json.gz")
        events = json.loads(gzip.decompress(file.read_bytes()))["traceEvents"]
    streams = {
        (event["pid"], event["tid"])
        for event in events
        if event.get("name") == "thread_name" and "Stream" in event["args"]["name"]
    }
    spent: collections.Counter[str] = collections.Counter()
    for event in events:
        if event.get("ph") == "X" and (event["pid"], event["tid"]) in streams:
            spent[event["name"]] += event["dur"] * 1e-6
    return {"busy": sum(spent.values()), "largest": dict(spent.most_common(MOST_KERNELS))}


def fused(given: argparse.Namespace) -> list[dict[str, Any]]:
    """Chips through plain operations and through fused kernels: seconds, and what they answer."""
    found = []
    for dtype in ("float32", "bfloat16"):
        answers, stuck = {}, {}
        for kernels in ("plain", given.fused):
            asked = argparse.Namespace(**{**vars(given), "kernels": kernels})
            case = make_case(asked)
            case = replace(case, network=replace(case.network, dtype=dtype))
            if not can_fuse(case.network.config, dict.fromkeys(ENCODER), 8):
                raise SystemExit(f"error: the kernels cannot tile the shape {given.shape}")
            work = case.chips(RATE)
            first = seconds(work)
            a_group = least_seconds(work)
            results = jax.device_get(work())
            answers[kernels] = np.concatenate([x.reshape(-1, x.shape[-1]) for x in results[0][0]])
            stuck[kernels] = jax.tree.leaves(results[0][1])
            found.append(
                {
                    "dtype": dtype,
                    "kernels": kernels,
                    "seconds_a_chip": a_group / case.network.lanes,
                    "first_call_seconds": first,
                }
            )
        plain, other = answers["plain"], answers[given.fused]
        same = zip(*stuck.values(), strict=True)
        found[-1] |= {
            "predictions_equal": float((plain.argmax(-1) == other.argmax(-1)).mean()),
            "largest_difference": float(np.abs(plain - other).max()),
            "cells_equal": all(np.array_equal(a, b) for a, b in same),
        }
    return found


def points(given: argparse.Namespace) -> list[dict[str, Any]]:
    """Seconds of a MiniLM's chip, by dtype, protection and rate; a first call for each program."""
    found = []
    for dtype, scheme in POINTS:
        case = make_case(argparse.Namespace(**{**vars(given), "shape": "minilm"}), scheme)
        case = replace(case, network=replace(case.network, dtype=dtype))
        first = seconds(case.chips(RATES[0]))
        for rate in RATES:
            a_group = least_seconds(case.chips(rate))
            one = {"shape": "minilm", "dtype": dtype, "protection": scheme, "rate": rate}
            lanes = case.network.lanes
            more = {"lanes": lanes, "seconds_a_chip": a_group / lanes, "first_call_seconds": first}
            found.append({**one, **more})
    return found


def campaigns(given: argparse.Namespace) -> list[dict[str, Any]]:
    """Seconds of whole campaigns at one rate, from the model in memory to the rows on disk."""
    found = []
    for name, chips in CAMPAIGNS.items():
        with tempfile.TemporaryDirectory() as folder:
            inputs, labels = campaign_inputs(name, given.sentences, Path(folder))
            start, ends = time.perf_counter(), []
            table = rerax.sweep(
                inputs.params,
                inputs.config,
                inputs.examples,
                labels,
                rates=(RATE,),
                chips=max(1, chips // given.fraction),
                out=Path(folder) / "rows",
                on_progress=lambda p, ends=ends: ends.append((p.done, time.perf_counter())),
            )
            whole = time.perf_counter() - start
        done = [end for end in ends if end[0]]
        (few, early), (most, late) = done[0], done[-1]
        found.append(
            {
                "model": name,
                "chips": table.num_rows,
                "sentences": len(labels),
                "rate": RATE,
                "seconds": whole,
                "chips_a_second": table.num_rows / whole,
                "chips_a_second_when_warm": (most - few) / max(late - early, 1e-9),
                "mean_score": float(np.mean(table["score"])),
            }
        )
    return found


def campaign_inputs(name: str, sentences: int, folder: Path) -> tuple[Inputs, np.ndarray]:
    """A model with its sentences and labels; a random one's labels mean nothing."""
    if name == "demo":
        demo.lay_out(folder)
        model, data = str(folder / "model"), str(folder / "data")
        workload = read_workload(model, "sst2", name, data=data, max_length=64)
        return workload.load(), workload.labels
    shape, lengths = cases.SHAPES[name], (TOKENS, TOKENS + 1)
    return cases.random_inputs(shape, sentences, lengths=lengths), np.arange(sentences) % 2


PARTS: dict[str, Callable[[argparse.Namespace], Any]] = {
    "peaks": peaks,
    "chip": chip,
    "kernels": kernels,
    "fused": fused,
    "fused_kernels": lambda given: kernels(
        argparse.Namespace(**{**vars(given), "kernels": given.fused})
    ),
    "points": points,
    "exact": lambda given: gpu_exact.exact(given.fused),
    "campaigns": campaigns,
    "torch": lambda given: gpu_torch.loops(given.sentences, RATE),
}


def print_parts(found: dict[str, Any]) -> None:
    """What was found, in a line each."""
    print(", ".join(str(value) for value in found["machine"].values()))
    rates = [
        part["products"] if name == "xla" else part
        for name, part in found.get("peaks", {}).items()
        if part
    ]
    for name in machine.FORMATS if rates else ():
        print(f"best {name} products: {max(one[name] for one in rates) / 1e12:.0f} T a second")
    turns = "arrays_in_turns_seconds_a_chip"
    for one in found.get("chip", ()):
        best = max((max(each.values()) for each in rates), default=float("nan"))
        print(
            f"{1e3 * one['seconds_a_chip']:.1f} ms a chip in {one['lanes']} lanes "
            f"{one['flags']}: {one['products'] / 1e12:.0f} T a second, "
            f"{100 * one['products'] / best:.0f} % of the best; "
            f"first call {one['first_call_seconds']:.0f} s"
            + (f", from disk {one['from_disk_seconds']:.1f}" if "from_disk_seconds" in one else "")
            + (f"; {1e3 * one[turns]:.1f} ms with arrays in turns" if turns in one else "")
        )
    for part in ("kernels", "fused_kernels"):
        for name, spent in found.get(part, {}).get("largest", {}).items():
            print(f"{part}: {100 * spent / found[part]['busy']:5.1f} %  {name}")
    for one in found.get("fused", ()):
        print(", ".join(f"{name.replace('_', ' ')} {value}" for name, value in one.items()))
    for one in found.get("points", ()):
        print(
            f"{one['shape']} {one['dtype']} {one['protection']} at {one['rate']:g}: "
            f"{1e3 * one['seconds_a_chip']:.2f} ms a chip, first call "
            f"{one['first_call_seconds']:.0f} s"
        )
    for one in found.get("campaigns", ()):
        print(
            f"{one['chips']} chips of {one['model']}, {one['sentences']} sentences: "
            f"{one['seconds']:.1f} s, {one['chips_a_second_when_warm']:.0f} a second when warm"
        )
    for name, value in found.get("exact", {}).items():
        print(f"{name.replace('_', ' ')}: {value}")
    if "torch" in found:
        gpu_torch.run.print_table(found["torch"])


def main() -> None:
    """Measure the parts, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", type=lambda s: s.split(","), default=list(PARTS))
    parser.add_argument("--shape", choices=tuple(cases.SHAPES), default="base")
    parser.add_argument("--sentences", type=int, default=cases.SENTENCES)
    parser.add_argument("--lanes", type=int, help="chips in one vmap, if not the backend's")
    ways = ("plain", "triton", "interpret")
    parser.add_argument("--kernels", choices=ways, default="plain", help="of all other parts")
    parser.add_argument("--fused", choices=ways[1:], default="triton", help="of the part fused")
    parser.add_argument("--fraction", type=int, default=1, help="1/N of the campaigns' chips")
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--print", action="store_true", help="only print FILE")
    given = parser.parse_args()
    if given.print:
        return print_parts(json.loads(given.out.read_text(encoding="utf-8")))
    unknown = [name for name in given.only if name not in PARTS]
    if unknown:
        parser.error(f"unknown part {unknown[0]!r}: use some of {', '.join(PARTS)}")
    # Or JAX takes the whole of a GPU's memory at once, and leaves PyTorch none.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    found: dict[str, Any] = {"machine": machine.describe()}
    given.out.parent.mkdir(parents=True, exist_ok=True)
    for name in given.only:
        found[name] = PARTS[name](given)
        given.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print_parts(found)


if __name__ == "__main__":
    main()
