"""What heavy packages come in while a fresh process imports modules or runs commands."""

import json
import subprocess
import sys

from paths import ROOT

HEAVY = ("datasets", "flax", "jax", "jinja2", "matplotlib", "torch", "transformers")
IMPORT = "from importlib import import_module as do"
COMMAND = "from rerax.cli import main as do"

_SCRIPT = """
import json, sys
known, steps = json.loads(sys.argv[1])
told, before = [], set()
for step in steps:
    result = do(step)
    heavy = set(known) & set(sys.modules)
    told.append([result if isinstance(result, int) else None, sorted(heavy - before)])
    before |= heavy
print(json.dumps(told))
"""


def run_steps(action, steps):
    """Run steps, one after the other, in one process.

    Args:
        action: source that defines `do`, a function of one step.
        steps: what `do` gets: names of modules or lists of arguments.

    Returns:
        a pair for each step: the exit code if it has one, and the heavy packages that came in
        with it, so that the first step which needs one is the step that is named.
    """
    process = subprocess.run(
        [sys.executable, "-c", f"{action}\n{_SCRIPT}", json.dumps([HEAVY, steps])],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    print(process.stderr, file=sys.stderr)  # pytest shows it beside what failed
    assert process.returncode == 0
    return [tuple(pair) for pair in json.loads(process.stdout.splitlines()[-1])]
