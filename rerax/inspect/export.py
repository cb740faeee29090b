"""One chip of a campaign as files: the weights that it reads, its stuck cells."""

import functools
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Int, UInt8

from rerax.campaign.worker import Worker
from rerax.crossbar import keys
from rerax.crossbar.crossbar import Crossbar
from rerax.crossbar.spec import ChipSpec
from rerax.faults import Site
from rerax.faults.mask import Faults
from rerax.faults.read_out import ReadOut
from rerax.hardware import Hardware
from rerax.inspect.read import chip_and_faults, layers_of, read_chip
from rerax.inspect.recorded import RecordedChip
from rerax.io import whole_file
from rerax.models.bert import convert
from rerax.models.bert.crossbars import crossbars_by_section, params_outside
from rerax.values import rate_text


def save_weights(worker: Worker, recorded: RecordedChip, directory: Path) -> None:
    """Write the model that the chip reads as a Hugging Face folder, in float.

    Weights are codes x scales, zeros behind closed gates; matrices off the crossbars, biases and
    norms are the model's own. With float inputs any BERT gives the row's answers from it; with
    8-bit inputs those of the row are quantised besides.

    Args:
        worker: evaluates the row's workload.
        recorded: which chip.
        directory: a new folder.

    Raises:
        ValueError: the folder is there already.
    """
    check_new(directory)
    stored = worker.prepared(recorded.point).stored
    sections = crossbars_by_section(stored)
    codes, _ = read_chip(worker, recorded)
    params = {s: dict(leaves) for s, leaves in jax.device_get(params_outside(stored)).items()}
    for section, there in codes.items():
        kind = "table" if section == "embeddings" else "kernel"
        for name, read in there.items():
            scales = np.asarray(sections[section][name].scale, np.float32)
            weights = read.astype(np.float32) * scales.reshape(len(read), 1, -1)
            weights = weights if section == "encoder" else weights[0]
            params[section][name] = {**params[section][name], kind: weights}
    source = recorded.workload.source
    origin = None if source is None else convert.locate(source["model"])
    convert.save(directory, worker.inputs.config, params, source=origin)


def check_new(directory: Path) -> None:
    """Refuse a folder that holds something.

    Raises:
        ValueError: it does.
    """
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise ValueError(f"{directory} is there already: give a new folder to --save")


def export_map(worker: Worker, recorded: RecordedChip, file: Path) -> int:
    """Write the chip's stuck cells in the form that `map:FILE` reads.

    Args:
        worker: evaluates the row's workload.
        recorded: which chip.
        file: Parquet file to write; one that is there is replaced.

    Returns:
        Cells written.

    Raises:
        ValueError: faults that are no stuck cells, or none at all.
    """
    cells = stuck_cells(worker, recorded)
    if not len(cells):
        raise ValueError(
            f"chip {recorded.chip} has no stuck cells (fault {recorded.point.fault.text}, rate "
            f"{rate_text(recorded.point.rate)}): a map needs at least one, and holds no shorts or "
            "flips"
        )
    with whole_file(file) as out:
        pq.write_table(cells, out)
    return len(cells)


def stuck_cells(worker: Worker, recorded: RecordedChip) -> pa.Table:
    """List the stuck cells of the chip's base arrays, within its point's scope.

    Raises:
        ValueError: a scope of bits that cuts through cells.
    """
    stored = worker.prepared(recorded.point).stored
    chip, faults = chip_and_faults(worker, recorded)
    acts = None if faults.mask is None else faults.mask.arrays
    planes = 255 if faults.mask is None or faults.mask.bits is None else int(faults.mask.bits)
    _check_planes(planes, stored.hardware.spec)
    parts: list[dict[str, Any]] = []
    for matrices in crossbars_by_section(stored).values():
        for name, crossbar in matrices.items():
            for layer, one in enumerate(layers_of(crossbar)):
                if acts is not None and not acts[name][layer]:
                    continue
                base = jax.device_get(_disturb(stored.hardware, one, chip, faults))
                known = base.known & np.uint8(planes)
                cells = cells_of(base.words, known, stored.hardware.spec)
                parts.append({"matrix": [name] * len(cells), "layer": layer, "cells": cells})
    cells = np.concatenate([np.zeros((0, 3), np.int64), *(part["cells"] for part in parts)])
    return pa.table(
        {
            "chip": np.full(len(cells), recorded.chip, np.int64),
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
    """List wordline, bitline and level of every stuck cell of an array.

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
