"""Progress where there is no terminal, by a clock of our own; and what must not stop a run."""

import io
import itertools
import sys
import types

import pytest

from rerax import progress
from rerax.campaign.point import Point
from rerax.campaign.runner import Runner
from rerax.campaign.workload import Progress, Settings
from rerax.progress import LineReporter, reporter, say

POINT = Point(task="sst2", model="m", rate=1e-3)


def at(done, total, text="at work"):
    return types.SimpleNamespace(done=done, total=total, text=text)


class Watch:
    """Lines with the seconds at which they were written."""

    def __init__(self):
        self.now, self.lines = 0.0, []
        self.report = LineReporter("chips", lambda: self.now, self.written)

    def written(self, text):
        self.lines.append((self.now, text))

    def tell(self, now, *progress):
        self.now = now
        self.report.tell(at(*progress))

    def look(self, now):
        self.now = now
        self.report.look()

    def close(self, now):
        self.now = now
        self.report.close()


def test_a_long_start_is_begun_and_has_no_time_left_yet():
    watch = Watch()
    watch.tell(15, 0, 64)
    assert watch.lines == [(15, "0 of 64 chips, begun (at work)")]


def test_time_left_is_of_the_pace_since_the_first_report():
    watch = Watch()
    watch.tell(100, 10, 30)  # 100 s of loading, ten chips from another day
    watch.tell(104, 12, 30)
    watch.tell(110, 20, 30)
    watch.tell(115, 25, 30)
    watch.tell(120, 25, 30)
    assert watch.lines == [
        (100, "10 of 30 chips, begun (at work)"),
        (110, "20 of 30 chips, 10 s left (at work)"),
        (120, "25 of 30 chips, 7 s left (at work)"),
    ]


def test_at_most_a_line_in_ten_seconds_each_once_and_the_last():
    watch = Watch()
    for tenths in range(1000):
        watch.tell(tenths / 10, min(tenths, 640), 640)
    watch.close(100)
    times = [time for time, _ in watch.lines]
    assert all(b - a >= 10 for a, b in itertools.pairwise(times))
    assert watch.lines[-1] == (70, "640 of 640 chips, after 70 s (at work)")


@pytest.mark.parametrize(
    ("done", "total", "line"),
    [
        (0, 0, "0 of 0 chips, begun (at work)"),
        (3, 0, "3 chips, after 1 s (at work)"),  # of how many is not known
        (70, 64, "70 of 70 chips, after 1 s (at work)"),
        (64, 64, "64 of 64 chips, after 1 s (at work)"),
    ],
)
def test_a_short_run_has_a_last_line(done, total, line):
    watch = Watch()
    watch.tell(1, done, total)
    assert watch.lines == []
    watch.close(1)
    assert watch.lines == [(1, line)]


def test_what_takes_long_is_named_once_without_being_told_again():
    watch = Watch()
    watch.look(50)
    watch.tell(51, 0, 64, "compiling, sst2")
    for second in range(52, 200):
        watch.look(second)
    assert watch.lines == [(51, "0 of 64 chips, begun (compiling, sst2)")]
    quick = Watch()
    quick.tell(1, 0, 64, "compiling, sst2")
    quick.tell(5, 64, 64, "sst2")
    quick.close(5)
    assert quick.lines == [(5, "64 of 64 chips, after 5 s (sst2)")]


def test_of_several_processes_one_waits_for_the_others():
    """Its own share ends, then theirs counts: down to nothing, and no number runs backwards."""
    watch = Watch()
    runner = Runner([], Settings())
    for left in (64, 40, 32):  # none of the chips were its own
        watch.now += 10
        watch.report.tell(runner._waiting(POINT, left))
    watch.report.tell(runner._waiting(POINT, 0))
    watch.close(40)
    said = [text.split(" (")[0] for _, text in watch.lines]
    assert said == [
        "0 of 64 chips, begun",
        "24 of 64 chips, 17 s left",
        "32 of 64 chips, 20 s left",
        "64 of 64 chips, after 40 s",
    ]
    runner = Runner([], Settings())
    told = [runner._told(Progress(10, 32, POINT))]
    told += [runner._waiting(POINT, left) for left in (5, 0)]
    runner._total += 20  # more chips, as a rule asks for them
    told.append(runner._told(Progress(8, 32, POINT)))
    assert [(p.done, p.total) for p in told] == [(10, 10), (10, 15), (15, 15), (23, 35)]


def test_the_words_of_a_point():
    assert Progress(0, 1, POINT).text == "sst2 offset uniform rate 1e-3"
    assert Progress(0, 4, POINT, "compiling").text == "compiling, sst2 offset uniform rate 1e-3"


class Broken(io.StringIO):
    """Standard error that nobody reads any more."""

    def __init__(self, terminal):
        super().__init__()
        self.terminal, self.tried = terminal, 0

    def isatty(self):
        return self.terminal

    def write(self, text):
        self.tried += 1
        raise BrokenPipeError(32, "Broken pipe")


def closed():
    stream = io.StringIO()
    stream.close()
    return stream


@pytest.mark.parametrize(
    "stream", [lambda: Broken(False), lambda: Broken(True), closed, lambda: None]
)
def test_a_standard_error_that_is_gone_stops_no_run(stream, monkeypatch, capsys):
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)
    monkeypatch.setattr(sys, "stderr", stream())
    with reporter() as tell:
        for done in range(4):
            tell(at(done, 3))
    say("interrupted: ..")
    assert capsys.readouterr().out == ""
    with pytest.raises(KeyboardInterrupt), reporter() as tell:
        raise KeyboardInterrupt


def test_reports_end_with_the_first_that_fails(monkeypatch):
    stream = Broken(False)
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)
    monkeypatch.setattr(sys, "stderr", stream)
    with reporter() as tell:
        for done in range(1000):
            tell(at(done, 1000))
    assert stream.tried <= 3


def test_an_interrupted_run_writes_no_last_line(capsys):
    def interrupted():
        with reporter() as tell:
            tell(at(1, 2))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert capsys.readouterr().err == ""
    with reporter(quiet=True) as tell:
        tell(at(2, 2))
    assert capsys.readouterr().err == ""
