"""One benchmark from end to end: measured, printed, and as plain values for JSON."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

import jax

from rerax.bench.cases import make_case
from rerax.bench.growth import curves
from rerax.bench.machine import describe, measure_roofline
from rerax.bench.stages import take_apart
from rerax.campaign.workload import Inputs
from rerax.report import Column, print_columns
from rerax.values import rate_text


def measure(
    inputs: Inputs,
    rates: Sequence[float],
    protections: Sequence[str],
    rounds: int,
    growth: bool,
    tell: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Measure the machine, and chips on it.

    Args:
        inputs: the model and examples.
        rates: fault rates.
        protections: by their names.
        rounds: how often each piece is timed.
        growth: also measure how cost grows.
        tell: told of what is at work.

    Raises:
        ValueError: no room for a protection.
    """
    tell("limits of this machine")
    roofline = measure_roofline()
    chips = []
    for name in protections:
        case = make_case(inputs, name)
        for rate in rates:
            tell(f"a chip at rate {rate_text(rate)}, protection {name}")
            whole, stages = take_apart(case, rate, roofline, rounds)
            chips.append(
                {
                    "protection": name,
                    "rate": rate,
                    "lanes": case.network.lanes,
                    "seconds_a_chip": whole / case.network.lanes,
                    "stages": [asdict(stage) for stage in stages],
                }
            )
    found = {
        "machine": describe(),
        "limits": asdict(roofline),
        "model": {
            "hidden_size": inputs.config.hidden_size,
            "layers": inputs.config.num_hidden_layers,
            "sentences": len(inputs.examples),
            "tokens": case.batches.tokens,
            "real_tokens": case.batches.real_tokens,
        },
        "chips": chips,
    }
    if growth:
        grown = curves(inputs.config, len(inputs.examples), rounds, tell)
        found["growth"] = [{**asdict(curve), "exponent": curve.exponent} for curve in grown]
    return jax.tree.map(_rounded, found)


def print_bench(found: dict[str, Any], wide: bool = False) -> None:
    """Print what `measure` found: a line for each stage, then how cost grows.

    Args:
        found: by `measure`.
        wide: all columns, however narrow the terminal.
    """
    lines = [line for chip in found["chips"] for line in _table_lines(chip)]
    texts = list(zip(*lines, strict=True))
    speeds = found["limits"]["products"].items()
    rates = ", ".join(f"{name} {rate / 1e9:.0f}" for name, rate in speeds)
    busy = any(line[6] and float(line[6]) < 1 for line in lines)
    print_columns(
        [
            Column("protection", texts[0], number=False),
            Column("rate", texts[1]),
            Column("stage", texts[2], number=False),
            Column("ms a chip", texts[3]),
            Column("share", texts[4], rank=1),
            Column("floor", texts[5], rank=1),
            Column("x floor", texts[6]),
            Column("what the floor counts", texts[7], number=False, rank=2),
        ],
        [
            ", ".join(str(value) for value in found["machine"].values()),
            f"{found['model']['tokens']:,} tokens computed, "
            f"{found['model']['real_tokens']:,} of them real",
            f"measured here: products {rates} G operations a second, "
            f"memory {found['limits']['bandwidth'] / 1e9:.1f} and cache "
            f"{found['limits']['cache'] / 1e9:.1f} GB a second",
            *["x floor below 1: other programs slowed the measuring of speeds; run it again"]
            * busy,
        ],
        wide=wide,
    )
    for chip in found["chips"]:
        print(_end_to_end(chip))
    for curve in found.get("growth", ()):
        times = ", ".join(
            f"{size:g}: {1e3 * time:.0f} ms"
            for size, time in zip(curve["sizes"], curve["seconds"], strict=True)
        )
        print(f"time grows as {curve['name']} ^ {curve['exponent']:.2f}   ({times})")


def _table_lines(chip: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    """Write the table's lines of one chip: the whole, then its stages."""
    lanes, whole = chip["lanes"], chip["seconds_a_chip"]
    floor = sum(stage["floor"] for stage in chip["stages"]) / lanes
    head = (chip["protection"], rate_text(chip["rate"]), "whole chip", f"{1e3 * whole:.1f}", "")
    yield (*head, f"{1e3 * floor:.1f}", f"{whole / floor:.1f}", "")
    for stage in chip["stages"]:
        time, least = stage["seconds"] / lanes, stage["floor"] / lanes
        yield (
            "",
            "",
            f"  {stage['name']}",
            f"{1e3 * time:.1f}",
            f"{100 * time / whole:.0f} %",
            f"{1e3 * least:.1f}",
            f"{time / least:.1f}" if least else "",
            stage["what"],
        )


def _end_to_end(chip: dict[str, Any]) -> str:
    """Say how much of the chip's whole time its products would need at the measured rate."""
    (least,) = (s["floor"] for s in chip["stages"] if s["name"] == "crossbar products")
    share = least / chip["lanes"] / chip["seconds_a_chip"]
    return (
        f"from end to end, {chip['protection']} at rate {rate_text(chip['rate'])}: "
        f"crossbar products at {100 * share:.0f} % of the measured rate"
    )


def _rounded(value: Any) -> Any:
    return float(f"{value:.4g}") if isinstance(value, float) else value
