"""How fast XLA and PyTorch multiply on this processor: the floor under every tool's chip.

    python experiments/benchmarks/product_rates.py --out FILE.json

Products of a batch of 1024 tokens by the matrices of a MiniLM and of a BERT-base. Both sides take
turns, matrix by matrix, and the best of some tries counts. In int8 and in bfloat16 both give the
same sums of codes, which is checked.
"""

import argparse
import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import torch
from jax import lax

from rerax.bench.machine import describe
from rerax.bench.timing import seconds

TOKENS, TRIES = 1024, 30
SHAPES = ((384, 384), (384, 1536), (1536, 384), (768, 768), (768, 3072), (3072, 768))


def works(rows: int, columns: int) -> dict[str, Callable[[], Any]]:
    """What multiplies one batch by one matrix, by library and format."""
    draw = torch.Generator().manual_seed(0)
    x, w = (
        torch.randint(-127, 128, shape, dtype=torch.int8, generator=draw)
        for shape in ((TOKENS, rows), (rows, columns))
    )
    inputs, codes = (jnp.asarray(a.numpy()) for a in (x, w))
    multiply = jax.jit(lax.dot, static_argnames="preferred_element_type")
    halves = inputs.astype(jnp.bfloat16), codes.astype(jnp.bfloat16)
    found = {
        "xla int8": lambda: multiply(inputs, codes, preferred_element_type=jnp.int32),
        "xla bfloat16": lambda: multiply(*halves, preferred_element_type=jnp.float32),
        "torch int8": lambda: torch._int_mm(x, w),
        "torch bfloat16": functools.partial(torch.matmul, x.bfloat16(), w.bfloat16()),
        "torch float32": functools.partial(torch.matmul, x.float(), w.float()),
    }
    exact = found["torch int8"]().numpy()
    assert all((found[name]() == exact).all() for name in ("xla int8", "xla bfloat16"))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    rows = []
    for shape in SHAPES:
        of_shape, best = works(*shape), {}
        for _ in range(TRIES):
            for name, work in of_shape.items():
                best[name] = min(best.get(name, float("inf")), seconds(work))
        operations = 2 * TOKENS * shape[0] * shape[1]
        rates = {name: operations / taken for name, taken in best.items()}
        rows.append({"rows": shape[0], "columns": shape[1], "rates": rates})
        said = ", ".join(f"{name} {rate / 1e9:.0f}" for name, rate in rates.items())
        print(f"{shape[0]} x {shape[1]}: {said} G operations a second", flush=True)
    found = {"machine": describe(), "tokens": TOKENS, "products": rows}
    given.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
