"""Protections by their names: what they store and give back; copies as read are in test_copies."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from arrays import read_matrix
from placed import given_up, lines, random_codes
from quick import WITHOUT_OPTIMISING

from rerax.campaign.point import Point
from rerax.crossbar.encoding import encode
from rerax.crossbar.keys import chip_key, root_key
from rerax.crossbar.spec import ENCODINGS, ChipSpec
from rerax.faults import NoFault
from rerax.faults.read_out import Counts, ReadOut
from rerax.faults.sampling.rates import rate_table
from rerax.hardware import Hardware
from rerax.protection import FaultAware, MsbEmbed, protection, registered_protections
from rerax.protection.msb.write import rounded_codes

ROWS, COLUMNS = 10, 9
EXAMPLES = {
    "allocation": ("allocation:query=msb:1x3:lsb",),
    "code": (
        "code:golay:4:pruned",
        "code:hamming:2:pruned:closest",
        "code:bch:4:pruned:erasures",
        "code:secded:4:spare",
    ),
    "duplicate": ("duplicate:3", "duplicate:5:erasures"),
    "msb": (
        "msb:1x3:pruned",
        "msb:2x3:pruned",
        "msb:5.3:pruned",
        "msb:2x3:pruned:erasures",
        "msb:2x2:pruned:erasures",
        "msb:2x3:pruned+lsb:closest",
        "msb:1x3:lsb",
        "msb:2x3:lsb:erasures",
        "msb:2x3:pruned+lsb",
    ),
    "plan": (),  # stores nothing before it is resolved
}
"""Names of each kind; any other that is registered is tested under its kind alone."""
NAMES = [name for kind in registered_protections() for name in EXAMPLES.get(kind, (kind,))]
KEY = chip_key(root_key(3), jnp.uint32(0))


@pytest.fixture(scope="module")
def matrix():
    rng = np.random.default_rng(0)
    row, column = lines(rng, ROWS, COLUMNS, 5, 4)
    return random_codes(rng, row, column, ChipSpec()), row, column


@pytest.mark.parametrize("name", NAMES)
def test_without_faults_the_codes_come_back(matrix, name):
    codes, row, column = matrix
    spec, shield = ChipSpec(ENCODINGS[len(name) % 4]), protection(name)
    stored = shield.store(codes, (row, column), spec, "query")

    hardware = Hardware(spec, NoFault(), shield)

    def read(stored):
        return read_matrix(stored, KEY, rate_table(0.0), hardware)

    quickly = jax.jit(read, compiler_options=WITHOUT_OPTIMISING)
    got, counts = quickly(jax.tree.map(jnp.asarray, stored))
    shield = shield.of("query")
    low = given_up(shield.copy_spec, row, column, spec) if isinstance(shield, MsbEmbed) else 0
    kept = row[:, None] & column[None, :]
    expected = rounded_codes(codes, low, spec)[kept]
    np.testing.assert_array_equal(np.asarray(got)[kept], expected)
    assert all(int(count) == 0 for count in counts)


def test_stored_words_are_no_larger_than_plain_ones(matrix):
    codes, row, column = matrix
    for encoding in ENCODINGS:
        plain = encode(codes, ChipSpec(encoding))
        for name in NAMES:
            stored = protection(name).store(codes, (row, column), ChipSpec(encoding), "query")
            assert stored.words.shape == plain.shape
            assert stored.words.dtype == plain.dtype


@pytest.mark.parametrize("kind", ["duplicate:3", "msb:1x3:lsb"])
def test_what_is_known_to_be_stuck_votes_unless_erasures_are_asked_for(kind):
    """Two of three images of every top bit wrong, and known to be: only then the third decides."""
    spec = ChipSpec()
    codes = np.random.default_rng(0).integers(-60, 61, (6, 5)).astype(np.int8)
    none = Counts(*[jnp.int32(0)] * 5)
    for name, right in ((kind, False), (f"{kind}:erasures", True)):
        shield = protection(name)
        words, extra, *_ = jax.tree.map(jnp.asarray, shield.store(codes, None, spec, "query"))
        if shield.spare_arrays:
            broken = [jnp.full_like(words, bits) for bits in (0, 0x80, 0x80)]
        else:  # the top bit itself, and the lowest, which holds the first of two copies
            broken = [jnp.full_like(words, 0x81)]
        arrays = [ReadOut(words ^ bits, bits, none) for bits in broken]
        read = jax.jit(lambda a, e, s=shield: s.recover(a, e, spec, "query"))(arrays, extra)
        found = np.asarray(read) & 0x80
        assert (found == (np.asarray(words) & 0x80)).all() == right


def test_blocks_mean_nothing_where_nothing_is_flipped():
    """So that a protection is what its text says."""
    for name in ("closest:64", "closest"):
        point = Point("sst2", "tiny", 0.1, protection=name)
        assert point.hardware.protection == protection("closest")
    assert Hardware(protection=FaultAware(rows=64)) == Hardware(protection="closest")
    assert protection("closest+sign:64").text == "closest+sign:64"


def test_a_stored_matrix_needs_room_and_bits():
    codes, spec = np.zeros((6, 5), np.int8), ChipSpec("differential", 2)
    with pytest.raises(ValueError, match="msbs 2 are more than the 1 bits of a group: give fewer"):
        protection("msb:2x3:lsb").store(codes, None, spec, "query")
    open_lines = np.ones(6, bool), np.ones(5, bool)
    with pytest.raises(ValueError, match=r"query has no room for msb:1x3:pruned: .* prune more"):
        protection("msb:1x3:pruned").store(codes, open_lines, ChipSpec(), "query")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("parity", "unknown protection 'parity': use one of closest"),
        ("none:2", "protection none takes nothing, not '2': use none"),
        ("duplicate", "use duplicate:3"),
        ("duplicate:4", "4 copies cannot be voted: give an odd number"),
        ("msb:2x2:pruned", "2 copies cannot be voted: give an odd number"),
        ("msb:2x1:pruned:erasures", "1 copies cannot be voted: give a number from 2 to 99"),
        ("msb:2x3", "is not understood: use msb:2x3:pruned"),
        ("msb:2x3:attic", "copies into 'attic': use one of pruned, lsb"),
        ("msb:9x3:lsb", "msbs 9 is outside 1..8"),
        ("msb:3.5:lsb", r"copies \(3, 5\) do not fit 2 msbs"),
    ],
)
def test_bad_names_are_refused(name, said):
    with pytest.raises(ValueError, match=said):
        protection(name)
