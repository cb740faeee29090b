"""Every example of the pages is run, and every public name and link of the site is there.

Blocks of one page run top to bottom in a folder that holds what `rerax demo` leaves
(`rerax-demo/model`, `data` and `rows`, of fewer chips). `python` blocks share their names; one
titled with a file name is also written to that file. `console` blocks are commands behind `$`
with what they print, `bash` blocks commands alone. A block that cannot run here says so in its
title: `title="needs ..."`.
"""

import contextlib
import importlib
import inspect
import io
import re

import pages
import pytest

import rerax
from rerax import demo
from rerax.cli import main
from rerax.evaluate import platform_name

MADE_ON = "cpu:x86_64-avx512_vnni:jax-0.10.2:numerics-1"
"""Platform of the output that pages show; on others a number may be off by `SLACK`."""
SLACK = 1.0
NEEDS = (
    "a minute",
    "the hub",
    "a network",
    "the repository",
    "several machines",
    "an object store",
    "a file",
)


@pytest.fixture(scope="module")
def laid_out(tmp_path_factory):
    """Model and data that the demo leaves."""
    out = tmp_path_factory.mktemp("docs") / "rerax-demo"
    demo.lay_out(out)
    return out


@pytest.fixture(scope="module")
def with_rows(laid_out):
    """And its rows, of few chips."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo, "RATES", (0.0, 0.05, 0.1))
        patch.setattr(demo, "CHIPS", 4)
        demo.run_demo(laid_out)


def runnable(page):
    return any(b.language in pages.RUNS and not b.needs for b in pages.fences(pages.read(page)))


@pytest.mark.parametrize("page", [page for page in pages.PAGES if runnable(page)])
def test_examples_run(page, laid_out, tmp_path, monkeypatch, request):
    if "rerax-demo/rows" in pages.read(page):
        request.getfixturevalue("with_rows")
    (tmp_path / "rerax-demo").symlink_to(laid_out)
    monkeypatch.chdir(tmp_path)
    text, names = pages.read(page), {"__name__": "example"}
    for block in pages.fences(text):
        if block.language not in pages.RUNS or block.needs:
            continue
        where = f"{page}:{block.line}"
        if block.language == "python":
            shown = pages.output_of(text, block)
            if block.title.endswith(".py"):
                (tmp_path / block.title).write_text(block.text, encoding="utf-8")
            with contextlib.redirect_stdout(io.StringIO()) as out:
                exec(compile("\n" * block.line + block.text, page, "exec"), names)
            check_output(where, shown, out.getvalue())
            continue
        for arguments, shown in pages.commands(block):
            assert arguments[0] == "rerax", f"{where}: {arguments[0]} cannot run here: say needs .."
            quiet = [] if arguments[1] not in ("sweep", "train", "chip") else ["--quiet"]
            with contextlib.redirect_stdout(io.StringIO()) as out:
                assert main([*arguments[1:], *quiet]) == 0, f"{where}: {arguments}"
            check_output(where, shown, out.getvalue())


def check_output(where, shown, printed):
    slack = 0.0 if platform_name() == MADE_ON else SLACK
    if shown is not None:
        assert pages.same_output(shown, printed, slack), f"{where} shows\n{shown}\nnot\n{printed}"


def test_blocks_are_known():
    """Each is run, shown, or says what it needs."""
    for page in pages.PAGES:
        for block in pages.fences(pages.read(page)):
            where = f"{page}:{block.line}"
            assert block.language in (*pages.RUNS, "text"), f"{where}: {block.language!r}"
            if block.needs:
                assert block.title.removeprefix("needs ") in NEEDS, f"{where}: {block.title}"


def test_output_is_compared():
    """An edited number, word or line is seen."""
    printed = "rate  mean\n───\n 0.1  95.39\ndone\n"
    assert pages.same_output("rate mean\n0.1   95.39\ndone", printed, 0.0)
    assert pages.same_output("rate mean\n...\ndone", printed, 0.0)
    assert pages.same_output("rate mean\n0.1   95.40\ndone", printed, 0.5)
    assert not pages.same_output("rate mean\n0.1   95.40\ndone", printed, 0.0)
    assert not pages.same_output("rate mean\n0.1   99.39\ndone", printed, 0.5)
    assert not pages.same_output("rate mode\n0.1   95.39\ndone", printed, 0.5)
    assert not pages.same_output("rate mean\n0.1   95.39", printed, 0.5)
    assert not pages.same_output("...\n0.1   95.38\n...", printed, 0.0)


def test_api_page_has_every_public_name():
    """And each of them says what it is."""
    listed = re.findall(r"^::: (\S+)$", pages.read("docs/api.md"), re.MULTILINE)
    public = {f"{home}.{name}" for name, home in rerax._HOMES.items()}
    assert len(listed) == len(set(listed))
    assert public <= set(listed), f"docs/api.md lacks {sorted(public - set(listed))}"
    for path in listed:
        home, _, name = path.rpartition(".")
        found = getattr(importlib.import_module(home), name)
        assert inspect.getdoc(found), f"{path} has no docstring"


def test_site_has_every_page():
    named = set(re.findall(r"[\w./-]+\.md", pages.read("mkdocs.yml")))
    assert named == {page.removeprefix("docs/") for page in pages.SITE}


@pytest.mark.parametrize("page", [*pages.QUOTING, "CONTRIBUTING.md"])
def test_links_lead_somewhere(page):
    text = re.sub(r"^```.*?^```", "", pages.read(page), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith(("https://", "#")):
            continue
        file = (pages.ROOT / page).parent / target.partition("#")[0]
        if file.parent.name == "colab" and not file.parent.is_dir():
            continue
        assert file.exists(), f"{page} links to {target}"
