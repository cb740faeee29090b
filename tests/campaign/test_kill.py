"""Processes that are killed, and processes side by side, on one campaign folder."""

import random
import signal
import time

import pandas as pd
import pyarrow as pa
import quick_campaign
from folders import make_rows, same
from forked import fork

from rerax.campaign import store
from rerax.campaign.block import blocks_of
from rerax.campaign.folder import open_folder
from rerax.campaign.maintain import compact
from rerax.campaign.sidecars import read_references
from rerax.crossbar.spec import SEMANTICS

KILLS = 20
BLOCK_SECONDS = 0.03


def start(*arguments):
    return fork(quick_campaign.PROGRAM, arguments)


def finish(process):
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    return errors


def computed(log):
    """Blocks that were evaluated: point, first, last."""
    return [line.split() for line in log.read_text().splitlines()] if log.exists() else []


def one_row_a_chip(out, chips):
    """Whether plain pandas counts every chip once."""
    frame = pd.read_parquet(out)
    counted = frame.groupby(["point_hash", "chip"]).size()
    return len(frame) == len(counted) == len(quick_campaign.POINTS) * chips


def test_killed_at_random_moments_over_and_over(tmp_path):
    """A campaign of cut blocks grows while it is killed, and ends as if nothing had happened."""
    out, log, draw = tmp_path / "out", tmp_path / "log", random.Random(5)
    finish(start(out, 40, tmp_path / "first"))
    for _ in range(KILLS):
        process = start(out, 150, log, BLOCK_SECONDS)
        before, deadline = len(computed(log)), time.monotonic() + 60
        while len(computed(log)) == before and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.002)
        time.sleep(draw.uniform(0, 1.5 * BLOCK_SECONDS))
        assert process.poll() is None, "done before it could be killed: make the campaign larger"
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
        pd.read_parquet(out)  # readable at any moment
    assert finish(start(out, 150, log)) == ""

    alone = tmp_path / "alone"
    finish(start(alone, 150, tmp_path / "alone.log"))
    assert same(store.read_rows(out), store.read_rows(alone))
    assert one_row_a_chip(out, 150)
    assert read_references(out) == read_references(alone)
    blocks = []
    for folder in (out, alone):
        compact(folder)
        blocks.append({p.name for p in folder.glob("[!_]*.parquet")})
    assert blocks[0] == blocks[1]
    done = sum(int(last) - int(first) + 1 for _, first, last in computed(log))
    asked = len(quick_campaign.POINTS) * (150 - 40)
    # At most what is evaluated together a kill: a block, or all chips of rate 0, where each kill
    # falls on a slow disk, between their evaluation and their last block.
    assert asked <= done <= asked + KILLS * (150 - 40)


def test_two_processes_on_one_folder(tmp_path):
    """They ask for different numbers of chips, so that full blocks and cut ones meet."""
    for order in ("", "reversed"):
        out = tmp_path / (order or "same")
        log = tmp_path / "log"
        both = [
            start(out, 70, log, 0.005),
            start(out, 100, log, 0.005, *([order] if order else [])),
        ]
        assert [finish(process) for process in both] == ["", ""]
        assert one_row_a_chip(out, 100)
        expected = (make_rows(b, p) for p in quick_campaign.POINTS for b in blocks_of(p, 100))
        whole = pa.concat_tables(expected).sort_by(
            [("point_hash", "ascending"), ("chip", "ascending")]
        )
        assert same(store.read_rows(out), whole)


def test_growth_computes_what_lacks_alone(tmp_path):
    out, log = tmp_path / "out", tmp_path / "log"
    finish(start(out, 40, tmp_path / "first"))
    finish(start(out, 72, log))
    zero = quick_campaign.POINTS[0].hash[:16]  # rate 0: one chip, however many are asked
    blocks = [(point == zero, int(first), int(last)) for point, first, last in computed(log)]
    assert set(blocks) == {(True, 40, 71), (False, 40, 63), (False, 64, 71)}
    assert one_row_a_chip(out, 72)


def test_rows_of_another_platform_are_kept(tmp_path):
    """What another one has begun is gone on with."""
    out, log = tmp_path / "out", tmp_path / "log"
    point = quick_campaign.POINTS[1]
    block = blocks_of(point, 8)[0]
    pairs = {"sst2/minilm": quick_campaign.WORKLOAD.pair(8)}
    open_folder(out, 0, SEMANTICS, pairs)
    store.write_block(out, block, make_rows(block, point, "gpu", score=0.5))
    finish(start(out, 32, log))
    of_point = [line for line in computed(log) if line[0] == point.hash[:16]]
    assert [(int(first), int(last)) for _, first, last in of_point] == [(8, 31)]
    platforms = store.read_rows(out, points={point.hash[:16]})["platform"].to_pylist()
    assert platforms == ["gpu"] * 8 + ["cpu"] * 24


def test_a_block_garbled_inside_is_named_and_done_again_at_once(tmp_path):
    out, log = tmp_path / "out", tmp_path / "log"
    finish(start(out, 64, tmp_path / "first"))
    whole = store.read_rows(out)
    garbled = sorted(out.glob("*.parquet"))[3]
    data = bytearray(garbled.read_bytes())
    data[4:400] = b"\xff" * 396  # the footer is whole
    garbled.write_bytes(data)
    (out / "notes.txt").write_text("mine")
    told = finish(start(out, 64, log))
    assert f"{garbled.name} does not have the bytes that were written: set aside" in told
    assert "notes.txt is not of this campaign: left alone" in told
    assert len(computed(log)) == 1
    assert (out / "notes.txt").read_text() == "mine"
    (out / "notes.txt").unlink()
    assert same(store.read_rows(out), whole)
    assert [p.name for p in (out / "_aside").iterdir()] == [f"{garbled.name}.damaged"]
