"""Products whose end does the rest, on a GPU: XLA beside two of Pallas's backends.

    python experiments/gpu_products.py [--out experiments/results/gpu_products.json]

A layer's products on crossbars are int8 x int8 -> int32. Behind each come scale, bias, at times
GELU, and the next product's quantiser, which wants the largest magnitude of every token. Plain XLA
writes the sums to memory and reads them again; the kernels here (Triton, Mosaic GPU) do the rest
while a tile is in registers, and leave the largest of every token and tile of columns, from which
one further pass makes the codes. Attention in several ways comes last. FILE is written after every
step, for machines that are rented by the minute; no result may be missing because of a kernel that
a JAX release no longer compiles: its error is the result.

About two minutes on an H100. `--lower` only lowers both kernels for CUDA, which needs no GPU.
"""

import argparse
import functools
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.experimental import pallas as pl

from rerax.bench import machine
from rerax.crossbar.quantise import quantise_inputs

OUT = Path(__file__).parent / "results" / "gpu_products.json"
LANES, TOKENS = 16, 1024
SHAPES = {
    "qkv": (768, 2304, "none"),
    "attention_output": (768, 768, "none"),
    "ffn_in": (768, 3072, "gelu"),
    "ffn_out": (3072, 768, "none"),
}
"""Rows, columns and what follows, of BERT-base's products."""
TILES: dict[str, tuple[dict[str, int], ...]] = {
    "triton": (
        {"tokens": 128, "columns": 128, "rows": 128, "warps": 8, "stages": 3},
        {"tokens": 128, "columns": 128, "rows": 128, "warps": 4, "stages": 3},
        {"tokens": 128, "columns": 256, "rows": 128, "warps": 8, "stages": 3},
    ),
    "mosaic": (
        {"tokens": 128, "columns": 128, "rows": 128, "stages": 4},
        {"tokens": 128, "columns": 128, "rows": 128, "stages": 3},
        {"tokens": 128, "columns": 64, "rows": 128, "stages": 4},
    ),
}
TRIES, REPEATS, LENGTHS = 5, 8, (32, 64)


def gelu(x: jax.Array) -> jax.Array:
    """GELU by the error function, as `rerax.models.bert.model` has it."""
    return jnp.float32(0.5) * x * (1 + lax.erf(x * jnp.float32(0.5**0.5)))


def gelu_by_exp(x: jax.Array) -> jax.Array:
    """GELU with an error function off by 1.5e-7: Pallas's Triton backend has none.

    Source: Abramowitz and Stegun, Handbook of Mathematical Functions, 7.1.26.
    """
    z = jnp.abs(x) * jnp.float32(0.5**0.5)
    t = 1 / (1 + jnp.float32(0.3275911) * z)
    poly = jnp.float32(1.061405429)
    for c in (-1.453152027, 1.421413741, -0.284496736, 0.254829592):
        poly = poly * t + jnp.float32(c)
    erf = 1 - poly * t * jnp.exp(-z * z)
    return jnp.float32(0.5) * x * (1 + jnp.where(x < 0, -erf, erf))


ENDS = {"none": lambda x: x, "gelu": gelu, "gelu_by_exp": gelu_by_exp}


def plain(x: Any, token_scale: Any, codes: Any, scale: Any, bias: Any, end: str) -> jax.Array:
    """The twin of both kernels, in XLA's operations.

    Args:
        x: input codes int8 [L, T, R].
        token_scale: [L, T].
        codes: weight codes int8 [L, C, R]: rows last, as the card multiplies them.
        scale, bias: of each column [C].
        end: one of `ENDS`.
    """
    dims = (((2,), (2,)), ((0,), (0,)))
    sums = lax.dot_general(x, codes, dims, preferred_element_type=jnp.int32)
    y = sums.astype(jnp.float32) * (token_scale[..., None] * scale[None, None])
    return ENDS[end](y + bias[None, None])


def plain_rows_first(x: Any, token_scale: Any, codes: Any, scale: Any, bias: Any, end: str) -> Any:
    """The same with codes as `rerax.crossbar.products` holds them, rows first, [L, R, C]."""
    return plain(x, token_scale, codes.swapaxes(1, 2), scale, bias, end)


def triton(x: Any, token_scale: Any, codes: Any, scale: Any, bias: Any, end: str, **tile: int):
    """As `plain`, by Pallas's Triton backend; also the largest of every token and tile of columns.

    Returns:
        y [L, T, C] and its largest magnitudes [L, tiles of columns, T].
    """
    lanes, tokens, rows = x.shape
    columns = len(scale)
    t, c, step = tile["tokens"], tile["columns"], tile["rows"]
    ending = ENDS["gelu_by_exp" if end == "gelu" else end]

    def kernel(x_ref, codes_ref, token_ref, scale_ref, bias_ref, y_ref, top_ref):  # type: ignore[no-untyped-def]
        def add(i: Any, sums: Any) -> Any:
            at = pl.ds(i * step, step)
            dims = (((1,), (1,)), ((), ()))
            more = lax.dot_general(
                x_ref[:, at], codes_ref[:, at], dims, preferred_element_type=jnp.int32
            )
            return sums + more

        sums = lax.fori_loop(0, rows // step, add, jnp.zeros((t, c), jnp.int32))
        y = sums.astype(jnp.float32) * (token_ref[...][:, None] * scale_ref[...][None])
        y = ending(y + bias_ref[...][None])
        y_ref[...] = y
        top_ref[...] = jnp.max(jnp.abs(y), axis=1)

    more: dict[str, Any] = {"interpret": True}
    if "warps" in tile:
        from jax.experimental.pallas import triton as backend

        params = backend.CompilerParams(num_warps=tile["warps"], num_stages=tile["stages"])
        more = {"compiler_params": params}
    return pl.pallas_call(
        kernel,
        grid=(tokens // t, columns // c, lanes),
        in_specs=[
            pl.BlockSpec((None, t, rows), lambda i, j, lane: (lane, i, 0)),
            pl.BlockSpec((None, c, rows), lambda i, j, lane: (lane, j, 0)),
            pl.BlockSpec((None, t), lambda i, j, lane: (lane, i)),
            pl.BlockSpec((c,), lambda i, j, lane: (j,)),
            pl.BlockSpec((c,), lambda i, j, lane: (j,)),
        ],
        out_specs=[
            pl.BlockSpec((None, t, c), lambda i, j, lane: (lane, i, j)),
            pl.BlockSpec((None, None, t), lambda i, j, lane: (lane, j, i)),
        ],
        out_shape=[
            jax.ShapeDtypeStruct((lanes, tokens, columns), jnp.float32),
            jax.ShapeDtypeStruct((lanes, columns // c, tokens), jnp.float32),
        ],
        **more,
    )(x, codes, token_scale, scale, bias)


def mosaic(x: Any, token_scale: Any, codes: Any, scale: Any, bias: Any, end: str, **tile: int):
    """As `triton`, by Pallas's Mosaic GPU backend, for Hopper's matrix units.

    Two warpgroups multiply side by side over columns while a third one copies.
    """
    import jax.experimental.pallas.mosaic_gpu as backend

    lanes, tokens, rows = x.shape
    columns = len(scale)
    t, c, step = tile["tokens"], tile["columns"], tile["rows"]
    up, across, trips = tokens // t, columns // (2 * c), rows // step
    laid = (backend.TilingTransform((8, step)), backend.SwizzleTransform(step))
    by_token, by_column = (backend.Layout.WGMMA.reduce(axis) for axis in (1, 0))

    def kernel(x_ref, codes_ref, token_ref, scale_ref, bias_ref, y_ref, top_ref):  # type: ignore[no-untyped-def]
        def pipeline(multiply: Any, context: Any) -> Any:
            specs = [
                backend.BlockSpec(
                    (n, step), lambda i: (0, i), transforms=laid, memory_space=backend.SMEM
                )
                for n in (t, 2 * c)
            ]
            return backend.emit_pipeline_warp_specialized(
                multiply,
                grid=(trips,),
                memory_registers=40,
                in_specs=specs,
                wg_axis="group",
                num_compute_wgs=2,
                max_concurrent_steps=tile["stages"],
                compute_context=context,
            )

        def work(buffers: Any) -> None:
            group, place = lax.axis_index("group"), lax.axis_index("tile")
            lane, place = place // (up * across), place % (up * across)
            block = place % across
            of_rows = pl.ds(place // across * t, t)

            def finish(run: Any) -> None:
                def scope(sums_ref: Any) -> None:
                    run(sums_ref)
                    of_columns = pl.ds(block * 2 * c + group * c, c)
                    sums = sums_ref[...].astype(jnp.float32)

                    def load(ref: Any, at: Any, layout: Any, axis: int) -> Any:
                        line = backend.load(ref, (at,), layout=layout, optimized=False)
                        return lax.broadcast_in_dim(line, (t, c), (axis,))

                    token = load(token_ref.at[lane], of_rows, by_token, 0)
                    y = sums * (token * load(scale_ref, of_columns, by_column, 1))
                    y = ENDS[end](y + load(bias_ref, of_columns, by_column, 1))
                    y_ref[lane, of_rows, of_columns] = y
                    top_ref[lane, block * 2 + group, of_rows] = jnp.max(jnp.abs(y), axis=1)

                pl.run_scoped(scope, backend.ACC((t, c), jnp.int32))

            def multiply(_: Any, x_part: Any, codes_part: Any, sums_ref: Any) -> Any:
                own = codes_part.at[pl.ds(group * c, c)]
                backend.wgmma(sums_ref, x_part, backend.transpose_ref(own, (1, 0)))
                backend.wgmma_wait(0)
                return sums_ref

            of_block = codes_ref.at[lane, pl.ds(block * 2 * c, 2 * c), :]
            run = pipeline(multiply, finish)
            run(x_ref.at[lane, of_rows, :], of_block, allocations=buffers)

        def nothing(*_: Any, **__: Any) -> None:
            return None

        room = pipeline(nothing, nothing).get_allocations(x_ref.at[0], codes_ref.at[0])
        pl.run_scoped(work, room, collective_axes="group")

    return backend.kernel(
        kernel,
        out_type=[
            jax.ShapeDtypeStruct((lanes, tokens, columns), jnp.float32),
            jax.ShapeDtypeStruct((lanes, columns // c, tokens), jnp.float32),
        ],
        grid=(lanes * up * across,),
        grid_names=("tile",),
        num_threads=3,
        thread_name="group",
    )(x, codes, token_scale, scale, bias)


KERNELS: dict[str, Callable[..., Any]] = {"triton": triton, "mosaic": mosaic}


def codes_of(y: Any, top: Any) -> tuple[jax.Array, jax.Array]:
    """The next product's input codes, from y and its largest magnitudes by tiles of columns."""
    scale = top.max(axis=1)[..., None] * jnp.float32(1 / 127)
    scale = jnp.where(scale == 0, jnp.float32(1), scale)
    return jnp.clip(jnp.round(y / scale), -127, 127).astype(jnp.int8), scale


def operands(rows: int, columns: int, lanes: int = LANES, tokens: int = TOKENS) -> tuple[Any, ...]:
    """Random x, token_scale, codes, scale and bias."""
    draw = np.random.default_rng(0)
    x, codes = (
        draw.integers(-127, 128, shape, dtype=np.int8)
        for shape in ((lanes, tokens, rows), (lanes, columns, rows))
    )
    token, scale = 1e-2 * draw.random((lanes, tokens)) + 1e-4, 2e-4 * draw.random(columns) + 2e-6
    real = (token, scale, draw.standard_normal(columns))
    token, scale, bias = (jnp.asarray(a.astype(np.float32)) for a in real)
    return jnp.asarray(x), token, jnp.asarray(codes), scale, bias


def seconds(run: Callable[..., Any], *given: Any) -> float:
    """Least seconds of a call, of several tries of several calls each."""
    jax.block_until_ready(run(*given))
    took = []
    for _ in range(TRIES):
        start = time.perf_counter()
        for _ in range(REPEATS):
            last = run(*given)
        jax.block_until_ready(last)
        took.append((time.perf_counter() - start) / REPEATS)
    return min(took)


def measured(measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """A result, or the first line of what went wrong."""
    try:
        return measure()
    except Exception as error:  # whatever a backend throws is the result
        return {"error": f"{type(error).__name__}: {str(error).splitlines()[0][:200]}"}


def ulps(a: jax.Array, b: jax.Array) -> int:
    """Most float32 steps between two arrays, where the second is above a thousandth."""
    ours, theirs = (np.asarray(v, np.float32).view(np.int32).astype(np.int64) for v in (a, b))
    return int(np.abs(ours - theirs)[np.abs(np.asarray(b)) > 1e-3].max())


def products() -> Iterator[dict[str, Any]]:
    """Microseconds of each product up to the next one's codes, in every way."""
    for name, (rows, columns, end) in SHAPES.items():
        x, token, codes, scale, bias = given = operands(rows, columns)
        known = {"product": name, "lanes": LANES, "tokens": TOKENS, "rows": rows}
        known |= {"columns": columns, "end": end, "operations": 2 * x.size * columns}
        rows_first = (x, token, jnp.asarray(np.asarray(codes).swapaxes(1, 2)), scale, bias)
        for layout, way, put in (("CR", plain, given), ("RC", plain_rows_first, rows_first)):
            whole = jax.jit(lambda *a, way=way, end=end: quantise_inputs(way(*a, end)))
            found = measured(lambda run=whole, put=put: {"us_to_codes": 1e6 * seconds(run, *put)})
            yield {**known, "by": "xla", "layout": layout, **found}
        want = jax.jit(functools.partial(plain, end=end))(*given)
        for by, tiles in TILES.items():
            for tile in tiles:
                run = functools.partial(KERNELS[by], end=end, **tile)
                yield {
                    **known,
                    "by": by,
                    "tile": tile,
                    **measured(functools.partial(kernel_times, run, given, want)),
                }


def kernel_times(run: Callable[..., Any], given: tuple[Any, ...], want: jax.Array) -> dict:
    """Microseconds of a kernel alone and up to the codes, and how far off it is."""
    y, _ = jax.jit(run)(*given)
    return {
        "most_ulps": ulps(y, want),
        "us": 1e6 * seconds(jax.jit(run), *given),
        "us_to_codes": 1e6 * seconds(jax.jit(lambda *a: codes_of(*run(*a))), *given),
    }


def attend(q: Any, k: Any, v: Any, real: Any, exact: Any) -> jax.Array:
    """Attention as `rerax.models.bert.model` has it; q, k, v [S, T, H, D], real [S, T]."""
    dtype = q.dtype
    q, k, v = (a.swapaxes(1, 2) for a in (q, k, v))
    scores = jnp.einsum("bhtd,bhsd->bhts", q, k, precision=exact).astype(jnp.float32)
    scores = scores * jnp.float32(q.shape[-1] ** -0.5)
    scores = jnp.where(real[:, None, None], scores, jnp.float32(-1e9))
    weights = jax.nn.softmax(scores, axis=-1).astype(dtype)
    return jnp.einsum("bhts,bhsd->bhtd", weights, v, precision=exact).swapaxes(1, 2)


def attentions() -> Iterator[dict[str, Any]]:
    """Microseconds of the attention of one batch, in every way."""
    draw = np.random.default_rng(1)
    for tokens in LENGTHS:
        shape = (LANES * TOKENS // tokens, tokens, 12, 64)
        wide = [jnp.asarray(draw.standard_normal(shape).astype(np.float32)) for _ in "qkv"]
        half = [a.astype(jnp.bfloat16) for a in wide]
        ends = jnp.asarray(draw.integers(tokens // 2, tokens + 1, shape[0]).astype(np.int32))
        real = jnp.arange(tokens)[None] < ends[:, None]
        exact, quick = lax.Precision.HIGHEST, lax.Precision.DEFAULT
        library = functools.partial(jax.nn.dot_product_attention, mask=real[:, None, None])
        lengths = {"query_seq_lengths": ends, "key_value_seq_lengths": ends}
        cudnn = functools.partial(jax.nn.dot_product_attention, implementation="cudnn")
        second = jnp.arange(tokens)[None] >= ends[:, None]  # a row of two sentences, as packed
        same = second[:, None, :, None] == second[:, None, None, :]
        ways: dict[str, tuple[Callable[..., Any], list[Any]]] = {
            "ours, float32": (functools.partial(attend, real=real, exact=exact), wide),
            "ours, TF32": (functools.partial(attend, real=real, exact=quick), wide),
            "ours, bfloat16": (functools.partial(attend, real=real, exact=exact), half),
            "library, XLA, bfloat16": (library, half),
            "library, cuDNN, bfloat16": (functools.partial(cudnn, **lengths), half),
            "library, cuDNN, bfloat16, packed": (functools.partial(cudnn, mask=same), half),
        }
        for by, (run, given) in ways.items():
            found = measured(lambda r=run, g=given: {"us": 1e6 * seconds(jax.jit(r), *g)})
            yield {"attention": tokens, "sentences": shape[0], "by": by, **found}


def lower() -> None:
    """Lower both kernels for CUDA, on any machine."""
    given = operands(256, 512, 2, 256)
    for by, kernel in KERNELS.items():
        for end in ("none", "gelu"):
            run = functools.partial(kernel, end=end, **TILES[by][0])
            jax.jit(run).trace(*given).lower(lowering_platforms=("cuda",))
            print(f"{by}, {end}: lowered")


def main() -> None:
    """Measure one after the other."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lower", action="store_true", help="only lower the kernels for CUDA")
    parser.add_argument("--out", type=Path, default=OUT)
    given = parser.parse_args()
    if given.lower:
        return lower()
    found: dict[str, Any] = {"machine": machine.describe(), "rows": []}
    given.out.parent.mkdir(parents=True, exist_ok=True)
    for measure in (products, attentions):
        for row in measure():
            found["rows"].append(row)
            given.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
            print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
