"""rerax sweep."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rerax.cli.flags import (
    RATES,
    Budget,
    DataFlags,
    Flags,
    ModelFlags,
    PlanFlags,
    PointFlags,
    Quiet,
    RateFlags,
    Wide,
    app,
    changed,
    check_share,
    command_text,
    flag,
    names,
    opt,
)
from rerax.values import printable, read_budget

if TYPE_CHECKING:
    from rerax.campaign.point import Point
    from rerax.glue.selection import Selection

LISTS = (
    *("encoding", "bits", "bits_per_cell", "tile", "layout", "polarity", "fault", "protection"),
    *("tested", "misread"),
)
"""Fields of a point that several values make a grid of."""
SINGLE = ("input_bits", "dtype", "matrices")
"""And those of one value."""


class RunFlags(Flags, heading="Chips"):
    """How many chips, and how they are computed."""

    chips: int | None = opt("Chips of every point [64].", "N")
    until_se: float | None = opt(
        "Instead: 64, 128, 256, .. chips, until the mean's SE is at most X; with --max-chips.", "X"
    )
    max_chips: int | None = opt("With --until-se: at most N chips.", "N")
    examples_per_chip: str | None = opt(
        "Let each chip answer about N examples of its own, or auto; for accuracy.", "N"
    )
    seed: int = opt("Seed of all chips.", "N", 0)
    chunk: int | None = opt("Chips a dispatch; changes no result.", "N", heading="Machine")
    lanes: int | None = opt("Chips side by side; part of the platform.", "N", heading="Machine")


class ProcessFlags(Flags, heading="Machine"):
    """Which processes share the work."""

    distributed: bool = opt(
        "Share the work with the other processes of this SLURM, Open MPI, Kubernetes or TPU pod "
        "job.",
        value=False,
    )
    coordinator: str | None = opt(
        "Or with N processes, of which number 0 listens there.", "HOST:PORT"
    )
    processes: int | None = opt("With --coordinator: how many.", "N")
    process: int | None = opt("With --coordinator: which one this is.", "I")


@app.command()
def sweep(
    out: Annotated[str, flag("Campaign folder to fill or grow, or gs://.., s3://..", "FOLDER")],
    study: Annotated[
        Path | None,
        typer.Argument(help="Python file whose points() gives the points, or TOML file of grids."),
    ] = None,
    *,
    models: ModelFlags,
    data: DataFlags,
    rates: RateFlags,
    run: RunFlags,
    point: PointFlags,
    plan: PlanFlags,
    budget: Budget = "0.01",
    among: ProcessFlags,
    dry_run: Annotated[bool, flag("Say what it would cost, and do nothing.")] = False,
    quiet: Quiet = False,
    wide: Wide = False,
) -> None:
    """Score a BERT on simulated faulty chips and print a table; rows go to a Parquet folder.

    Comma lists make a grid. What the folder holds already is not computed again, so the same
    command resumes a run that was cut off, and larger lists or more chips grow it. In place of
    --model, --task and the flags of a point, a file may give the points.
    """
    line = command_text(sweep, locals(), [] if study is None else changed(data))
    from rerax.campaign.distributed import joined
    from rerax.campaign.plans import check_flags, with_plans
    from rerax.campaign.runner import Runner
    from rerax.campaign.sampling import with_samples
    from rerax.campaign.sidecars import read_provenance
    from rerax.campaign.workload import Settings, workloads_of
    from rerax.faults import Measured
    from rerax.io import place
    from rerax.models.bert.scope import combine
    from rerax.progress import reporter
    from rerax.report import print_table
    from rerax.stats.stopping import make_rule

    loss = read_budget(budget)
    rule = make_rule(run.until_se, run.max_chips, run.chips)
    scopes = combine(point.faulty_layers, point.faulty_matrices, point.faulty_bits)
    given = models, data, rates, point
    points, named, selection = _of_flags(*given, run) if study is None else _of_study(*given, study)
    mapped = [one.fault.text for one in points if isinstance(one.fault, Measured)]
    if mapped and run.chips is not None:
        raise ValueError(f"--chips with {mapped[0]}: leave it out, the map has its own")
    where = place(out)
    design = plan.plan_rate, plan.sensitivity
    check_flags(points, *design)
    chips = 64 if run.chips is None else run.chips
    settings = Settings(chips, run.seed, run.chunk, run.lanes, all_cores=True, command=line)
    joining = among.distributed, among.coordinator, among.processes, among.process
    with joined() if dry_run else joined(*joining) as processes:
        parts = workloads_of(points, named, scopes, out=where, **vars(selection))
        resolved, plans = with_plans(parts, *design, where, find=not dry_run)
        asked = (resolved, run.examples_per_chip, settings, where, not dry_run)
        silent = quiet or not processes.leads or run.examples_per_chip is None
        with reporter(silent) as tell:
            resolved, samples = with_samples(*asked, tell)
        if dry_run:
            _foretell(resolved, settings, where, rule)
            return
        runner = Runner(resolved, settings, where, plans, samples, rule, processes)
        with reporter(quiet or not processes.leads) as tell:
            for progress in runner.run():
                tell(progress)
        if processes.leads:
            print_table(runner.rows, loss, stopped=rule, runs=read_provenance(where), wide=wide)


Asked = tuple[Sequence["Point"], Mapping[str, str], "Selection"]
"""Points, the folder or hub id of each model by name, and the examples."""


def _of_study(
    models: ModelFlags, data: DataFlags, rates: RateFlags, point: PointFlags, study: Path
) -> Asked:
    """Take what a study's file asks for.

    Raises:
        ValueError: a bad file, or a flag beside it that the study says itself.
    """
    from rerax.cli.study import read_study

    unwanted = changed(models, rates, point)
    if unwanted and study.is_file():
        raise ValueError(f"{unwanted[0]} with {study}: leave it out, the study says it")
    found = read_study(study)
    if found.data and "--data" not in changed(data):
        data = data.changed_to(data=found.data)
    return found.points, found.models, data.selection()


def _of_flags(
    models: ModelFlags, data: DataFlags, rates: RateFlags, point: PointFlags, run: RunFlags
) -> Asked:
    """Take the grid that the flags ask for.

    Raises:
        ValueError: a bad value, or flags that do not go together.
    """
    from rerax.campaign.grid import expand, is_measured
    from rerax.campaign.point import FIELDS, Point

    if not models.model or not models.task:
        missing = "--task" if models.model else "--model"
        raise ValueError(f"{missing} is missing: give --model and --task, or a study FILE.py")
    measured = is_measured(names(point.fault))
    own = ("--rates", "--sa0", "--sa1", "--chips", "--until-se")
    their = [name for name in changed(rates, run) if name in own]
    if measured and their:
        raise ValueError(f"{their[0]} with {point.fault}: leave it out, the map has its own")
    several, share = _rates(rates)
    named = _named(models.model, models.name)
    axes = {
        "task": models.tasks,
        "model": tuple(named),
        "rate": (0.0,) if measured else several,
        **{name: tuple(map(FIELDS[name].read, names(getattr(point, name)))) for name in LISTS},
    }
    if "," in point.input_bits:
        raise ValueError(
            f"input-bits {point.input_bits!r} is a list: a folder has one, give 8 or none"
        )
    single = {name: FIELDS[name].read(getattr(point, name)) for name in SINGLE}
    task, model = axes["task"][0], axes["model"][0]
    base = Point(task=task, model=model, rate=0.0, sa1_share=share, **single)
    points = expand(base, axes)
    check_share(rates, [one.fault for one in points])
    return points, named, data.selection()


def _rates(given: RateFlags) -> tuple[tuple[float, ...], Any]:
    """Read the rates and the share of SA1 among stuck cells from either pair of flags."""
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
    """Name the folders and hub ids of models.

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


def _foretell(parts: Any, settings: Any, out: Any, rule: Any) -> None:
    """Print what a run would cost."""
    from rerax.campaign.dry_run import dry_run

    costs, most = dry_run(parts, settings, out, rule), "" if rule is None else "at most "
    for cost in costs:
        print(printable(cost.text))
    points, chips = sum(cost.points for cost in costs), sum(cost.chips for cost in costs)
    todo = chips - sum(cost.done for cost in costs)
    print(
        f"in all {points} points, {most}{chips} chips, {most}{todo} to do; nothing has been written"
    )
