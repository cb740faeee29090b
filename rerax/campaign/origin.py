"""Where rows come from: time, machine, versions and commit of a run. No JAX here."""

import datetime
import importlib.metadata
import socket
import subprocess
from pathlib import Path
from typing import Any

import rerax

PACKAGES = ("jax", "jaxlib", "flax", "numpy")
"""Those that may move a bit of a result."""


def when_and_where() -> dict[str, Any]:
    """Say when, where and with which versions this process runs."""
    versions = {name: importlib.metadata.version(name) for name in PACKAGES}
    return {
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "host": socket.gethostname(),
        "versions": {"rerax": rerax.__version__, **versions},
        "revision": _revision(),
    }


def _revision() -> str | None:
    """Find the commit of the source tree that this module lies in, if it lies in one."""
    try:
        asked = subprocess.run(
            ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"],
            capture_output=True,
            text=True,
            timeout=5,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return asked.stdout.strip() or None
