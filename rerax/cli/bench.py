"""rerax bench."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from rerax.cli.flags import DataFlags, Flags, Quiet, Wide, app, changed, flag, names, opt
from rerax.progress import say

if TYPE_CHECKING:
    from rerax.campaign.workload import Inputs


class MeasuredFlags(Flags, heading="Model and data"):
    """A model in place of a random one."""

    model: str | None = opt("Instead: folder or hub id of a BERT.", "DIR")
    task: str = opt("With --model: its GLUE task.", "NAME", "sst2")
    data: str = opt("With --model: GLUE folder or hub id.", "DIR", "nyu-mll/glue")


@app.command()
def bench(
    shape: Annotated[
        str | None, flag("A random BERT of this shape: minilm or base [minilm].")
    ] = None,
    *,
    measured: MeasuredFlags,
    length: Annotated[DataFlags, "max_length"],
    examples: Annotated[int, flag("Random sentences, or the first N of the split.", "N")] = 872,
    rates: Annotated[str, flag("Fault rates.", "P,..")] = "1e-3,1e-2",
    protection: Annotated[
        str | None, flag("Protections [none, and msb:2x3:pruned where there are gates].", "NAME,..")
    ] = None,
    rounds: Annotated[int, flag("How often each piece is timed.", "N")] = 5,
    growth: Annotated[bool, flag("Also double chips, sentences, model and rate.")] = False,
    json_file: Annotated[
        Path | None, flag("Write the raw numbers here.", "FILE", name="--json")
    ] = None,
    quiet: Quiet = False,
    wide: Wide = False,
) -> None:
    """Take a chip apart on this machine: where its time goes, and the least that would do.

    Each stage stands beside a floor, from product rates and a memory bandwidth that are measured
    in the same run.
    """
    from rerax.campaign.folder import check_file
    from rerax.campaign.point import parse_rates
    from rerax.io import write_new_json
    from rerax.protection import protection as protection_of
    from rerax.protection import without_planner

    if json_file is not None:
        check_file(json_file)
    asked = parse_rates(rates)
    for one in names(protection or "none"):
        without_planner(protection_of(one))
    for name, value in (("examples", examples), ("rounds", rounds)):
        if value < 1:
            raise ValueError(f"{name} {value} is too few: give at least 1")
    if measured.model is None:
        for name in changed(measured, length):
            raise ValueError(f"{name} without --model means nothing: give both, or leave it out")
        inputs = _random(shape or "minilm", examples)
    elif shape is not None:
        raise ValueError(f"--shape {shape} with --model {measured.model}: leave one of them out")
    else:
        from rerax.campaign.workload import read_workload

        kept: dict[str, Any] = {"max_examples": examples, "max_length": length.max_length}
        workload = read_workload(measured.model, measured.task, "model", data=measured.data, **kept)
        inputs = workload.load()
    from rerax.bench.record import measure, print_bench

    def tell(text: str) -> None:
        if not quiet:
            say(f"measuring {text}")

    default = "none" if inputs.gates is None else "none,msb:2x3:pruned"
    found = measure(inputs, asked, names(protection or default), rounds, growth, tell)
    print_bench(found, wide)
    if json_file is not None:
        write_new_json(json_file, found)


def _random(shape: str, examples: int) -> "Inputs":
    from rerax.bench.cases import SHAPES, random_inputs

    if shape not in SHAPES:
        raise ValueError(f"shape {shape!r} is unknown: give {' or '.join(SHAPES)}, or a --model")
    return random_inputs(SHAPES[shape], examples, pruned=True)
