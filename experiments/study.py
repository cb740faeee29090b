"""What `msb_copies.py` and `layers_and_bits.py` share: models, a folder of rows, tables.

The models are those that `pruning.py` leaves, TASK-SEED-dense and TASK-SEED-SPARSITY, of the last
seed that it trains of a task; rows call them TASK-dense and TASK-SPARSITY. Both put their points
into one campaign folder. Stop either at will: the same command goes on.
"""

import argparse
import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pruning import SEEDS

from rerax.campaign import store
from rerax.campaign.point import Point
from rerax.campaign.runner import Runner
from rerax.campaign.workload import Inputs, Settings, read_workload, workloads_of
from rerax.crossbar.spec import ChipSpec
from rerax.hardware import Hardware
from rerax.models.bert.crossbars import ledgers
from rerax.progress import reporter
from rerax.protection import Ledger
from rerax.report import PointSummary, summarise_points

HERE = Path(__file__).parent
GROUPS = ("encoder", "pooler", "classifier")
_ORDER = [("place", "ascending"), ("chip", "ascending")]
EXAMPLES = 400
"""Of each dev set, at most."""


@dataclass(frozen=True)
class Study:
    """Where models and data are, where results go, and how much is run.

    Attributes:
        work: folder of the models of `pruning.py`.
        data: GLUE folder or hub id.
        out: folder for rows (in `study`), JSON and figures.
        chips: chips of every point.
        max_examples: examples of each task at most.
        stored: only look at the rows that are there.
    """

    work: Path
    data: str
    out: Path
    chips: int
    max_examples: int
    stored: bool

    @classmethod
    def of(cls, args: argparse.Namespace) -> "Study":
        """From the arguments of `make_parser`."""
        return cls(args.work, args.data, args.out, args.chips, args.max_examples, args.print)

    @property
    def folder(self) -> Path:
        """The campaign folder."""
        return self.out / "study"

    def model(self, task: str, kind: str) -> Path:
        """Folder of a model; kind is `dense` or a sparsity in %."""
        return self.work / f"{task}-{last_seed(task)}-{kind}"

    def inputs(self, task: str, kind: str) -> Inputs:
        """Parameters, gates and examples of a model."""
        source = str(self.model(task, kind))
        return read_workload(source, task, f"{task}-{kind}", **self.options).load()

    @property
    def options(self) -> dict[str, Any]:
        """What `read_workload` is told of the data."""
        return {"data": self.data, "max_examples": self.max_examples}

    def lines(self, points: Sequence[Point], budget: float = 0.01) -> list[PointSummary]:
        """Statistics of the points, after running what lacks of them."""
        return summarise_points(self.rows(points), budget)

    def rows(self, points: Sequence[Point]) -> pa.Table:
        """Rows of the points, after running what lacks of them; without models, of those there."""
        if not self.stored:
            models = {p.model: str(self.model(*p.model.split("-"))) for p in points}
            tasks: dict[str, list[Point]] = {}
            for point in points:
                tasks.setdefault(point.task, []).append(point)
            parts = [
                part
                for task, own in tasks.items()
                for part in workloads_of(own, models, **self.options)
            ]
            with reporter() as tell:
                for progress in Runner(parts, Settings(self.chips), self.folder).run():
                    tell(progress)
        rows = store.read_rows(self.folder, points={p.hash[:16] for p in points})
        rows = rows.filter(pc.less(rows["chip"], self.chips))
        place = pc.index_in(rows["point_hash"], pa.array([p.hash for p in points]))
        return rows.take(pc.sort_indices(pa.table({"place": place, "chip": rows["chip"]}), _ORDER))

    def write(self, name: str, results: Any) -> None:
        """Keep results as JSON."""
        self.out.mkdir(parents=True, exist_ok=True)
        text = json.dumps(results, indent=1) + "\n"
        (self.out / f"{name}.json").write_text(text, encoding="utf-8")

    def read(self, name: str) -> Any:
        """Results kept so far, None without."""
        file = self.out / f"{name}.json"
        return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None

    def figure(self, name: str) -> Path:
        """Where a figure goes."""
        (self.out / "figures").mkdir(parents=True, exist_ok=True)
        return self.out / "figures" / f"{name}.png"


def last_seed(task: str) -> int:
    """The last seed of the pruning study."""
    return SEEDS.get(task, 1) - 1


def make_parser(about: str, chips: int) -> argparse.ArgumentParser:
    """The arguments that all experiments of the study take."""
    parser = argparse.ArgumentParser(description=about.splitlines()[0])
    add = parser.add_argument
    add("--work", type=Path, default=Path("pruning-work"), help="folder of the models")
    add("--data", default="nyu-mll/glue", help="GLUE folder or hub id")
    add("--chips", type=int, default=chips, help="chips of every point")
    add("--max-examples", type=int, default=EXAMPLES, help="of each dev set")
    add("--out", type=Path, default=HERE / "results", help="folder for rows, JSON, figures")
    add("--print", action="store_true", help="only fold the rows that are there")
    return parser


def ledger_of(inputs: Inputs, name: str, spec: ChipSpec | None = None) -> Ledger:
    """Cells and reads of all matrices together.

    Raises:
        ValueError: a matrix without room.
    """
    hardware = Hardware(spec or ChipSpec(), protection=name)
    found = ledgers(inputs.params, hardware, GROUPS, inputs.gates)
    return sum(itertools.chain(*found.values()), Ledger())


def facts(line: PointSummary) -> dict[str, Any]:
    """A point's statistics as kept in JSON."""
    return {
        "rate": line.rate,
        "mean": line.summary.mean,
        "se": line.summary.se,
        "interval": line.summary.interval,
        "worst": line.summary.worst,
        "chips": line.summary.chips,
        "examples": line.examples,
    }


def by_rate(lines: Sequence[PointSummary], **settings: str) -> dict[float, PointSummary]:
    """The points of one series, by their rate."""
    return {
        line.rate: line
        for line in lines
        if all(line.settings[name] == value for name, value in settings.items())
    }


def markdown(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(str, cells))} |" for cells in lines)


def counted(one: Mapping[str, Any]) -> str:
    """Below a table: how much it rests on."""
    return f"\n\n{one['chips']} chips a point, {one['examples']} examples."


def new_figure(width: float, height: float) -> Any:
    """An empty figure, which needs no display."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")
