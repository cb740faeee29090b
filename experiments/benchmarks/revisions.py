"""What a chip takes in this revision of rerax beside another, processes taking turns.

    git worktree add --detach BEFORE REVISION
    python experiments/benchmarks/revisions.py BEFORE --model DIR --data DIR \
        [--max-examples 218] [--chips 4] [--rounds 4] [--devices 2] [--out FILE]

Three processes live side by side: the other tree, this one with a device for each core, and this
one with a single device. Each is told to sweep, one after the other, so that a noisy machine
disturbs them alike; a ratio is of the same round. First calls find nothing compiled. With
`--bits` no time is taken: rows and logits of both trees are compared for four encodings and three
protections instead. About five minutes for a MiniLM on two cores, `--bits` about fifteen.
"""

import argparse
import hashlib
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parents[2]
RATES = (1e-3, 2e-3)
ENCODINGS = ("offset", "twos_complement", "sign_magnitude", "differential")
PROTECTIONS = ("none", "duplicate:3", "msb:1x3:lsb")


def serve(tree: str, model: str, data: str, most: int | None) -> None:
    """Sweep as told on standard input, and answer on standard output."""
    sys.path.insert(0, tree)
    import jax

    import rerax
    from rerax.campaign.point import Point

    try:
        from rerax.campaign.runner import run
        from rerax.campaign.workload import Settings, read_workload
    except ImportError:  # a revision that has them elsewhere
        from rerax.campaign.run import run
        from rerax.campaign.source import read_subject as read_workload
        from rerax.campaign.subject import Settings

    assert Path(rerax.__file__).is_relative_to(tree)
    workload = read_workload(model, "sst2", "model", data=data, max_examples=most)
    for line in sys.stdin:
        asked = json.loads(line)
        points = [
            Point(task="sst2", model="model", rate=rate, **asked["point"])
            for rate in RATES[: asked["rates"]]
        ]
        seen: list[tuple[float, int]] = []
        start = time.perf_counter()
        rows = run(
            workload,
            points,
            Settings(chips=asked["chips"], seed=asked["seed"]),
            None,
            lambda p, seen=seen: seen.append((time.perf_counter(), p.done)),
        )
        whole = time.perf_counter() - start
        done = [at for at in seen if at[1]]
        (began, few), (ended, many) = done[0], done[-1]
        kept = rows.drop_columns([n for n in rows.column_names if n == "platform"])
        said = json.dumps(kept.to_pylist(), sort_keys=True, default=plain)
        answer = {
            "whole": whole,
            "first": began - start,
            "a_chip": (ended - began) / max(many - few, 1),
            "devices": jax.device_count(),
            "mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            "rows": hashlib.sha256(said.encode()).hexdigest(),
        }
        print(json.dumps(answer), flush=True)


def plain(value: Any) -> Any:
    """Make of a column's bytes or array what JSON can hold."""
    return value.hex() if isinstance(value, bytes) else value.tolist()


class Tree:
    """A process that sweeps with the code of a tree."""

    def __init__(self, tree: Path, devices: int, given: argparse.Namespace, cache: str) -> None:
        flags = f"--xla_force_host_platform_device_count={devices}"
        environ = {**os.environ, "XLA_FLAGS": flags, "JAX_COMPILATION_CACHE_DIR": cache}
        environ |= {"PYTHONPATH": str(tree), "HF_HUB_OFFLINE": "1"}
        most = [] if given.max_examples is None else ["--max-examples", str(given.max_examples)]
        command = [sys.executable, __file__, str(tree), "--serve", *most]
        self.process = subprocess.Popen(
            [*command, "--model", given.model, "--data", given.data],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environ,
        )

    def sweep(self, chips: int, seed: int, rates: int = 2, **point: Any) -> dict[str, Any]:
        """One sweep, in memory."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        asked = {"chips": chips, "seed": seed, "rates": rates, "point": point}
        self.process.stdin.write(json.dumps(asked) + "\n")
        self.process.stdin.flush()
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        return answer


def times(trees: dict[str, Tree], chips: int, rounds: int) -> dict[str, Any]:
    """First calls, then rounds of many chips and of one."""
    first = {name: tree.sweep(2, 99) for name, tree in trees.items()}
    found = []
    for seed in range(rounds):
        order = list(trees)[:: 1 if seed % 2 else -1]
        many = {name: trees[name].sweep(chips, seed) for name in order}
        one = {name: trees[name].sweep(1, 100 + seed, 1) for name in order}
        found.append({"many": many, "one": one})
        print({name: round(many[name]["a_chip"], 3) for name in trees}, flush=True)

    def ratio(kind: str, name: str, field: str) -> float:
        return statistics.median(r[kind][name][field] / r[kind]["before"][field] for r in found)

    told = {
        "a chip": {name: ratio("many", name, "a_chip") for name in trees},
        "a sweep of one chip": {name: ratio("one", name, "whole") for name in trees},
        "first chip": {n: one["first"] / first["before"]["first"] for n, one in first.items()},
        "memory": {n: one["mb"] / found[-1]["many"]["before"]["mb"]
                   for n, one in found[-1]["many"].items()},
    }  # fmt: skip
    print(json.dumps(told, indent=1))
    return {"ratios": told, "first": first, "rounds": found}


def bits(trees: dict[str, Tree]) -> dict[str, Any]:
    """Whether rows, with scores and answers, are equal to the bit."""
    found = {}
    for encoding in ENCODINGS:
        for protection in PROTECTIONS:
            point = {"encoding": encoding, "protection": protection}
            rows = {name: tree.sweep(2, 7, 1, **point)["rows"] for name, tree in trees.items()}
            found[f"{encoding} {protection}"] = len(set(rows.values())) == 1
            print(encoding, protection, found[f"{encoding} {protection}"], flush=True)
    return found


def main() -> None:
    """Compare two trees."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("before", type=Path, help="tree of the other revision")
    parser.add_argument("--model", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--max-examples", type=int)
    parser.add_argument("--chips", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--devices", type=int, default=os.cpu_count())
    parser.add_argument("--bits", action="store_true")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        return serve(str(given.before), given.model, given.data, given.max_examples)
    with tempfile.TemporaryDirectory() as caches:
        kinds = {"before": (given.before.resolve(), 1), "now": (HERE, given.devices)}
        kinds |= {} if given.bits else {"now, one device": (HERE, 1)}
        trees = {
            name: Tree(tree, devices, given, f"{caches}/{k}")
            for k, (name, (tree, devices)) in enumerate(kinds.items())
        }
        found = bits(trees) if given.bits else times(trees, given.chips, given.rounds)
        for tree in trees.values():
            tree.process.communicate("")
    if given.out is not None:
        given.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
