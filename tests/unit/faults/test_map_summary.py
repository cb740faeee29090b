"""What is in a map: rates, whole lines and tiles beside plain loops, and how clustered it is."""

import itertools
import math

import numpy as np
import pytest
from arrays import write_map
from scipy import integrate, stats

from rerax.crossbar.spec import ChipSpec
from rerax.faults.chip_map import read_map
from rerax.faults.clusters import find_clusters, rate_variance, tile_moments
from rerax.faults.map_summary import extents_of, highest_levels, spanned, summarise_map

TILE = (16, 20)
SHAPES = {"query": (2, 40, 6), "pooler": (1, 40, 6)}  # 40 x 48 cells: 3 x 3 tiles, some cut
SPEC = ChipSpec(tile=TILE)


def summary(path, cells, shapes=SHAPES, spec=SPEC):
    chips = read_map(write_map(path, cells))
    extents = spanned(chips) if shapes is None else extents_of(shapes, spec)
    return summarise_map(chips, highest_levels(chips, shapes, spec), extents, spec.tile)


def test_rates_are_of_the_arrays_that_the_file_covers(tmp_path):
    cells = [(5, "query", 1, 0, 0, 1), (5, "query", 1, 39, 47, 0), (9, "pooler", 0, 3, 3, 1)]
    found = summary(tmp_path / "lot.csv", cells)
    assert found.arrays == (("pooler", 0), ("query", 1))
    assert found.cells == 2 * 40 * 48
    assert found.chips.tolist() == [5, 9]
    assert found.stuck.tolist() == [[1, 1, 0], [0, 1, 0]]
    seen = summary(tmp_path / "lot.csv", cells, None)
    assert seen.cells == 40 * 48 + 4 * 4
    some = summary(tmp_path / "lot.csv", cells[:2], {"query": SHAPES["query"]})
    assert (some.cells, some.stuck.tolist()) == (40 * 48, [[1, 1, 0]])


def test_polarity_is_by_the_highest_level_of_each_cell(tmp_path):
    """Seven bits in cells of two: of each four cells the last holds one bit."""
    spec = ChipSpec(bits=7, bits_per_cell=2, tile=TILE)
    cells = [(0, "pooler", 0, 1, bitline, 1) for bitline in (0, 1, 3, 7)]
    cells += [(0, "pooler", 0, 2, bitline, 3) for bitline in (0, 1)]
    assert summary(tmp_path / "lot.csv", cells, spec=spec).stuck.tolist() == [[0, 4, 2]]
    assert summary(tmp_path / "lot.csv", cells, None, spec).stuck.tolist() == [[0, 4, 2]]
    apart = ChipSpec(bits=7, bits_per_cell=2, layout="separate", tile=TILE)
    # Bitlines 18 to 23 are the last cells.
    edge = [(0, "pooler", 0, 1, bitline, 1) for bitline in (17, 18, 23)]
    assert summary(tmp_path / "lot.csv", edge, spec=apart).stuck.tolist() == [[0, 2, 1]]
    with pytest.raises(ValueError, match="1 of 2 bits: give --model"):
        summary(tmp_path / "lot.csv", edge, None, apart)


def slow_lines(cells, side):
    """Whole segments by polarity, as (chip, array, line, tile) with all their cells."""
    found = {}
    for chip, name, layer, w, b, level in cells:
        line, along = ((w, b // TILE[1]), b) if side == 0 else ((b, w // TILE[0]), w)
        found.setdefault((chip, name, layer, *line), []).append((along, level))
    counts = [0, 0, 0]
    for (*_, tile), on in found.items():
        length = min(TILE[1 - side], (48, 40)[side] - tile * TILE[1 - side])
        if len(on) == length >= 8:
            levels = {level for _, level in on}
            counts[2 if len(levels) > 1 else levels.pop()] += 1
    return counts


def test_whole_lines_and_tiles(tmp_path):
    """Lines in full and cut tiles, one short of a cell, crossing ones, and a dead tile."""
    rng = np.random.default_rng(0)
    stuck = {}

    def put(place, wordlines, bitlines, level=None):
        for w, b in itertools.product(wordlines, bitlines):
            stuck[(*place, w, b)] = int(rng.integers(0, 2)) if level is None else level

    one, other = (0, "query", 0), (3, "pooler", 0)
    put(one, [5], range(20), 1)
    put(one, [35], range(40, 48), 0)  # 8 cells of a cut tile
    put(one, range(32, 40), [3], 1)  # and 8 downwards
    put(one, range(16, 32), [7], 0)
    put(one, range(16, 31), [9], 0)  # a cell short
    put(other, [20], range(20, 40), 1)
    put(other, range(16, 32), [25], 1)  # crosses it
    put(other, [21], range(20))  # mixed
    cells = [(*place, level) for place, level in stuck.items()]
    found = summary(tmp_path / "lot.csv", cells)
    assert found.wordlines.sum(axis=0).tolist() == slow_lines(cells, 0) == [1, 2, 1]
    assert found.bitlines.sum(axis=0).tolist() == slow_lines(cells, 1) == [1, 2, 0]
    assert found.wordlines.tolist() == [[1, 1, 0], [0, 1, 1]]
    assert found.tiles.tolist() == [0, 0]
    put(other, range(16), range(20), 1)  # a dead tile is no line
    dead = summary(tmp_path / "lot.csv", [(*place, level) for place, level in stuck.items()])
    assert dead.tiles.tolist() == [0, 1]
    assert dead.wordlines.tolist() == found.wordlines.tolist()


def test_a_short_edge_makes_no_line(tmp_path):
    """17 wordlines in tiles of 16: each cell of the last is a whole bitline of its tile."""
    cells = [(0, "pooler", 0, 16, b, 1) for b in range(0, 40, 3)]
    found = summary(tmp_path / "lot.csv", cells, {"pooler": (1, 17, 6)})
    assert found.bitlines.sum() == found.tiles.sum() == 0


def test_addresses_beyond_all_reason_are_refused(tmp_path):
    with pytest.raises(ValueError, match="more than 16,777,216 tiles of 16x20: give --tile"):
        summary(tmp_path / "lot.csv", [(0, "pooler", 0, 2**31 - 1, 2**31 - 1, 1)], None)


def chips_of_tiles(shape, rate, n=6, tiles=400, size=2048, seed=0):
    """Moments of chips with gamma multipliers over their tiles; None for chance alone."""
    rng = np.random.default_rng(seed)
    sizes = rng.choice([size, size // 3], tiles)
    found = []
    for k in range(n):
        per_chip = rate * (1 + k / n)  # chips may differ
        if shape is None:
            p = np.full(tiles, per_chip)
        else:
            hazard = shape * math.expm1(-math.log1p(-per_chip) / shape)
            p = -np.expm1(-hazard * rng.gamma(shape, 1 / shape, tiles))
        found.append(tile_moments(rng.binomial(sizes, p), sizes))
    return find_clusters(found)


@pytest.mark.parametrize("rate", [1e-3, 1e-2, 0.2])
@pytest.mark.parametrize("shape", [0.3, 2, 10])
def test_the_shape_of_the_clusters_is_found(shape, rate):
    found = chips_of_tiles(shape, rate)
    assert not found.by_chance
    assert found.ratio > 1.1
    assert found.shape == pytest.approx(shape, rel=0.3)


@pytest.mark.parametrize("rate", [1e-3, 1e-2, 0.2])
def test_chance_alone_is_called_chance(rate):
    """Rates that differ from chip to chip are no clusters, nor are tiles of several sizes."""
    found = [chips_of_tiles(None, rate, seed=seed) for seed in range(20)]
    assert all(one.by_chance for one in found)
    ratios = np.array([one.ratio for one in found])
    assert abs(ratios.mean() - 1) < 4 * found[0].deviation / math.sqrt(20)
    assert ratios.std() == pytest.approx(found[0].deviation, rel=0.5)


@pytest.mark.parametrize(("shape", "rate"), [(0.5, 0.01), (2.0, 0.3), (20.0, 1e-3), (0.1, 0.5)])
def test_the_variance_of_the_rate_is_that_of_the_gamma(shape, rate):
    gamma = stats.gamma(shape, scale=1 / shape)
    hazard = shape * math.expm1(-math.log1p(-rate) / shape)

    def mean(of):  # over quantiles, where the density has no pole
        values = lambda q: of(-math.expm1(-hazard * gamma.ppf(q)))  # noqa: E731
        return integrate.quad(values, 0, 1, limit=400, epsabs=0, epsrel=1e-7)[0]

    assert mean(lambda p: p) == pytest.approx(rate, rel=1e-5)
    variance = mean(lambda p: (p - rate) ** 2)
    assert rate_variance(shape, rate) == pytest.approx(variance, rel=1e-4)
    assert rate_variance(2.0, 1e-9) == pytest.approx(1e-18 / 2)


def test_whole_lines_are_no_clusters(tmp_path):
    """Broken wordlines on chips whose other cells are stuck by chance."""
    rng = np.random.default_rng(0)
    stuck = {
        (chip, "query", layer, int(w), int(b)): 1
        for chip, layer in itertools.product(range(4), range(2))
        for w, b in zip(*np.nonzero(rng.random((40, 48)) < 0.1), strict=True)
    }
    scattered = summary(tmp_path / "lot.csv", [(*place, 1) for place in stuck])
    stuck |= {
        (chip, "query", 0, w, b): 1
        for chip in range(4)
        for w, b in itertools.product((2, 3, 4, 5, 6, 7, 9), range(20))
    }
    broken = summary(tmp_path / "lot.csv", [(*place, 1) for place in stuck])
    assert broken.wordlines.sum() == 28
    assert scattered.clusters.by_chance
    assert broken.clusters.by_chance


def test_too_little_to_tell(tmp_path):
    cells = [(0, "query", 0, w, 0, 1) for w in range(0, 38, 2)]
    assert len(cells) == 19
    assert summary(tmp_path / "lot.csv", cells).clusters is None
    assert summary(tmp_path / "lot.csv", [*cells, (0, "query", 0, 1, 9, 1)]).clusters is not None
    assert tile_moments(np.array([30]), np.array([100])) is None
    assert tile_moments(np.array([100, 50]), np.array([100, 50])) is None
