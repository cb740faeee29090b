"""What JAX is told before it is imported: where it keeps programs, how it multiplies and logs."""

import hashlib
import sys
from collections.abc import MutableMapping
from importlib.util import find_spec
from pathlib import Path

from rerax.crossbar.platform import cpu_flags

SHORTEST = 0.3
"""Seconds; what compiles faster is not kept."""
LIBRARY_PRODUCTS = "--xla_gpu_enable_triton_gemm"
FATAL = "3"
CUDA_PLUGINS = ("jax_cuda12_plugin", "jax_cuda13_plugin")


def keep_programs(environ: MutableMapping[str, str]) -> None:
    """Tell JAX, before it is imported, where to keep compiled programs.

    They lie in the user's cache folder, one folder for each set of instructions that a processor
    has: homes are shared by unlike machines. JAX's own variables go first, so that
    JAX_ENABLE_COMPILATION_CACHE=false turns it off and JAX_COMPILATION_CACHE_DIR moves it.

    Args:
        environ: the process's environment.
    """
    if "jax" in sys.modules:
        return
    try:
        home = Path(environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:  # a user without a home
        return
    machine = hashlib.sha256(" ".join(sorted(cpu_flags())).encode()).hexdigest()[:12]
    environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(home / "rerax" / "programs" / machine))
    environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", str(SHORTEST))


def multiply_by_library(environ: MutableMapping[str, str]) -> None:
    """Tell XLA, before JAX is imported, to leave products to the library of an NVIDIA GPU.

    The kernels that XLA writes for products itself are tried against it while compiling. On an
    H200 a BERT-base chip was faster, and compiled sooner, without them (experiments/README.md).
    Sums of codes are exact either way. A flag in the user's XLA_FLAGS goes first.

    Args:
        environ: the process's environment.
    """
    flags = environ.get("XLA_FLAGS", "")
    if "jax" in sys.modules or LIBRARY_PRODUCTS in flags:
        return
    if any(find_spec(plugin) for plugin in CUDA_PLUGINS):
        environ["XLA_FLAGS"] = f"{flags} {LIBRARY_PRODUCTS}=false".strip()


def quieten(environ: MutableMapping[str, str]) -> None:
    """Tell XLA, before JAX is imported, to say only what ends the process.

    Its alarms about slow compiling, and about constants that take long to fold, are logged as
    errors, so that no lower level is without them. What fails reaches Python as an exception, and
    is told there. A level that the user has chosen goes first.

    Args:
        environ: the process's environment.
    """
    if "jax" not in sys.modules:
        environ.setdefault("TF_CPP_MIN_LOG_LEVEL", FATAL)
