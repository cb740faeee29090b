"""What `rerax map` says of chips that the package's own samplers made."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from arrays import array_key, physical

from rerax.crossbar.spec import ChipSpec
from rerax.faults import Bitline, Clustered, Uniform
from rerax.faults.cell_table import write_table
from rerax.faults.chip_map import make_map, read_map
from rerax.faults.map_conversion import map_table
from rerax.faults.map_summary import highest_levels, spanned, summarise_map
from rerax.faults.sampling.rates import rate_table

SPEC = ChipSpec(tile=(32, 32))
ROWS, COLUMNS, CHIPS = 320, 80, 3  # 10 x 20 tiles


def summary(path, fault, rate):
    """Of chips with these faults, through a file."""
    rates = jax.tree.map(jnp.asarray, rate_table(rate, fault=fault))
    draw = jax.jit(lambda key: fault.states(key, rates, SPEC, (ROWS, COLUMNS)))
    parts = []
    for chip in range(CHIPS):
        cells = physical(np.asarray(draw(array_key(chip))), SPEC)
        wordline, bitline = np.nonzero(cells & 1)
        parts.append(
            [np.full(len(wordline), chip), wordline, bitline, cells[wordline, bitline] // 2]
        )
    chip, wordline, bitline, level = np.concatenate(parts, axis=1).astype(np.int64)
    zeros = np.zeros_like(chip)
    numbers = {"chip": chip, "layer": zeros, "wordline": wordline, "bitline": bitline}
    write_table(path, map_table(make_map("", "", ("a",), zeros, {**numbers, "level": level})))
    chips = read_map(str(path))
    highest = highest_levels(chips, None, SPEC)
    return summarise_map(chips, highest, spanned(chips), SPEC.tile)


@pytest.mark.parametrize("shape", [0.5, 4.0])
def test_the_shape_of_clustered_chips_is_found(tmp_path, shape):
    found = summary(tmp_path / "lot.csv", Clustered(shape), 0.02).clusters
    assert not found.by_chance
    assert found.shape == pytest.approx(shape, rel=0.35)


def test_uniform_chips_are_chance(tmp_path):
    found = summary(tmp_path / "lot.csv", Uniform(), 0.02)
    assert found.clusters.by_chance
    assert found.stuck.sum() == pytest.approx(0.02 * CHIPS * found.cells, rel=0.05)
    assert not found.wordlines.any()
    assert not found.bitlines.any()


def test_broken_bitlines_are_counted(tmp_path):
    found = summary(tmp_path / "lot.csv", Bitline(), 0.02)
    assert found.bitlines.sum() * 32 == found.stuck.sum()
    assert not found.wordlines.any()
    assert not found.bitlines[:, 2].any()
    assert found.clusters is None  # nothing is left beside the lines
