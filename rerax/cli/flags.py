"""What the commands share: the application, flags, lists, and the run that ends in a table."""

import inspect
import shlex
from collections.abc import Callable, Mapping
from types import UnionType
from typing import Annotated, Any, get_args, get_type_hints

import typer

from rerax.values import read_float, read_whole

app = typer.Typer(
    name="rerax",
    help="BERT on faulty ReRAM crossbars: score, spread and yield of thousands of simulated chips.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


SECTIONS = {
    "Model and data": "model task name data split train_split max_examples max_length labels",
    "Chips": "rates sa1_share sa0 sa1 chips until_se max_chips seed",
    "Crossbars": "encoding bits bits_per_cell tile layout polarity input_bits matrices",
    "Faults": "fault faulty_layers faulty_matrices faulty_bits map_file",
    "Protection": "protection tested plan_rate sensitivity budget",
    "Machine": "chunk lanes dtype distributed coordinator processes process",
}
"""Parameters of the commands under the headings of their help; all others come first."""
_ONE_EACH = {"plan": "encoding bits bits_per_cell tile layout polarity fault"}
"""Flags that are lists elsewhere and single values in these commands."""
_SAYS_NOTHING = ("quiet", "wide", "dry_run", "distributed", "coordinator", "processes", "process")
_OTHERS, _FIRST = "Options", ("Model and data",)


class Grouped(typer.core.TyperCommand):
    """A command whose help has its flags in sections; those of chips where it makes some."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write arguments, then flags section by section."""
        sections: dict[str, list[tuple[str, str]]] = {"Arguments": []}
        params = self.get_params(ctx)
        for param in params:
            if str(param.name) in _ONE_EACH.get(str(self.name), "").split():
                param.metavar = str(param.metavar).removesuffix(",..")
        known = SECTIONS if any(param.name == "fault" for param in params) else _FIRST
        heading = {name: key for key in known for name in SECTIONS[key].split()}
        for key in (_OTHERS, *known):
            sections[key] = []
        for param in params:
            record = param.get_help_record(ctx)
            own = heading.get(str(param.name), _OTHERS)
            if record is not None:
                sections["Arguments" if param.param_type_name == "argument" else own].append(record)
        for key, records in sections.items():
            if records:
                with formatter.section(key):
                    formatter.write_dl(records)


def flag(text: str, metavar: str | None = None) -> Any:
    """A flag with its line of help."""
    return typer.Option(help=text, metavar=metavar, show_default=True)


def read_strictly(commands: Any) -> None:
    """Let every flag of a number take what `rerax.values` reads, and nothing else.

    Args:
        commands: functions of the commands; their flags are changed in place.
    """
    for command in commands:
        for hint in get_type_hints(command, include_extras=True).values():
            kind, *extra = get_args(hint) or (hint,)
            kinds = get_args(kind) if isinstance(kind, UnionType) else (kind,)
            for info in extra:
                if info.parser is None and {int, float} & set(kinds):
                    info.parser = _parser(read_whole if int in kinds else read_float)


def _parser(read: Callable[[str], Any]) -> Callable[[Any], Any]:
    def number(given: Any) -> Any:  # a default comes as the number itself
        try:
            return read(given) if isinstance(given, str) else given
        except ValueError as error:
            raise typer.BadParameter(str(error)) from None

    return number


Folder = Annotated[str, typer.Argument(help="Campaign folder, or gs://.., s3://..")]
Model = Annotated[str, flag("Hugging Face folder of a fine-tuned BERT, or hub id.", "DIR")]
Models = Annotated[
    str | None, flag("Hugging Face folder of a fine-tuned BERT, or hub id.", "DIR,..")
]
Tasks = Annotated[
    str | None,
    flag("GLUE task: cola, sst2, mrpc, stsb, qqp, mnli, qnli, rte, wnli.", "NAME,.."),
]
Task = Annotated[str, flag("GLUE task: cola, sst2, mrpc, stsb, qqp, mnli, qnli, rte, wnli.")]
Data = Annotated[str, flag("Folder with <task>/<split>.parquet, or hub id.")]
MaxLength = Annotated[
    int | None, flag("Most tokens of an example [128, or fewer if the model has so many].", "N")
]
Labels = Annotated[str | None, flag("Label names in the order of the outputs.", "A,B")]
Budget = Annotated[
    str, flag("Loss of score that a passing chip may have: 0.01 and 1% are one point.", "X")
]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress.")]
Wide = Annotated[
    bool, typer.Option("--wide", help="All columns of the table, however narrow the terminal.")
]

Share = Annotated[str | None, flag("SA1 : SA0 parts, or the fraction of SA1 [9.04:1.75].")]
Encoding = Annotated[str, flag("offset, twos_complement, sign_magnitude, differential.", "NAME,..")]
Bits = Annotated[str, flag("Bits of a code, 2 to 8.", "B,..")]
BitsPerCell = Annotated[str, flag("Bits of a cell: 1, 2 or 4.", "C,..")]
Tile = Annotated[str, flag("Wordlines x bitlines of a crossbar.", "RxC,..")]
Layout = Annotated[str, flag("interleaved or separate.", "NAME,..")]
Polarity = Annotated[
    str, flag("Bits stored complemented: plain, alternate (in odd rows), inverted.", "NAME,..")
]
Matrices = Annotated[str, flag("On crossbars: encoder, pooler, classifier, embeddings.", "NAME,..")]
Fault = Annotated[
    str,
    flag(
        "uniform, clustered:2 (gamma shape), wordline, bitline, short, flip; or "
        "map:FILE, measured chips, alone.",
        "NAME,..",
    ),
]
TestedFlag = Annotated[
    str,
    flag(
        "Stuck cells that a test found, for what knows the map: all, share:0.99, or rate:0.5, "
        "those at half of the rate.",
        "NAME,..",
    ),
]
PlanRate = Annotated[
    float | None, flag("Rate that a plan is made for [the highest below 0.5].", "P")
]
Sensitivity = Annotated[
    str | None, flag("File .npz of what an error in each column matters, for a plan.", "FILE")
]

FaultyLayers = Annotated[
    str | None, flag("Encoder layers in which faults act: 0,3 or 0+3 or each or all.", "L,..")
]
FaultyMatrices = Annotated[
    str | None, flag("Matrices in which faults act: query,ffn_in+ffn_out or each.", "NAME,..")
]
FaultyBits = Annotated[
    str | None, flag("Stored bits of a word in which faults act, 0 the lowest.", "B,..")
]


def names(text: str) -> tuple[str, ...]:
    """Entries of a comma list."""
    return tuple(item.strip() for item in text.split(","))


def changed(command: Callable[..., Any], values: Mapping[str, Any], *names: str) -> list[str]:
    """Flags of a command that have another value than their default.

    Args:
        command: the function behind it.
        values: values of its parameters.
        names: those to look at.
    """
    parameters = inspect.signature(command).parameters
    return [
        "--" + name.replace("_", "-") for name in names if values[name] != parameters[name].default
    ]


def command_text(command: Callable[..., Any], values: Mapping[str, Any]) -> str:
    """The command line that gives these values, without flags that change no row.

    Args:
        command: the function behind it.
        values: values of its parameters; those that are left out have their defaults.
    """
    words = ["rerax", command.__name__]
    for name, parameter in inspect.signature(command).parameters.items():
        value = values.get(name, parameter.default)
        if value == parameter.default or name in _SAYS_NOTHING:
            continue
        is_flag = any(
            isinstance(m, typer.models.OptionInfo) for m in parameter.annotation.__metadata__
        )
        words += [f"--{name.replace('_', '-')}"] if is_flag else []
        words += [] if value is True else [str(value)]
    return shlex.join(words)
