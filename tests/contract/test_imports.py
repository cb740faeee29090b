"""Who may import whom: a module imports only what stands above it."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "rerax"

ORDER = [
    "_types",
    "campaign.files",
    "values",
    "spec",
    "keys",
    "quantise",
    "encoding",
    "poisson",
    "gamma",
    "measured",
    "scope",
    "faults.grids",
    "faults.process",
    "faults.models",
    "faults.clustered",
    "faults.lines",
    "faults.measured",
    "faults.planes",
    "faults",
    "gates",
    "compaction",
    "pruning",
    "voting",
    "protection.repair",
    "protection.placement",
    "protection.embed",
    "protection.separation",
    "protection.ledger",
    "protection.recover",
    "protection.schemes",
    "protection.damage",
    "protection.planner",
    "protection",
    "fused",
    "chip",
    "bert.config",
    "bert.model",
    "bert.convert",
    "sensitivity",
    "allocation",
    "glue.tasks",
    "glue.label_order",
    "glue.data",
    "glue.metrics",
    "instructions",
    "products",
    "network",
    "evaluate",
    "reuse",
    "stats.laws",
    "stats.mean",
    "stats.share",
    "stats.planning",
    "stats",
    "campaign.point",
    "campaign.grid",
    "campaign.lot",
    "campaign.block",
    "campaign.block_file",
    "campaign.manifest",
    "campaign.store",
    "campaign.stopping",
    "campaign.subject",
    "campaign.estimate",
    "campaign.devices",
    "campaign.team",
    "campaign.pace",
    "campaign.source",
    "campaign.allot",
    "campaign.worker",
    "campaign.crew",
    "campaign.run",
    "campaign.study",
    "campaign.several",
    "campaign.forecast",
    "campaign.compact",
    "campaign.merge",
    "campaign.export",
    "campaign.recall",
    "campaign.lens",
    "train.recipe",
    "train.kept",
    "train.order",
    "train.step",
    "train.folder",
    "train.score",
    "train.teacher",
    "train.run",
    "report.wording",
    "report.palette",
    "report.lines",
    "report.table",
    "report.panels",
    "report.places",
    "report.axes",
    "report.charts",
    "report.figures",
    "report.words",
    "report.tables",
    "report.page",
    "report",
    "bench.timing",
    "bench.machine",
    "bench.jobs",
    "bench.stages",
    "bench.kernel",
    "bench.growth",
    "bench.record",
    "bench",
    "progress",
    "demo.sentences",
    "demo",
    "cli.programs",
    "cli.stop",
    "cli.flags",
    "cli.sweep",
    "cli.plan",
    "cli.train",
    "cli.report",
    "cli.size",
    "cli.folders",
    "cli.chip",
    "cli.bench",
    "cli",
]
WITHOUT_JAX = [
    "values",
    "spec",
    "gates",
    "stats.laws",
    "stats.mean",
    "stats.share",
    "stats.planning",
    "stats",
    "stats.planning",
    *(name for name in ORDER if name.split(".")[0] == "report"),
    "poisson",
    "gamma",
    "measured",
    "scope",
    "campaign.point",
    "campaign.grid",
    "campaign.lot",
    "campaign.block",
    "campaign.block_file",
    "campaign.files",
    "campaign.manifest",
    "campaign.store",
    "campaign.stopping",
    "campaign.subject",
    "campaign.team",
    "campaign.pace",
    "campaign.source",
    "campaign.allot",
    "campaign.crew",
    "campaign.run",
    "campaign.study",
    "campaign.several",
    "campaign.forecast",
    "campaign.compact",
    "campaign.merge",
    "campaign.export",
    "campaign.recall",
    "train.recipe",
    "train.kept",
    "bert.config",
    "bert.convert",
    "glue.tasks",
    "glue.label_order",
    "glue.data",
    "cli",
]
HEAVY = {"jax", "flax", "transformers", "datasets", "torch"}


def modules():
    for file in sorted(PACKAGE.rglob("*.py")):
        parts = file.relative_to(PACKAGE).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        if name and not (parts[-1] == "__init__" and name not in ORDER):
            yield name, file


def imports_of(file):
    """Modules of this package that a file imports, at any depth of nesting."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "rerax":
                    yield alias.name.removeprefix("rerax").lstrip(".")
        assert not (isinstance(node, ast.ImportFrom) and node.level), "imports are absolute"
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "rerax":
            base = node.module.removeprefix("rerax").lstrip(".")
            for alias in node.names:
                full = f"{base}.{alias.name}".lstrip(".")
                yield full if full in ORDER else base


def test_every_module_has_its_place():
    assert {name for name, _ in modules()} == set(ORDER)


@pytest.mark.parametrize(("name", "file"), list(modules()), ids=[name for name, _ in modules()])
def test_imports_point_upwards(name, file):
    for imported in filter(None, imports_of(file)):
        assert ORDER.index(imported) < ORDER.index(name), f"{name} imports {imported}"


@pytest.mark.parametrize("name", ["", *WITHOUT_JAX])
def test_light_modules_import_nothing_heavy(name):
    code = (
        f"import sys, importlib; importlib.import_module('rerax{name and '.' + name}');"
        f"print(sorted({HEAVY} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_public_names_exist_and_are_documented():
    import rerax

    # A module of that name would take its place as soon as it is imported.
    assert not {name for name in ORDER if "." not in name} & set(rerax.__all__)
    for name in rerax.__all__:
        assert name == "__version__" or getattr(rerax, name).__doc__, name
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = rerax.nothing
