"""One chip under the lens: its row again, its worst matrices, its weights, its stuck cells."""

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Array, Int, UInt8

from rerax.campaign.recall import Recalled, lost_examples
from rerax.campaign.store import Block
from rerax.campaign.subject import Progress
from rerax.campaign.worker import Worker, rates_of
from rerax.crossbar import keys
from rerax.crossbar.crossbar import Crossbar
from rerax.crossbar.spec import ChipSpec
from rerax.faults import Site
from rerax.faults.mask import Faults
from rerax.faults.read_out import Counts, ReadOut
from rerax.glue.tasks import METRICS
from rerax.hardware import Hardware
from rerax.io import whole_file
from rerax.models.bert import convert
from rerax.models.bert.crossbars import crossbars_by_section, fault_mask, params_outside
from rerax.models.bert.names import GROUPS
from rerax.models.bert.scope import Scope
from rerax.models.stored import kept_codes, read_codes
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
        alone = replace(point, faulty=_alone(point.faulty, matrix))
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


def _alone(scope: Scope | None, matrix: Matrix) -> Scope:
    """The chip's own scope, narrowed to one matrix."""
    layers = (matrix.layer,) if matrix.name in GROUPS["encoder"] else None
    return Scope(layers, (matrix.name,), None if scope is None else scope.bits)


# What the chip reads.


def matrices(worker: Worker, recalled: Recalled) -> list[Matrix]:
    """Every matrix on crossbars, with its faulty cells and the error of its weights."""
    sections = crossbars_by_section(worker.prepared(recalled.point).stored)
    clean, _ = read_chip(worker, recalled, rate=0.0)
    found, counts = read_chip(worker, recalled)
    listed = []
    for section, there in found.items():
        for name, codes in there.items():
            scales = np.asarray(sections[section][name].scale, np.float64)
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
    stored = worker.prepared(recalled.point).stored
    chip, faults = _context(worker, recalled, rate)
    codes: dict[str, dict[str, np.ndarray]] = {}
    counts: dict[str, dict[str, Counts]] = {}
    for section, matrices in crossbars_by_section(stored).items():
        read = {
            name: [
                jax.device_get(_read(stored.hardware, layer, chip, faults))
                for layer in _layers(crossbar)
            ]
            for name, crossbar in matrices.items()
        }
        codes[section] = {name: np.stack([c for c, _ in each]) for name, each in read.items()}
        counts[section] = {
            name: Counts(*map(np.stack, zip(*(n for _, n in each), strict=True)))
            for name, each in read.items()
        }
    return codes, counts


def _context(
    worker: Worker, recalled: Recalled, rate: float | None = None
) -> tuple[keys.Chip, Faults]:
    """The chip, and its faults."""
    point, layers = recalled.point, worker.inputs.config.num_hidden_layers
    rates = rates_of(point if rate is None else replace(point, rate=rate))
    mask = None if point.faulty is None else fault_mask(point.faulty, point.matrices, layers)
    return keys.chip(recalled.settings.seed, recalled.chip), Faults(rates, mask)


def _layers(crossbar: Crossbar) -> list[Crossbar]:
    """A matrix in each of its layers."""
    if not np.ndim(crossbar.layer):
        return [crossbar]
    return [jax.tree.map(lambda a, i=i: a[i], crossbar) for i in range(len(crossbar.layer))]


@functools.partial(jax.jit, static_argnames="hardware")
def _read(
    hardware: Hardware, crossbar: Crossbar, chip: keys.Chip, faults: Faults
) -> tuple[Array, Counts]:
    codes, counts = read_codes(crossbar, chip, faults, hardware)
    return kept_codes(crossbar, codes), counts


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
    stored = worker.prepared(recalled.point).stored
    sections = crossbars_by_section(stored)
    codes, _ = read_chip(worker, recalled)
    params = {s: dict(leaves) for s, leaves in jax.device_get(params_outside(stored)).items()}
    for section, there in codes.items():
        kind = "table" if section == "embeddings" else "kernel"
        for name, read in there.items():
            scales = np.asarray(sections[section][name].scale, np.float32)
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
            f"chip {recalled.chip} has no stuck cells (fault {recalled.point.fault.text}, rate "
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
    stored = worker.prepared(recalled.point).stored
    chip, faults = _context(worker, recalled)
    acts = None if faults.mask is None else faults.mask.arrays
    planes = 255 if faults.mask is None or faults.mask.bits is None else int(faults.mask.bits)
    _check_planes(planes, stored.hardware.spec)
    parts: list[dict[str, Any]] = []
    for matrices in crossbars_by_section(stored).values():
        for name, crossbar in matrices.items():
            for layer, one in enumerate(_layers(crossbar)):
                if acts is not None and not acts[name][layer]:
                    continue
                base = jax.device_get(_disturb(stored.hardware, one, chip, faults))
                known = base.known & np.uint8(planes)
                cells = cells_of(base.words, known, stored.hardware.spec)
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


@functools.partial(jax.jit, static_argnames="hardware")
def _disturb(hardware: Hardware, crossbar: Crossbar, chip: keys.Chip, faults: Faults) -> ReadOut:
    key = keys.array_key(chip.key, crossbar.array, crossbar.layer)
    site = Site(chip.number, crossbar.array, crossbar.layer)
    return hardware.fault.disturb(crossbar.words, key, faults.rates, hardware.spec, site)


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
