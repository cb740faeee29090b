"""Help in sections."""

import re

import pytest

from rerax.cli import main
from rerax.cli.flags import SECTIONS

OTHERS = {"--out", "--dry-run", "--quiet", "--wide", "--help", "--json"}


def help_of(command, capsys):
    """{heading: its flags} of a command's help."""
    assert main([command, "--help"]) == 0
    parts = re.split(r"^(\S[\w ]*):$", capsys.readouterr().out, flags=re.M)
    return {
        heading: re.findall(r"^  (--[a-z0-9-]+)", text, re.M)
        for heading, text in zip(parts[1::2], parts[2::2], strict=True)
    }


@pytest.mark.parametrize("command", ["sweep", "plan"])
def test_every_flag_of_a_chip_has_its_section(command, capsys):
    found = help_of(command, capsys)
    assert [key for key in found if key in SECTIONS] == [key for key in SECTIONS if key in found]
    assert set(found["Options"]) <= OTHERS
    for key, names in SECTIONS.items():
        own = {"--" + name.replace("_", "-") for name in names.split()}
        assert set(found.get(key, ())) <= own


def test_sweep_has_all_sections(capsys):
    assert set(SECTIONS) < set(help_of("sweep", capsys))


def test_commands_without_chips_have_few(capsys):
    assert set(help_of("train", capsys)) == {"Options", "Model and data"}
    assert set(help_of("size", capsys)) == {"Options"}
