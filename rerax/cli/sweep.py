"""rerax sweep."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Annotated, Any

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
    Polarity,
    Quiet,
    Sensitivity,
    Share,
    Tasks,
    TestedFlag,
    Tile,
    Wide,
    app,
    changed,
    command_text,
    flag,
    names,
)
from rerax.values import printable, read_budget

if TYPE_CHECKING:
    from rerax.campaign.point import Point

RATES = "0,1e-4,1e-3,1e-2"
LISTS = (
    *("encoding", "bits", "bits_per_cell", "tile", "layout", "polarity", "fault", "protection"),
    "tested",
)
"""Fields of a point that several values make a grid of."""
SINGLE = ("input_bits", "dtype", "matrices")
"""And those of one value."""
OF_A_POINT = (
    *("rates", "sa1_share", "sa0", "sa1", *LISTS, *SINGLE),
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
    max_length: MaxLength = None,
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
        flag(
            "Instead: 64, 128, 256, .. chips, until the mean's SE is at most X; with --max-chips.",
            "X",
        ),
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
    polarity: Polarity = "plain",
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
            "none, duplicate:3, msb:2x3:pruned (or :lsb, :pruned+lsb), code:golay:4:pruned (or "
            "hamming, secded, bch), closest+sign, plan, plan:FILE; :erasures behind.",
            "NAME,..",
        ),
    ] = "none",
    tested: TestedFlag = "all",
    plan_rate: PlanRate = None,
    sensitivity: Sensitivity = None,
    budget: Budget = "0.01",
    distributed: Annotated[
        bool,
        typer.Option(
            "--distributed",
            help="Share the work with the other processes of this SLURM, Open MPI, Kubernetes or "
            "TPU pod job.",
        ),
    ] = False,
    coordinator: Annotated[
        str | None, flag("Or with N processes, of which number 0 listens there.", "HOST:PORT")
    ] = None,
    processes: Annotated[int | None, flag("With --coordinator: how many.", "N")] = None,
    process: Annotated[int | None, flag("With --coordinator: which one this is.", "I")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what it would cost, and do nothing.")
    ] = False,
    quiet: Quiet = False,
    wide: Wide = False,
) -> None:
    """Score a BERT on simulated faulty chips and print a table; rows go to a Parquet folder.

    Comma lists make a grid. What the folder holds already is not computed again, so the same
    command resumes a run that was cut off, and larger lists or more chips grow it. In place of
    --model, --task and the flags of a point, a Python file may give the points.
    """
    given = SimpleNamespace(**locals())
    from rerax.campaign.distributed import joined
    from rerax.campaign.manifest import read_provenance
    from rerax.campaign.plans import check_flags, with_plans
    from rerax.campaign.runner import Runner
    from rerax.campaign.workload import Settings, workloads_of
    from rerax.io import place
    from rerax.models.bert.scope import combine
    from rerax.progress import reporter
    from rerax.report import print_table
    from rerax.stats.stopping import make_rule

    loss = read_budget(budget)
    rule = make_rule(until_se, max_chips, chips)
    scopes = combine(faulty_layers, faulty_matrices, faulty_bits)
    points, models, data = _of_study(study, given) if study is not None else _of_flags(given)
    where = place(out)
    check_flags(points, plan_rate, sensitivity)
    settings = Settings(
        64 if chips is None else chips,
        seed,
        chunk,
        lanes,
        all_cores=True,
        command=command_text(sweep, vars(given)),
    )
    with joined(distributed and not dry_run, coordinator, processes, process) as team:
        parts = workloads_of(
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
        resolved, plans = with_plans(parts, plan_rate, sensitivity, where, find=not dry_run)
        if dry_run:
            _foretell(resolved, settings, where)
            return
        runner = Runner(resolved, settings, where, plans, rule, team)
        with reporter(quiet or not team.leads) as tell:
            for progress in runner.run():
                tell(progress)
        if team.leads:
            print_table(runner.rows, loss, stopped=rule, runs=read_provenance(where), wide=wide)


Asked = tuple[Sequence["Point"], Mapping[str, str], str]
"""Points, the folder or hub id of each model by name, and the data."""


def _of_study(study: Path, given: Any) -> Asked:
    """What a study's file asks for.

    Raises:
        ValueError: a bad file, or a flag beside it that the study says itself.
    """
    from rerax.cli.study import read_study

    unwanted = changed(sweep, vars(given), "model", "task", "name", *OF_A_POINT)
    if unwanted and study.is_file():
        raise ValueError(f"{unwanted[0]} with {study}: leave it out, the study says it")
    found = read_study(study)
    own = found.data or given.data
    return found.points, found.models, given.data if changed(sweep, vars(given), "data") else own


def _of_flags(given: Any) -> Asked:
    """The grid that the flags ask for.

    Raises:
        ValueError: a bad value, or flags that do not go together.
    """
    from rerax.campaign.grid import expand, is_measured
    from rerax.campaign.point import FIELDS, Point

    if given.model is None or given.task is None:
        missing = "--model" if given.model is None else "--task"
        raise ValueError(f"{missing} is missing: give --model and --task, or a study FILE.py")
    measured = is_measured(names(given.fault))
    own = ("rates", "sa0", "sa1", "chips", "until_se")
    their = [name.replace("_", "-") for name in own if getattr(given, name) is not None]
    if measured and their:
        raise ValueError(f"--{their[0]} with {given.fault}: leave it out, the map has its own")
    rates, share = _rates(given)
    models = _named(given.model, given.name)
    axes = {
        "task": names(given.task),
        "model": tuple(models),
        "rate": (0.0,) if measured else rates,
        **{name: tuple(map(FIELDS[name].read, names(getattr(given, name)))) for name in LISTS},
    }
    if "," in given.input_bits:
        raise ValueError(
            f"input-bits {given.input_bits!r} is a list: a folder has one, give 8 or none"
        )
    single = {name: FIELDS[name].read(getattr(given, name)) for name in SINGLE}
    task, model = axes["task"][0], axes["model"][0]
    base = Point(task=task, model=model, rate=0.0, sa1_share=share, **single)
    return expand(base, axes), models, given.data


def _rates(given: Any) -> tuple[tuple[float, ...], Any]:
    """Rates and the share of SA1 among stuck cells, from either pair of flags."""
    from rerax.campaign.point import parse_rates, parse_share, rate_and_share

    if given.sa0 is None and given.sa1 is None:
        rates = RATES if given.rates is None else given.rates
        return parse_rates(rates), parse_share(given.sa1_share or "9.04:1.75")
    if given.sa0 is None or given.sa1 is None:
        raise ValueError("--sa0 and --sa1 belong together: give both, or --rates and --sa1-share")
    if given.sa1_share is not None or given.rates is not None:
        raise ValueError("--sa0 and --sa1 set rate and share: leave out --rates and --sa1-share")
    rate, share = rate_and_share(given.sa0, given.sa1)
    return (rate,), share


def _named(model: str, name: str | None) -> dict[str, str]:
    """Folders and hub ids by name.

    Raises:
        ValueError: not as many names as models, or one name for two.
    """
    from rerax.cli.study import models_by_name

    models = (model,) if Path(model).is_dir() else names(model)
    if name is None:
        return models_by_name(models, {})
    called = names(name)
    if len(called) != len(models) or len(set(called)) < len(called):
        raise ValueError(
            f"--name {name!r} does not name {len(models)} models: give as many names, each once"
        )
    return dict(zip(called, models, strict=True))


def _foretell(parts: Any, settings: Any, out: Any) -> None:
    """Print what a run would cost."""
    from rerax.campaign.runner import dry_run

    costs = dry_run(parts, settings, out)
    for cost in costs:
        print(printable(cost.text))
    points, chips = sum(cost.points for cost in costs), sum(cost.chips for cost in costs)
    todo = chips - sum(cost.done for cost in costs)
    print(f"in all {points} points, {chips} chips, {todo} to do; nothing has been written")
