"""Compiled programs are kept on disk, so that the next command need not compile them again."""

import hashlib
import sys
from collections.abc import MutableMapping
from pathlib import Path

from rerax.instructions import cpu_flags

SHORTEST = 0.3
"""Seconds; what compiles faster is not kept."""


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
