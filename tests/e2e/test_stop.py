"""Commands that are stopped, and runs without a terminal: from the outside, as processes."""

import itertools
import re
import signal
import threading

import pandas as pd
import pytest
import tiny
from forked import fork

from rerax.cli import stop
from rerax.cli.flags import app
from rerax.cli.stop import sigterm_stops


@pytest.fixture(scope="module")
def flags(tmp_path_factory):
    model = tiny.write_model(tmp_path_factory.mktemp("models") / "tiny")
    data = tiny.write_sst2(tmp_path_factory.mktemp("glue"))
    flags = ["--task", "sst2", "--model", model, "--data", data, "--max-length", "16"]
    return [*map(str, flags), "--matrices", "pooler,classifier"]


@pytest.fixture
def start():
    """Starts processes of one device; none outlives the test."""
    begun = []

    def begin(code, arguments=()):
        begun.append(fork(code, arguments))
        return begun[-1]

    yield begin
    for process in begun:
        process.end()


SWEEP = """
import sys
import quick_answers
from rerax import progress
from rerax.cli import main
from rerax.evaluate.engine import Evaluator
Evaluator.outcomes = quick_answers.outcomes
progress.SECONDS_BETWEEN_LINES = 0.0  # as if all took long
progress.SECONDS_BETWEEN_LOOKS = 0.01
sys.exit(main(sys.argv[1:]))
"""


def test_a_sweep_without_a_terminal_tells_line_by_line(start, flags, tmp_path):
    more = ["--rates", "0,0.02", "--chips", 3, "--chunk", 1, "--out", tmp_path / "out"]
    process = start(SWEEP, ["sweep", *flags, *more])
    table, told = process.communicate(timeout=120)
    lines = told.splitlines()
    assert process.returncode == 0, lines
    assert "2e-2" in table
    assert lines[0].startswith("0 of 6 chips, begun (")
    assert "0 of 6 chips, begun (compiling, sst2 offset uniform rate 0)" in lines
    assert re.fullmatch(r"6 of 6 chips, after \d+ s \(sst2 offset uniform rate 2e-2\)", lines[-1])
    number = r"\d of 6 chips, (begun|\d+ s left|after \d+ s) \([^()]+\)"
    assert all(re.fullmatch(number, line) for line in lines), lines
    done = [int(line[0]) for line in lines]
    assert done == sorted(done)
    assert all(one != other for one, other in itertools.pairwise(lines)), lines


WRITING = """
import os, sys, time, types
import quick_campaign
from folders import make_rows
from rerax import io as files
from rerax.cli import main

class Worker(quick_campaign.Worker):
    @classmethod
    def start(cls, workload, *_):
        cls.hashes = {"model_hash": workload.model_hash, "data_hash": workload.data_hash}
        return cls()

    def rows(self, point, block, known):
        yield from ()
        return make_rows(block, point, **self.hashes)

def slow(descriptor, sync=os.fsync):
    sync(descriptor)
    print("writing", flush=True)
    time.sleep(0.3)

files.os.fsync = slow
module = types.ModuleType("rerax.campaign.worker")
module.Worker = Worker
sys.modules[module.__name__] = module
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_sweep_that_is_stopped_says_what_is_kept(start, flags, tmp_path, number, code):
    """Blocks stay whole, and the one that was being written leaves nothing behind."""
    out = tmp_path / "out"
    process = start(WRITING, ["sweep", *flags, "--chips", 320, "--out", out, "--quiet"])
    blocks = iter(process.stdout)
    while not list(out.glob("[!_]*.parquet")):
        next(blocks)
    process.send_signal(number)
    _, told = process.communicate(timeout=60)
    kept = "finished blocks are kept, the same command goes on from there"
    assert told.splitlines() == [f"interrupted: {kept}"]
    assert process.returncode == code
    assert not list(out.glob("_writing-*"))
    assert len(pd.read_parquet(out)) == 32 * len(list(out.glob("[!_]*.parquet")))


def test_every_command_says_what_is_true():
    names = {command.callback.__name__ for command in app.registered_commands}
    assert set(stop.KEEP_BLOCKS) <= names
    assert stop.kept("report") == "the same command starts anew"


def test_handlers_of_others_are_left_alone():
    """Those of a notebook that calls the command line, and those of the main thread."""
    default = signal.getsignal(signal.SIGTERM)

    def own(number, frame):
        pass

    with sigterm_stops():
        assert signal.getsignal(signal.SIGTERM) not in (default, own)
    assert signal.getsignal(signal.SIGTERM) == default
    signal.signal(signal.SIGTERM, own)
    try:
        with sigterm_stops():
            assert signal.getsignal(signal.SIGTERM) is own
        thread = threading.Thread(target=lambda: sigterm_stops().__enter__())
        thread.start()
        thread.join()
        assert signal.getsignal(signal.SIGTERM) is own
    finally:
        signal.signal(signal.SIGTERM, default)


LOST = """
import sys, time
from rerax.cli.stop import sigterm_stops

class Quiet:
    def __del__(self):  # Python drops what is raised in here
        print("in a callback", flush=True)
        end = time.monotonic() + 20
        while time.monotonic() < end:
            time.sleep(0.01)

with sigterm_stops() as stop:
    try:
        quiet = Quiet()
        del quiet
        print("after it", flush=True)
        time.sleep(20)
    except KeyboardInterrupt:
        sys.exit(stop.code)
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_that_a_callback_swallows_is_given_again(start, number, code):
    process = start(LOST)
    assert process.stdout.readline() == "in a callback\n"
    process.send_signal(number)
    _, told = process.communicate(timeout=15)
    assert process.returncode == code
    assert "ignored" not in told


STUCK = """
import time
from rerax.cli.stop import sigterm_stops

with sigterm_stops():
    while True:
        try:
            print("here", flush=True)
            time.sleep(20)
        except KeyboardInterrupt:
            pass
"""


def test_a_second_sigterm_ends_at_once(start):
    process = start(STUCK)
    for _ in range(2):
        assert process.stdout.readline() == "here\n"
        process.send_signal(signal.SIGTERM)
    process.communicate(timeout=15)
    assert process.returncode == 143
