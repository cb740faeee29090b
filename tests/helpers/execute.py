"""Execute a notebook's code cells in order, in one namespace: `python execute.py NOTEBOOK`.

A cell that fails ends the process with its traceback, which names the cell and shows its line.
"""

import json
import linecache
import sys
import time
import types
from pathlib import Path


def execute(notebook: Path) -> None:
    """Run all code cells, each under the name of its id."""
    module = types.ModuleType("__main__")
    sys.modules["__main__"] = module  # where dataclasses and pickles look for what cells define
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] != "code":
            continue
        source, name = "".join(cell["source"]), f"{notebook.name}[{cell['id']}]"
        linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
        start = time.monotonic()
        exec(compile(source, name, "exec"), module.__dict__)
        print(f"-- {name}: {time.monotonic() - start:.1f} s", flush=True)


if __name__ == "__main__":
    execute(Path(sys.argv[1]))
