"""Intervals over chips cover as often as they say."""

import numpy as np

from rerax.stats import summarise


def test_the_interval_covers_as_often_as_it_says():
    draws = np.random.default_rng(1).normal(0.7, 0.1, (2000, 32))
    intervals = [summarise(row).interval for row in draws]
    hits = sum(low <= 0.7 <= high for low, high in intervals)
    assert abs(hits - 1900) < 5 * np.sqrt(2000 * 0.95 * 0.05)
