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
    with pytest.raises(ValueError, match=r"make of .* 'of-an-object' is 3: give a function"):
        registry.enter("of-an-object", 3, Entry(len, ""))
    register[registry.what]("of-nothing", lambda _: 3)
    with pytest.raises(ValueError, match="'of-nothing' is registered with something that makes 3"):
        registry.make("of-nothing")
