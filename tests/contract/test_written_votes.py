"""Tested chips written around their stuck cells behind a vote: against trying every word."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from arrays import read_matrix
from placed import COLUMNS, ROWS, lines, random_codes, read_case
from quick import WITHOUT_OPTIMISING

from rerax.crossbar import keys
from rerax.crossbar.encoding import decode
from rerax.crossbar.spec import ChipSpec
from rerax.faults import Uniform
from rerax.faults.sampling.rates import rate_table
from rerax.hardware import Hardware
from rerax.protection import protection
from rerax.protection.msb.read import read_voted
from rerax.protection.msb.write_around import write_around

quickly = functools.partial(jax.jit, compiler_options=WITHOUT_OPTIMISING)
CASES = [
    ("offset", 8, 1, "msb:2x3:pruned:closest"),
    ("twos_complement", 8, 1, "msb:1x3:lsb:closest"),
    ("sign_magnitude", 6, 1, "msb:5.3:pruned+lsb:closest"),
    ("offset", 6, 2, "msb:2x3:pruned:closest"),
    ("differential", 4, 1, "msb:1x3:pruned:closest"),
    ("offset", 6, 1, "msb:2x2:pruned:erasures:closest"),
]


def voted(images, own, erasures):
    """What some images of a bit say, each (value, whether it is stuck), the original first."""
    voters = [value for value, stuck in images if not (erasures and stuck)]
    if not voters or 2 * sum(voters) == len(voters):
        return own
    return int(2 * sum(voters) > len(voters))


@pytest.mark.parametrize(("encoding", "bits", "per_cell", "name"), CASES)
def test_no_word_that_cells_allow_is_read_nearer(encoding, bits, per_cell, name):
    spec, shield = ChipSpec(encoding, bits, per_cell), protection(name)
    case = read_case(spec, shield.copy_spec, shield.erasures)
    row, column = case.row, case.column
    words, layout, *_ = shield.store(case.codes, (row, column), spec, "query")
    layout = jax.tree.map(jnp.asarray, layout)
    rng = np.random.default_rng(1)
    cells = rng.random((spec.cells_per_group, *words.shape)) < 0.25
    ones = rng.random(cells.shape) < 0.6
    stuck, held = np.zeros_like(words), np.zeros_like(words)
    for cell in range(spec.cells_per_group):
        mask = np.uint8(((1 << spec.bits_of_cell(cell)) - 1) << (cell * per_cell))
        stuck |= cells[cell] * mask
        held |= (cells[cell] & ones[cell]) * mask

    @quickly
    def write_and_read(words, stuck, held):
        new = write_around(words, stuck, held, layout, shield.copy_spec, shield.erasures, spec)
        read = (new & ~stuck) | held
        known = stuck if shield.erasures else None
        return new, read_voted(read, known, layout.copies, shield.copy_spec, spec)

    new, found = jax.device_get(write_and_read(words, stuck, held))
    images, low = case.found(), case.low
    allowed = [w for w in range(1 << spec.group_bits) if w % (1 << low) == 0]
    wanted = np.asarray(decode(jnp.asarray(words & ~np.uint8((1 << low) - 1)), spec)).astype(int)
    got = np.asarray(decode(jnp.asarray(found), spec)).astype(int)
    writable = 0
    for r, c in np.argwhere(case.kept):
        reads = []  # by group: what each word that may be written is read as
        for g in range(spec.groups):
            table = set()
            for word in allowed:
                read = 0
                for bit in range(low, spec.group_bits):
                    its = images.get(((g, r, c), bit), [((g, r, c), bit)])
                    seen = []
                    for where, b in its:
                        fixed = stuck[where] >> b & 1
                        seen.append(
                            (int(held[where] >> b & 1 if fixed else word >> bit & 1), fixed)
                        )
                    read |= voted(seen, seen[0][0], shield.erasures) << bit
                table.add(read)
            reads.append(sorted(table))
        pairs = np.array(np.meshgrid(*reads, indexing="ij"), np.uint8).reshape(spec.groups, 1, -1)
        codes = np.asarray(decode(jnp.asarray(pairs), spec)).astype(int)[0]
        assert abs(got[r, c] - wanted[r, c]) == abs(codes - wanted[r, c]).min(), (r, c)
        writable += got[r, c] == wanted[r, c]
        for own, its in images.items():  # every copy holds what the original holds
            if own[0][1:] == (r, c):
                told = {int(new[where] >> b & 1) for where, b in its}
                assert len(told) == 1, (own, its)
    assert 0 < writable < case.kept.sum()


@pytest.mark.parametrize("polarity", ["plain", "alternate"])
def test_a_vote_written_around_is_read_nearer_on_chips(polarity):
    spec, rng = ChipSpec(polarity=polarity), np.random.default_rng(0)
    row, column = lines(rng, 48, 40, 18, 14)
    codes, rates = random_codes(rng, row, column, spec), rate_table(0.08, 0.75, Uniform())
    kept, error = row[:, None] & column[None, :], {}
    key = keys.chip_key(keys.root_key(0), jnp.uint32(2))
    for more in ("", ":closest"):
        shield = protection("msb:2x3:pruned" + more)
        stored = jax.tree.map(jnp.asarray, shield.store(codes, (row, column), spec, "query"))
        hardware = Hardware(spec, Uniform(), shield)
        found, _ = quickly(lambda s, h=hardware: read_matrix(s, key, rates, h))(stored)
        error[more] = np.where(kept, np.abs(np.asarray(found).astype(int) - codes), 0)
    assert (error[":closest"] <= error[""]).all()
    assert (error[":closest"] ** 2).sum() < 0.5 * (error[""] ** 2).sum()


def test_without_gates_the_words_themselves_are_written_around():
    spec, shield = ChipSpec(), protection("msb:2x3:pruned:closest")
    codes = np.full((ROWS, COLUMNS), 8, np.int8)
    words, extra, *_ = shield.store(codes, None, spec, "query")
    stuck = jnp.full(words.shape, 0x08, jnp.uint8)  # 136 = 0b10001000 loses its lowest one
    written, _ = shield.write(
        jnp.asarray(words), stuck, jnp.zeros_like(stuck), extra, spec, "query"
    )
    assert (np.asarray(written) == 135).all()
    assert protection(shield.text) == shield
    assert shield.knows == "map at writing"
