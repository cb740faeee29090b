"""Numbers that people write: one meaning each, or one line that says what is wrong."""

from fractions import Fraction
from typing import get_args, get_type_hints

import pytest
from commands import refused
from made_rows import POINT, make_rows

from rerax.campaign.point import parse_rates, parse_share, rate_and_share
from rerax.cli import app, main
from rerax.crossbar.spec import parse_tile
from rerax.protection import protection
from rerax.report import draw_figures, make_page, print_table, summarise_points
from rerax.values import rate_text, read_budget, read_float, read_number, read_whole

SWEEP = ["sweep", "--model", "nowhere", "--task", "sst2", "--out", "unwritten"]


@pytest.mark.parametrize(
    ("text", "value"),
    [("0", 0), ("0.10", Fraction(1, 10)), (".5", Fraction(1, 2)), ("5.", 5),
     (" 1e-05 ", Fraction(1, 10**5)), ("-0.1", Fraction(-1, 10)), ("1E-3", Fraction(1, 1000)),
     ("+2", 2), ("0e5", 0)],
)  # fmt: skip
def test_numbers_are_read_exactly(text, value):
    assert read_number(text) == value
    assert read_float(text) == float(value)


@pytest.mark.parametrize(
    "text",
    ["", "01", "0175", "00", "0,01", "1_000", "nan", "inf", "-inf", "١", "1e٣", "٠.٥", "0x1", "1e",
     ".", "1e999999999", f"1e{10**20}", "1 0", "1e-3,", "1%"],
)  # fmt: skip
def test_what_has_no_one_meaning_is_refused(text):
    with pytest.raises(ValueError, match=r"^rate '.*': give |^rate '.*: give "):
        read_number(text, "rate")


@pytest.mark.parametrize(
    "text", ["", "08", "00", "1e3", "1_000", "1,000", "8.0", "١٢", "--8", "nan"]
)
def test_whole_numbers_are_digits_alone(text):
    with pytest.raises(ValueError, match=r"^bits '.*: give "):
        read_whole(text, "bits")
    assert [read_whole(x) for x in ("0", "8", "-1", " 64 ")] == [0, 8, -1, 64]


@pytest.mark.parametrize(
    ("read", "said"),
    [
        (lambda: parse_rates("0,01"), "rate '01' begins with a zero: .* such as 0.01"),
        (lambda: parse_rates("0,0175"), "such as 0.0175"),
        (lambda: parse_rates("1e-3,"), "rate '' is empty: give"),
        (lambda: parse_rates("0,5"), "rate 5 is outside .*decimal point"),
        (lambda: rate_and_share("0,0175", "0.0904"), "sa0 '0,0175' has a comma: .* such as 0.0175"),
        (lambda: parse_share("9,04:1,75"), "sa1-share '9,04' has a comma: .* such as 9.04"),
        (lambda: parse_tile("0128x128"), "tile '0128x128' is not a size"),
        (lambda: parse_tile("١٢x٣"), "is not a size"),
        (lambda: protection("duplicate:03"), "use duplicate:3"),
        (lambda: protection("msb:2x03:pruned"), "use msb:2x3:pruned"),
        (lambda: protection("msb:05.3:pruned"), "use msb:2x3:pruned"),
        (lambda: protection("duplicate:٣"), "use duplicate:3"),
    ],
)
def test_decimal_commas_and_odd_digits_are_named(read, said):
    with pytest.raises(ValueError, match=said):
        read()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ("--chips 1e3", "'--chips': '1e3' is not a whole number: give digits alone"),
        ("--chips 1_000", "'1_000' is not a whole number"),
        ("--chips ١٠", "'١٠' is not a whole number"),
        ("--chips=010", "'010' begins with a zero: give 10"),
        ("--max-length 1_0", "'--max-length': '1_0'"),
        ("--until-se 0,3 --max-chips 8", "'--until-se': '0,3' has a comma: "),
        ("--until-se nan --max-chips 8", "'nan' is not a number"),
        ("--plan-rate 0,01", "such as 0.01"),
        ("--bits 08", "bits '08' begins with a zero: give 8"),
        ("--bits 8,", "bits '' is not a whole number"),
        ("--bits-per-cell 1_", "bits-per-cell '1_'"),
        ("--budget 1", "budget 1 is outside [0, 0.5)"),
        ("--budget 0,01", "budget '0,01' has a comma: "),
    ],
)  # fmt: skip
def test_flags_take_such_numbers_only(capsys, tmp_path, monkeypatch, flags, said):
    monkeypatch.chdir(tmp_path)
    assert said in refused(capsys, [*SWEEP, *flags.split()], tmp_path / "unwritten")


def test_every_flag_of_a_number_is_read_strictly():
    """Of all commands, also those to come."""
    strict = 0
    for command in app.registered_commands:
        for name, hint in get_type_hints(command.callback, include_extras=True).items():
            kind, *extra = get_args(hint) or (hint,)
            if {int, float} & {kind, *get_args(kind)}:
                (info,) = extra
                with pytest.raises(Exception, match="begins with a zero"):
                    info.parser("01")
                assert info.parser("1") == 1, (command.callback.__name__, name)
                strict += 1
    assert strict > 20


@pytest.mark.parametrize(
    ("given", "budget"),
    [("0.01", 0.01), ("1%", 0.01), (" 1.5 % ", 0.015), ("0", 0.0), (0.02, 0.02), ("49%", 0.49),
     ("1e-2", 0.01)],
)  # fmt: skip
def test_budgets_are_fractions_or_percentages(given, budget):
    assert read_budget(given) == budget


TOO_MUCH = ["1", 1.0, "0.5", 0.5, "50%", "100%", -0.01, "-1%", float("nan"), float("inf")]


@pytest.mark.parametrize("given", [*TOO_MUCH, "1,5%", "%", "one", "1%%"])
def test_other_budgets_are_refused(given):
    with pytest.raises(ValueError, match=r"^budget .*: give "):
        read_budget(given)


@pytest.mark.parametrize(
    "show",
    [
        summarise_points,
        print_table,
        make_page,
        lambda rows, budget: draw_figures(rows, "unwritten", budget),
    ],
    ids=["summarise_points", "print_table", "make_page", "draw_figures"],
)
def test_every_function_that_takes_a_budget_reads_it_so(show, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = make_rows(POINT, [0.9, 0.88])
    with pytest.raises(ValueError, match="budget 1 is outside"):
        show(rows, 1.0)
    assert not list(tmp_path.iterdir())
    show(rows, "2%")


def test_a_budget_in_percent_is_the_same_table(capsys):
    rows = make_rows(POINT, [0.9, 0.88, 0.5])
    print_table(rows, 0.02)
    table = capsys.readouterr().out
    assert "yield: chips within 2 points of" in table
    print_table(rows, "2%")
    assert capsys.readouterr().out == table
    assert summarise_points(rows, "2%")[0].passed == pytest.approx(2 / 3)


def test_the_report_command_takes_a_percentage(capsys, tmp_path):
    assert "1,5" in refused(capsys, ["report", str(tmp_path), "--budget", "1,5%"])
    assert main(["report", str(tmp_path), "--budget", "1%"]) == 2
    assert "is no campaign folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("rate", "text"),
    [(0.0, "0"), (1e-3, "1e-3"), (0.0134, "1.34e-2"), (0.1, "0.1"), (1.0, "1"), (0.25, "0.25"),
     (0.1234567, "0.1234567"), (1e-300, "1e-300"), (0.999999, "0.999999")],
)  # fmt: skip
def test_rates_are_written_so_that_they_can_be_read_back(rate, text):
    assert rate_text(rate) == text
    assert float(rate_text(rate)) == rate


@pytest.mark.parametrize(("rate", "text"), [(1 / 3, "0.33333"), (1 / 300, "3.3333e-3")])
def test_rates_that_a_map_realises_are_rounded(rate, text):
    assert rate_text(rate) == text
