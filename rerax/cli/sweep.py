"""rerax sweep."""

from pathlib import Path
from typing import Annotated

from rerax.cli.flags import (
    Bits,
    BitsPerCell,
    Budget,
    Data,
    Encoding,
    Fault,
    FaultyBits,
    FaultyLayers,
    FaultyMatrices,
    Labels,
    Layout,
    Matrices,
    MaxLength,
    Model,
    Quiet,
    Share,
    Task,
    Tile,
    app,
    flag,
    names,
    numbers,
    run_and_print,
)

RATES = "0,1e-4,1e-3,1e-2"


@app.command()
def sweep(
    model: Model,
    task: Task,
    out: Annotated[Path, flag("Campaign folder to fill or grow.", "FOLDER")],
    name: Annotated[
        str | None, flag("Name of the model in the rows [last part of --model].")
    ] = None,
    data: Data = "nyu-mll/glue",
    split: Annotated[str, flag("Split with labels.")] = "validation",
    max_examples: Annotated[int | None, flag("Use only the first N examples.", "N")] = None,
    max_length: MaxLength = 128,
    labels: Labels = None,
    rates: Annotated[
        str | None, flag(f"Fractions of faulty cells, 0 to 1 [{RATES}].", "P,..")
    ] = None,
    sa1_share: Share = None,
    sa0: Annotated[str | None, flag("Rate of stuck-at-0 cells; with --sa1, sets the rate.")] = None,
    sa1: Annotated[str | None, flag("Rate of stuck-at-1 cells; with --sa0, sets the rate.")] = None,
    chips: Annotated[int | None, flag("Chips of every point [64].", "N")] = None,
    seed: Annotated[int, flag("Seed of all chips.", "N")] = 0,
    chunk: Annotated[int | None, flag("Chips a dispatch; changes no result.", "N")] = None,
    lanes: Annotated[int | None, flag("Chips side by side; part of the platform.", "N")] = None,
    encoding: Encoding = "offset",
    bits: Bits = "8",
    bits_per_cell: BitsPerCell = "1",
    tile: Tile = "128x128",
    layout: Layout = "interleaved",
    input_bits: Annotated[str, flag("Bits of an input: 8, or none for float.", "8|none")] = "8",
    dtype: Annotated[
        str, flag("Compute dtype off the crossbars: float32 or bfloat16.")
    ] = "float32",
    matrices: Matrices = "encoder,pooler,classifier",
    fault: Fault = "uniform",
    faulty_layers: FaultyLayers = None,
    faulty_matrices: FaultyMatrices = None,
    faulty_bits: FaultyBits = None,
    protection: Annotated[
        str,
        flag(
            "none, duplicate:3, msb:2x3:pruned (or :lsb, :pruned+lsb); :erasures behind.", "NAME,.."
        ),
    ] = "none",
    budget: Budget = 0.01,
    quiet: Quiet = False,
) -> None:
    """Score a BERT on simulated faulty chips and print a table; rows go to a Parquet folder.

    Comma lists make a grid. What the folder holds already is not computed again, so the same
    command resumes a run that was cut off, and larger lists or more chips grow it.
    """
    from rerax.campaign.grid import expand, spread
    from rerax.campaign.lot import is_measured, with_realised_rates
    from rerax.campaign.point import Point, parse_rates, parse_share, rate_and_share
    from rerax.campaign.run import run
    from rerax.campaign.source import read_subject
    from rerax.campaign.subject import Settings
    from rerax.scope import combine

    measured = is_measured(names(fault))
    own = {"rates": rates, "sa0": sa0, "sa1": sa1, "chips": chips}
    given = [name for name, value in own.items() if value is not None]
    if measured and given:
        raise ValueError(f"--{given[0]} with {fault}: leave it out, the map has its own")
    if (sa0 is None) != (sa1 is None):
        raise ValueError("--sa0 and --sa1 belong together: give both, or --rates and --sa1-share")
    if sa0 is not None and sa1 is not None:
        if sa1_share is not None or rates is not None:
            raise ValueError(
                "--sa0 and --sa1 set rate and share: leave out --rates and --sa1-share"
            )
        rate, share = rate_and_share(sa0, sa1)
        all_rates: tuple[float, ...] = (rate,)
    else:
        all_rates, share = (
            parse_rates(RATES if rates is None else rates),
            parse_share(sa1_share or "9.04:1.75"),
        )
    axes = {
        "rate": (0.0,) if measured else all_rates,
        "encoding": names(encoding),
        "bits": numbers(bits, "bits"),
        "bits_per_cell": numbers(bits_per_cell, "bits-per-cell"),
        "tile": names(tile),
        "layout": names(layout),
        "fault": names(fault),
        "protection": names(protection),
    }
    base = Point(
        task=task,
        model=name or Path(model).name or model,
        rate=0.0,
        sa1_share=share,
        input_bits=None if input_bits == "none" else numbers(input_bits, "input-bits")[0],
        dtype=dtype,
        matrices=",".join(names(matrices)),
    )
    points = expand(base, axes)
    settings = Settings(64 if chips is None else chips, seed, chunk, lanes)
    subject = read_subject(
        model,
        task,
        base.model,
        data=data,
        split=split,
        max_examples=max_examples,
        max_length=max_length,
        labels=names(labels) if labels else None,
    )
    points = with_realised_rates(points, subject.config)
    scopes = combine(faulty_layers, faulty_matrices, faulty_bits)
    points = spread(points, scopes, subject.config.num_hidden_layers)
    run_and_print(lambda tell: run(subject, points, settings, out, tell), budget, quiet)
