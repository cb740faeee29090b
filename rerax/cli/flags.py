"""What the commands share: the application, flags as dataclasses, lists, and their help."""

import shlex
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, fields, replace
from functools import wraps
from inspect import Parameter, Signature, signature
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, dataclass_transform, get_args

import typer

from rerax.values import read_float, read_whole

if TYPE_CHECKING:
    from rerax.campaign.point import Point
    from rerax.faults import FaultModel
    from rerax.glue.selection import Selection

app = typer.Typer(
    name="rerax",
    help="BERT on faulty ReRAM crossbars: score, spread and yield of thousands of simulated chips.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

HEADINGS = ("Model and data", "Chips", "Crossbars", "Faults", "Protection", "Machine")
"""Of flags in the help of commands that make chips; of others the first."""
_OTHERS = "Options"
NO_PLANNER = (
    "As sweep's, but for plan, which is found there alone: none, msb:2x3:pruned, "
    "code:golay:4:pruned, closest+sign, plan:FILE, .."
)
"""Help of a protection where none is planned."""
RATES = "0,1e-4,1e-3,1e-2"
_SAYS_NOTHING = ("quiet", "wide", "dry_run", "distributed", "coordinator", "processes", "process")


class Grouped(typer.core.TyperCommand):
    """A command whose help has its flags under headings; those of chips where it makes some."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write arguments, then flags heading by heading."""
        params = self.get_params(ctx)
        own = HEADINGS if any(param.name == "fault" for param in params) else HEADINGS[:1]
        sections: dict[str, list[tuple[str, str]]] = {
            key: [] for key in ("Arguments", _OTHERS, *own)
        }
        for param in params:
            record = param.get_help_record(ctx)
            heading = getattr(param, "rich_help_panel", None)
            key = heading if heading in sections else _OTHERS
            if record is not None:
                sections["Arguments" if param.param_type_name == "argument" else key].append(record)
        for key, records in sections.items():
            if records:
                with formatter.section(key):
                    formatter.write_dl(records)


def flag(text: str, metavar: str | None = None, heading: str | None = None, name: str = "") -> Any:
    """Declare a flag by its line of help, and by heading and name if they are not as usual."""
    info = typer.Option(help=text, metavar=metavar, rich_help_panel=heading)
    info.param_decls = (name,) if name else None
    return info


def opt(text: str, metavar: str | None = None, value: Any = None, **more: Any) -> Any:
    """Declare a flag in a dataclass, with its default."""
    return field(default=value, metadata={"flag": flag(text, metavar, **more)})


@dataclass_transform(kw_only_default=True, frozen_default=True)
class Flags:
    """Flags that belong together, in a frozen dataclass; a command that takes it has them all."""

    heading = _OTHERS
    _typed = frozenset[str]()
    """Names of those that the command line has, be it with their default."""

    def __init_subclass__(cls, heading: str | None = None) -> None:
        cls.heading = heading or cls.heading
        dataclass(frozen=True, kw_only=True)(cls)

    def values(self) -> dict[str, Any]:
        """List the values of the flags by name."""
        return {one.name: getattr(self, one.name) for one in fields(self)}  # type: ignore[arg-type]

    def changed_to(self, **values: Any) -> Any:
        """Give these flags with other values of some, which the command line does not have."""
        made = type(self)(**self.values() | values)
        object.__setattr__(made, "_typed", self._typed)
        return made


def spread(command: Any) -> Any:
    """Make a function of single flags, as typer reads it, of one that takes dataclasses of them.

    Args:
        command: the function behind a command. `Annotated[PointFlags, "fault matrices,.."]` takes
            only two of the flags, of the first one value, and needs any with an empty default; a
            dictionary behind has other lines of help.
    """
    parts = {its.name: _flags_of(its) for its in signature(command).parameters.values()}

    @wraps(command)
    def flat(context: Any, **given: Any) -> None:
        whole = {}
        for name, (kind, flags) in parts.items():
            own = {one: given.pop(one) for one in flags}
            whole[name] = kind(**own) if kind else own[name]
            if kind:
                typed = {one for one in own if _is_typed(context, one)}
                object.__setattr__(whole[name], "_typed", frozenset(typed))
        command(**whole)

    single = {name: one for _, flags in parts.values() for name, one in flags.items()}
    context = Parameter("context", Parameter.KEYWORD_ONLY, annotation=typer.Context)
    single[context.name] = context
    flat.__annotations__ = {name: one.annotation for name, one in single.items()}
    flat.__signature__ = Signature(list(single.values()))  # type: ignore[attr-defined]
    return flat


def _is_typed(context: Any, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _flags_of(its: Parameter) -> tuple[Any, dict[str, Parameter]]:
    """Find the dataclass that a command's parameter is, if it is one, and the flags it holds."""
    kind, *more = get_args(its.annotation) or (its.annotation, None)
    said, helped = more[0], more[1] if more[1:] else {}
    if not hasattr(kind, "heading"):
        return None, {its.name: _parameter(its.name, kind, its.default, copy(said))}
    found = {}
    for one in fields(kind):
        info, value = copy(one.metadata["flag"]), one.default
        info.rich_help_panel = info.rich_help_panel or kind.heading
        info.help = helped.get(one.name, info.help)
        if said and one.name in said.split():
            info.metavar = info.metavar and info.metavar.removesuffix(",..")
            value = Parameter.empty if value == "" else value
        if not said or {one.name, f"{one.name},.."} & set(said.split()):
            found[one.name] = _parameter(one.name, one.type, value, info)
    return kind, found


def _parameter(name: str, kind: Any, value: Any, info: Any) -> Parameter:
    """Make a command's parameter of a flag; its numbers are read by `rerax.values`, not typer."""
    kinds = get_args(kind) if isinstance(kind, UnionType) else (kind,)
    if info.parser is None and {int, float} & set(kinds):
        info.parser = _parser(read_whole if int in kinds else read_float)
    if info.parser is None and Path in kinds:
        info.parser = _local
    if kind is bool and value is False and not info.param_decls:  # else typer would add a --no-NAME
        info.param_decls = (f"--{name.replace('_', '-')}",)
    return Parameter(name, Parameter.KEYWORD_ONLY, default=value, annotation=Annotated[kind, info])


def _parser(read: Callable[[str], Any]) -> Callable[[Any], Any]:
    def number(given: Any) -> Any:  # a default comes as the number itself
        try:
            return read(given) if isinstance(given, str) else given
        except ValueError as error:
            raise typer.BadParameter(str(error)) from None

    return number


def _local(given: Any) -> Any:
    """Read the path of a local file or folder."""
    from rerax.io import place

    if "://" in str(given):
        raise typer.BadParameter(f"{given} is in an object store: give a local path")
    try:
        return place(given) if isinstance(given, str) else given
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


Folder = Annotated[str, typer.Argument(help="Campaign folder, or gs://.., s3://..")]
Budget = Annotated[
    str,
    flag(
        "Loss of score that a passing chip may have: 0.01 and 1% are one point.", "X", "Protection"
    ),
]
Quiet = Annotated[bool, flag("No progress.")]
Wide = Annotated[bool, flag("All columns of the table, however narrow the terminal.")]


class ModelFlags(Flags, heading="Model and data"):
    """Models and their tasks."""

    model: str = opt("Hugging Face folder of a fine-tuned BERT, or hub id.", "DIR,..", "")
    task: str = opt(
        "GLUE task: cola, sst2, mrpc, stsb, qqp, mnli, qnli, rte, wnli; or any name with --metric.",
        "NAME,..",
        "",
    )
    metric: str | None = opt(
        "Score of a task of your own: accuracy, f1, macro_f1, matthews, pearson_spearman.", "NAME"
    )
    name: str | None = opt("Name of the model in the rows [last part of --model].", "NAME,..")

    @property
    def tasks(self) -> tuple[str, ...]:
        """Tasks as points name them."""
        given = names(self.task)
        for name in given if self.metric is not None else ():
            if ":" in name:
                raise ValueError(f"task {name!r} has a metric already: leave out --metric")
        return given if self.metric is None else tuple(f"{one}:{self.metric}" for one in given)


class DataFlags(Flags, heading="Model and data"):
    """Which examples a model sees."""

    data: str = opt(
        "Folder with <task>/<split>.parquet, or hub id; with --metric a folder with <split>.csv "
        "(.tsv, .jsonl, .parquet), such a file, or hub id.",
        value="nyu-mll/glue",
    )
    split: str = opt("Split with labels.", value="validation")
    max_examples: int | None = opt("Use only the first N examples (mnli: of each dev set).", "N")
    max_length: int | None = opt(
        "Most tokens of an example [128, or fewer if the model has so many].", "N"
    )
    labels: str | None = opt("Label names in the order of the outputs.", "A,B")
    text: str | None = opt("With --metric: column of the text [text].", "COLUMN")
    text_pair: str | None = opt("With --metric: column of a second text.", "COLUMN")
    label: str | None = opt("With --metric: column of the label [label].", "COLUMN")

    def selection(self) -> "Selection":
        """Make the Python API's object of it, which raises ValueError where a flag is wrong."""
        from rerax.glue.selection import Selection
        from rerax.io import at_home

        if type(self) is DataFlags and "--split" in changed(self) and at_home(self.data).is_file():
            raise ValueError(f"--split {self.split} with {self.data}: leave it out, a file is one")
        return Selection(**self.values() | {"labels": names(self.labels) if self.labels else None})


class RateFlags(Flags, heading="Chips"):
    """How many cells are faulty, and which share of them is SA1."""

    rates: str | None = opt(f"Fractions of faulty cells, 0 to 1 [{RATES}; yield: 1e-3].", "P,..")
    sa1_share: str | None = opt("SA1 : SA0 parts, or the fraction of SA1 [9.04:1.75].")
    sa0: str | None = opt("Rate of stuck-at-0 cells; with --sa1, sets the rate.")
    sa1: str | None = opt("Rate of stuck-at-1 cells; with --sa0, sets the rate.")


class PointFlags(Flags, heading="Crossbars"):
    """What a point has beside model, task, rate and share."""

    encoding: str = opt(
        "offset, twos_complement, sign_magnitude, differential.", "NAME,..", "offset"
    )
    bits: str = opt("Bits of a code, 2 to 8.", "B,..", "8")
    bits_per_cell: str = opt("Bits of a cell: 1, 2 or 4.", "C,..", "1")
    tile: str = opt("Wordlines x bitlines of a crossbar.", "RxC,..", "128x128")
    layout: str = opt("interleaved or separate.", "NAME,..", "interleaved")
    polarity: str = opt(
        "Bits stored complemented: plain, alternate (in odd rows), inverted.", "NAME,..", "plain"
    )
    input_bits: str = opt("Bits of an input: 8, or none for float.", "8|none", "8")
    dtype: str = opt(
        "Compute dtype off the crossbars: float32 or bfloat16.", value="float32", heading="Machine"
    )
    matrices: str = opt(
        "On crossbars: encoder, pooler, classifier, embeddings.",
        "NAME,..",
        "encoder,pooler,classifier",
    )
    fault: str = opt(
        "uniform, clustered:2 (gamma shape), wordline, bitline, short, flip; or map:FILE, measured "
        "chips, alone.",
        "NAME,..",
        "uniform",
        heading="Faults",
    )
    misread: str = opt(
        "Noise of a sensed level: SD in distances between levels, 0 to 1.",
        "SIGMA,..",
        "0",
        heading="Faults",
    )
    faulty_layers: str | None = opt(
        "Encoder layers in which faults act: 0,3 or 0+3 or each or all.", "L,..", heading="Faults"
    )
    faulty_matrices: str | None = opt(
        "Matrices in which faults act: query,ffn_in+ffn_out or each.", "NAME,..", heading="Faults"
    )
    faulty_bits: str | None = opt(
        "Stored bits of a word in which faults act, 0 the lowest.", "B,..", heading="Faults"
    )
    protection: str = opt(
        "none, duplicate:3, msb:2x3:pruned (or :lsb, :pruned+lsb), code:golay:4:pruned (or "
        "hamming, secded, bch), closest+sign, rotate:16, spare:4 (or spare:8:bitlines), plan, "
        "plan:FILE; :erasures.",
        "NAME,..",
        "none",
        heading="Protection",
    )
    tested: str = opt(
        "Stuck cells that a test found, for what knows the map: all, share:0.99, or rate:0.5, "
        "those at half of the rate.",
        "NAME,..",
        "all",
        heading="Protection",
    )


def single_point(
    models: ModelFlags, rates: RateFlags, point: PointFlags, rate: float, fields: str
) -> "Point":
    """Make the one point of a command that takes no lists.

    Args:
        models, rates, point: flags.
        rate: its fault rate.
        fields: names of those of a point that the command has flags for.

    Raises:
        ValueError: a list of tasks, or a bad value.
    """
    from rerax.campaign.grid import check_tested
    from rerax.campaign.point import FIELDS, Point, parse_share
    from rerax.protection import without_planner

    if "," in models.task:
        raise ValueError(f"task {models.task!r} is a list: give one")
    found = Point(
        task=models.tasks[0],
        model=Path(models.model).name or models.model,
        rate=rate,
        sa1_share=parse_share(rates.sa1_share or "9.04:1.75"),
        **{name: FIELDS[name].read(getattr(point, name)) for name in fields.split()},
    )
    check_share(rates, [found.fault])
    found = replace(found, protection=without_planner(found.protection))
    if "tested" in fields.split():
        check_tested(point.tested, [found])
    return found


def check_share(rates: RateFlags, faults: "Sequence[FaultModel]") -> None:
    """Refuse a share of SA1 that means nothing to any of the fault models."""
    for name in changed(rates):
        if name != "--rates" and not any(fault.has_polarity for fault in faults):
            raise ValueError(
                f"{name} with {faults[0].text}: leave it out, it means nothing to such faults"
            )


class PlanFlags(Flags, heading="Protection"):
    """What plans are made for."""

    plan_rate: float | None = opt(
        "Rate that a plan is made for [sweep: the highest < 0.5; plan: 1e-2].", "P"
    )
    sensitivity: str | None = opt(
        "File .npz of what an error in each column matters, for a plan.", "FILE"
    )


def names(text: str) -> tuple[str, ...]:
    """Take a comma list apart."""
    return tuple(part.strip() for part in text.split(","))


def changed(*groups: Any) -> list[str]:
    """List those of dataclasses of flags that the command line has, or that have no default."""
    return [
        "--" + one.name.replace("_", "-")
        for group in groups
        for one in fields(group)
        if one.name in group._typed or getattr(group, one.name) != one.default
    ]


def command_text(
    command: Callable[..., Any], values: Mapping[str, Any], also: Sequence[str] = ()
) -> str:
    """Write the command line that gives these values, without flags that change no row.

    Args:
        command: the function behind it.
        values: values of its parameters, whole dataclasses or flag by flag; those that are left
            out have their defaults.
        also: flags that say something with their default too.
    """
    given = dict(values)
    for value in values.values():
        given |= value.values() if isinstance(value, Flags) else {}
    words = ["rerax", command.__name__]
    for name, one in signature(spread(command)).parameters.items():
        value = given.get(name, one.default)
        if one.annotation is typer.Context or name in _SAYS_NOTHING:
            continue
        if value == one.default and f"--{name.replace('_', '-')}" not in also:
            continue
        is_flag = isinstance(get_args(one.annotation)[1], typer.models.OptionInfo)
        words += [f"--{name.replace('_', '-')}"] if is_flag else []
        words += [] if value is True else [str(value)]
    return shlex.join(words)
