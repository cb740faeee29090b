"""How many devices JAX makes of a processor: one for each core that a sweep has work for.

Two chips on one thread each take less time than one chip after the other on two threads. A chip's
bits do not depend on it: each device runs the executable that a single one would.
"""

import contextlib
import os
from pathlib import Path

from rerax.crossbar.spec import ChipSpec
from rerax.evaluate.resources import device_bytes, operations, peak_bytes
from rerax.models.bert.config import BertConfig

FLAG = "xla_force_host_platform_device_count"
LEAST_OPERATIONS = 2e13
"""Of a device's share; below that, compiling for it takes longer than it saves."""


def one_device_a_core(
    config: BertConfig, tokens: float, spec: ChipSpec, chips: int, blocks: int
) -> int:
    """Tell JAX, before it starts, to make a device of each core that there is work for.

    What the user has told JAX or XLA goes first, and where JAX has started already, in a notebook,
    nothing changes (there, `jax.config.update("jax_num_cpu_devices", N)` before anything else).

    Args:
        config: the model's shape.
        tokens: tokens that a chip answers.
        spec: how weights become cells, of the most cells a weight.
        chips: chips with faults to evaluate.
        blocks: blocks that they lie in, each of which one device evaluates.

    Returns:
        The devices asked for.
    """
    worth = int(chips * operations(config, tokens) / LEAST_OPERATIONS)
    free = free_memory() - peak_bytes(config, tokens, spec)
    room = int(free / device_bytes(config, tokens, spec))
    count = min(cores(), blocks, worth, 1 + room)
    said = FLAG in os.environ.get("XLA_FLAGS", "") or "JAX_NUM_CPU_DEVICES" in os.environ
    if count < 2 or said:
        return 1
    ask_for_devices(count)
    return count


def ask_for_devices(count: int) -> None:
    """Tell JAX to make so many devices of the processor; where it has started, nothing changes."""
    import jax

    with contextlib.suppress(RuntimeError):  # it has started
        jax.config.update("jax_num_cpu_devices", count)


def cores() -> int:
    """Count the cores that this process may use, as its affinity and its control group say."""
    affinity = getattr(os, "sched_getaffinity", None)
    allowed = len(affinity(0)) if affinity else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
        return allowed if quota == "max" else max(1, min(allowed, int(quota) // int(period)))
    except (OSError, ValueError):  # no control groups
        return allowed


def free_memory() -> int:
    """Read how many bytes a process can have, as Linux says; very many where nothing says it."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return 1 << 60
    found = (line.split()[1] for line in lines if line.startswith("MemAvailable:"))
    return 1024 * int(next(found, 1 << 50))
