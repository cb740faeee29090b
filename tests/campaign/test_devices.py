"""How many devices a sweep makes of the processor; `test_scale_out` has their rows."""

import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from folders import POINT
from quick_campaign import SUBJECT

from rerax.campaign import devices
from rerax.campaign.block import Block
from rerax.campaign.worker import Worker
from rerax.models.bert.config import BertConfig

BASE = replace(SUBJECT, config=BertConfig(), labels=np.zeros(872), words=17_000)


def blocks(n, point=POINT):
    return [(point, Block(point.hash[:16], 32 * i, 32 * i + 31)) for i in range(n)]


@pytest.fixture
def machine(monkeypatch):
    """Eight cores, much memory, nothing said; what JAX is told is kept."""
    told = {}
    monkeypatch.setattr(devices, "cores", lambda: 8)
    monkeypatch.setattr(devices, "free_memory", lambda: 1 << 40)
    monkeypatch.delenv("XLA_FLAGS", raising=False)
    monkeypatch.delenv("JAX_NUM_CPU_DEVICES", raising=False)
    monkeypatch.setattr("jax.config.update", told.__setitem__)
    return told


@pytest.mark.parametrize(
    ("work", "count"),
    [
        (blocks(1), 1),  # of one block, one chip after the other
        (blocks(3), 3),
        (blocks(20), 8),
        (blocks(20, replace(POINT, rate=0.0)), 1),  # whose chips are one chip
    ],
)
def test_no_more_devices_than_blocks_and_cores(machine, work, count):
    assert devices.one_device_a_core(BASE, work) == count
    assert machine == ({} if count == 1 else {"jax_num_cpu_devices": count})


def test_small_work_is_not_worth_compiling_twice(machine):
    small = replace(BASE, config=BertConfig(hidden_size=60, intermediate_size=120))
    assert devices.one_device_a_core(small, blocks(4)) == 1
    assert devices.one_device_a_core(small, blocks(4000)) == 8


def test_memory_bounds_them(machine, monkeypatch):
    from rerax.campaign.estimate import device_bytes, peak_bytes

    spec = POINT.spec
    room = peak_bytes(BASE, spec) + 2.5 * device_bytes(BASE, spec)
    monkeypatch.setattr(devices, "free_memory", lambda: room)
    assert devices.one_device_a_core(BASE, blocks(20)) == 3
    monkeypatch.setattr(devices, "free_memory", lambda: 1 << 20)
    assert devices.one_device_a_core(BASE, blocks(20)) == 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("XLA_FLAGS", "--xla_force_host_platform_device_count=3"),
        ("JAX_NUM_CPU_DEVICES", "1"),
    ],
)
def test_what_the_user_says_goes_first(machine, monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    assert devices.one_device_a_core(BASE, blocks(20)) == 1
    assert machine == {}


def test_where_jax_has_started_nothing_changes(monkeypatch):
    import jax

    before = jax.device_count()
    monkeypatch.delenv("XLA_FLAGS", raising=False)
    monkeypatch.setattr(devices, "cores", lambda: 8)
    devices.one_device_a_core(BASE, blocks(20))
    assert jax.device_count() == before


def test_control_groups_are_heard(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    for text, count in (("max 100000", 8), ("250000 100000", 2), ("50000 100000", 1)):
        monkeypatch.setattr(Path, "read_text", lambda *_, text=text, **__: text)
        assert devices.cores() == count


def test_one_device_makes_a_reference_score_for_all():
    """Or each would compile for it at the same time, and the first rows come late."""
    made, known = [], {}

    def facts(point, block):
        made.append(point)
        time.sleep(0.05)
        return {"score": np.array([0.5])}

    worker = SimpleNamespace(making={}, facts=facts)
    with ThreadPoolExecutor(3) as pool:
        asked = [
            pool.submit(Worker._made_once, worker, "of the point", known, POINT, Block("", 0, 0))
            for _ in range(3)
        ]
    assert [one.result() for one in asked] == [0.5] * 3
    assert made == [POINT]
