"""Every example of the pages is run, and every public name and link of the site is there.

How examples are run, and how all of them are written anew by one command: `tests/helpers/pages.py`.
"""

import importlib
import inspect
import json
import re

import pages
import pytest

import rerax
from rerax.evaluate.engine import platform_name

HERE = platform_name() == json.loads(pages.MADE_ON.read_text(encoding="utf-8"))["platform"]
"""Whether this platform made the output that the pages show."""
NEEDS = (
    "a package of yours",
    "a minute",
    "the hub",
    "a network",
    "the repository",
    "several machines",
    "an object store",
    "a file",
    *pages.OPTIONAL,
)


LONG = (
    "docs/how-to/any-model.md",
    "docs/how-to/protect.md",
    "docs/how-to/where.md",
    "docs/tour.md",
)
"""Pages whose examples train or compile many models: more than ten seconds each."""


@pytest.fixture(scope="module")
def laid_out(tmp_path_factory):
    """Model and data that the demo leaves."""
    out = tmp_path_factory.mktemp("docs") / "rerax-demo"
    pages.lay_out(out)
    return out


@pytest.mark.filterwarnings("ignore:.*without gates they have no freed cells")
@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, marks=[pytest.mark.slow] if page in LONG else [])
        for page in pages.PAGES
        if pages.runnable(page)
    ],
)
def test_examples_print_what_the_page_shows(page, laid_out, tmp_path, monkeypatch):
    """Where the pages were made, writing them again changes nothing."""
    (tmp_path / "rerax-demo").symlink_to(laid_out)
    monkeypatch.chdir(tmp_path)
    text = pages.read(page)
    outputs = pages.run(text, page)
    for one in outputs:
        assert pages.same_output(one.shown, one.printed, HERE), (
            f"{page}:{one.line} shows\n{one.shown}\nnot\n{one.printed}\nmake pages writes it anew"
        )
    assert not HERE or pages.rewritten(text, outputs) == text


def test_blocks_are_known():
    """Each is run, shown, or says what it needs."""
    for page in pages.PAGES:
        for block in pages.fences(pages.read(page)):
            where = f"{page}:{block.line}"
            assert block.language in (*pages.RUNS, "text", "toml"), f"{where}: {block.language!r}"
            read = block.title.endswith(".toml") or block.title.startswith("needs ")
            assert block.language != "toml" or read, f"{where}: nothing reads it"
            if block.title.startswith("needs "):
                assert block.title.removeprefix("needs ") in NEEDS, f"{where}: {block.title}"


SHOWN = """ encoding   rate   chips    mean     SE     95 % interval   worst   yield     (95 %)
 ──────────────────────────────────────────────────────────────────────────────────
 offset        0       1   97.50                            97.50   100 %
 offset     0.05       8   95.39   0.78    93.58 .. 97.19   88.67    38 %   14 .. 69

float score 98.40; clean score 97.50
task sst2, sa1 share 0.8378
"""


@pytest.mark.parametrize(
    ("old", "new", "there"),
    [
        ("0.05 ", "0.06 ", False),  # a rate
        ("  8 ", "  9 ", False),  # a number of chips
        ("95.39", "95.45", True),
        ("95.39", "95.55", False),
        ("0.78", "0.85", True),
        ("93.58 ..", "93.90 ..", True),
        ("93.58 ..", "94.00 ..", False),
        ("97.50   100 %", "97.20   100 %", True),
        ("97.50   100 %", "97.00   100 %", False),
        ("88.67", "88.28", True),
        ("38 %", "50 %", True),  # one chip of eight
        ("38 %", "63 %", False),
        ("14 .. 69", "22 .. 78", True),
        ("98.40;", "98.05;", True),
        ("98.40;", "97.90;", False),
        ("offset     0.05", "offset     0.05 ", True),  # blanks alone
        ("task sst2", "task rte", False),
        ("0.8378", "0.8379", False),  # a setting
        ("14 .. 69", "14 to 69", False),
        ("float", "clean", False),
        ("\ntask sst2, sa1 share 0.8378", "", False),
    ],
)
def test_elsewhere_scores_may_be_off_a_little_and_nothing_else(old, new, there):
    assert SHOWN.count(old) == 1
    assert pages.same_output(SHOWN, SHOWN, here=True)
    changed = SHOWN.replace(old, new)
    assert not pages.same_output(SHOWN, changed, here=True)
    assert pages.same_output(SHOWN, changed, here=False) == there


PANDAS = "        mean     min\n0.01  0.9985  0.9883"
PROSE = "none rate 0.05 mean score 83.54 % over 16 chips"
SIZE = "157 chips a point for 0.5 points"


@pytest.mark.parametrize(
    ("shown", "old", "new", "there"),
    [
        (PANDAS, "0.9985", "0.9980", True),
        (PANDAS, "0.9883", "0.9844", True),
        (PANDAS, "0.9985", "0.9885", False),
        (PANDAS, "0.01 ", "0.02 ", False),
        (PROSE, "83.54", "83.50", True),
        (PROSE, "83.54", "84.54", False),
        (PROSE, "0.05", "0.06", False),
        (PROSE, "16", "17", False),
        (SIZE, "157", "160", True),
        (SIZE, "0.5", "0.6", False),
        ("388 chips for a 95 % interval", "388", "389", False),
        ("(2, 32, 32)", "2,", "3,", False),
    ],
)
def test_so_in_other_outputs(shown, old, new, there):
    assert pages.same_output(shown, shown.replace(old, new), here=False) == there


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


PAGE = """# Title

```python title="kept.py"
x = 2
print("two ", x)
```

```text title="prints"
{first}```

```console
$ rerax size --half-width 0.005 \\
    --sd 0.02
{second}$ rerax size --yield 0.9 --half-width 0.03
$ rerax size --half-width 0.03 --yield 0.9
{third}```

```python
print("not shown", x)
```

```bash title="needs a network"
git clone nothing
```

End.
"""


def test_a_page_is_written_anew(folder):
    """Words, and lines more and fewer, stand where they stood; what is not shown stays so."""
    wrong = PAGE.format(first="three\n\n3\n", second="1\n2\n", third="none\n")
    outputs = pages.run(wrong)
    assert [one.shown for one in outputs] == ["three\n\n3\n", "1\n2\n", "none\n"]
    right = pages.rewritten(wrong, outputs)
    assert right == PAGE.format(
        first="two  2\n",
        second="66 chips for a 95 % interval of half-width 0.5 points (SD 2)\n",
        third="388 chips for a 95 % interval of half-width 3 points (yield 90 %)\n"
        "29 chips without a failure show a yield of at least 90 % at 95 %\n",
    )
    again = pages.run(right)
    assert all(pages.same_output(one.shown, one.printed, here=True) for one in again)
    assert pages.rewritten(right, again) == right
    assert (folder / "kept.py").read_text().startswith("x = 2")


def test_blanks_at_ends_are_not_shown():
    assert pages.as_shown("\n  a  \n\n b\n \n") == "  a\n\n b\n"
    assert pages.as_shown("") == ""


@pytest.mark.parametrize("page", pages.QUOTING)
def test_no_score_of_a_table_is_impossible(page):
    assert not pages.out_of_range(pages.read(page))


@pytest.mark.parametrize(
    ("text", "bad"),
    [
        (SHOWN, []),
        (SHOWN.replace("97.19", "100.15"), ["93.58 .. 100.15"]),
        (SHOWN.replace("93.58", "-0.15"), ["-0.15 .. 97.19"]),
        (SHOWN.replace("88.67", "-8.67"), ["-8.67"]),
        (SHOWN.replace("14 .. 69", "14 .. 101"), ["14 .. 101"]),
        ("| a | 99.8 (99.6 to 100.2) |", ["99.8 (99.6 to 100.2)"]),
        ("| a | 1.2 (-0.3 to 2.7) |", ["1.2 (-0.3 to 2.7)"]),
        ("| a | 1.2 (−0.3 to 2.7) |", ["1.2 (−0.3 to 2.7)"]),
        ("| a | +1.2 (−0.3 to +2.7) | −1.31 (−2.57 to −0.05) | 0.00 (−0.10 to +0.10) |", []),
        ("| a | 5.0 (6.0 to 4.0) |", ["5.0 (6.0 to 4.0)"]),
        ("no table: 1.2 (-0.3 to 2.7)", []),
    ],
)
def test_impossible_scores_are_seen(text, bad):
    assert pages.out_of_range(text) == bad


def test_one_command_writes_all_pages(tmp_path, monkeypatch, capsys):
    """With two pages of the shortest kind."""
    for name, text in {"a.md": "```python\nprint(1)\n```\n", "b.md": "words\n"}.items():
        (tmp_path / name).write_text(text + '\n```text title="prints"\n2\n```\n')
    monkeypatch.setattr(pages, "ROOT", tmp_path)
    monkeypatch.setattr(pages, "PAGES", ("a.md", "b.md"))
    monkeypatch.setattr(pages, "MADE_ON", tmp_path / "made_on.json")
    monkeypatch.setattr(pages, "lay_out", lambda folder: folder.mkdir(exist_ok=True))
    pages.main()
    assert 'prints"\n1\n' in (tmp_path / "a.md").read_text()
    assert 'prints"\n2\n' in (tmp_path / "b.md").read_text()
    assert json.loads((tmp_path / "made_on.json").read_text())["platform"] == platform_name()
    assert capsys.readouterr().out == "a.md: written anew\n"
    pages.main()
    assert capsys.readouterr().out == "a.md: as it was\n"


def test_api_page_has_every_public_name():
    """And nothing else; each says what it is, and comes from `rerax` itself."""
    listed = re.findall(r"^::: (\S+)$", pages.read("docs/api.md"), re.MULTILINE)
    public = {f"{home}.{name}" for name, home in rerax._HOMES.items()}
    assert len(listed) == len(set(listed))
    assert public == set(listed), f"not on both sides: {sorted(public ^ set(listed))}"
    for path in listed:
        home, _, name = path.rpartition(".")
        found = getattr(importlib.import_module(home), name)
        assert getattr(rerax, name) is found
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
