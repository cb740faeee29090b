"""What one chip of a campaign reads: its codes and its faulty cells."""

import functools

import jax
import numpy as np
from jaxtyping import Array

from rerax.campaign.worker import Worker, rates_of
from rerax.crossbar import keys
from rerax.crossbar.crossbar import Crossbar
from rerax.faults.mask import Faults
from rerax.faults.read_out import Counts
from rerax.hardware import Hardware
from rerax.inspect.recorded import RecordedChip
from rerax.models.bert.crossbars import crossbars_by_section, fault_mask
from rerax.models.reading import kept_codes, read_codes


def read_chip(
    worker: Worker, recorded: RecordedChip
) -> tuple[dict[str, dict[str, np.ndarray]], dict[str, dict[str, Counts]]]:
    """Read the codes of the chip, zeros behind closed gates, and count its faulty cells.

    Args:
        worker: evaluates the row's workload.
        recorded: which chip.

    Returns:
        {section: {matrix: [layers, R, C] int8}} and counts [layers]; one layer outside the
        encoder.
    """
    stored = worker.prepared(recorded.point).stored
    chip, faults = chip_and_faults(worker, recorded)
    codes: dict[str, dict[str, np.ndarray]] = {}
    counts: dict[str, dict[str, Counts]] = {}
    for section, matrices in crossbars_by_section(stored).items():
        read = {
            name: [
                jax.device_get(_read(stored.hardware, layer, chip, faults))
                for layer in layers_of(crossbar)
            ]
            for name, crossbar in matrices.items()
        }
        codes[section] = {name: np.stack([c for c, _ in each]) for name, each in read.items()}
        counts[section] = {
            name: Counts(*map(np.stack, zip(*(n for _, n in each), strict=True)))
            for name, each in read.items()
        }
    return codes, counts


def chip_and_faults(worker: Worker, recorded: RecordedChip) -> tuple[keys.Chip, Faults]:
    """Make the chip and its faults."""
    point, layers = recorded.point, worker.inputs.config.layers
    mask = None if point.faulty is None else fault_mask(point.faulty, point.matrices, layers)
    return keys.chip(recorded.settings.seed, recorded.chip), Faults(rates_of(point), mask)


def layers_of(crossbar: Crossbar) -> list[Crossbar]:
    """Take a matrix apart into its layers."""
    if not np.ndim(crossbar.layer):
        return [crossbar]
    return [jax.tree.map(lambda a, i=i: a[i], crossbar) for i in range(len(crossbar.layer))]


@functools.partial(jax.jit, static_argnames="hardware")
def _read(
    hardware: Hardware, crossbar: Crossbar, chip: keys.Chip, faults: Faults
) -> tuple[Array, Counts]:
    codes, counts = read_codes(crossbar, chip, faults, hardware)
    return kept_codes(crossbar, codes), counts
