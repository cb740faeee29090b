"""Notebooks run from top to bottom on a tiny setting, are clean, and their links lead somewhere.

Links of the README and its kin are looked at here as well: notebooks point into them.
"""

import importlib.util
import json
import os
import re
import subprocess
import sys
import tomllib
from importlib.machinery import ModuleSpec
from pathlib import Path
from urllib.parse import urlsplit

import jax
import pytest
from paths import HELPERS, ROOT

import rerax

EXECUTE = HELPERS / "execute.py"
NOTEBOOKS = sorted((ROOT / "colab").glob("*.ipynb"))
PAGES = ("README.md", "CONTRIBUTING.md", "experiments/README.md")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
MOST_BYTES = 24_000
each_notebook = pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)


def read(notebook):
    return json.loads(notebook.read_text(encoding="utf-8"))


def source_of(notebook, cell_id):
    return next("".join(c["source"]) for c in read(notebook)["cells"] if c["id"] == cell_id)


def test_there_are_four():
    stems = ["00_quickstart", "10_prune_and_protect", "20_campaign_on_tpu", "30_extend"]
    assert [path.stem for path in NOTEBOOKS] == stems


# They run.


def run(notebook, folder, devices=1):
    """Execute a notebook in an empty folder: tiny, on the CPU, without the hub, compiled fast."""
    flags = f"--xla_force_host_platform_device_count={devices} --xla_backend_optimization_level=0"
    settings = {
        "PYTHONPATH": str(ROOT),
        "RERAX_NOTEBOOK_TINY": "1",
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": flags,
        "HF_HUB_OFFLINE": "1",
    }
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("RERAX_")}
    return subprocess.run(
        [sys.executable, str(EXECUTE), str(notebook)],
        cwd=folder,
        env={**inherited, **settings},
        capture_output=True,
        text=True,
        timeout=600,
    )


@pytest.mark.slow
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=[path.stem for path in NOTEBOOKS])
def test_it_runs_from_top_to_bottom(notebook, tmp_path):
    devices = 2 if notebook.stem.startswith("20") else 1
    done = run(notebook, tmp_path, devices)
    assert done.returncode == 0, done.stderr
    cells = [cell["id"] for cell in read(notebook)["cells"] if cell["cell_type"] == "code"]
    assert re.findall(r"^-- .*\[(.*)\]: ", done.stdout, re.M) == cells
    assert f"{devices} x cpu, JAX {jax.__version__}" in done.stdout
    assert [path.name for path in tmp_path.iterdir() if not path.is_dir()] == []


@pytest.mark.parametrize(
    ("planted", "said"),
    [
        ('sh("report nowhere --no-such-flag")', "--no-such-flag"),
        ("assert 1 + 1 == 3", "AssertionError"),
        ("%matplotlib inline", "SyntaxError"),
    ],
)
def test_a_cell_that_fails_is_seen(planted, said, tmp_path):
    content = read(NOTEBOOKS[0])
    cells = [cell for cell in content["cells"] if cell["id"] in ("install", "settings")]
    bad = {"cell_type": "code", "id": "planted", "source": [planted]}
    path = tmp_path / "planted.ipynb"
    path.write_text(json.dumps({**content, "cells": [*cells, bad]}), encoding="utf-8")
    done = run(path, tmp_path)
    assert done.returncode != 0
    assert "planted.ipynb[planted]" in done.stderr
    assert said in done.stderr


# They are clean.


def flaws(content):
    """What is wrong with a notebook's form (nbformat 4.5) or should not have been committed."""
    found = []
    if (content["nbformat"], content["nbformat_minor"]) != (4, 5):
        found.append("another nbformat than 4.5")
    if set(content) != {"cells", "metadata", "nbformat", "nbformat_minor"}:
        found.append("unknown parts")
    ids = [cell.get("id", "") for cell in content["cells"]]
    if len(set(ids)) < len(ids) or not all(re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", i) for i in ids):
        found.append("ids")
    for cell in content["cells"]:
        kind = cell["cell_type"]
        parts = {"cell_type", "id", "metadata", "source"}
        if kind == "code":
            parts |= {"execution_count", "outputs"}
        if kind not in ("code", "markdown") or set(cell) != parts or cell["metadata"]:
            found.append(f"form of {cell['id']}")
        if cell.get("outputs") or cell.get("execution_count") is not None:
            found.append(f"outputs of {cell['id']}")
        text = cell["source"]
        if not (isinstance(text, list) and "".join(text).splitlines(keepends=True) == text):
            found.append(f"source of {cell['id']}")
    return found


@each_notebook
def test_it_is_clean_and_small(notebook):
    content = read(notebook)
    assert flaws(content) == []
    assert notebook.stat().st_size <= MOST_BYTES
    text = notebook.read_text(encoding="utf-8")
    assert text == json.dumps(content, indent=1, ensure_ascii=False) + "\n"  # diffs stay small


@pytest.mark.parametrize("file", [*NOTEBOOKS, ROOT / "docs" / "tour.md"], ids=lambda f: f.stem)
def test_all_comes_from_the_package_itself(file):
    """No module inside it is imported, nor reached through it."""
    text = file.read_text(encoding="utf-8")
    if file.suffix == ".ipynb":
        cells = (cell for cell in read(file)["cells"] if cell["cell_type"] == "code")
        text = "\n".join("".join(cell["source"]) for cell in cells)
    assert re.findall(r"(?:from|import) +rerax\..*", text) == []
    used = set(re.findall(r"\brerax\.([A-Za-z]\w*)", text))
    assert used <= set(rerax.__all__)


def test_a_model_of_ones_own_takes_few_lines():
    """From `program` to the table."""
    source = source_of(ROOT / "colab" / "30_extend.ipynb", "own-model")
    assert "rerax.program(" in source
    assert "rerax.simulate(" in source
    assert len(source.splitlines()) <= 25


def test_what_is_not_clean_is_seen():
    def planted(**changes):
        content = read(NOTEBOOKS[0])
        cell = next(cell for cell in content["cells"] if cell["cell_type"] == "code")
        cell.update(changes)
        return flaws(content)

    assert planted() == []
    assert planted(outputs=[{"output_type": "stream", "text": ["1"]}]) == ["outputs of install"]
    assert planted(execution_count=3) == ["outputs of install"]
    assert planted(id="title") == ["ids"]
    assert planted(source="print(1)") == ["source of install"]
    assert planted(metadata={"scrolled": True}) == ["form of install"]


@each_notebook
def test_the_badge_is_that_of_the_repository(notebook):
    """A badge needs an address; where the project names none, there must be no badge."""
    title = "".join(read(notebook)["cells"][0]["source"])
    urls = PROJECT["project"].get("urls", {})
    address = next((url for name, url in urls.items() if name.lower() == "repository"), None)
    if address is None:
        assert "colab.research.google.com" not in title
    else:
        path = urlsplit(address).path.strip("/").removesuffix(".git")
        badge = f"https://colab.research.google.com/github/{path}/blob/main/colab/{notebook.name}"
        assert badge in title


def test_they_stay_out_of_the_wheel():
    assert PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"] == ["rerax"]


# They install.


@pytest.fixture
def install(monkeypatch, tmp_path):
    """Run the installing cell in an empty folder; gives pip's arguments and its constraints."""
    calls = []

    def pip(command, check):
        assert check
        calls.append((command, Path(command[command.index("-c") + 1]).read_text()))

    def go(origin, source=None):
        with monkeypatch.context() as patch:
            patch.setattr(
                importlib.util, "find_spec", lambda name: ModuleSpec(name, None, origin=origin)
            )
            patch.setattr(subprocess, "run", pip)
            patch.chdir(tmp_path)
            patch.delenv("RERAX_SOURCE", raising=False)
            if source:
                patch.setenv("RERAX_SOURCE", source)
            exec(source_of(NOTEBOOKS[0], "install"), {})
        return calls

    return go


def make_checkout(folder):
    (folder / "rerax").mkdir(parents=True)
    (folder / "rerax" / "hardware.py").touch()


def test_all_install_alike():
    assert len({source_of(notebook, "install") for notebook in NOTEBOOKS}) == 1


def test_what_is_there_is_not_installed(install):
    assert install(origin="rerax/__init__.py") == []


@pytest.mark.parametrize("below", [".", "rerax"])
def test_a_checkout_is_installed_and_jax_stays(install, tmp_path, below):
    """Also one in a folder called rerax, which Python takes for a package of its own kind."""
    make_checkout(tmp_path / below)
    [(command, pins)] = install(origin=None)
    assert command[:4] == [sys.executable, "-m", "pip", "install"]
    assert command[-1] == str(tmp_path / below)
    assert f"jax=={jax.__version__}\n" in pins
    assert "jaxlib==" in pins
    assert "jaxtyping" not in pins


def test_an_address_goes_first(install, tmp_path):
    make_checkout(tmp_path)
    [(command, _)] = install(origin=None, source="git+https://example.org/a/rerax")
    assert command[-1] == "git+https://example.org/a/rerax"


def test_without_a_source_it_says_so(install):
    with pytest.raises(ModuleNotFoundError, match="clone the repository"):
        install(origin=None)


# Their links lead somewhere.


def plain(markdown):
    """Markdown without code, in which brackets mean something else."""
    return re.sub(r"`[^`\n]*`", "", re.sub(r"^```.*?^```", "", markdown, flags=re.M | re.S))


def anchors(markdown):
    """Anchors of the headings, made as GitHub makes them."""
    text = re.sub(r"^```.*?^```", "", markdown, flags=re.M | re.S)
    heads = re.findall(r"^#+ +(.*?) *$", text, re.M)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def dead_links(markdown, file):
    """Links of a page that point at no file or heading, or are no https addresses."""
    found = []
    for link in re.findall(r"\]\(([^)\s]*)\)", plain(markdown)):
        url = urlsplit(link)
        if url.scheme or url.netloc:
            if url.scheme != "https" or "." not in url.netloc:
                found.append(link)
            continue
        target = (file.parent / url.path).resolve() if url.path else file
        if not target.is_relative_to(ROOT) or not target.exists():
            found.append(link)
        elif url.fragment:
            text = markdown if target == file else target.read_text(encoding="utf-8")
            if url.fragment not in anchors(text):
                found.append(link)
    return found


@each_notebook
def test_links_of_notebooks(notebook):
    cells = (cell for cell in read(notebook)["cells"] if cell["cell_type"] == "markdown")
    text = "\n\n".join("".join(cell["source"]) for cell in cells)
    assert "](" in text
    assert dead_links(text, notebook) == []


@pytest.mark.parametrize("page", PAGES)
def test_links_of_pages(page):
    assert dead_links((ROOT / page).read_text(encoding="utf-8"), ROOT / page) == []


def test_links_of_a_page_that_the_site_shows_elsewhere():
    """`--8<-- "FILE"` takes a page into another folder, and its pictures with it."""
    shown = re.compile(r'^--8<-- "(.*)"$', re.M)
    for page in (ROOT / "docs").rglob("*.md"):
        text = shown.sub(
            lambda file: (ROOT / file[1]).read_text(encoding="utf-8"),
            page.read_text(encoding="utf-8"),
        )
        assert dead_links(text, page) == []
        for picture in re.findall(r"!\[[^\]]*\]\((.*?)\)", plain(text)):
            assert Path(os.path.abspath(page.parent / picture)).is_relative_to(ROOT / "docs")


def test_dead_links_are_seen():
    page = ROOT / "README.md"
    good = "# One, two\n[a](#one-two) [b](LICENSE) [c](https://arxiv.org/abs/1) `[d](e)`"
    assert dead_links(good, page) == []
    bad = ["NOTHING.md", "#three", "CONTRIBUTING.md#nowhere", "http://a.org", "https://a", "../b"]
    assert dead_links(" ".join(f"[x]({link})" for link in bad), page) == bad
