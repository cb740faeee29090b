"""One chip under the lens: its row again, its worst matrices, its weights, its stuck cells."""

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Array, Int, UInt8

from rerax import chip as chips
from rerax.campaign.recall import Recalled, lost_examples
from rerax.campaign.store import Block
from rerax.campaign.subject import Progress
from rerax.campaign.worker import Worker
from rerax.crossbar import keys
from rerax.crossbar.masking import masked_codes
from rerax.crossbar.spec import ChipSpec
from rerax.evaluate import Network
from rerax.faults import DEFAULT_SA1_SHARE, Counts, Disturbed, Dose, Site, dose
from rerax.glue.tasks import METRICS
from rerax.io import whole_file
from rerax.models.bert import convert
from rerax.models.bert.names import GROUPS, IDS, MATRICES, SECTIONS
from rerax.models.bert.scope import Scope
from rerax.values import rate_text

_CELLS = ("cells", "cells_dense", "sparsity", *Counts._fields)
_SCORES = ("score", *METRICS, "degenerate", "correct", "prediction")


@dataclass(frozen=True)
class Matrix:
    """One matrix of a chip.

    Attributes:
        name, layer: which (layer 0 outside the encoder).
        faulty: its faulty cells (flips: bits), spare arrays included.
        error: squared error of its weights as read, over the sum of their squares.
        alone: the score of the chip when only this matrix is faulty; None where not measured.
    """

    name: str
    layer: int
    faulty: int
    error: float
    alone: float | None = None


@dataclass(frozen=True)
class View:
    """What the lens shows.

    Attributes:
        score: the chip's score now.
        clean_score: that of the clean chip now.
        platform: on what they were computed.
        same_platform: whether that is the row's, so that the score had to be its.
        worst: matrices, the worst first.
        lost: examples that the clean chip gets right and this one wrong (`lost_examples`).
    """

    score: float
    clean_score: float
    platform: str
    same_platform: bool
    worst: tuple[Matrix, ...]
    lost: np.ndarray


def open_lens(
    recalled: Recalled, worst: int, tell: Callable[[Progress], None] = lambda progress: None
) -> Worker:
    """What evaluates the chip.

    Args:
        recalled: the row and what it was made from.
        worst: matrices that will be looked at one by one.
        tell: told of progress.

    Raises:
        ValueError: inputs that cannot be evaluated.
    """
    total = worst + 2
    return Worker.start(recalled.subject, recalled.settings, [recalled.point], tell, total)


def look(worker: Worker, recalled: Recalled, worst: int = 5) -> View:
    """Compute a row again and see where it comes from.

    The matrices with the largest relative squared error of their weights are each evaluated
    alone: all other matrices of the chip read clean. They are ranked by the score that is left.

    Args:
        worker: of `open_lens`.
        recalled: the row.
        worst: how many to evaluate.

    Raises:
        ValueError: the row is not reproduced: other cells, or on the same platform another score.
    """
    point, row = recalled.point, recalled.row
    block = Block(point.hash[:16], recalled.chip, recalled.chip)
    now = _first(worker.facts(point, block))
    worker.pace.step(1, point)
    same = worker.platform == row["platform"]
    _check(row, now, same)
    clean = _first(worker.facts(replace(point, rate=0.0), block))
    worker.pace.step(1, point)
    ranked = sorted(matrices(worker, recalled), key=lambda m: -m.error)
    chosen = [m for m in ranked if m.error > 0][:worst]
    measured = []
    for matrix in sorted(chosen, key=lambda m: _start(m, worker.inputs.config.num_hidden_layers)):
        alone = replace(point, faulty=_alone(point.scope, matrix))
        measured.append(replace(matrix, alone=_first(worker.facts(alone, block))["score"]))
        worker.pace.step(1, point)
    return View(
        now["score"],
        clean["score"],
        worker.platform,
        same,
        tuple(sorted(measured, key=lambda m: (m.alone, -m.error))),
        lost_examples(recalled.subject, clean, now),
    )


def _first(facts: dict[str, Any]) -> dict[str, Any]:
    """The first chip's facts as plain values."""
    values = {k: v[0] if isinstance(v, list | np.ndarray) else v for k, v in facts.items()}
    return {k: v.item() if isinstance(v, np.generic) else v for k, v in values.items()}


def _check(row: dict[str, Any], now: dict[str, Any], same_platform: bool) -> None:
    names = _CELLS + (_SCORES if same_platform else ())
    for name in names:
        there, here = row[name], now.get(name)
        if isinstance(here, np.ndarray):
            there, here = np.asarray(there, here.dtype).tolist(), here.tolist()
        if repr(there) != repr(here):  # a prediction may be NaN
            raise ValueError(
                f"chip {row['chip']} of point {row['point_hash'][:16]} is not reproduced: "
                f"{name} is {str(there)[:40]} in its row and {str(here)[:40]} now: the row was "
                "made by other code, or has been changed"
            )


def _start(matrix: Matrix, layers: int) -> int:
    return matrix.layer if matrix.name in GROUPS["encoder"] else layers


def _alone(scope: Scope | None, matrix: Matrix) -> str:
    """The chip's own scope, narrowed to one matrix."""
    layers = (matrix.layer,) if matrix.name in GROUPS["encoder"] else None
    return Scope(layers, (matrix.name,), None if scope is None else scope.bits).text


# What the chip reads.


def matrices(worker: Worker, recalled: Recalled) -> list[Matrix]:
    """Every matrix on crossbars, with its faulty cells and the error of its weights."""
    programmed = worker.prepared(recalled.point)[1]
    clean, _ = read_chip(worker, recalled, rate=0.0)
    found, counts = read_chip(worker, recalled)
    listed = []
    for section, there in found.items():
        for name, codes in there.items():
            scales = np.asarray(programmed.scales[section][name], np.float64)
            scales = scales.reshape(len(codes), 1, -1)
            moved = (codes.astype(np.float64) - clean[section][name]) * scales
            size = ((clean[section][name] * scales) ** 2).sum(axis=(1, 2))
            error = (moved**2).sum(axis=(1, 2)) / np.maximum(size, np.finfo(np.float64).tiny)
            cells = np.sum([np.asarray(n, np.int64) for n in counts[section][name]], axis=0)
            listed += [
                Matrix(name, layer, int(cells[layer]), float(error[layer]))
                for layer in range(len(codes))
            ]
    return listed


def read_chip(
    worker: Worker, recalled: Recalled, rate: float | None = None
) -> tuple[dict[str, dict[str, np.ndarray]], dict[str, dict[str, Counts]]]:
    """Codes that the chip reads, zeros behind closed gates, and its faulty cells.

    Args:
        worker: of `open_lens`.
        recalled: which chip.
        rate: another rate than the row's.

    Returns:
        {section: {matrix: [layers, R, C] int8}} and counts [layers]; one layer outside the
        encoder.
    """
    network, programmed, _, _ = worker.prepared(recalled.point)
    where, at, root = _context(worker, recalled, rate)
    codes: dict[str, dict[str, np.ndarray]] = {}
    counts: dict[str, dict[str, Counts]] = {}
    for section in SECTIONS:
        layers = _layers(worker, section)
        each = []
        for layer in range(layers):
            parts = (programmed.words, programmed.extras, programmed.lines)
            part = tuple(_of_layer(p[section], layer, section == "encoder") for p in parts)
            number = jnp.uint32(recalled.chip)
            each.append(
                jax.device_get(_read(network, *part, root, number, jnp.uint32(layer), at, where))
            )
        codes[section] = {n: np.stack([c[n] for c, _ in each]) for n in programmed.words[section]}
        counts[section] = {
            n: Counts(*map(np.stack, zip(*(c[n] for _, c in each), strict=True)))
            for n in programmed.words[section]
        }
    return codes, counts


def _context(worker: Worker, recalled: Recalled, rate: float | None = None) -> tuple[Any, ...]:
    """Where faults act, the dose, the root key."""
    point, network = recalled.point, worker.prepared(recalled.point)[0]
    share = DEFAULT_SA1_SHARE if point.sa1_share is None else point.sa1_share
    at = dose(point.rate if rate is None else rate, share, network.fault)
    scope, layers = point.scope, worker.inputs.config.num_hidden_layers
    where = None if scope is None else chips.acting(scope, point.groups, layers)
    return where, at, keys.root_key(recalled.settings.seed)


def _layers(worker: Worker, section: str) -> int:
    return worker.inputs.config.num_hidden_layers if section == "encoder" else 1


def _of_layer(tree: Any, layer: int, stacked: bool) -> Any:
    return jax.tree.map(lambda a: a[layer], tree) if stacked else tree


@functools.partial(jax.jit, static_argnames="network")
def _read(
    network: Network,
    words: Any,
    extras: Any,
    lines: Any,
    root: Array,
    chip: Array,
    layer: Array,
    dose: Dose,
    where: chips.Acting | None,
) -> tuple[dict[str, Array], dict[str, Counts]]:
    how = (dose, network.fault, network.spec, network.protection, extras, None, chip, where)
    codes, counts = chips.read(words, keys.chip_key(root, chip), layer, *how)
    closed = {n: masked_codes(c, lines[n]) if n in lines else c for n, c in codes.items()}
    return closed, counts


def save_weights(worker: Worker, recalled: Recalled, directory: Path) -> None:
    """Write the model that the chip reads as a Hugging Face folder, in float.

    Weights are codes x scales, zeros behind closed gates; matrices off the crossbars, biases and
    norms are the model's own. With float inputs any BERT gives the row's answers from it; with
    8-bit inputs those of the row are quantised besides.

    Args:
        worker: of `open_lens`.
        recalled: which chip.
        directory: a new folder.

    Raises:
        ValueError: the folder is there already.
    """
    check_new(directory)
    programmed = worker.prepared(recalled.point)[1]
    codes, _ = read_chip(worker, recalled)
    params = {s: dict(leaves) for s, leaves in jax.device_get(programmed.params).items()}
    for section, there in codes.items():
        kind = "table" if section == "embeddings" else "kernel"
        for name, read in there.items():
            scales = np.asarray(programmed.scales[section][name], np.float32)
            weights = read.astype(np.float32) * scales.reshape(len(read), 1, -1)
            weights = weights if section == "encoder" else weights[0]
            params[section][name] = {**params[section][name], kind: weights}
    source = recalled.subject.source
    origin = None if source is None else convert.locate(source["model"])
    convert.save(directory, worker.inputs.config, params, source=origin)


def check_new(directory: Path) -> None:
    """Refuse a folder that holds something.

    Raises:
        ValueError: it does.
    """
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise ValueError(f"{directory} is there already: give a new folder to --save")


# Its stuck cells.


def export_map(worker: Worker, recalled: Recalled, file: Path) -> int:
    """Write the chip's stuck cells in the form that `map:FILE` reads.

    Args:
        worker: of `open_lens`.
        recalled: which chip.
        file: Parquet file to write; one that is there is replaced.

    Returns:
        Cells written.

    Raises:
        ValueError: faults that are no stuck cells, or none at all.
    """
    cells = stuck_cells(worker, recalled)
    if not len(cells):
        raise ValueError(
            f"chip {recalled.chip} has no stuck cells (fault {recalled.point.fault}, rate "
            f"{rate_text(recalled.point.rate)}): a map needs at least one, and holds no shorts or "
            "flips"
        )
    with whole_file(file) as out:
        pq.write_table(cells, out)
    return len(cells)


def stuck_cells(worker: Worker, recalled: Recalled) -> pa.Table:
    """Stuck cells of the chip's base arrays, within its point's scope.

    Raises:
        ValueError: a scope of bits that cuts through cells.
    """
    network, programmed, _, _ = worker.prepared(recalled.point)
    where, at, root = _context(worker, recalled)
    acts = None if where is None else np.asarray(where.arrays)
    planes = 255 if where is None or where.planes is None else int(where.planes)
    _check_planes(planes, network.spec)
    parts: list[dict[str, Any]] = []
    for section, words in programmed.words.items():
        for name in words:
            for layer in range(_layers(worker, section)):
                if acts is not None and not acts[MATRICES.index(name), layer]:
                    continue
                stored = _of_layer(words[name], layer, section == "encoder")
                place = (jnp.uint32(recalled.chip), jnp.uint32(layer))
                base = jax.device_get(_disturb(network, name, stored, root, *place, at))
                cells = cells_of(base.words, base.known & np.uint8(planes), network.spec)
                parts.append({"matrix": [name] * len(cells), "layer": layer, "cells": cells})
    cells = np.concatenate([np.zeros((0, 3), np.int64), *(part["cells"] for part in parts)])
    return pa.table(
        {
            "chip": np.full(len(cells), recalled.chip, np.int64),
            "matrix": pa.array([n for p in parts for n in p["matrix"]], pa.string()),
            "layer": np.repeat(
                np.array([p["layer"] for p in parts], np.int64),
                np.array([len(p["cells"]) for p in parts], np.int64),
            ),
            "wordline": cells[:, 0],
            "bitline": cells[:, 1],
            "level": cells[:, 2],
        }
    )


@functools.partial(jax.jit, static_argnames=("network", "name"))
def _disturb(
    network: Network, name: str, words: Array, root: Array, chip: Array, layer: Array, dose: Dose
) -> Disturbed:
    key = keys.array_key(keys.chip_key(root, chip), IDS[name], layer)
    site = Site(chip, name, layer)
    return network.fault.disturb(words, key, dose, network.spec, None, site)


def cells_of(
    words: UInt8[np.ndarray, "G R C"], known: UInt8[np.ndarray, "G R C"], spec: ChipSpec
) -> Int[np.ndarray, "n 3"]:
    """Wordline, bitline and level of every stuck cell of an array.

    Args:
        words: as read.
        known: bits of each word that are stuck.
        spec: how words become cells.
    """
    found = []
    for slice_ in range(spec.cells_per_weight):
        group, cell = divmod(slice_, spec.cells_per_group)
        shift, top = cell * spec.bits_per_cell, (1 << spec.bits_of_cell(cell)) - 1
        row, column = np.nonzero(known[group] >> shift & top)
        level = words[group, row, column] >> shift & top
        bitline = spec.bitline(column, slice_, words.shape[2])
        found.append(np.stack([row, bitline, level.astype(np.int64)], axis=1))
    return np.concatenate(found)


def _check_planes(planes: int, spec: ChipSpec) -> None:
    for cell in range(spec.cells_per_group):
        top = ((1 << spec.bits_of_cell(cell)) - 1) << cell * spec.bits_per_cell
        if planes & top not in (0, top):
            raise ValueError(
                "faulty bits cut through cells of several bits: a map holds whole cells, so give "
                "a point whose bits are those of whole cells"
            )
