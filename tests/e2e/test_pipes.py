"""The command line as other programs start it: as a module, and into pipes that are closed."""

import os
import subprocess
import sys

import pytest
from paths import PYTHONPATH

ENV = {**os.environ, "PYTHONPATH": PYTHONPATH}


def test_python_dash_m_is_the_command():
    done = subprocess.run(
        [sys.executable, "-m", "rerax", "--version"], env=ENV, capture_output=True, text=True
    )
    import rerax

    assert (done.returncode, done.stdout) == (0, f"{rerax.__version__}\n")


def test_a_reader_that_has_seen_enough_is_no_error():
    """`rerax size | head -1`."""
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "rerax", "size", "--half-width", "0.01", "--sd", "0.05"]
    done = subprocess.run(command, env=ENV, stdout=writing, stderr=subprocess.PIPE, text=True)
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_a_full_disk_behind_the_table_is_told():
    command = [sys.executable, "-m", "rerax", "size", "--half-width", "0.01", "--sd", "0.05"]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, env=ENV, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert "No space left" in done.stderr
    assert len(done.stderr.splitlines()) == 1
