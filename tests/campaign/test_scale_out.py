"""One campaign on several devices and by several processes: rows are those of a single device."""

import signal
import socket
import sys
import threading
import time
import types
from dataclasses import replace

import pyarrow as pa
import pytest
import quick_campaign
import tiny
from folders import POINT, make_rows, same
from forked import fork
from team_campaign import PROGRAM as TEAM

from rerax.campaign import distributed, store
from rerax.campaign.block import BLOCK, Block, blocks_of, missing
from rerax.campaign.distributed import Processes, joined
from rerax.campaign.folder import open_folder
from rerax.campaign.grid import expand
from rerax.campaign.point import Point
from rerax.campaign.runner import Runner, run, spans
from rerax.campaign.sidecars import read_provenance, read_references
from rerax.campaign.workload import Settings
from rerax.crossbar.spec import SEMANTICS


def free_address():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


@pytest.fixture
def start():
    """Starts processes; none outlives the test."""
    begun = []

    def begin(code, arguments, devices=1):
        begun.append(fork(code, arguments, devices=devices))
        return begun[-1]

    yield begin
    for process in begun:
        process.end()


def finish(processes):
    """Standard output of each, once all have ended well."""
    ended = [process.communicate(timeout=480) for process in processes]
    for process, (_, errors) in zip(processes, ended, strict=True):
        assert process.returncode == 0, errors
    return [out for out, _ in ended]


def computed(logs):
    return [line for log in logs if log.exists() for line in log.read_text().splitlines()]


@pytest.fixture(scope="module")
def flags(tmp_path_factory):
    """A small sweep of two points, five blocks each."""
    model = tiny.write_model(tmp_path_factory.mktemp("models") / "tiny")
    data = tiny.write_sst2(tmp_path_factory.mktemp("glue"), words=(5,))
    flags = ["sweep", "--task", "sst2", "--model", model, "--data", data, "--rates", "0,0.05"]
    flags += ["--chips", 130, "--max-length", 16, "--quiet"]
    return [*flags, "--matrices", "classifier"]  # compiles soonest


SWEEP = """
import sys
import jax
from rerax.evaluate import devices
jax.config.update("jax_disable_most_optimizations", True)  # of compiling, which is the most of it
devices.LEAST_OPERATIONS = float(sys.argv.pop(1))
devices.cores = lambda: 2
from rerax.cli import entry
entry()
"""
ALWAYS, NEVER = 1.0, 1e30
"""Operations from which on a sweep makes devices of the cores."""


def test_rows_do_not_depend_on_devices_and_processes(start, flags, tmp_path):
    """1 process of 1 device, of 2 that it makes, 2 processes of 2 each; chunks of 1, 7 and 64."""
    out = [tmp_path / name for name in ("alone", "devices", "processes")]
    team = ["--coordinator", free_address(), "--processes", 2, "--process"]
    begun = [
        start(SWEEP, [NEVER, *flags, "--chunk", 1, "--out", out[0]], devices=0),
        start(SWEEP, [ALWAYS, *flags, "--chunk", 7, "--out", out[1]], devices=0),
        *(
            start(SWEEP, [ALWAYS, *flags, "--chunk", 64, "--out", out[2], *team, i], devices=2)
            for i in range(2)
        ),
    ]
    alone, devices, leader, follower = finish(begun)
    assert alone == devices
    assert leader.endswith(alone)
    assert not [line for line in follower.splitlines() if not line.startswith("[Gloo]")]
    rows = [store.read_rows(folder) for folder in out]
    assert len(rows[0]) == 2 * 130
    assert len(set(rows[0]["score"].to_pylist())) > 3  # faults must be felt
    assert same(rows[0], rows[1])
    assert same(rows[0], rows[2])
    assert [read_provenance(folder)[0]["devices"] for folder in out] == [1, 2, 4]
    assert len({block.name for block in store.scan(out[0])}) == 10


def test_processes_killed_and_started_again_in_another_number(start, tmp_path):
    """What is finished stays; every block is computed by one process only."""
    out, logs = tmp_path / "out", [tmp_path / f"log{i}" for i in range(5)]
    for processes in (3, 2):
        address = free_address()
        begun = [
            start(TEAM, [address, processes, i, out, 300, logs[i], 0.3]) for i in range(processes)
        ]
        before, deadline = len(computed(logs)), time.monotonic() + 120
        while len(computed(logs)) < before + 12:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        for process in begun:
            process.kill()
    kept = len(store.scan(out))
    assert 20 <= kept < 91
    finish([start(TEAM, [free_address(), 1, 0, out, 300, logs[4]])])

    rows = store.read_rows(out)
    expected = pa.concat_tables(
        make_rows(Block(point.hash[:16], 0, 299), point) for point in quick_campaign.POINTS
    )
    order = [("point_hash", "ascending"), ("chip", "ascending")]
    assert same(rows.sort_by(order), expected.sort_by(order))
    assert len(computed(logs)) - len(store.scan(out)) <= 3 + 2  # lost: one a process that died


def test_processes_deal_out_the_work(start, tmp_path):
    logs = [tmp_path / "log0", tmp_path / "log1"]
    address = free_address()
    out = tmp_path / "out"
    finish([start(TEAM, [address, 2, i, out, 300, logs[i], 0.01]) for i in range(2)])
    shares = [computed([log]) for log in logs]
    assert abs(len(shares[0]) - len(shares[1])) <= 1
    assert len(set(shares[0] + shares[1])) == len(shares[0] + shares[1])


@pytest.mark.parametrize(
    ("outs", "chips", "said"),
    [
        (("out", "out"), (300, 301), "was given another campaign than process 0"),
        (("out", "elsewhere"), (300, 300), "does not see the folder that process 0 has opened"),
    ],
)
def test_processes_that_do_not_belong_together(start, tmp_path, outs, chips, said):
    address = free_address()
    begun = [
        start(TEAM, [address, 2, i, tmp_path / outs[i], chips[i], tmp_path / "l"]) for i in range(2)
    ]
    watchdog = threading.Timer(60, begun[1].kill)
    watchdog.start()
    assert any(said in line for line in begun[1].stderr)  # it tells at once, and then waits a while
    watchdog.cancel()


ENDING = """
import sys, time, types
import quick_campaign
from rerax.campaign.workload import Progress
from rerax.cli import main

class Worker(quick_campaign.Worker):
    @classmethod
    def start(cls, workload, settings, points, tables=()):
        return cls()

    def rows(self, point, block, known):
        print("at work", flush=True)
        if sys.argv[1] == "fails":
            time.sleep(1)
            raise OSError("no room here")
        while True:
            yield Progress(0, 1, point)
            time.sleep(0.1)

module = types.ModuleType("rerax.campaign.worker")
module.Worker = Worker
sys.modules[module.__name__] = module
sys.exit(main(sys.argv[2:]))
"""


@pytest.mark.parametrize(
    ("how", "index", "code", "said"),
    [
        ("fails", 1, 2, "error: no room here"),
        ("fails", 0, 2, "error: no room here"),
        ("works", 1, 143, "interrupted: finished blocks are kept, the same command goes on"),
    ],
)
def test_a_process_that_ends_early_takes_the_others_along_in_order(
    start, flags, tmp_path, how, index, code, said
):
    """One line and an exit code each, no trace of C++."""
    more = ["--out", tmp_path / "out", "--coordinator", free_address(), "--processes", 2]
    begun = [
        start(ENDING, [how if i == index else "works", *flags, *more, "--process", i])
        for i in range(2)
    ]
    ending, other = begun[index], begun[1 - index]
    if how == "works":
        assert any("at work" in line for line in ending.stdout)
        ending.send_signal(signal.SIGTERM)
    told = [process.communicate(timeout=60)[1] for process in (ending, other)]
    assert [ending.returncode, other.returncode] == [code, 2], told
    last = [[line for line in text.splitlines() if line] for text in told]
    assert [len(lines) for lines in last] == [1, 1], told
    assert last[0][0].startswith(said)
    assert f"process {index} has ended early and says why: finished blocks" in last[1][0]


def test_blocks_fill_wide_lanes():
    zero, *rest = expand(POINT, {"rate": (0.0, 0.1, 0.2)})
    work = missing([], [zero, *rest], 150)
    assert [len(blocks) for _, blocks in spans(work, 1)] == [5] + 10 * [1]
    assert [len(blocks) for _, blocks in spans(work, 64)] == [5, 2, 2, 1, 2, 2, 1]
    gaps = [work[5], work[7], work[8], work[10]]
    assert [len(blocks) for _, blocks in spans(gaps, 128)] == [1, 2, 1]
    for lanes in (1, 64, 1000):
        dealt = [(point, b) for point, blocks in spans(work, lanes) for b in blocks]
        assert dealt == work


@pytest.fixture
def fill(monkeypatch):
    """Runs a campaign on stand-ins for so many devices, of which `rows` gives the rows."""

    def made(devices, rows, chips, out, lanes=1):
        def evaluate(*arguments):
            yield from ()
            return rows(*arguments)

        worker = types.SimpleNamespace(
            platform="cpu", workload=quick_campaign.WORKLOAD, lanes=lanes, rows=evaluate
        )
        worker.check_labels, worker.provenance = lambda *_: None, dict
        worker.on_each_device = lambda: [worker] * devices
        module = types.SimpleNamespace(Worker=types.SimpleNamespace(start=lambda *_: worker))
        monkeypatch.setitem(sys.modules, "rerax.campaign.worker", module)
        return run(quick_campaign.WORKLOAD, [POINT], Settings(chips), out)

    return made


def test_devices_work_side_by_side(fill, tmp_path):
    meeting = threading.Barrier(4, timeout=30)  # of all devices at once, over and over

    def rows(point, block, known):
        meeting.wait()
        known[block.name] = 0.5
        return make_rows(block, point)

    assert same(fill(4, rows, 8 * BLOCK, tmp_path), store.read_rows(tmp_path))
    assert len(store.read_rows(tmp_path)) == 8 * BLOCK
    assert len(read_references(tmp_path)["cpu"]) == 8
    assert same(fill(4, rows, 8 * BLOCK, None), store.read_rows(tmp_path))


def test_a_device_that_fails_stops_the_others(fill, tmp_path):
    failed = threading.Event()

    def rows(point, block, known):
        if block.first == 0:
            failed.set()
            raise OSError("no space left")
        assert failed.wait(30)
        time.sleep(0.05)
        return make_rows(block, point)

    with pytest.raises(OSError, match="no space left"):
        fill(2, rows, 200 * BLOCK, tmp_path)
    assert len(store.scan(tmp_path)) < 10


def test_spans_of_wide_lanes_are_written_as_blocks(fill, tmp_path):
    """The block that was cut is completed, not begun again."""
    seen = []

    def rows(point, block, known):
        seen.append((block.first, block.last))
        return make_rows(block, point)

    for chips in (40, 150):
        fill(1, rows, chips, tmp_path, lanes=96)
    assert seen == [(0, 39), (40, 127), (128, 149)]
    assert same(store.read_rows(tmp_path), make_rows(Block("", 0, 149)))


def test_what_others_finish_meanwhile_is_not_computed_again(fill, tmp_path, monkeypatch):
    """A second process fills the second workload while the first one is at work."""
    other = replace(quick_campaign.WORKLOAD, model="other")
    points = [POINT, replace(POINT, model="other")]
    open_folder(tmp_path, 0, SEMANTICS, {"sst2/other": other.pair(8)})
    seen = []

    def rows(point, block, known):
        seen.append((point.model, block.first))
        if len(seen) == 2:
            for mine in blocks_of(points[1], 40):
                store.write_block(tmp_path, mine, make_rows(mine, points[1]))
        return make_rows(block, point)

    fill(1, rows, 8, None)  # puts the stand-in in the worker's place
    parts = [(quick_campaign.WORKLOAD, points[:1]), (other, points[1:])]
    runner = Runner(parts, Settings(40), tmp_path)
    assert list(runner.run()) == []  # the stand-in tells nothing
    assert seen == [("minilm", 0), ("minilm", 0), ("minilm", 32)]
    assert len(runner.rows) == 80
    assert runner._total == 40


def test_a_block_that_stays_in_the_way_is_an_error(fill, tmp_path, monkeypatch):
    """As in a folder that may only be read."""
    fill(1, lambda point, block, known: make_rows(block, point), 8, tmp_path)
    file = next(tmp_path.glob("[!_]*.parquet"))
    data = bytearray(file.read_bytes())
    data[20] ^= 1
    file.write_bytes(data)
    monkeypatch.setattr(store, "set_aside", lambda *_: None)
    with pytest.raises(OSError, match=r"a damaged block of .* cannot be set aside: give"):
        fill(1, None, 8, tmp_path)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ((True, "host:1", 2, 0), "leave out --coordinator"),
        ((False, "host:1", None, 0), "give all three"),
        ((False, None, 2, None), "give all three"),
        ((False, "host", 2, 0), "give HOST:PORT"),
        ((False, "host:1", 2, 2), "give 0 to 1"),
        ((True, None, None, None), "cannot be joined"),
    ],
)
def test_flags_that_join_nothing(given, said):
    with pytest.raises(ValueError, match=said), joined(*given):
        pass


def test_a_process_alone_shares_with_nobody():
    with joined() as own:
        assert own == Processes(0, 1)
        assert own.leads
        assert own.share([1, 2, 3]) == [1, 2, 3]


def test_processes_agree_on_chips_of_any_number(monkeypatch):
    monkeypatch.setattr(distributed, "_leaders", lambda values: values)
    point = Point(task="sst2", model="tiny", rate=1e-3)
    numbers = (5, 2**32 - 1)
    work = Processes(0, 2).agree([], [point], numbers)
    assert [(block.first, block.last) for _, block in work] == [(5, 5), (2**32 - 1, 2**32 - 1)]


def test_no_processes_are_too_few(tmp_path):
    with pytest.raises(ValueError, match="--processes 0 is too few: give at least 1"):
        distributed._check_flags(False, "localhost:1", 0, 0)
