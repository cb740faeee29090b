"""rerax sweep."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

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
    Models,
    PlanRate,
    Quiet,
    Sensitivity,
    Share,
    Tasks,
    Tile,
    app,
    changed,
    flag,
    names,
    numbers,
    run_and_print,
)

RATES = "0,1e-4,1e-3,1e-2"
OF_A_POINT = (
    *("rates", "sa1_share", "sa0", "sa1", "encoding", "bits", "bits_per_cell", "tile", "layout"),
    *("input_bits", "dtype", "matrices", "fault", "protection"),
    *("faulty_layers", "faulty_matrices", "faulty_bits"),
)
"""Parameters that a study's points have in themselves."""


@app.command()
def sweep(
    out: Annotated[str, flag("Campaign folder to fill or grow, or gs://.., s3://..", "FOLDER")],
    study: Annotated[
        Path | None, typer.Argument(help="Python file whose points() gives the points.")
    ] = None,
    model: Models = None,
    task: Tasks = None,
    name: Annotated[
        str | None, flag("Name of the model in the rows [last part of --model].", "NAME,..")
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
    until_se: Annotated[
        float | None,
        flag("Instead: 64, 128, 256, .. chips, until the mean's SE is at most X.", "X"),
    ] = None,
    max_chips: Annotated[int | None, flag("With --until-se: at most N chips.", "N")] = None,
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
            "none, duplicate:3, msb:2x3:pruned (or :lsb, :pruned+lsb), plan, plan:FILE; "
            ":erasures behind.",
            "NAME,..",
        ),
    ] = "none",
    plan_rate: PlanRate = None,
    sensitivity: Sensitivity = None,
    budget: Budget = 0.01,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what it would cost, and do nothing.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Score a BERT on simulated faulty chips and print a table; rows go to a Parquet folder.

    Comma lists make a grid. What the folder holds already is not computed again, so the same
    command resumes a run that was cut off, and larger lists or more chips grow it. In place of
    --model, --task and the flags of a point, a Python file may give the points.
    """
    values = dict(locals())
    from rerax.campaign.files import place
    from rerax.campaign.grid import expand
    from rerax.campaign.lot import is_measured
    from rerax.campaign.point import Point, parse_rates, parse_share, rate_and_share
    from rerax.campaign.several import run_all, shares_of, with_plans
    from rerax.campaign.stopping import make_rule
    from rerax.campaign.study import read_study
    from rerax.campaign.subject import Settings
    from rerax.scope import combine

    rule = make_rule(until_se, max_chips, chips)
    scopes = combine(faulty_layers, faulty_matrices, faulty_bits)

    def finish(points: Sequence["Point"], models: Mapping[str, str], data: str) -> None:
        where = place(out)
        settings = Settings(64 if chips is None else chips, seed, chunk, lanes)
        shares = shares_of(
            points,
            models,
            data=data,
            split=split,
            max_examples=max_examples,
            max_length=max_length,
            labels=names(labels) if labels else None,
            out=where,
            scopes=scopes,
        )
        resolved, plans = with_plans(shares, plan_rate, sensitivity, where, find=not dry_run)
        if dry_run:
            _foretell(resolved, settings, where)
            return
        run_and_print(
            lambda tell: run_all(resolved, settings, where, tell, plans, rule), budget, quiet, rule
        )

    if study is not None:
        unwanted = changed(sweep, values, "model", "task", "name", *OF_A_POINT)
        if unwanted:
            raise ValueError(f"{unwanted[0]} with {study}: leave it out, the study says it")
        found = read_study(study)
        return finish(
            found.points,
            found.models,
            data if changed(sweep, values, "data") else found.data or data,
        )
    if model is None or task is None:
        missing = "--model" if model is None else "--task"
        raise ValueError(f"{missing} is missing: give --model and --task, or a study FILE.py")
    measured = is_measured(names(fault))
    own = {"rates": rates, "sa0": sa0, "sa1": sa1, "chips": chips, "until-se": until_se}
    their = [flag for flag, value in own.items() if value is not None]
    if measured and their:
        raise ValueError(f"--{their[0]} with {fault}: leave it out, the map has its own")
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
    models = _named(model, name)
    axes = {
        "task": names(task),
        "model": tuple(models),
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
        task="",
        model="",
        rate=0.0,
        sa1_share=share,
        input_bits=None if input_bits == "none" else numbers(input_bits, "input-bits")[0],
        dtype=dtype,
        matrices=",".join(names(matrices)),
    )
    finish(expand(base, axes), models, data)


def _named(model: str, name: str | None) -> dict[str, str]:
    """Folders and hub ids by name.

    Raises:
        ValueError: not as many names as models, or one name for two.
    """
    from rerax.campaign.study import models_by_name

    models = (model,) if Path(model).is_dir() else names(model)
    if name is None:
        return models_by_name(models, {})
    called = names(name)
    if len(called) != len(models) or len(set(called)) < len(called):
        raise ValueError(
            f"--name {name!r} does not name {len(models)} models: give as many names, each once"
        )
    return dict(zip(called, models, strict=True))


def _foretell(shares: Any, settings: Any, out: Any) -> None:
    """Print what a run would cost."""
    from rerax.campaign.forecast import forecast

    parts = forecast(shares, settings, out)
    for part in parts:
        print(part.text)
    points, chips = sum(p.points for p in parts), sum(p.chips for p in parts)
    todo = chips - sum(p.done for p in parts)
    print(f"in all {points} points, {chips} chips, {todo} to do; nothing has been written")
