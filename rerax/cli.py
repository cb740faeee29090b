"""The command line: a thin caller of the Python API. Heavy imports wait until they are needed."""

import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

import rerax

app = typer.Typer(
    name="rerax",
    help="BERT on faulty ReRAM crossbars: score, spread and yield of thousands of simulated chips.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

RATES = "0,1e-4,1e-3,1e-2"


def _version(asked: bool | None) -> None:
    if asked:
        print(rerax.__version__)
        raise typer.Exit


@app.callback()
def _top(
    version: Annotated[
        bool | None,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = None,
) -> None:
    pass


def _flag(text: str, metavar: str | None = None) -> Any:
    return typer.Option(help=text, metavar=metavar, show_default=True)


@app.command()
def sweep(
    model: Annotated[str, _flag("Hugging Face folder of a fine-tuned BERT, or hub id.")],
    task: Annotated[str, _flag("GLUE task: cola, sst2, mrpc, stsb, qqp, mnli, qnli, rte, wnli.")],
    out: Annotated[Path, _flag("Campaign folder to fill or grow.", "FOLDER")],
    name: Annotated[
        str | None, _flag("Name of the model in the rows [last part of --model].")
    ] = None,
    data: Annotated[str, _flag("Folder with <task>/<split>.parquet, or hub id.")] = "nyu-mll/glue",
    split: Annotated[str, _flag("Split with labels.")] = "validation",
    max_examples: Annotated[int | None, _flag("Use only the first N examples.", "N")] = None,
    max_length: Annotated[int, _flag("Most tokens of an example.", "N")] = 128,
    labels: Annotated[str | None, _flag("Label names in the order of the outputs.", "A,B")] = None,
    rates: Annotated[
        str | None, _flag(f"Fractions of faulty cells, 0 to 1 [{RATES}].", "P,..")
    ] = None,
    sa1_share: Annotated[
        str | None, _flag("SA1 : SA0 parts, or the fraction of SA1 [9.04:1.75].")
    ] = None,
    sa0: Annotated[
        str | None, _flag("Rate of stuck-at-0 cells; with --sa1, sets the rate.")
    ] = None,
    sa1: Annotated[
        str | None, _flag("Rate of stuck-at-1 cells; with --sa0, sets the rate.")
    ] = None,
    chips: Annotated[int | None, _flag("Chips of every point [64].", "N")] = None,
    seed: Annotated[int, _flag("Seed of all chips.", "N")] = 0,
    chunk: Annotated[int | None, _flag("Chips a dispatch; changes no result.", "N")] = None,
    lanes: Annotated[int | None, _flag("Chips side by side; part of the platform.", "N")] = None,
    encoding: Annotated[
        str, _flag("offset, twos_complement, sign_magnitude, differential.", "NAME,..")
    ] = "offset",
    bits: Annotated[str, _flag("Bits of a code, 2 to 8.", "B,..")] = "8",
    bits_per_cell: Annotated[str, _flag("Bits of a cell: 1, 2 or 4.", "C,..")] = "1",
    tile: Annotated[str, _flag("Wordlines x bitlines of a crossbar.", "RxC,..")] = "128x128",
    layout: Annotated[str, _flag("interleaved or separate.", "NAME,..")] = "interleaved",
    input_bits: Annotated[str, _flag("Bits of an input: 8, or none for float.", "8|none")] = "8",
    dtype: Annotated[
        str, _flag("Compute dtype off the crossbars: float32 or bfloat16.")
    ] = "float32",
    matrices: Annotated[
        str, _flag("On crossbars: encoder, pooler, classifier, embeddings.", "NAME,..")
    ] = "encoder,pooler,classifier",
    fault: Annotated[
        str,
        _flag(
            "uniform, clustered:2 (gamma shape), wordline, bitline, short, flip; or "
            "map:FILE, measured chips, alone.",
            "NAME,..",
        ),
    ] = "uniform",
    protection: Annotated[
        str,
        _flag(
            "none, duplicate:3, msb:2x3:pruned (or :lsb, :pruned+lsb); :erasures behind.", "NAME,.."
        ),
    ] = "none",
    budget: Annotated[float, _flag("Loss of score that a passing chip may have.")] = 0.01,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress.")] = False,
) -> None:
    """Score a BERT on simulated faulty chips and print a table; rows go to a Parquet folder.

    Comma lists make a grid. What the folder holds already is not computed again, so the same
    command resumes a run that was cut off, and larger lists or more chips grow it.
    """
    from rerax.campaign.grid import expand
    from rerax.campaign.lot import is_measured, with_realised_rates
    from rerax.campaign.point import Point, parse_rates, parse_share, rate_and_share
    from rerax.campaign.run import run
    from rerax.campaign.source import read_subject
    from rerax.campaign.subject import Settings

    measured = is_measured(_names(fault))
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
        "encoding": _names(encoding),
        "bits": _numbers(bits, "bits"),
        "bits_per_cell": _numbers(bits_per_cell, "bits-per-cell"),
        "tile": _names(tile),
        "layout": _names(layout),
        "fault": _names(fault),
        "protection": _names(protection),
    }
    base = Point(
        task=task,
        model=name or Path(model).name or model,
        rate=0.0,
        sa1_share=share,
        input_bits=None if input_bits == "none" else _numbers(input_bits, "input-bits")[0],
        dtype=dtype,
        matrices=",".join(_names(matrices)),
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
        labels=_names(labels) if labels else None,
    )
    points = with_realised_rates(points, subject.config)
    _run_and_print(lambda tell: run(subject, points, settings, out, tell), budget, quiet)


@app.command()
def train(
    model: Annotated[str, _flag("Hugging Face folder to start from, or hub id.")],
    task: Annotated[str, _flag("GLUE task: cola, sst2, mrpc, stsb, qqp, mnli, qnli, rte, wnli.")],
    out: Annotated[Path, _flag("Folder for the trained model.", "FOLDER")],
    data: Annotated[str, _flag("Folder with <task>/<split>.parquet, or hub id.")] = "nyu-mll/glue",
    train_split: Annotated[str, _flag("Split to learn from.")] = "train",
    max_examples: Annotated[int | None, _flag("Learn from the first N examples.", "N")] = None,
    max_length: Annotated[int, _flag("Most tokens of an example.", "N")] = 128,
    labels: Annotated[str | None, _flag("Label names in the order of the outputs.", "A,B")] = None,
    epochs: Annotated[float | None, _flag("Passes over the data [the task's own].", "E")] = None,
    steps: Annotated[int | None, _flag("Steps, in place of --epochs.", "N")] = None,
    lr: Annotated[float | None, _flag("Peak learning rate [the task's own].", "X")] = None,
    batch: Annotated[int | None, _flag("Sentences a step [the task's own].", "N")] = None,
    sparsity: Annotated[
        float | None, _flag("Share of the gated weights to free, in [0, 1).", "S")
    ] = None,
    sparsity_scope: Annotated[
        str, _flag("matrix: that share of every matrix; global: of all together.")
    ] = "matrix",
    gates: Annotated[
        str, _flag("Matrices with gates: encoder, pooler, classifier.", "NAME,..")
    ] = "encoder",
    tie: Annotated[str, _flag("Gates that share one number: none, ffn, all.")] = "all",
    distil_from: Annotated[
        str | None, _flag("Trained model whose answers are imitated: folder or hub id.", "DIR")
    ] = None,
    quantised: Annotated[
        bool, typer.Option("--quantised", help="Train through the chip's own codes.")
    ] = False,
    bits: Annotated[int, _flag("Bits of a code, with --quantised.", "B")] = 8,
    encoding: Annotated[str, _flag("Encoding of the chip, with --quantised.")] = "offset",
    seed: Annotated[int, _flag("Seed of head, order and dropout.", "N")] = 0,
    dtype: Annotated[str, _flag("float32 or bfloat16 products.")] = "float32",
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress.")] = False,
) -> None:
    """Fine-tune a BERT on a GLUE task, and prune its rows and columns with --sparsity.

    The last state is written to --out and the best to --out/best, both as Hugging Face folders.
    """
    from rerax.progress import reporter
    from rerax.train.recipe import make_recipe
    from rerax.train.run import fine_tune, read_job

    choices = {
        "sparsity": sparsity,
        "scope": sparsity_scope,
        "gates": _names(gates),
        "tie": tie,
        "bits": bits if quantised else None,
        "encoding": encoding,
        "seed": seed,
        "dtype": dtype,
    }
    job = read_job(
        lambda examples: make_recipe(
            task, examples, epochs, steps, lr, batch, distil_from is not None, **choices
        ),
        model,
        task,
        data=data,
        train_split=train_split,
        max_examples=max_examples,
        max_length=max_length,
        labels=_names(labels) if labels else None,
        teacher=distil_from,
    )
    with reporter(quiet, "steps") as tell:
        last = fine_tune(job, out, resume=resume, on_progress=tell)
    print(
        f"{out}: score {100 * last['score']:.2f} %, best {100 * last['best']:.2f} % (best/), "
        f"{100 * last['freed']:.2f} % of the gated weights freed"
    )


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(help="Campaign folder.")],
    figures: Annotated[Path | None, _flag("Write score_against_rate.png here.", "DIR")] = None,
    budget: Annotated[float, _flag("Loss of score that a passing chip may have.")] = 0.01,
) -> None:
    """Print the table of a campaign folder, and draw its figure."""
    from rerax.campaign.store import MANIFEST, read_rows
    from rerax.report import figure_score_against_rate, print_table

    if not (folder / MANIFEST).is_file():
        raise ValueError(f"{folder} is no campaign folder: give one that rerax sweep has written")
    rows = read_rows(folder)
    if not len(rows):
        raise ValueError(f"{folder} has no finished rows: run rerax sweep first")
    print_table(rows, budget)
    if figures is not None:
        figures.mkdir(parents=True, exist_ok=True)
        figure_score_against_rate(rows, figures / "score_against_rate.png")


@app.command()
def demo(
    out: Annotated[Path, _flag("Folder for rows and figure.", "FOLDER")] = Path("rerax-demo"),
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress.")] = False,
) -> None:
    """The same job with nothing to download: a small BERT that comes with the package."""
    from rerax.demo import run_demo
    from rerax.report import figure_score_against_rate

    rows = _run_and_print(lambda tell: run_demo(out, tell), 0.01, quiet)
    picture = out / "score_against_rate.png"
    figure_score_against_rate(rows, picture, "A small BERT on faulty crossbars")
    print(f"rows: {out / 'rows'}   figure: {picture}")


def _run_and_print(work: Any, budget: float, quiet: bool) -> Any:
    from rerax.progress import reporter
    from rerax.report import print_table

    if not 0 <= budget <= 1:
        raise ValueError(f"budget {budget} is outside [0, 1]: give a loss of score such as 0.01")
    with reporter(quiet) as tell:
        rows = work(tell)
    print_table(rows, budget)
    return rows


def _names(text: str) -> tuple[str, ...]:
    return tuple(item.strip() for item in text.split(","))


def _numbers(text: str, flag: str) -> tuple[int, ...]:
    try:
        return tuple(int(item) for item in text.split(","))
    except ValueError:
        raise ValueError(f"{flag} {text!r} is not a whole number: give one such as 8") from None


def entry() -> None:
    """Console script."""
    sys.exit(main())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Returns:
        0 done, 2 bad input (one line on standard error), 130 interrupted.
    """
    warnings.showwarning = lambda message, *_, **__: print(f"warning: {message}", file=sys.stderr)
    given = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    try:
        command = typer.main.get_command(app)
        result = command.main(args=given, prog_name="rerax", standalone_mode=False)
        return _interrupted(given[0]) if result == _INTERRUPTED else 0
    except (ValueError, OSError) as error:
        return _fail(str(error))
    except KeyboardInterrupt:
        return _interrupted(given[0])
    except Exception as error:
        if hasattr(error, "format_message"):  # a flag that does not exist or has a wrong value
            return _fail(f"{error.format_message()}{_value(error, given)} (see rerax --help)")
        raise


_INTERRUPTED = 130


def _value(error: Any, given: Sequence[str]) -> str:
    """The value that a refused flag was given, which the parser's message leaves out."""
    flags = [flag for flag in getattr(getattr(error, "param", None), "opts", ()) if flag in given]
    return f", not {given[given.index(flags[0]) + 1]!r}" if flags and flags[0] != given[-1] else ""


def _fail(message: str) -> int:
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    return 2


def _interrupted(command: str) -> int:
    kept = "finished blocks are kept, the same command goes on from there"
    if command == "train":
        kept = "the last checkpoint is kept, the same command with --resume goes on from there"
    print(f"interrupted: {kept}", file=sys.stderr)
    return _INTERRUPTED
