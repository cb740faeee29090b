"""Who may import whom (the contracts are in pyproject.toml), and who may not import JAX."""

import builtins
import inspect
import re
import symtable
import tomllib

import grimp
import importlinter.api  # noqa: F401 (it sets the next one up)
import pytest
from importlinter.application import use_cases
from light import IMPORT, run_steps
from paths import ROOT

WITH_JAX = {
    "_types",
    "bench",
    "campaign.estimates",
    "campaign.ledgers",
    "campaign.rare",
    "campaign.sequential",
    "campaign.worker",
    "crossbar.crossbar",
    "crossbar.encoding",
    "crossbar.fused",
    "crossbar.keys",
    "crossbar.masking",
    "crossbar.products",
    "crossbar.quantise",
    "crossbar.voting",
    "evaluate",
    "faults.bit_filter",
    "faults.mask",
    "faults.read_out",
    "faults.sampling.addresses",
    "faults.sampling.cell_list",
    "faults.sampling.flips",
    "faults.sampling.lines",
    "faults.sampling.misread",
    "faults.sampling.missed",
    "faults.sampling.poisson_process",
    "faults.sampling.rates",
    "faults.sampling.shorts",
    "faults.sampling.tiles",
    "glue.metrics",
    "inspect.export",
    "inspect.read",
    "inspect.reproduce",
    "models.bert.crossbars",
    "models.bert.fused_layer",
    "models.bert.model",
    "models.bert.planning",
    "models.bert.sensitivity",
    "models.conformance",
    "models.flax",
    "models.reading",
    "models.stored",
    "models.tree",
    "protection.bit_addresses",
    "protection.codes.expected",
    "protection.codes.read",
    "protection.codes.write",
    "protection.column_flips",
    "protection.row_rotation",
    "protection.bitline_replacement",
    "protection.line_replacement",
    "protection.msb.read",
    "protection.msb.write",
    "protection.msb.write_around",
    "protection.nearest_word",
    "protection.planner",
    "pruning.budget",
    "pruning.masks",
    "pruning.ties",
    "simulation.simulate",
    "train.faults",
    "train.batches",
    "train.checkpoint",
    "train.inputs",
    "train.loop",
    "train.pruning_schedule",
    "train.score",
    "train.step",
    "train.teacher",
}
"""Modules that import JAX, and packages whose modules do; every other module does without."""


@pytest.fixture(scope="module")
def graph():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT)
        return grimp.build_graph("rerax", cache_dir=None)


def test_imports_keep_the_contracts(monkeypatch):
    monkeypatch.syspath_prepend(ROOT)
    config = str(ROOT / "pyproject.toml")
    assert use_cases.lint_imports(config, cache_dir=None, no_logo=True, is_debug_mode=True)


def test_no_module_imports_the_package_it_lies_in(graph):
    """Such cycles are between a parent and its child, where the contracts see siblings."""
    found = {
        (module, imported)
        for module in graph.modules
        for imported in graph.find_modules_directly_imported_by(module)
        if module.startswith(f"{imported}.")
    }
    of_version = {("rerax.cli", "rerax"), ("rerax.campaign.origin", "rerax")}
    assert found == of_version


def test_light_modules_import_nothing_heavy(graph):
    names = {module.removeprefix("rerax").lstrip(".") for module in graph.modules}
    assert names >= WITH_JAX
    light = [name for name in sorted(names) if not {name, name.split(".")[0]} & WITH_JAX]
    told = run_steps(IMPORT, [f"rerax.{name}".rstrip(".") for name in light])
    assert {name: heavy for name, (_, heavy) in zip(light, told, strict=True) if heavy} == {}


def test_a_path_may_be_a_text_in_every_public_function():
    import rerax

    public = [getattr(rerax, name) for name in rerax.__all__ if name != "__version__"]
    for function in filter(inspect.isfunction, public):
        for its in inspect.signature(function).parameters.values():
            said = str(its.annotation)
            assert "Path" not in said or "str" in said, (function, its)


def test_public_names_exist_and_are_documented(graph):
    import rerax

    # A module of that name would take its place as soon as it is imported.
    children = {child.removeprefix("rerax.") for child in graph.find_children("rerax")}
    assert not children & set(rerax.__all__)
    for name in rerax.__all__:
        assert name == "__version__" or getattr(rerax, name).__doc__, name
    with pytest.raises(AttributeError, match=r"no attribute 'nothing'$"):
        _ = rerax.nothing
    for old, new in rerax._MOVED.items():
        assert new in graph.modules or new.removeprefix("rerax.") in rerax.__all__
        with pytest.raises(AttributeError, match=f"no attribute '{old}', it is {new} now"):
            getattr(rerax, old)


def test_the_version_stands_in_citation_and_changelog():
    """Both name the release; between releases the changelog begins with what is to come."""
    import rerax

    if not (ROOT / "CITATION.cff").is_file():
        pytest.skip("no CITATION.cff beside the tests")
    cited, changes = (
        (ROOT / name).read_text(encoding="utf-8") for name in ("CITATION.cff", "CHANGELOG.md")
    )
    (version,), (day,) = (
        re.findall(rf"^{key}: (.*)$", cited, re.M) for key in ("version", "date-released")
    )
    heads = re.findall(r"^## (.*)$", changes, re.M)
    assert version == rerax.__version__
    assert f"{version} ({day})" in heads[:2]
    assert heads[0] in (f"{version} ({day})", "Unreleased")


def test_every_room_has_a_line_in_contributing():
    """In the order of the contract, from top to bottom."""
    pages = ROOT / "CONTRIBUTING.md"
    if not pages.is_file():
        pytest.skip("no pages beside the tests")
    rows = re.findall(
        r"^\| (`.*`) \|", pages.read_text(encoding="utf-8").split("## Tests")[0], re.M
    )
    told = [name for row in rows for name in re.findall(r"`(\w+)`", row)]
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
    lines = tools["importlinter"]["contracts"][0]["layers"]
    rooms = [room for line in lines for room in line.split(" | ")]
    assert sorted(told) == sorted({*rooms} - {"__main__"})
    above = {name: i for i, line in enumerate(lines) for name in line.split(" | ")}
    assert [above[room] for room in told] == sorted(above[room] for room in told)


def undefined_names(file):
    """Names that a file uses and nobody defines: linters are told to pass over jaxtyping's axes."""
    table = symtable.symtable(file.read_text(encoding="utf-8"), str(file), "exec")
    made = [one for one in table.get_symbols()
            if one.is_assigned() or one.is_imported() or one.is_namespace()]  # fmt: skip
    known = {one.get_name() for one in made}
    known |= {*dir(builtins), "__file__", "__name__", "__doc__", "__path__"}
    found, tables = set(), [table]
    while tables:
        one = tables.pop()
        tables += one.get_children()
        used = (s for s in one.get_symbols() if s.is_referenced() and s.is_global())
        found |= {symbol.get_name() for symbol in used} - known
    return found


def test_no_name_is_undefined(tmp_path):
    files = [*(ROOT / "rerax").rglob("*.py"), *(ROOT / "experiments").rglob("*.py")]
    assert {str(file): names for file in files if (names := undefined_names(file))} == {}
    (tmp_path / "a.py").write_text("import os\ndef f(x):\n    return [os, x, absent]\n")
    assert undefined_names(tmp_path / "a.py") == {"absent"}
