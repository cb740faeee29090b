"""What tests of campaign folders share."""

import pytest
from folders import PAIRS

from rerax.campaign import store


@pytest.fixture
def folder(tmp_path):
    """A campaign folder without rows."""
    path = tmp_path / "campaign"
    store.open_folder(path, 0, 1, PAIRS)
    return path
