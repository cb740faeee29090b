"""Own fault models and protections that break what rows rely on are refused; ours never do."""

import dataclasses
import runpy

import jax.numpy as jnp
import numpy as np
import pytest
from paths import ROOT

import rerax
from rerax.faults import fault_model
from rerax.models.conformance import check_fault, check_protection
from rerax.protection import protection

WEIGHTS = {"a": np.ones((4, 4), np.float32)}


@dataclasses.dataclass(frozen=True)
class Own(rerax.FaultModel):
    """Stuck cells, and one of several mistakes."""

    mistake: str = ""

    def states(self, key, rates, spec, shape):
        cells = rerax.stuck_cells(key, rates, spec, *shape)
        return {
            "": cells,
            "value": cells * 2,
            "rate 0": cells.at[0, 0, 0].set(1),
            "mended": jnp.where(rates.above, cells.at[:, :8].set(0), cells),
            "turned": jnp.where(rates.above & (cells > 0), 4 - cells, cells),
            "shape": cells[:1],
            "never": cells * 0,
        }[self.mistake]


@pytest.mark.parametrize(
    ("mistake", "said"),
    [
        ("value", "states of Own hold 2: give 0 healthy, 1 stuck at 0, 3 stuck at 1"),
        ("rate 0", "Own has faults at rate 0: it must have none"),
        ("mended", "Own has other faults at rate 1 than at a lower one"),
        ("turned", "Own has other faults at rate 1 than at a lower one"),
        ("shape", "states of Own are uint8 .*: give uint8"),
        ("never", "Own has no faults at rate 1"),
    ],
)
def test_fault_models_that_are_none_are_refused(mistake, said):
    with pytest.raises(ValueError, match=said):
        rerax.program(WEIGHTS, rerax.Hardware(fault=Own(mistake)), lambda *_: True)
    rerax.program(WEIGHTS, rerax.Hardware(fault=Own()), lambda *_: True)


@dataclasses.dataclass(frozen=True)
class Always(rerax.FaultModel):
    """One that inverts every word whatever the rate."""

    def disturb(self, words, key, rates, spec, site=None):
        zero = jnp.int32(0)
        return rerax.ReadOut(~words, words ^ words, rerax.Counts(*[zero] * 5))


@dataclasses.dataclass(frozen=True)
class Mute(rerax.FaultModel):
    """One that says nothing."""


@dataclasses.dataclass
class Loose(rerax.Protection):
    """One that can be changed."""


@dataclasses.dataclass(frozen=True)
class Half(rerax.Protection):
    """One with half an array."""

    spare_arrays: float = 1.5


@dataclasses.dataclass(frozen=True)
class Wordless(rerax.FaultModel):
    """One that forgets what is known."""

    def disturb(self, words, key, rates, spec, site=None):
        return words


@dataclasses.dataclass(frozen=True)
class Writer(rerax.Protection):
    """One that means to write around faults."""

    knows: str = "nothing"

    def write(self, words, stuck, held, extra, spec, matrix):
        return words, None


@dataclasses.dataclass(frozen=True)
class Knower(rerax.Protection):
    """One that looks at what a tester knows."""

    knows: str = "nothing"

    def recover(self, arrays, extra, spec, matrix):
        return jnp.where(arrays[0].known > 0, jnp.uint8(0), arrays[0].words)


@pytest.mark.parametrize(
    ("hardware", "said"),
    [
        ({"fault": Always()}, "Always has faults at rate 0"),
        ({"fault": Mute()}, "Mute says nothing of faults: override states or disturb"),
        ({"protection": Loose()}, r"Loose\(\) has no hash .*: make it a dataclass\(frozen=True\)"),
        ({"protection": Half()}, "spare_arrays of Half is 1.5: give a whole number"),
        ({"fault": Wordless()}, "disturb of Wordless gives .*: give a rerax.ReadOut"),
        ({"protection": Writer("map at write")}, "knows of Writer is 'map at write': give one of"),
        ({"protection": Writer()}, "Writer overrides write, which is called only where knows is"),
        ({"protection": Knower()}, "Knower reads by what a tester knows, and says that it knows '"),
    ],
)
def test_objects_that_are_half_made_are_refused(hardware, said):
    with pytest.raises(ValueError, match=said):
        rerax.program(WEIGHTS, rerax.Hardware(**hardware), lambda *_: True)


@dataclasses.dataclass(frozen=True)
class Lossy(rerax.Protection):
    """One that loses a bit of what was stored."""

    exact: bool = True
    spare_arrays: int = 0
    gated_only: bool = False

    def store(self, codes, lines, spec, matrix):
        words = rerax.encode(codes, spec)
        lost = words ^ 1 if lines is not None or not self.gated_only else words
        return rerax.StoredMatrix(lost)


@dataclasses.dataclass(frozen=True)
class Averse(rerax.Protection):
    """One that has no room anywhere."""

    def store(self, codes, lines, spec, matrix):
        raise ValueError("no room")


@dataclasses.dataclass(frozen=True)
class Bare(rerax.Protection):
    """One that gives words alone."""

    def store(self, codes, lines, spec, matrix):
        return rerax.encode(codes, spec), rerax.encode(codes, spec)

    def recover(self, arrays, extra, spec, matrix):
        return arrays[0].words[:, :8]


def test_protections_that_lose_codes_without_faults_are_refused():
    def use(scheme):
        return rerax.program(WEIGHTS, rerax.Hardware(protection=scheme), lambda *_: True)

    for scheme in (Lossy(), Lossy(gated_only=True), Bare()):
        with pytest.raises(ValueError, match=r"reads other codes than were stored although nothin"):
            use(scheme)
    use(Lossy(exact=False))
    use(Knower("map at reading"))
    check_protection(Averse(), rerax.ChipSpec())


FAULTS = ("uniform", "clustered:2", "wordline", "bitline", "short", "flip")
PROTECTIONS = ("none", "duplicate:3", "msb:2x3:pruned", "msb:2x3:lsb", "msb:1x5:pruned+lsb")


@pytest.mark.parametrize("encoding", ["offset", "differential"])
def test_ours_conform(encoding):
    spec = rerax.ChipSpec(encoding, bits=8 if encoding == "offset" else 7)
    for name in FAULTS:
        check_fault(fault_model(name), spec)
    for name in PROTECTIONS:
        check_protection(protection(name), spec)
        assert protection(name).exact == ("lsb" not in name)


def test_protections_of_experiments_are_held_to_the_same():
    """A study of its own takes minutes: it must not be what finds that its class is refused."""
    file = ROOT / "experiments" / "line_faults.py"
    if not file.is_file():
        pytest.skip("no experiments beside the tests")
    check_protection(runpy.run_path(str(file))["Naive"]("below"), rerax.ChipSpec())
