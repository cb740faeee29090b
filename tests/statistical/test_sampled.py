"""Scores estimated from drawn examples: without bias, and with the variance that is foretold."""

from pathlib import Path

import numpy as np
import pytest

from rerax.campaign.sample_table import WHOLE, make_table
from rerax.campaign.store import read_rows
from rerax.stats.inclusion import best_size, estimate, flip_chances, inclusion_chances

ROWS = Path(__file__).parents[2] / "experiments" / "results" / "sst2_encodings"
REPLICATIONS = 2000


@pytest.fixture(scope="module")
def answers():
    """Whether each example is answered right: by the clean chip [E], and by 16 others, by rate."""
    frame = read_rows(ROWS).to_pandas()
    frame = frame[frame.encoding == "offset"].sort_values("chip")

    def bits(rows):
        packed = np.stack([np.frombuffer(one, np.uint8) for one in rows.correct])
        return np.unpackbits(packed, axis=-1, bitorder="little")[:, : rows.examples.iloc[0]]

    clean = bits(frame[frame.rate == 0])[0]
    return clean.astype(float), {r: bits(f).astype(float) for r, f in frame.groupby("rate") if r}


def table_of(clean, pilots, size):
    """A table by some chips; for want of margins, one that the flips themselves give."""
    changes = pilots - clean
    rng = np.random.default_rng(0)
    margins = np.round(rng.random(len(clean)) + 2 - np.abs(changes).mean(0), 4)
    return make_table(margins, changes, rng.integers(5, 40, len(clean)).tolist(), size, {})


@pytest.mark.parametrize("rate", [1e-3, 1e-2])
def test_estimates_have_no_bias(answers, rate):
    """Over 2,000 draws of examples, for each of eight chips of committed rows."""
    clean, chips = answers[0], answers[1][rate]
    table = table_of(clean, chips[:8], 100)
    rows = [row for held in table.rows.values() for row in held]
    chances = np.array([c for held in table.chances.values() for c in held]) / WHOLE
    by_example, draw = table.by_example(), np.random.default_rng(1)
    member = np.zeros((len(rows), len(clean)), bool)
    for k, row in enumerate(rows):
        member[k, list(row)] = True
    assert (member.sum(0) == 1).all()
    taken = draw.random((REPLICATIONS, len(rows))) < chances
    for chip in chips[8:]:
        change = chip - clean
        found = np.array(
            [
                estimate(clean.mean(), change[drawn], by_example[drawn], len(clean))
                for drawn in (taken.astype(float) @ member) > 0
            ]
        )
        error = found.std(ddof=1) / np.sqrt(REPLICATIONS)
        assert abs(found.mean() - chip.mean()) < 3 * error
        of_rows = (member @ change) ** 2 * (1 - chances) / chances
        assert found.var(ddof=1) == pytest.approx(of_rows.sum() / len(clean) ** 2, rel=0.15)
    sizes = taken @ member.sum(1)
    assert sizes.mean() == pytest.approx(100, abs=2)


def test_no_chances_of_equal_cost_have_less_variance():
    rng = np.random.default_rng(2)
    flips, cost, ones = rng.gamma(0.5, 0.1, 30) + 1e-3, rng.choice([64.0, 128.0], 30), np.ones(30)

    def harm(chances):
        """Variance at equal cost, however many are drawn: more cost less variance."""
        return (flips / chances).sum() * (cost @ chances)

    found = inclusion_chances(flips, cost, ones, 3.0)
    assert found.sum() == pytest.approx(3)
    assert found.max() < 1
    for _ in range(500):
        assert harm(found * np.exp(rng.normal(0, 0.3, 30))) >= harm(found)
    capped = inclusion_chances(flips, cost, ones, 25.0)
    assert (capped.max(), capped.sum()) == (1, pytest.approx(25))


def test_what_flips_more_with_a_small_margin_is_drawn_more():
    margins = np.linspace(0, 3, 400)
    flips = np.random.default_rng(3).binomial(8, 0.5 * np.exp(-3 * margins))
    found = flip_chances(margins, flips, 8)
    assert found[:50].mean() > 5 * found[-50:].mean()
    assert found.min() >= 0.1 * found.mean() * 0.5
    assert (flip_chances(margins, np.zeros(400, int), 8) > 0).all()


def test_the_best_size_narrows_the_interval_most(answers):
    """Of the sizes around it none gives a smaller variance at equal work."""
    clean, chips = answers[0], answers[1][1e-3]
    changes = chips - clean
    curve = flip_chances(np.arange(len(clean)) % 7 * 1.0, np.abs(changes).sum(0).astype(int), 16)
    size = best_size(curve, changes, 25.0)
    root = np.sqrt(curve)
    spread, drawn = changes.mean(1).var(ddof=1), root.mean() * (changes**2 / root).mean()

    def harm(m):
        return (spread + drawn / m) * (m + 1000 / 25)

    assert 32 <= size <= len(clean) // 2
    assert harm(size) <= min(harm(size * 0.8), harm(size * 1.25)) * 1.001 or size == len(clean) // 2
