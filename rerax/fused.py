"""One kernel that samples, sticks, votes and writes the operand, for GPUs and TPUs (Pallas).

The plain path (`chip.read`) is its twin, to the bit. On an accelerator that path is a loop of
small launches around a scatter. Here a grid step takes a block of wordlines: it draws the points
of the array's process under the same counters, keeps those of its block, then sticks the block's
words, votes and writes codes. How many points there are is looked up before.

*Covered:* uniform faults everywhere, at all rates, in all encodings, cells and layouts; `none`
and `duplicate:k` from points to codes. With `msb:..` it writes the words as read, since copies
lie in other blocks; the plain path votes and decodes them. *Not covered,* so read by the plain
path: other faults, `:erasures`, plans and protections of one's own, faults restricted to places,
more than `MOST_ROWS` wordlines, and on TPUs blocks whose cells exceed `MOST_BYTES`.

*Cost.* Every block draws all points of its array, so drawing grows with wordlines x points; at
high rates the plain path may well be faster. A TPU marks its points one by one. On an H200 the
bits were those of the plain path, and the time about one and a half times its (experiments/
README.md); the TPU's kernel has not run on hardware: tests interpret both on CPUs and lower them
for both platforms. So none is used unless asked for: `Network(kernel=kernel_of(backend))`, or
`rerax bench --fused`.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Int8, Key, UInt8

from rerax.encoding import decode
from rerax.faults import Counts, Disturbed, Dose, FaultModel
from rerax.faults.grids import Cells
from rerax.faults.models import Uniform, counts_of
from rerax.faults.process import AT_1, STUCK, point_counts, scale
from rerax.keys import purpose_keys, threefry
from rerax.poisson import INTERVALS
from rerax.protection import Duplicate, MsbEmbed, Protection, Unprotected
from rerax.spec import ChipSpec
from rerax.voting import at_least, count_votes

KERNELS = ("gpu", "tpu", "gpu:interpreted", "tpu:interpreted")
ROWS = {"gpu": 128, "tpu": 32}
"""Wordlines of a block. More draw fewer points in vain; on a TPU all their cells lie in VMEM."""
TILE = (32, 128)  # words at a time
POINTS = (8, 128)  # points at a time
MOST_ROWS = 4096
MOST_BYTES = 10 << 20  # of the 16 MiB of VMEM that a TPU gives a kernel
NONE = 0x7FFFFFFF

_INTERVALS, _ABOVE, _ABOVE_LIMIT, _SA1, _SA1_LIMIT, _LIMITS = range(6)
_KEYS = _LIMITS + INTERVALS  # then for each array: two keys, and points of each interval
_AN_ARRAY = 4 + INTERVALS

Marker = Callable[..., None]
"""(cells, array, which points, their slices, rows, columns, states) -> writes states."""


def kernel_of(backend: str) -> str | None:
    """The kernel for a backend of JAX's; None where there is only the plain path."""
    return {"gpu": "gpu", "cuda": "gpu", "tpu": "tpu"}.get(backend)


def covers(
    kernel: str, fault: FaultModel, protection: Protection, spec: ChipSpec, rows: int, columns: int
) -> bool:
    """Whether the kernel reads such a matrix; the plain path does where it does not."""
    plain = type(protection) is Unprotected or (
        type(protection) in (Duplicate, MsbEmbed) and not protection.erasures  # type: ignore[attr-defined]
    )
    block = ROWS[kernel[:3]] * _up(columns, TILE[1]) * spec.cells_per_weight * 4
    fits = kernel[:3] == "gpu" or (1 + protection.spare_arrays) * block <= MOST_BYTES
    # Rows, columns, slices and states are packed into 31 bits, and division is by a product.
    narrow = columns <= 1 << 16 and spec.bitlines(columns) * max(columns, 16) < 1 << 32
    return type(fault) is Uniform and plain and fits and narrow and rows <= MOST_ROWS


def read_matrix(
    kernel: str,
    words: UInt8[Array, "G R C"],
    array_keys: list[Key[Array, ""]],
    dose: Dose,
    spec: ChipSpec,
    protection: Protection,
    extra: Any,
    name: str,
) -> tuple[Int8[Array, "R C"], Counts]:
    """Codes of one matrix as a chip reads them, and its faulty cells.

    Args:
        kernel: one of `KERNELS`.
        array_keys: of the base array and the spare ones.
        words, dose, spec, protection, extra, name: of the matrix, as `chip.read` has them.
    """
    groups, rows, columns = words.shape
    head = (dose.intervals, dose.above, dose.above_limit, dose.sa1, dose.sa1_limit)
    parts = [jnp.stack([jnp.asarray(n).astype(jnp.uint32) for n in head]), jnp.asarray(dose.limits)]
    for key in array_keys:
        counts_key, points_key, cells_key = purpose_keys(key, 3)
        counts = point_counts(counts_key, spec.cells(rows, columns))
        parts += [points_key, cells_key, counts.astype(jnp.uint32)]
    coded = not isinstance(protection, MsbEmbed)
    height, width = _up(rows, ROWS[kernel[:3]]), _up(columns, TILE[1])
    padded = jnp.pad(words, ((0, 0), (0, height - rows), (0, width - columns)))
    grid = Cells(spec, rows, columns)
    run = _kernel(kernel, grid, len(array_keys), coded, (groups, height, width))
    out, found, *_ = run(jnp.concatenate(parts)[None], padded)
    out = out[:, :rows, :columns]
    at_0, at_1 = jnp.sum(found, axis=(0, 2))
    stuck = counts_of(stuck_at_0=at_0, stuck_at_1=at_1)
    if coded:
        return out[0], stuck
    read = Disturbed(out, jnp.zeros_like(out), stuck)
    return decode(protection.recover([read], extra, spec, name), spec), stuck


def _kernel(
    kernel: str, grid: Cells, arrays: int, coded: bool, padded: tuple[int, int, int]
) -> Callable[..., Any]:
    """The call for matrices of one shape: (scalars, padded words) -> words or codes, counts."""
    from jax.experimental import pallas as pl  # only who asks for a kernel pays for its modules

    platform, _, interpreted = kernel.partition(":")
    groups, height, width = padded
    rows, planes = ROWS[platform], (arrays, grid.spec.cells_per_weight)
    steps, written = height // rows, 1 if coded else groups
    of_scalars: dict[str, Any] = {}
    more: dict[str, Any] = {}
    out = [
        jax.ShapeDtypeStruct((written, height, width), jnp.int8 if coded else jnp.uint8),
        jax.ShapeDtypeStruct((steps, 2, TILE[1]), jnp.int32),
    ]
    out_specs = [
        pl.BlockSpec((written, rows, width), lambda i: (0, i, 0)),
        pl.BlockSpec((1, 2, TILE[1]), lambda i: (i, 0, 0)),
    ]
    if platform == "gpu":
        from jax.experimental.pallas import triton

        mark: Marker = functools.partial(_mark_at_once, triton.store)
        wait = None if interpreted else triton.debug_barrier
        # Fast memory cannot be asked for by name: the states of a block stay in the caches.
        out.append(jax.ShapeDtypeStruct((*planes, height, width), jnp.uint8))
        out_specs.append(pl.BlockSpec((*planes, rows, width), lambda i: (0, 0, i, 0)))
        more["compiler_params"] = triton.CompilerParams(num_warps=8)
    else:
        from jax.experimental.pallas import tpu

        mark, wait = _mark_one_by_one, None
        of_scalars["memory_space"] = tpu.SMEM
        more["scratch_shapes"] = [tpu.VMEM((*planes, rows, width), jnp.int32)]
    return pl.pallas_call(
        functools.partial(_body, mark=mark, wait=wait or (lambda: None), grid=grid, coded=coded),
        grid=(steps,),
        in_specs=[
            pl.BlockSpec((1, _KEYS + arrays * _AN_ARRAY), lambda i: (0, 0), **of_scalars),
            pl.BlockSpec((groups, rows, width), lambda i: (0, i, 0)),
        ],
        out_specs=out_specs,
        out_shape=out,
        interpret=bool(interpreted),
        **more,
    )


def _body(
    scalars: Any,
    words: Any,
    out: Any,
    found: Any,
    cells: Any,
    *,
    mark: Marker,
    wait: Callable[[], None],
    grid: Cells,
    coded: bool,
) -> None:
    """One block: no cell stuck; then the points of every array; then the words, tile by tile."""
    from jax.experimental import pallas as pl

    spec, (_, rows, width) = grid.spec, words.shape
    arrays, slices = cells.shape[:2]
    points = [_Points(scalars, a, grid) for a in range(arrays)]
    first, across = pl.program_id(0) * rows, np.int32(width // TILE[1])

    def tile(t: Array) -> tuple[Any, Any]:
        at = (lax.div(t, across), lax.rem(t, across))  # // and % ask for the device they are on
        y, x = (pl.multiple_of(i * size, size) for i, size in zip(at, TILE, strict=True))
        return pl.ds(y, TILE[0]), pl.ds(x, TILE[1])

    def clear(t: Array, nothing: None) -> None:
        for a in range(arrays):
            for s in range(slices):
                cells[a, s, *tile(t)] = jnp.zeros(TILE, cells.dtype)

    def finish(t: Array, totals: tuple[Array, Array]) -> tuple[Array, Array]:
        at_0, at_1 = totals
        y, x = tile(t)
        row = (first + y.start).astype(jnp.uint32) + lax.broadcasted_iota(jnp.uint32, TILE, 0)
        column = x.start.astype(jnp.uint32) + lax.broadcasted_iota(jnp.uint32, TILE, 1)
        images = []
        for a in range(arrays):
            image = [words[g, y, x].astype(jnp.int32) for g in range(spec.groups)]
            for s in range(slices):
                state = cells[a, s, y, x].astype(jnp.int32)
                state = points[a].second_chance(state, row, column, s)
                group, cell = divmod(s, spec.cells_per_group)
                level = ((1 << spec.bits_of_cell(cell)) - 1) << (cell * spec.bits_per_cell)
                stuck, high = state & STUCK, state >> 1
                image[group] = (image[group] & ~(stuck * level)) | high * level
                at_0 += jnp.sum(stuck - high, axis=0, keepdims=True)
                at_1 += jnp.sum(high, axis=0, keepdims=True)
            images.append(image)
        voted = [
            at_least(count_votes(same), (arrays + 1) // 2, same[0])
            for same in zip(*images, strict=True)
        ]
        for g, plane in enumerate([_code(voted, spec)] if coded else voted):
            out[g, y, x] = plane.astype(out.dtype)
        return at_0, at_1

    tiles = rows // TILE[0] * across
    lax.fori_loop(0, tiles, clear, None)
    wait()
    for process in points:
        process.draw(cells, first, rows, mark)
    wait()
    none = jnp.zeros((1, TILE[1]), jnp.int32)
    for i, total in enumerate(lax.fori_loop(0, tiles, finish, (none, none))):
        found[0, pl.ds(i, 1), :] = total


class _Points(NamedTuple):
    """The process of one array inside a kernel; `faults.process.sample` says what it is."""

    scalars: Any
    array: int
    grid: Cells

    def _at(self, i: Any) -> Any:
        return self.scalars[0, _KEYS + self.array * _AN_ARRAY + i]

    def draw(self, cells: Any, first: Array, rows: int, mark: Marker) -> None:
        """Mark the cells of a block, `rows` wordlines from `first` on, that points fall on."""
        grid, size = self.grid, np.int32(POINTS[0] * POINTS[1])
        order = lax.broadcasted_iota(jnp.uint32, POINTS, 0) * POINTS[1]
        order += lax.broadcasted_iota(jnp.uint32, POINTS, 1)

        def interval(k: Array, nothing: None) -> None:
            count, limit, key = self._at(4 + k), self.scalars[0, _LIMITS + k], self._key(0)

            def chunk(j: Array, nothing: None) -> None:
                point = order + (j * size).astype(jnp.uint32)
                stream = jnp.zeros_like(point) + 2 * k.astype(jnp.uint32)
                r, u = threefry(key, point, stream)
                position, _ = threefry(key, point, stream + 1)
                row, bitline = scale(r, grid.rows), scale(u, grid.width)
                local = row - first.astype(jnp.uint32)
                hit = (point < count) & (position <= limit) & (local < rows)
                column, slice_ = _locate(bitline, grid)
                places = (n.astype(jnp.int32) for n in (slice_, local, column))
                mark(cells, self.array, hit, *places, self.state(row, bitline)[0])

            lax.fori_loop(0, lax.div(count.astype(jnp.int32) + (size - 1), size), chunk, None)

        lax.fori_loop(0, self.scalars[0, _INTERVALS].astype(jnp.int32), interval, None)

    def state(self, row: Array, bitline: Array) -> tuple[Array, Array]:
        """State of a cell if it is stuck, and its second hash."""
        polarity, other = threefry(self._key(2), row, bitline)
        at_1 = (polarity <= self.scalars[0, _SA1_LIMIT]) & (self.scalars[0, _SA1] > 0)
        return jnp.where(at_1, STUCK | AT_1, STUCK), other

    def second_chance(self, state: Array, row: Array, column: Array, slice_: int) -> Array:
        """Cells that no point below rate 0.5 fell on, past that rate."""
        grid, limit = self.grid, self.scalars[0, _ABOVE_LIMIT]

        def chance(state: Array) -> Array:
            own, other = self.state(row, grid.spec.bitline(column, slice_, grid.columns))
            hit = (state == 0) & (other <= limit) & (row < grid.rows) & (column < grid.columns)
            return jnp.where(hit, own, state)

        return lax.cond(self.scalars[0, _ABOVE] > 0, chance, lambda state: state, state)

    def _key(self, i: int) -> tuple[Array, Array]:
        return self._at(i), self._at(i + 1)


def _mark_at_once(store: Any, cells: Any, array: int, hit: Array, *where: Array) -> None:
    """All points together: points on one cell write the same state."""
    slice_, row, column, state = where
    slice_ = jnp.where(hit, slice_, cells.shape[1])  # there is none, should the mask be ignored
    at = cells.at[array, slice_, jnp.where(hit, row, 0), column]
    store(at, state.astype(cells.dtype), mask=hit)


def _mark_one_by_one(cells: Any, array: int, hit: Array, *where: Array) -> None:
    """Point after point, in the order of their places: a TPU cannot scatter."""
    from jax.experimental import pallas as pl

    slice_, row, column, state = where
    places = jnp.where(hit, (row << 22) | (column << 6) | (slice_ << 2) | state, NONE)
    lane = lax.broadcasted_iota(jnp.int32, (1, TILE[1]), 1)

    def step(left: tuple[Array, Array]) -> tuple[Array, Array]:
        place, places = left
        column = (place >> 6) & 0xFFFF
        x = pl.ds(pl.multiple_of(column & -TILE[1], TILE[1]), TILE[1])
        at = (array, (place >> 2) & 15, pl.ds(place >> 22, 1), x)
        cells[at] = jnp.where(lane == (column & (TILE[1] - 1)), place & 3, cells[at])
        places = jnp.where(places == place, NONE, places)
        return jnp.min(places), places

    lax.while_loop(lambda left: left[0] < NONE, step, (jnp.min(places), places))


def _locate(bitline: Array, grid: Cells) -> tuple[Array, Array]:
    """`ChipSpec.locate` without a division."""
    beside = grid.spec.layout == "interleaved"
    by = grid.spec.cells_per_weight if beside else grid.columns
    quotient = bitline if by == 1 else scale(bitline, -(-(1 << 32) // by))
    rest = bitline - quotient * by
    return (quotient, rest) if beside else (rest, quotient)


def _code(words: list[Array], spec: ChipSpec) -> Array:
    """`encoding.decode` in 32 bits: eight are not enough to calculate with on a TPU."""
    half, first = 1 << (spec.bits - 1), words[0]
    if spec.encoding == "differential":
        return first - words[1]
    if spec.encoding == "offset":
        return first - half
    if spec.encoding == "twos_complement":
        return (first ^ half) - half
    magnitude = first & (half - 1)
    return jnp.where(first >= half, -magnitude, magnitude)


def _up(n: int, to: int) -> int:
    return -(-n // to) * to
