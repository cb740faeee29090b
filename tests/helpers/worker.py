"""Runs experiments one after the other, told by lines of JSON: [file, arguments].

A process of its own, so that tests can choose quick compilation for all of them, and one, so that
JAX is imported once and programs are shared. Answers each line with [exit status, what it printed];
where it failed, the status comes with what stood on standard error.
"""

import contextlib
import io
import json
import runpy
import sys
import traceback

answers = sys.stdout
for line in sys.stdin:
    file, arguments = json.loads(line)
    sys.argv, status = [file, *arguments], 0
    sys.path[0] = file.rpartition("/")[0]
    printed, said = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(said):
        try:
            runpy.run_path(file, run_name="__main__")
        except SystemExit as done:
            status = f"{done.code}: {said.getvalue()}" if done.code else 0
        except Exception:
            status = traceback.format_exc()
    print(json.dumps([status, printed.getvalue()]), file=answers, flush=True)
