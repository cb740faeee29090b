"""Points of measured chips: chips and rates are those of the file."""

from dataclasses import replace

import pytest
import tiny
from arrays import write_map

from rerax.campaign.grid import chips_of, is_measured, with_realised_rates
from rerax.campaign.point import Point


@pytest.fixture
def point(tmp_path):
    cells = [(7, "pooler", 0, 3, 100, 1), (2, "pooler", 0, 3, 99, 0), (2, "query", 0, 1, 1, 0)]
    fault = f"map:{write_map(tmp_path / 'lot.parquet', cells)}"
    return Point("sst2", "m", 0.0, None, fault=fault, matrices="pooler,classifier")


def test_a_maps_chips_and_rate_are_what_its_cells_realise(point):
    other = Point("sst2", "m", 0.1)
    with pytest.warns(UserWarning, match=r"lot.parquet has no cells of classifier: taken as fault"):
        found = with_realised_rates([point, other], tiny.CONFIG)
    assert [p.rate for p in found] == [2 / (2 * 8 * (30 * 30 + 30 * 2)), 0.1]
    assert chips_of([point], 64) == (2, 7)
    assert chips_of([other], 64) == 64


def test_a_map_is_no_fault_beside_others_and_must_fit_the_model(point):
    assert not is_measured(["uniform", "flip"])
    with pytest.raises(ValueError, match="brings its own chips and rate: give it as the only"):
        is_measured(["uniform", point.fault])
    with pytest.raises(ValueError, match=r"bitline is outside 0..89: give"):
        with_realised_rates([replace(point, bits=3)], tiny.CONFIG)
