"""Help in sections."""

import re

import pytest

from rerax.cli import main
from rerax.cli.flags import HEADINGS

SECTIONS = {
    "Model and data": "model task metric name data split max_examples max_length labels text "
    "text_pair label",
    "Chips": "rates sa1_share sa0 sa1 chips until_se max_chips examples_per_chip seed",
    "Crossbars": "encoding bits bits_per_cell tile layout polarity input_bits matrices",
    "Faults": "fault misread faulty_layers faulty_matrices faulty_bits",
    "Protection": "protection tested plan_rate sensitivity budget",
    "Machine": "chunk lanes dtype distributed coordinator processes process",
}
"""All flags of `rerax sweep` that have to do with chips, in the order of its help."""
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
    assert tuple(SECTIONS) == HEADINGS
    found = help_of("sweep", capsys)
    for key, names in SECTIONS.items():
        assert found[key] == ["--" + name.replace("_", "-") for name in names.split()]


def test_a_command_takes_some_flags_of_a_dataclass(capsys):
    assert main(["plan", "--help"]) == 0
    told = capsys.readouterr().out
    assert "--bits B " in told
    assert "--matrices NAME,.. " in told
    assert "--tested" not in told
    assert main(["plan"]) == 2
    assert "Missing option '--model'" in capsys.readouterr().err


def test_commands_without_chips_have_few(capsys):
    assert set(help_of("train", capsys)) == {"Options", "Model and data"}
    assert set(help_of("size", capsys)) == {"Options"}
