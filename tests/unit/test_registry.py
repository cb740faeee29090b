"""Names of fault models and protections: no other's, and of what they say."""

import re

import pytest

import rerax
from rerax.faults import FAULTS
from rerax.protection import PROTECTIONS
from rerax.registry import Entry


@pytest.mark.parametrize("registry", [FAULTS, PROTECTIONS], ids=lambda r: r.what)
def test_names_that_mean_something_else_are_refused(registry):
    register = {"fault": rerax.register_fault, "protection": rerax.register_protection}
    assert {"uniform", "map", "clustered"} <= FAULTS.own
    assert {"none", "msb", "plan"} <= PROTECTIONS.own
    for first in registry.own:
        with pytest.raises(
            ValueError, match=f"{re.escape(first)}' is the package's own: give another name"
        ):
            register[registry.what](first, lambda _: None)
    for first in ("a:b", "", "A", "a b", "1a"):
        with pytest.raises(ValueError, match=r"is no name: give small letters, digits, - and _"):
            register[registry.what](first, lambda _: None)
    register[registry.what]("of-no-text", lambda: None)
    with pytest.raises(ValueError, match=r"'of-no-text' cannot be made .*let its make"):
        registry.make("of-no-text")
    register[registry.what]("of-parts", lambda text: text.split(":")[7])
    with pytest.raises(ValueError, match=r"'of-parts' cannot be made .*let its make"):
        registry.make("of-parts")
    with pytest.raises(ValueError, match=r"make of .* 'of-an-object' is 3: give a function"):
        registry.enter("of-an-object", 3, Entry(len, ""))
    register[registry.what]("of-nothing", lambda _: 3)
    with pytest.raises(ValueError, match="'of-nothing' is registered with something that makes 3"):
        registry.make("of-nothing")


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A function that installs a package of one module, with entry points."""

    def install(name, code, points):
        info = tmp_path / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(points)
        (tmp_path / f"{name}.py").write_text(code)
        monkeypatch.syspath_prepend(str(tmp_path))

    return install


def test_an_installed_package_brings_fault_models(installed):
    code = """
import rerax

class Rust(rerax.Uniform):
    text = "rust-brought"

rerax.register_fault("rust-brought", lambda _: Rust())
"""
    points = "[rerax.faults]\nrust-brought = brings_rust\nabsent-brought = brings_rust\n"
    installed("brings_rust", code, f"{points}broken-brought = brings_nothing_at_all\n")
    with pytest.raises(ValueError, match=r"unknown fault 'rust': use one of .*, rust-brought"):
        rerax.fault_model("rust")
    assert rerax.fault_model("rust-brought").text == "rust-brought"
    assert rerax.Point("sst2", "m", 0.1, fault="rust-brought").fault.text == "rust-brought"
    with pytest.raises(ValueError, match="brings fault 'absent-brought', does not register it"):
        rerax.fault_model("absent-brought")
    with pytest.raises(ValueError, match=r"brings_nothing_at_all, .* fails .ModuleNotFoundError"):
        rerax.fault_model("broken-brought")
