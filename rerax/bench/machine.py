"""What this machine can do at best: products a second by number format, bytes a second."""

import os
import platform
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
from jax import lax

from rerax.bench.timing import Work, seconds

SIDE = {"cpu": 1536}
"""Rows and columns of the matrices multiplied; elsewhere OTHER_SIDE."""
OTHER_SIDE = 8192
MEMORY_BYTES, CACHE_BYTES = 1 << 28, 1 << 21
OTHER_MEMORY_BYTES, OTHER_TIMES = 1 << 31, 8
"""An accelerator's copies must be large and many, or starting them is all that is timed."""
TRIES = 7
FORMATS = {"int8": jnp.int32, "bfloat16": jnp.float32, "float32": jnp.float32}
"""Number formats of a product's factors, and of its sums."""


@dataclass(frozen=True)
class Roofline:
    """Measured roofline of a device: the most that it multiplies, and moves, in a second.

    Attributes:
        products: operations a second (a multiplication and an addition are two), by format.
        bandwidth: bytes a second, read and written, of arrays that fit in no cache.
        cache: the same for arrays as large as the vectors of a batch; on accelerators, where those
            of all lanes fit in no cache, the bandwidth.
    """

    products: dict[str, float]
    bandwidth: float
    cache: float


def measure_roofline() -> Roofline:
    """Measure the roofline: the best of a few tries of large products and of a large copy."""
    side = SIDE.get(jax.default_backend(), OTHER_SIDE)
    rates = {name: 2 * side**3 / _best(_product(name, side)) for name in FORMATS}
    if jax.default_backend() != "cpu":
        bandwidth = _bandwidth(OTHER_MEMORY_BYTES, OTHER_TIMES)
        return Roofline(rates, bandwidth, bandwidth)
    in_cache = _bandwidth(CACHE_BYTES, max(1, MEMORY_BYTES // CACHE_BYTES))
    return Roofline(rates, _bandwidth(MEMORY_BYTES, 1), in_cache)


def _product(name: str, side: int) -> Work:
    # Not all alike: zeros and ones are multiplied faster where power is the limit.
    factor = jax.random.randint(jax.random.key(0), (side, side), -127, 128).astype(name)
    how = {"preferred_element_type": FORMATS[name]}
    if name == "float32":  # an accelerator's default has fewer bits
        how["precision"] = lax.Precision.HIGHEST
    multiply = jax.jit(lambda a, b: lax.dot_general(a, b, (((1,), (0,)), ((), ())), **how))
    return lambda: multiply(factor, factor)


def _bandwidth(size: int, times: int) -> float:
    """Measure bytes a second of an array of so many bytes, read and written over and over."""
    array = jnp.ones(size // 4, jnp.float32)
    copy = jax.jit(lambda a: lax.fori_loop(0, times, lambda _, a: a + jnp.float32(1), a))
    return 2 * size * times / _best(lambda: copy(array))


def _best(work: Work) -> float:
    seconds(work)
    return min(seconds(work) for _ in range(TRIES))


def describe() -> dict[str, str | int]:
    """Describe device, processor and the cores that may be used; no name of the machine."""
    device = jax.local_devices()[0]
    affinity = getattr(os, "sched_getaffinity", None)
    return {
        "device": device.device_kind if device.platform != "cpu" else _processor(),
        "backend": device.platform,
        "cores": len(affinity(0)) if affinity else os.cpu_count() or 0,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "jax": jax.__version__,
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown"
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, "unknown")
