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
from quick_campaign import WORKLOAD

from rerax.campaign.worker import Worker
from rerax.evaluate import devices
from rerax.models.bert.config import BertConfig

BASE = replace(WORKLOAD, config=BertConfig(), labels=np.zeros(872), words=17_000)


def devices_for(workload, blocks, chips_a_block=32):
    """Devices asked for so many blocks."""
    size = (workload.config, workload.tokens, POINT.spec)
    return devices.one_device_a_core(*size, chips_a_block * blocks, blocks)


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
    ("blocks", "chips", "count"),
    [
        (1, 32, 1),  # of one block, one chip after the other
        (3, 32, 3),
        (20, 32, 8),
        (20, 0, 1),  # of rate 0, whose chips are one chip
    ],
)
def test_no_more_devices_than_blocks_and_cores(machine, blocks, chips, count):
    assert devices_for(BASE, blocks, chips) == count
    assert machine == ({} if count == 1 else {"jax_num_cpu_devices": count})


def test_small_work_is_not_worth_compiling_twice(machine):
    small = replace(BASE, config=BertConfig(hidden_size=60, intermediate_size=120))
    assert devices_for(small, 4) == 1
    assert devices_for(small, 4000) == 8


def test_memory_bounds_them(machine, monkeypatch):
    from rerax.evaluate.resources import device_bytes, peak_bytes

    size = (BASE.config, BASE.tokens, POINT.spec)
    room = peak_bytes(*size) + 2.5 * device_bytes(*size)
    monkeypatch.setattr(devices, "free_memory", lambda: room)
    assert devices_for(BASE, 20) == 3
    monkeypatch.setattr(devices, "free_memory", lambda: 1 << 20)
    assert devices_for(BASE, 20) == 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("XLA_FLAGS", "--xla_force_host_platform_device_count=3"),
        ("JAX_NUM_CPU_DEVICES", "1"),
    ],
)
def test_what_the_user_says_goes_first(machine, monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    assert devices_for(BASE, 20) == 1
    assert machine == {}


def test_where_jax_has_started_nothing_changes(monkeypatch):
    import jax

    before = jax.device_count()
    monkeypatch.delenv("XLA_FLAGS", raising=False)
    monkeypatch.setattr(devices, "cores", lambda: 8)
    devices_for(BASE, 20)
    assert jax.device_count() == before


def test_control_groups_are_heard(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    for text, count in (("max 100000", 8), ("250000 100000", 2), ("50000 100000", 1)):
        monkeypatch.setattr(Path, "read_text", lambda *_, text=text, **__: text)
        assert devices.cores() == count


def test_one_device_makes_a_reference_score_for_all():
    """Or each would compile for it at the same time, and the first rows come late."""
    made, known = [], {}

    def facts(point, chips):
        made.append(point)
        time.sleep(0.05)
        return {"score": np.array([0.5])}

    worker = SimpleNamespace(making={}, facts=facts)
    with ThreadPoolExecutor(3) as pool:
        asked = [
            pool.submit(Worker._made_once, worker, "of the point", known, POINT) for _ in range(3)
        ]
    assert [one.result() for one in asked] == [0.5] * 3
    assert made == [POINT]
