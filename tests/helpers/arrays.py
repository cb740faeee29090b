"""Keys and cells of one array, as tests of fault models look at them."""

from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pyarrow as pa
from scipy import stats

from rerax.crossbar import keys
from rerax.crossbar.crossbar import Crossbar
from rerax.faults.cell_table import write_table
from rerax.faults.mask import Faults
from rerax.hardware import Hardware
from rerax.models.bert.names import IDS
from rerax.models.reading import read_codes
from rerax.models.stored import as_written
from rerax.protection import StoredMatrix


def array_key(chip, matrix="query", layer=0, seed=0):
    return keys.array_key(keys.chip_key(keys.root_key(seed), jnp.uint32(chip)), IDS[matrix], layer)


def physical(states, spec):
    """Cells by wordline and bitline, [R, bitlines]."""
    s, r, c = np.indices(states.shape)
    out = np.zeros((states.shape[1], spec.bitlines(states.shape[2])), np.uint8)
    out[r, spec.bitline(c, s, states.shape[2])] = states
    return out


def p_values(hits, sizes, probability):
    """Exact binomial p-values of counts, two-sided: twice that of the nearer tail."""
    hits, p = np.asarray(hits), np.minimum(probability, 1.0)
    tails = stats.binom.cdf(hits, sizes, p), stats.binom.sf(hits - 1, sizes, p)
    return np.minimum(1.0, 2 * np.minimum(*tails))


MAP_COLUMNS = ("chip", "matrix", "layer", "wordline", "bitline", "level")


def write_map(path, cells, **changes):
    """A file of measured cells, given as tuples; columns may be replaced, None drops."""
    columns = dict(zip(MAP_COLUMNS, map(list, zip(*cells, strict=True)), strict=True))
    columns = {
        name: values for name, values in {**columns, **changes}.items() if values is not None
    }
    write_table(Path(path), pa.table(columns))
    return str(path)


def random_gates(rng, layers, rows, columns, closed=0.3):
    """Gates of a matrix in each layer; about the share `closed` of its lines is closed."""

    def side(n):
        return np.where(rng.random((*layers, n)) < closed, -1.0, 1.0).astype(np.float32)

    return {"row": side(rows), "column": side(columns)}


def read_matrix(words, key, rates, hardware=None, **more):
    """Codes and counts of one matrix as the chip with this key reads it.

    Args:
        words: [G, R, C] stored words, or all that a protection stores.
        key: the chip's key.
        rates: a `RateTable`.
        hardware: what it lies on.
        more: `array` (its name), `layer`, `extra`, `number` (of the chip), `mask`.
    """
    hardware = hardware or Hardware()
    stored = words if isinstance(words, StoredMatrix) else StoredMatrix(words, more.get("extra"))
    words, extra, complement, spare = as_written(stored, hardware.spec)

    array, layer = IDS[more.get("array", "query")], jnp.uint32(more.get("layer", 0))
    scale = jnp.ones(words.shape[-1], jnp.float32)
    crossbar = Crossbar(words, scale, layer, None, extra, array, complement, spare)
    chip = keys.Chip(jnp.uint32(more.get("number", 0)), key)
    return read_codes(crossbar, chip, Faults(rates, more.get("mask")), hardware)
