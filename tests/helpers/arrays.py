"""Keys and cells of one array, as tests of fault models look at them."""

import jax.numpy as jnp
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from scipy import stats

from rerax.crossbar import keys
from rerax.models.bert.names import IDS


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
    """A Parquet file of measured cells, given as tuples; columns may be replaced, None drops."""
    columns = dict(zip(MAP_COLUMNS, map(list, zip(*cells, strict=True)), strict=True))
    columns = {
        name: values for name, values in {**columns, **changes}.items() if values is not None
    }
    pq.write_table(pa.table(columns), path)
    return str(path)


def random_gates(rng, layers, rows, columns, closed=0.3):
    """Gates of a matrix in each layer; about the share `closed` of its lines is closed."""

    def side(n):
        return np.where(rng.random((*layers, n)) < closed, -1.0, 1.0).astype(np.float32)

    return {"row": side(rows), "column": side(columns)}
