"""What terminals and pipes get: names as they are, nothing that commands the terminal."""

import pyarrow as pa
import pytest

from rerax.campaign.files import place
from rerax.progress import Lines, say
from rerax.report.table import cell, print_whole
from rerax.values import printable

ODD = "a[bold]b[/bold]\x1b[31m\x07\u202ec"


def test_control_characters_become_escapes_and_brackets_stay():
    shown = printable(ODD)
    assert shown == "a[bold]b[/bold]\\x1b[31m\\x07\\u202ec"
    assert printable("Zürich 95 % ± 0.1, 10⁻³") == "Zürich 95 % ± 0.1, 10⁻³"


def test_tables_take_no_markup(capsys):
    from rich.table import Table

    table = Table()
    table.add_column("model")
    table.add_row(cell(ODD))
    print_whole(table, f"model {ODD}")
    text = capsys.readouterr().out
    assert text.count(printable(ODD)) == 2
    assert "\x1b[31m" not in text


def test_the_closing_table_prints_a_name_as_it_is(capsys):
    from dataclasses import replace

    from made_rows import POINT, make_rows

    from rerax.report import print_table

    two = [make_rows(replace(POINT, model=name), [0.9, 0.8, 0.7]) for name in (ODD, "[/]")]
    print_table(pa.concat_tables(two))
    out = capsys.readouterr().out
    assert printable(ODD) in out
    assert "[/]" in out
    assert "\x1b[31m" not in out


def test_lines_of_progress_and_errors(capsys):
    told = []
    lines = Lines("chips", write=told.append)
    lines.tell(type("P", (), {"done": 1, "total": 2, "text": ODD})())
    lines.close()
    say(ODD)
    assert printable(ODD) in told[-1]
    assert capsys.readouterr().err == printable(ODD) + "\n"


@pytest.mark.parametrize("text", ["s3:/bucket/rows", "gs:/bucket/rows"])
def test_a_store_with_one_slash(text):
    kind = text.partition(":")[0]
    with pytest.raises(ValueError, match=f"has one slash behind {kind}: give {kind}://bucket/rows"):
        place(text)


def test_a_home_is_found(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert place("~/rows") == tmp_path / "rows"
