"""What terminals and pipes get: names as they are, nothing that commands the terminal."""

import contextlib
import io
import re

import pyarrow as pa
import pytest
from made_rows import campaign

from rerax.io import place
from rerax.progress import LineReporter, say
from rerax.report import Column, print_columns, print_table
from rerax.values import printable

ODD = "a[bold]b[/bold]\x1b[31m\x07\u202ec"


def test_control_characters_become_escapes_and_brackets_stay():
    shown = printable(ODD)
    assert shown == "a[bold]b[/bold]\\x1b[31m\\x07\\u202ec"
    assert printable("Zürich 95 % ± 0.1, 10⁻³") == "Zürich 95 % ± 0.1, 10⁻³"


def test_tables_take_no_markup(capsys):
    print_columns([Column("model", [ODD], number=False)], [f"model {ODD}"])
    text = capsys.readouterr().out
    assert text.count(printable(ODD)) == 2
    assert "\x1b[31m" not in text


def test_the_closing_table_prints_a_name_as_it_is(capsys):
    from dataclasses import replace

    from made_rows import POINT, make_rows

    two = [make_rows(replace(POINT, model=name), [0.9, 0.8, 0.7]) for name in (ODD, "[/]")]
    print_table(pa.concat_tables(two))
    out = capsys.readouterr().out
    assert printable(ODD) in out
    assert "[/]" in out
    assert "\x1b[31m" not in out


class Screen(io.StringIO):
    """Standard output that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def shown(monkeypatch, width: int, **options) -> list[str]:
    """Lines of a closing table on a terminal of some width."""
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("TERM", "xterm")
    schemes = ({}, {"protection": "msb:2x3:pruned"}, {"protection": "plan:" + "query=none/" * 9})
    rows = pa.concat_tables(
        campaign([scheme], (0.0, 1e-3, 2e-3), cells=cells)
        for scheme, cells in zip(schemes, (800, 2400, 800), strict=True)
    )
    screen = Screen()
    with contextlib.redirect_stdout(screen):
        print_table(rows, runs=[{"reads": READS}], **options)
    return re.sub("\x1b[^m]*m", "", screen.getvalue()).splitlines()


READS = [{"protection": "none", "reads": 8.0}, {"protection": "msb:2x3:pruned", "reads": 12.0}]


@pytest.mark.parametrize("width", [60, 80, 120, 300])
def test_a_table_fits_its_terminal_and_says_what_it_leaves_out(monkeypatch, width):
    lines = shown(monkeypatch, width)
    table = lines[: next(k for k, line in enumerate(lines) if line.startswith("scores in"))]
    assert max(map(len, table)) <= width
    assert any("msb:2x3:pruned" in line and "2e-3" in line for line in table) or width < 80
    assert max(map(len, lines)) <= width
    told = " ".join(" ".join(lines[len(table) :]).split())
    assert "--wide shows" in told
    told = told[max(told.find("left out to fit"), told.find("names are cut")) :]
    for name in (" SE ", "(gain 95 %)", "reads"):  # a column is there, or its absence is told
        assert (name in table[1]) != (name.strip() in told), name
    assert ("names are cut" in told) == (width == 300)
    assert {"protection", "rate", "mean"} <= set(table[1].split())
    whole = shown(monkeypatch, 600)
    assert set(table[1].split()) <= set(whole[1].split())
    numbers = [set(re.findall(r"[+−0-9.]{4,}", "\n".join(part))) for part in (table, whole)]
    assert numbers[0] <= numbers[1]


def test_a_wide_table_and_one_in_a_file_are_whole(monkeypatch, capsys):
    wide = shown(monkeypatch, 60, wide=True)
    assert not any("--wide" in line for line in wide)
    print_table(campaign(({}, {"protection": "msb:2x3:pruned"})))
    for text in ("\n".join(wide), capsys.readouterr().out):
        assert "(gain 95 %)" in text
        assert "worst" in text


def test_what_a_scheme_costs_stands_beside_what_it_gains(monkeypatch):
    lines = shown(monkeypatch, 300)
    head = next(line for line in lines if "gain" in line)
    assert head.split()[-2:] == ["cells", "reads"]
    (line,) = [line for line in lines if "msb:2x3:pruned" in line and "2e-3" in line]
    assert line.split()[-2:] == ["3.00", "12.0"]
    assert any("gain: points over unprotected" in line for line in lines)


def test_lines_of_progress_and_errors(capsys):
    told = []
    lines = LineReporter("chips", write=told.append)
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


def test_the_command_is_kept_without_what_changes_no_row():
    from rerax.cli.flags import ModelFlags, RateFlags, command_text
    from rerax.cli.sweep import RunFlags, sweep

    values = {"out": "rows", "model": "my model", "task": "sst2", "rates": "0,1e-3", "chips": 8}
    told = command_text(sweep, {**values, "quiet": True, "wide": True})
    assert told == (
        "rerax sweep --out rows --model 'my model' --task sst2 --rates 0,1e-3 --chips 8"
    )
    whole = {"models": ModelFlags(model="my model", task="sst2"), "run": RunFlags(chips=8)}
    rates = RateFlags(rates="0,1e-3")
    assert command_text(sweep, {"out": "rows", **whole, "rates": rates, "wide": True}) == told
    study = command_text(sweep, {**values, "study": "a.py", "model": ""})
    assert study.startswith("rerax sweep --out rows a.py --task")


def test_notes_are_folded_between_words_and_long_names_in_them_are_cut(monkeypatch):
    plan = "allocation:" + "/".join(f"matrix_{i}=msb:2x3:pruned" for i in range(20))
    note = f"gain: points over {plan} on the same chips, whatever they cost, and so on and so on"
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("TERM", "xterm")
    for out, wide, folded in ((Screen(), False, 1), (Screen(), True, 0), (io.StringIO(), False, 0)):
        with contextlib.redirect_stdout(out):
            print_columns([Column("rate", ["1e-3"])], [note], wide=wide)
        lines = re.sub("\x1b[^m]*m", "", out.getvalue()).splitlines()
        assert (note in lines) != folded
        if folded:
            assert max(map(len, lines)) <= 60
            assert f"{plan[:35]}… on the same" in " ".join(" ".join(lines).split())
