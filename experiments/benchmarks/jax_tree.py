"""What one would write first in JAX: a whole faulty parameter tree for every chip.

One jitted function draws a uniform number for every cell of the model, makes a float tree of the
faulty weights, and runs the BERT of `rerax.models.bert` on all batches: sentences by length, one
a row. It uses nothing of rerax's sampler, its layer-by-layer evaluation, its packed rows or its
integer products: only the model and the quantiser. Chips come one after the other in a Python loop.
"""

import functools
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from rows import BITS, SA1_SHARE, Chip, Watch, accuracy, make_row

from rerax.campaign.workload import read_workload
from rerax.crossbar.quantise import quantise
from rerax.glue.data import Examples
from rerax.glue.packing import Bucket, bucket_of
from rerax.models.bert.crossbars import weights_of
from rerax.models.bert.model import Bert
from rerax.models.bert.names import SECTION

HALF = 1 << (BITS - 1)
GROUPS = ("encoder", "pooler", "classifier")
BATCH, STEP = 32, 8
"""Sentences of a batch, whose width is the next multiple of STEP: one program for each width."""


def padded(examples: Examples, pad_token_id: int) -> list[Bucket]:
    """Batch sentences by length, each in a row of its own: a bucket for each width."""
    sizes = [len(row) for row in examples.ids]
    order = sorted(range(len(sizes)), key=sizes.__getitem__)
    held: dict[int, list[list[int]]] = {}
    for start in range(0, len(order), BATCH):
        batch = order[start : start + BATCH]
        width = -(-sizes[batch[-1]] // STEP) * STEP
        rows = held.setdefault(width, [])
        rows += [[i] for i in batch] + [[]] * (BATCH - len(batch))
    return [bucket_of(examples, wide, BATCH, rows, pad_token_id) for wide, rows in held.items()]


def faulty_words(words: Any, key: Any, rate: Any) -> tuple[Any, Any]:
    """Words of one matrix on one chip, and how many of its cells are stuck."""
    uniform = jax.random.uniform(key, (BITS, *words.shape))
    bit = jnp.uint8(1) << jnp.arange(BITS, dtype=jnp.uint8).reshape(-1, *[1] * words.ndim)
    hit, at_1 = uniform < rate, uniform < rate * jnp.float32(SA1_SHARE)
    stuck = jnp.where(hit, bit, jnp.uint8(0)).sum(axis=0, dtype=jnp.uint8)
    value = jnp.where(at_1, bit, jnp.uint8(0)).sum(axis=0, dtype=jnp.uint8)
    return (words & ~stuck) | value, hit.sum(dtype=jnp.int32)


def chip_logits(
    config: Any, dtype: str, params: Any, words: Any, scales: Any, block: Any, key: Any, rate: Any
) -> tuple[Any, Any]:
    """Logits of one chip on all batches, and its stuck cells."""
    kind = jnp.dtype(dtype)
    leaves, tree = jax.tree.flatten(words)
    keys = jax.random.split(key, len(leaves))
    struck = [faulty_words(leaf, k, rate) for leaf, k in zip(leaves, keys, strict=True)]
    read = jax.tree.unflatten(tree, [word for word, _ in struck])
    faulty = {section: dict(held) for section, held in params.items()}
    for section, held in read.items():
        for name, word in held.items():
            codes = word.astype(jnp.float32) - HALF
            kernel = (codes * scales[section][name][..., None, :]).astype(kind)
            faulty[section][name] = {**params[section][name], "kernel": kernel}
    model = Bert(config, dtype=kind)
    logits = tuple(
        lax.map(lambda batch: model.apply({"params": faulty}, *batch), bucket) for bucket in block
    )
    return logits, sum(count for _, count in struck)


@functools.cache
def prepare(model_dir: str, data_dir: str, max_examples: int | None, dtype: str) -> tuple[Any, ...]:
    """The jitted chip (key, rate) -> logits and count; the buckets, and what scores need."""
    workload = read_workload(model_dir, "sst2", "model", data=data_dir, max_examples=max_examples)
    inputs = workload.load()
    buckets = padded(inputs.examples, inputs.config.pad_token_id)
    words: dict[str, dict[str, Any]] = {}
    scales: dict[str, dict[str, Any]] = {}
    for name, weights in weights_of(inputs.params, GROUPS).items():
        section, (codes, scale) = SECTION[name], quantise(np.asarray(weights), BITS)
        word = (codes.astype(np.int16) + HALF).astype(np.uint8)
        words.setdefault(section, {})[name] = jnp.asarray(word)
        scales.setdefault(section, {})[name] = jnp.asarray(scale)
    params = jax.tree.map(jnp.asarray, inputs.params)
    block = [tuple(map(jnp.asarray, (b.ids, b.types, b.sentence > 0))) for b in buckets]
    jitted = jax.jit(functools.partial(chip_logits, inputs.config, dtype))
    cells = BITS * sum(leaf.size for leaf in jax.tree.leaves(words))
    chip = functools.partial(jitted, params, words, scales, block)
    return chip, buckets, workload, cells


def one_chip(prepared: tuple[Any, ...], rate: float, number: int) -> Chip:
    """Make and score chip `number`."""
    chip, buckets, workload, _ = prepared
    watch, key = Watch(), jax.random.key(number)

    def forward() -> tuple[float, int]:
        rows, stuck = jax.device_get(chip(key, jnp.float32(rate)))
        logits = np.zeros((len(workload.labels), rows[0].shape[-1]), np.float32)
        for bucket, part in zip(buckets, rows, strict=True):
            real = bucket.index >= 0
            logits[bucket.index[real]] = part[:, : real.shape[1]][real]
        return accuracy(logits, workload.labels, workload.order), int(stuck)

    score, stuck = watch.time("chip", forward)
    return Chip(watch.stages, score, stuck)


def jax_tree(
    model_dir: str,
    data_dir: str,
    rate: float,
    chips: int,
    max_examples: int | None = None,
    *,
    dtype: str = "float32",
    first: int = 0,
) -> dict[str, Any]:
    """Time some chips after a warm-up; arguments as in `torch_chips.run`."""
    start = time.perf_counter()
    prepared = prepare(model_dir, data_dir, max_examples, dtype)
    one_chip(prepared, rate, first)
    warm = time.perf_counter() - start
    timed = [one_chip(prepared, rate, first + i) for i in range(chips)]
    return make_row(
        "jax_tree",
        dtype,
        rate,
        timed,
        cells=prepared[-1],
        packages=("jax", "jaxlib"),
        first_call_seconds=warm,
        note="float inputs and products; the whole faulty tree is held at once",
    )
