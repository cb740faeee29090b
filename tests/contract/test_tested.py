"""What a chip's test found: a share of the stuck cells, or those of an earlier rate."""

import functools
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from arrays import write_map
from quick import WITHOUT_OPTIMISING

import rerax
from rerax.campaign.grid import expand
from rerax.campaign.point import Point
from rerax.crossbar.encoding import encode
from rerax.faults import Tested
from rerax.faults import tested as made
from rerax.faults.mask import Faults
from rerax.hardware import Hardware
from rerax.models.reading import read_codes
from rerax.protection import Protection

quickly = functools.partial(jax.jit, compiler_options=WITHOUT_OPTIMISING)
WEIGHTS = {"k": np.random.default_rng(0).normal(size=(160, 140)).astype(np.float32)}
RATE = 0.05


@dataclass(frozen=True)
class Shown(Protection):
    """Writes every bit complemented, and reads either that or the bits known to be stuck."""

    map: bool = True

    knows = "map at writing"
    exact = False

    def write(self, words, stuck, held, extra, spec, matrix):
        return ~words, stuck

    def recover(self, arrays, extra, spec, matrix):
        return extra[1] if self.map else arrays[0].words


@functools.cache
def reader(hardware):
    """The matrix as stored, and a compiled function of rate table and mask that reads it."""
    crossbar = rerax.program(WEIGHTS, hardware, lambda *_: True).crossbars["k"]
    chip = rerax.chip(0, 0)
    return crossbar, quickly(lambda faults: read_codes(crossbar, chip, faults, hardware)[0])


def words_of(hardware, rate=RATE, mask=None):
    """Words [1, R, C] that `recover` gave, and those that were stored."""
    crossbar, read = reader(hardware)
    table = rerax.rate_table(rate, fault=hardware.fault, tested=hardware.tested)
    codes = np.asarray(read(Faults(table, mask)))
    return np.asarray(encode(codes[None], hardware.spec))[0], crossbar.words


@pytest.mark.parametrize("fault", ["uniform", "wordline"])
def test_a_share_of_the_stuck_cells_is_found_cell_by_cell(fault):
    every = words_of(Hardware(fault=fault, protection=Shown()))[0]
    cells = np.bitwise_count(every).sum()
    before = every
    for share in (0.99, 0.9):
        found, _ = words_of(Hardware(fault=fault, protection=Shown(), tested=Tested(share)))
        assert (found & ~before == 0).all()  # of those found at a larger share
        spread = np.sqrt(cells * share * (1 - share))
        assert abs(np.bitwise_count(found).sum() - share * cells) < 5 * spread
        before = found
    more, _ = words_of(Hardware(fault=fault, protection=Shown(), tested="share:0.9"), 2 * RATE)
    less, _ = words_of(Hardware(fault=fault, protection=Shown(), tested="share:0.9"))
    assert (more & every == less).all()  # a cell is found or not, whatever the rate


def test_an_earlier_map_is_that_of_the_lower_rate():
    half, _ = words_of(Hardware(protection=Shown(), tested="rate:0.5"))
    at_half, _ = words_of(Hardware(protection=Shown()), RATE / 2)
    now, _ = words_of(Hardware(protection=Shown()))
    assert (half == at_half).all()
    assert (half & ~now == 0).all()
    assert (half != now).any()


@pytest.mark.parametrize("what", ["share:0.5", "rate:0.5"])
def test_cells_that_were_not_found_are_stuck_all_the_same(what):
    every, _ = words_of(Hardware(protection=Shown()))
    read, stored = words_of(Hardware(protection=Shown(map=False), tested=what))
    complete, _ = words_of(Hardware(protection=Shown(map=False)))
    assert (read == complete).all()  # what is written here does not depend on the map
    assert ((read ^ ~stored) & ~every == 0).all()
    assert ((read ^ ~stored) & every).any()


def test_the_less_is_known_the_more_is_wrong():
    errors = {}
    for name, parts in (("closest", ("share:0.5", "rate:0.3")), ("msb:2x2:lsb:erasures", ())):
        for what in ("all", "share:0.9", *parts):
            read, stored = words_of(Hardware(protection=name, tested=what))
            low = ~np.uint8(0x3) if "lsb" in name else np.uint8(255)
            error = ((read & low).astype(int) - (stored & low)) ** 2
            errors[name, what] = error.sum()
        assert errors[name, "all"] < errors[name, "share:0.9"]
    closest = [errors["closest", what] for what in ("share:0.9", "share:0.5", "rate:0.3")]
    assert closest == sorted(closest)


def test_a_mask_of_faults_is_known_likewise():
    here = rerax.FaultMask({"k": True}, jnp.uint8(0x0F))
    found, _ = words_of(Hardware(protection=Shown(), tested="share:0.9"), mask=here)
    every, _ = words_of(Hardware(protection=Shown(), tested="share:0.9"))
    assert (found == every & 0x0F).all()
    nowhere = rerax.FaultMask({"k": False}, None)
    none, _ = words_of(Hardware(protection=Shown(), tested="rate:0.5"), mask=nowhere)
    assert not none.any()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("some", "tested 'some' is not understood: use all, share:0.99"),
        ("share:0", r"tested share 0.0 is outside \(0, 1\]"),
        ("share:1.5", "tested share"),
        ("rate:x", "tested rate"),
        (0.5, "tested 0.5 is not understood"),
    ],
)
def test_bad_texts_are_refused(given, said):
    with pytest.raises(ValueError, match=said):
        made(given)
    with pytest.raises(ValueError, match="give one of them"):
        Tested(0.5, 0.5)
    for right in ("all", "share:0.99", "rate:0.25"):
        assert made(right).text == right


def test_it_is_in_the_identity_where_it_means_anything():
    point = Point(task="sst2", model="m", rate=0.1, protection="closest")
    part = Point(task="sst2", model="m", rate=0.1, protection="closest", tested="share:0.99")
    assert "tested" not in point.identity()
    assert part.identity()["tested"] == "share:0.99"
    assert part.hash != point.hash
    bare = Point(task="sst2", model="m", rate=0.1, tested="share:0.99")
    assert bare == Point(task="sst2", model="m", rate=0.1)
    axes = {"tested": ["all", "rate:0.5"], "protection": ["none", "closest"]}
    assert len(expand(point, axes)) == 3
    with pytest.raises(ValueError, match=r"tested rate:0\.5 says which stuck cells are known, and"):
        expand(bare, {"tested": ["rate:0.5"], "protection": ["none", "msb:2x3:pruned"]})


def test_it_means_nothing_where_no_stuck_cell_is_found(tmp_path):
    for fault in ("flip", "short"):
        assert Hardware(fault=fault, protection="closest", tested="share:0.9").tested == Tested()
    cells = write_map(tmp_path / "map.parquet", [(0, "k", 0, 0, 0, 1)])
    with pytest.raises(ValueError, match=r"rate:0\.5 is of no use to map:"):
        Hardware(fault=f"map:{cells}", protection="closest", tested="rate:0.5")
    assert Hardware(fault=f"map:{cells}", protection="closest", tested="share:0.9").tested.share
    plan = tmp_path / "plan.json"
    plan.write_text('{"allocation": {"query": "closest"}}')
    point = Point(task="sst2", model="m", rate=0.1, protection=f"plan:{plan}", tested="share:0.9")
    assert point.tested == Tested(0.9)
    assert Point(task="sst2", model="m", rate=0.1, protection="plan:no").tested == Tested()


def test_rates_without_the_earlier_one_are_refused():
    stored = rerax.program(
        WEIGHTS, Hardware(protection="closest", tested="rate:0.5"), lambda *_: True
    )
    with pytest.raises(ValueError, match=r"tested at an earlier rate \(rate:0.5\)"):
        rerax.read(stored, rerax.chip(0, 0), rerax.rate_table(0.1))
    with pytest.raises(ValueError, match=r"of which the rates know 0\.9 of it instead"):
        rerax.read(stored, rerax.chip(0, 0), rerax.rate_table(0.1, tested="rate:0.9"))
    own = rerax.rate_table(0.1, tested=stored.hardware.tested)
    assert rerax.read(stored, rerax.chip(0, 0), own)["k"].shape == (160, 140)
    assert rerax.read(stored, rerax.chip(0, 0), 0.1)["k"].shape == (160, 140)
