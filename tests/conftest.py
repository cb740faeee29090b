"""Strictness for all tests, and where the shared models and data lie."""

import os

from paths import ROOT

flags = os.environ.get("XLA_FLAGS", "")
if "xla_force_host_platform_device_count" not in flags:
    os.environ["XLA_FLAGS"] = f"{flags} --xla_force_host_platform_device_count=2".strip()
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ["HF_HUB_OFFLINE"] = "1"
# Most of a small test's time is compiling; what a run has compiled serves the next.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", os.path.expanduser("~/.cache/rerax/tests"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.3")

import warnings  # noqa: E402
from collections.abc import Iterator  # noqa: E402
from pathlib import Path  # noqa: E402

import hypothesis  # noqa: E402
import jax  # noqa: E402
import pytest  # noqa: E402

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_default_device", jax.devices()[0])  # or every sweep compiles for both

hypothesis.settings.register_profile("rerax", derandomize=True, deadline=None, max_examples=30)
hypothesis.settings.load_profile("rerax")
MOST_MAPPINGS = 40_000


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the folders of long tests go first, so that no worker is left with them in the end."""
    rooms = ("e2e", "campaign", "contract", "statistical", "unit")
    room = {name: k for k, name in enumerate(rooms)}
    items.sort(key=lambda item: room.get(item.path.relative_to(ROOT / "tests").parts[0], -1))


@pytest.fixture(scope="session")
def shared() -> Path:
    """Real models and data, kept beside the repository where there are any."""
    path = ROOT.parent / "shared"
    if not (path / "models").is_dir():
        pytest.skip("no shared models and data beside the repository")
    return path


@pytest.fixture(autouse=True)
def _own_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fault models and protections that a test registers are gone behind it."""
    from rerax.faults import FAULTS
    from rerax.protection import PROTECTIONS

    for registry in (FAULTS, PROTECTIONS):
        monkeypatch.setattr(registry, "entries", dict(registry.entries))


@pytest.fixture(autouse=True, scope="module")
def _few_mappings() -> Iterator[None]:
    """Drop compiled programs before they use up what memory mappings a process may have.

    One worker that compiles everything anew reaches Linux's 65,530, and then JAX aborts.
    """
    yield
    maps = Path("/proc/self/maps")
    if maps.is_file() and maps.read_bytes().count(b"\n") > MOST_MAPPINGS:
        jax.clear_caches()


@pytest.fixture(scope="session", autouse=True)
def _import_noisy_packages() -> None:
    """Third parties may warn while they are imported; our own code may not warn at all."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pandas  # noqa: F401
        import sklearn.metrics  # noqa: F401
        import transformers  # noqa: F401
