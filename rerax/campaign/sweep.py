"""Sweeps from Python: a BERT and examples that are in memory. No JAX here."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from rerax.campaign.grid import axes_of, expand, is_measured, several, spread, with_realised_rates
from rerax.campaign.plans import check_flags, with_allocations
from rerax.campaign.point import Point
from rerax.campaign.runner import run
from rerax.campaign.sampling import with_samples
from rerax.campaign.workload import Inputs, Progress, Settings, Workload
from rerax.faults import fault_model
from rerax.glue.checks import read_examples, read_labels, read_order
from rerax.glue.data import Examples
from rerax.glue.tasks import find_task
from rerax.io import place
from rerax.models.bert.checks import check_config, check_gates, check_weights
from rerax.models.bert.config import BertConfig
from rerax.models.bert.names import by_matrix
from rerax.models.bert.scope import Scope
from rerax.pruning.gates import with_zeros
from rerax.sealed import digest
from rerax.stats.stopping import make_rule
from rerax.values import plain, shown, type_text

if TYPE_CHECKING:
    AConfig = BertConfig
    SomeExamples = Examples | Sequence[Sequence[int]]
    Places = str | Scope | Sequence[str | Scope | None] | None
else:  # what is of another kind is refused below, in a line of our own
    AConfig = SomeExamples = Places = Any

DEFAULT_RATES = (0.0, 1e-4, 1e-3, 1e-2)


def sweep(
    params: Any,
    config: AConfig,
    examples: SomeExamples,
    labels: Sequence[float] | np.ndarray,
    *,
    task: str = "sst2",
    name: str = "model",
    rates: Sequence[float] | None = None,
    chips: int | None = None,
    until_se: float | None = None,
    max_chips: int | None = None,
    examples_per_chip: int | str | None = None,
    seed: int = 0,
    chunk: int | None = None,
    lanes: int | None = None,
    faulty: Places = None,
    gates: Any = None,
    order: Sequence[int] | None = None,
    plan_rate: float | None = None,
    sensitivity: str | None = None,
    out: str | Path | None = None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    spec: Any = None,
    **fields: Any,
) -> pa.Table:
    """Score thousands of faulty chips of a BERT: the Python form of `rerax sweep`.

    Args:
        params: float parameters in the tree of `rerax.models.bert.model`.
        config: the model's shape.
        examples: token ids of each example, or `rerax.glue.data.Examples` with segment ids.
        labels: label ids, GLUE's or places in `config.labels`; numbers for regression.
        task: the GLUE task whose score is taken, or NAME:METRIC (`glue.tasks.OWN_METRICS`).
        name: what to call the model in the rows.
        rates: fractions of stuck cells, 0 to 1; by default 0, 1e-4, 1e-3 and 1e-2.
        chips: chips for each point, 64 by default.
        until_se, max_chips: instead of `chips`: add chips to each point, looking at 64, 128,
            256, ... of them, until the standard error is so small or there are so many.
        examples_per_chip: let each chip answer about so many examples of its own, or "auto"; for
            tasks scored by accuracy (`campaign.sampling`).
        seed: seed of all chips.
        chunk: chips a dispatch; changes no row.
        lanes: chips in one `vmap`; part of the platform.
        faulty: where faults act (`models.bert.scope`): "layers=0+3;matrices=query",
            "layers=each"; None: everywhere; several make a grid.
        gates: closed rows and columns, if any.
        order: GLUE label id of each output; by default what the names in `config.labels` say, or
            GLUE's own order where they are LABEL_0, LABEL_1, ..
        plan_rate, sensitivity: for protection `plan`: the rate it is made for (the highest below
            0.5 by default) and an .npz file of weights (`models.bert.sensitivity`).
        out: campaign folder to fill or grow; None keeps the rows in memory.
        on_progress: told after every dispatch.
        spec: encoding, bits, bits_per_cell, tile, layout, polarity and misread together.
        **fields: the other fields of `Point`, objects or their texts, one value or several:
            encoding, bits, bits_per_cell, layout, tile, polarity, misread, fault, protection,
            tested, sa1_share, matrices, input_bits, dtype. Several make a grid; groups of
            `matrices` that belong together are one text, "pooler,classifier". A fault `map:FILE`
            (measured chips) stands alone, without rates and chips.

    Returns:
        One row per chip, in the schema of `campaign.schema.SCHEMA`.

    Raises:
        ValueError: bad input: the value, the rule, the fix.
    """
    check_config(config)
    what = find_task(task).with_labels(config.labels)
    scopes = several("faulty", faulty)
    _check_others(out, sensitivity, on_progress, scopes)
    axes = axes_of(fields, spec)
    faults = axes.get("fault", ())
    measured = is_measured(faults)
    chips, max_chips, seed, chunk, lanes = map(plain, (chips, max_chips, seed, chunk, lanes))
    rule = make_rule(until_se, max_chips, chips)
    if measured and not (rates is None and chips is None and rule is None):
        name = fault_model(faults[0]).text
        raise ValueError(f"{name} brings its own chips and rate: leave out rates and chips")
    asked = several("rates", DEFAULT_RATES if rates is None else rates)
    axes["rate"] = (0.0,) if measured else asked
    points = expand(Point(task=task, model=name, rate=0.0), axes)
    check_flags(points, plan_rate, sensitivity)
    settings = Settings(64 if chips is None else chips, seed, chunk, lanes)
    examples = read_examples(examples, config.vocab_size)
    labels = read_labels(what, labels, len(examples))
    check_weights(params, config)
    gates = by_matrix(gates) if isinstance(gates, Mapping) else gates
    check_gates(gates, config)
    params = with_zeros(params, gates or {})
    inputs = Inputs(config, params, examples, gates)
    workload = Workload(
        task=task,
        model=name,
        model_hash=tree_hash((params, gates, config.identity)),
        data_hash=tree_hash((list(examples.ids), list(examples.types), labels)),
        order=read_order(what, config.labels, order),
        order_given=order is not None,
        labels=labels,
        parts=(("validation", len(labels)),),
        config=config,
        load=lambda: inputs,
    )
    points = with_realised_rates(points, config)
    points = spread(points, scopes, config.layers)
    folder = None if out is None else place(out)
    points, plans = with_allocations(points, workload, plan_rate, sensitivity, folder)
    whole = [(workload, points)]
    (part,), samples = with_samples(
        whole, examples_per_chip, settings, folder, on_progress=on_progress
    )
    return run(*part, settings, folder, on_progress, plans, rule, samples)


def _check_others(
    out: Any, sensitivity: Any, on_progress: Callable[..., None], faulty: Sequence[Any]
) -> None:
    """Refuse what is no path, no text or nothing to call."""
    for name, value in (("out", out), ("sensitivity", sensitivity)):
        if not isinstance(value, str | Path | None):
            raise ValueError(f"{name} is {type_text(value)}: give a path")
    for where in faulty:
        if not isinstance(where, str | Scope | None):
            raise ValueError(f"faulty {shown(where)} is no text: give one such as 'layers=0'")
    if not callable(on_progress):
        raise ValueError(f"on_progress is {type_text(on_progress)}: give a function")


def tree_hash(tree: Any) -> str:
    """Hash a nested structure of arrays and plain values (SHA-256)."""
    if isinstance(tree, Mapping):
        return digest({str(key): tree_hash(tree[key]) for key in tree})
    if isinstance(tree, list | tuple):
        return digest([tree_hash(item) for item in tree])
    if tree is None or isinstance(tree, str | int | float):
        return digest(tree)
    array = np.ascontiguousarray(tree)
    hasher = hashlib.sha256(f"{array.dtype.str}{array.shape}".encode())
    hasher.update(array.tobytes())
    return hasher.hexdigest()
