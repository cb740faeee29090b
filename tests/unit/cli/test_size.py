"""rerax size, and the rule by which sweeps stop; such sweeps are in tests/campaign."""

import warnings

import numpy as np
import pytest
from commands import refused

from rerax.campaign import sidecars
from rerax.campaign.sidecars import add_provenance
from rerax.cli import main
from rerax.stats import chips_for_mean, chips_for_yield, stopping
from rerax.stats.share import clopper_pearson


def asked(capsys, *arguments):
    assert main(["size", *map(str, arguments)]) == 0
    return capsys.readouterr().out


def test_sizes_of_means_and_yields(capsys):
    chips = chips_for_mean(0.01, 0.05)
    assert asked(capsys, "--half-width", 0.01, "--sd", 0.05).startswith(f"{chips} chips for a 95 %")
    chips = chips_for_yield(0.9, 0.05)
    assert asked(capsys, "--yield", 0.9, "--half-width", 0.05).startswith(f"{chips} chips for a 95")
    assert "tested from 32 chips on" in asked(capsys, "--half-width", 0.1, "--sd", 0.05)


def test_the_one_sided_question(capsys):
    alone = asked(capsys, "--yield", 0.999)
    assert alone == "2995 chips without a failure show a yield of at least 99.9 % at 95 %\n"
    both = asked(capsys, "--yield", 0.9, "--half-width", 0.05).splitlines()
    assert both[1].startswith("29 chips without a failure")
    low, _ = clopper_pearson(2995, 2995, 0.9)  # two-sided 90 % is one-sided 95 %
    assert low >= 0.999 > clopper_pearson(2994, 2994, 0.9)[0]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("--half-width 0.01", "exactly one"),
        ("--yield 1", "yield 1 is outside its range: give a fraction above 0 and below 1"),
        ("--half-width 0.01 --sd 0.1 --yield 0.9", "exactly one"),
        ("--sd 0.1", "--half-width"),
        ("--half-width 0 --sd 0.1", "half-width 0 is outside its range: give a fraction from 1e-6"),
        ("--half-width 1e-200 --sd 1", "half-width 1e-200 is outside its range"),
        ("--half-width 1 --sd 0.1", "half-width 1 is outside"),
        ("--half-width nan --sd 0.1", "'--half-width': 'nan' is not a number"),
        ("--half-width wide --sd 0.1", "wide"),
        ("--half-width 0.01 --sd -1", "sd -1 is outside its range"),
        ("--half-width 0.01 --sd inf", "'--sd': 'inf' is not a number"),
        ("--half-width 0.01 --yield 90", "yield 90 is outside its range: give a fraction from 0"),
        ("--half-width 0.01 --from nowhere", "nowhere is no campaign folder"),
    ],
)
def test_bad_sizes(capsys, arguments, said):
    assert said in refused(capsys, ["size", *arguments.split()])


def test_a_torn_line_of_provenance_is_passed_over(tmp_path):
    assert stopping.recorded(sidecars.read_provenance(tmp_path)) is None
    add_provenance(tmp_path, {"host": "a"})
    for rule in (stopping.Rule(0.01, 128), stopping.Rule(0.002, 512), stopping.Rule(0.01, 64)):
        add_provenance(tmp_path, {"stopping": rule.record()})
    with (tmp_path / sidecars.PROVENANCE).open("a") as file:
        file.write('{"stopping": {"until')
    assert stopping.recorded(sidecars.read_provenance(tmp_path)) == stopping.Rule(0.002, 512)


def test_settled_points_take_no_more_chips():
    rule, scores = stopping.Rule(0.01, 200), np.random.default_rng(0).normal(0, 1, 1000)
    for spread, looks in ((0.01, [64]), (0.1, [64, 128]), (1.0, [64, 128, 200])):
        seen, chips = [], 64
        while chips is not None:
            seen.append(chips)
            chips = rule.next_look(spread * scores[:chips])
        assert seen == looks


def test_the_callers_warnings_are_shown_as_before(capsys):
    before = warnings.showwarning
    asked(capsys, "--half-width", 0.01, "--sd", 0.05)
    assert warnings.showwarning is before
