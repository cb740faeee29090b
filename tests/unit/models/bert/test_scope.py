"""Where faults act: how it is written, what is refused, and what grids it makes."""

import dataclasses

import numpy as np
import pytest

from rerax.campaign.grid import spread
from rerax.campaign.point import Point
from rerax.crossbar.spec import ChipSpec
from rerax.models.bert.names import matrices_of
from rerax.models.bert.scope import Scope, combine, places

GROUPS = ("encoder", "pooler", "classifier")
POINT = Point(task="sst2", model="m", rate=0.1)
ENCODER = matrices_of(["encoder"])


def test_a_scope_has_one_way_of_writing():
    text = "bits=7+0+7; layers=3 +0;matrices=ffn_in+query"
    assert Scope.parse(text).text == "layers=0+3;matrices=query+ffn_in;bits=0+7"
    assert Scope.parse("matrices=encoder").matrices == ENCODER
    one, other = (dataclasses.replace(POINT, faulty=f"layers={x}") for x in ("1+0", "0+1"))
    assert one.hash == other.hash != POINT.hash
    assert one.identity()["faulty"] == "layers=0+1"


def test_arrays_planes_and_the_first_layer():
    scope = Scope.parse("layers=1+2;matrices=key+value;bits=0+7")
    acts = scope.arrays(GROUPS, 4)
    assert [a.size for a in acts.values()] == [4] * 6 + [1, 1]
    where = {(name, int(layer)) for name, a in acts.items() for layer in np.flatnonzero(a)}
    assert where == {("key", 1), ("key", 2), ("value", 1), ("value", 2)}
    assert scope.planes == 0b10000001
    assert Scope.parse("matrices=pooler").planes is None
    firsts = {"layers=1+2": 1, "matrices=key": 0, "matrices=pooler": 4, "bits=3": 0}
    for text, first in firsts.items():
        assert Scope.parse(text).first_layer(GROUPS, 4) == first
    with_tables = (*GROUPS, "embeddings")
    assert Scope.parse("bits=3").first_layer(with_tables, 4) is None
    assert Scope.parse("layers=2").first_layer(with_tables, 4) == 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is not understood: give parts such as"),
        ("layers", "is not understood"),
        ("rows=3", "is not understood"),
        ("layers=0;layers=1", "is not understood"),
        ("layers=x", "faulty layers 'x' is not a whole number: give"),
        ("layers=-1", "faulty layers '-1' is not a whole number"),
        ("bits=each", "faulty bits 'each' is not a whole number"),
        ("matrices=brain", "unknown faulty matrix 'brain': use some of query"),
        ("matrices=word_embeddings", "word_embeddings is not on crossbars: use some of query"),
        ("layers=0;matrices=pooler", "pooler is in no layer: leave out the layers"),
        ("bits=8", r"faulty bit 8 is outside 0..7: give"),
    ],
)
def test_bad_scopes_are_refused(text, said):
    with pytest.raises(ValueError, match=said) as error:
        dataclasses.replace(POINT, faulty=text)
    assert "\n" not in str(error.value)


def test_what_only_the_model_knows_is_refused_where_it_is_known():
    with pytest.raises(ValueError, match=r"faulty layer 3 is outside 0..2: give"):
        spread([dataclasses.replace(POINT, encoding="differential")], ["layers=3"], 3)
    with pytest.raises(ValueError, match="no matrix of the encoder is on crossbars"):
        places("layers=0", ("pooler",), ChipSpec(), 3)
    with pytest.raises(ValueError, match=r"faulty bit 7 is outside 0..6"):
        places("bits=7", GROUPS, ChipSpec("differential"), 3)


def test_each_and_all_make_a_grid():
    assert combine(None, None, None) == [None]
    assert combine("all,each", None, None) == [None, "layers=each"]
    every = [scope.text for scope in places("layers=each", GROUPS, ChipSpec(), 3)]
    assert every == ["layers=0", "layers=1", "layers=2"]
    every = [scope.text for scope in places("matrices=each", GROUPS, ChipSpec(), 3)]
    assert every == [f"matrices={name}" for name in (*ENCODER, "pooler", "classifier")]
    assert places("layers=all", GROUPS, ChipSpec(), 3) == [None]
    found = places("layers=all;bits=7", GROUPS, ChipSpec(), 3)
    assert [scope.text for scope in found] == ["bits=7"]
    assert len(places("layers=1;matrices=each", GROUPS, ChipSpec(), 3)) == len(ENCODER)
    assert len(places("bits=each", GROUPS, ChipSpec("differential", 6), 3)) == 5


def test_rates_run_within_scopes_and_rate_zero_stands_once():
    points = [dataclasses.replace(POINT, rate=rate) for rate in (0.0, 0.1, 0.2)]
    found = [(p.rate, p.faulty and p.faulty.text) for p in spread(points, [None, "layers=each"], 2)]
    assert found == [
        (0.0, None), (0.1, None), (0.2, None), (0.1, "layers=0"), (0.2, "layers=0"),
        (0.1, "layers=1"), (0.2, "layers=1"),
    ]  # fmt: skip
    assert spread(points, [None], 2) == tuple(points)
