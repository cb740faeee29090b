"""Compiled programs kept on disk between commands of the command line."""

import os
import subprocess
import sys

import pytest

PROGRAM = """
import os, sys
from rerax.cli.programs import keep_programs
keep_programs(os.environ)
import jax, jax.numpy as jnp
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
told = []
jax.monitoring.register_event_listener(lambda name, **_: told.append(name))
jax.jit(lambda x: jnp.sin(x) @ x)(jnp.ones((3, 3)))
print(sum(name == "/jax/compilation_cache/cache_hits" for name in told))
"""


def hits(home, **more):
    kept = {name: value for name, value in os.environ.items() if not name.startswith("JAX_")}
    env = {**kept, "JAX_PLATFORMS": "cpu", "XDG_CACHE_HOME": str(home), **more}
    command = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True, timeout=120)
    return int(done.stdout)


def test_the_next_process_finds_what_this_one_compiled(tmp_path):
    assert hits(tmp_path) == 0
    assert hits(tmp_path) > 0
    assert hits(tmp_path, JAX_ENABLE_COMPILATION_CACHE="false") == 0
    assert {path.name for path in tmp_path.iterdir()} == {"rerax"}


ALARM = """
import os, sys, time
from rerax.cli.programs import quieten
quieten(os.environ)
import jax, jax.numpy as jnp

def folded(x):  # XLA computes the constant with its interpreter, for more than a second
    big = jax.lax.broadcasted_iota(jnp.float32, (800, 800), 1)
    return x + jax.lax.reduce(big, -jnp.inf, jax.lax.max, (1,))

began = time.monotonic()
jax.jit(folded).lower(jnp.ones(800)).compile()
print(time.monotonic() - began)
"""


def test_slow_compiling_raises_no_alarm():
    kept = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    env = {**kept, "JAX_PLATFORMS": "cpu", "JAX_ENABLE_COMPILATION_CACHE": "false"}
    command = [sys.executable, "-c", ALARM]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True, timeout=120)
    assert done.stderr == ""
    if float(done.stdout) < 1:
        pytest.skip("a processor too fast for an alarm")
