"""Where things lie in the checkout, and what a process of the tests needs to find them."""

import os
from pathlib import Path

HELPERS = Path(__file__).resolve().parent
TESTS = HELPERS.parent
ROOT = TESTS.parent
RESULTS = ROOT / "experiments" / "results"
GOLDEN = TESTS / "golden"
PYTHONPATH = os.pathsep.join(map(str, (HELPERS, TESTS, ROOT)))
"""For a process that imports rerax and these helpers from the checkout, not from elsewhere."""
