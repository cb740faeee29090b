"""Calls `rerax.sweep` with arguments of wrong kinds, as a process of its own.

In the tests' own process every annotation is checked, and a wrong kind would never come as far as
it does for a user. Prints {argument: [[value, how it ended], ..]}; the end is the error's one line
behind its type, or "taken".
"""

import json
import sys
from dataclasses import replace
from fractions import Fraction

import numpy as np
import tiny

import rerax
from rerax.campaign import sweep

CONFIG = replace(tiny.CONFIG, num_hidden_layers=1)
GOOD = {
    "params": tiny.random_params(CONFIG),
    "config": CONFIG,
    "examples": [[2, 7, 3], [2, 8, 9, 3]],
    "labels": [0, 1],
}
KINDS = [
    *(None, True, 0, -1, 10**30, 0.5, 1e300, float("nan"), float("inf"), "", "x", "8", b"x", 3j),
    *([], {}, (), [None], ["x"], [[1]], [0.5], {"a": 1}, {1: 2}, object(), int, Fraction(1, 3)),
    *(
        np.float32(0.5),
        np.int64(8),
        np.array([0.5]),
        np.array(8),
        np.array(["x"]),
        np.zeros((2, 2)),
    ),
    *(
        np.array([None]),
        [float("nan")],
        ["offset", 5],
        ("uniform", None),
        "a\nb",
        "\ud800",
        range(2),
    ),
]
"""What is put in place of an argument."""
ARGUMENTS = [
    *("params", "config", "examples", "labels", "task", "name", "rates", "encoding", "bits"),
    *("bits_per_cell", "fault", "protection", "plan_rate", "sensitivity", "chips", "until_se"),
    *("max_chips", "seed", "chunk", "lanes", "faulty", "gates", "order", "out", "on_progress"),
    *("sa1_share", "layout", "tile", "input_bits", "dtype", "matrices", "spec"),
]
GATE = {"row": np.ones(30, np.float32), "column": np.ones(2, np.float32)}
INSIDE = {
    "params": [
        {**GOOD["params"], "head": {}},
        {**GOOD["params"], "head": 5},
        {**GOOD["params"], "encoder": {**GOOD["params"]["encoder"], "query": {"kernel": "x"}}},
    ],
    "examples": [[[2, 3], "x"], [[2, 3], None], [[2, 3], [2.5]], [[2, 3], [[2]]], [[2, 3], [-1]],
                 [[2, 3], []], [[2, 3], [10**30]], [[2, [3]], [1]]],
    "labels": [[0, "x"], [0, None], [0, [1]], [[0], [1]], [0, 1j]],
    "order": [[0], [0, 0], [0, 2], [0, "x"], [1, True], [0, 1, 2]],
    "gates": [{"x": GATE}, {"classifier": 5}, {"classifier": {**GATE, "row": "x"}},
              {"classifier": {**GATE, "row": GATE["column"]}}, {"classifier": {"row": [1]}}],
}  # fmt: skip


def ended(**changes):
    """How a call ended."""
    try:
        rerax.sweep(**{**GOOD, **changes})
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "taken"


if __name__ == "__main__":
    sweep.run = lambda *_: None  # whatever has come so far is sound
    found = {
        name: [
            [repr(value)[:60], ended(**{name: value})] for value in [*KINDS, *INSIDE.get(name, [])]
        ]
        for name in ARGUMENTS
    }
    json.dump(found, sys.stdout)
