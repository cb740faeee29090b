"""What tests of campaign folders share."""

import pytest
import quick_answers
from folders import PAIRS

from rerax.campaign.folder import open_folder


@pytest.fixture
def folder(tmp_path):
    """A campaign folder without rows."""
    path = tmp_path / "campaign"
    open_folder(path, 0, 1, PAIRS)
    return path


@pytest.fixture
def quick(monkeypatch):
    """Chips that answer at once, for tests whose subject is not what they answer."""
    quick_answers.use(monkeypatch)
