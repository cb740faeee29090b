"""Bitwise majorities against plain loops."""

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

from rerax.crossbar.voting import majority_vote, msb_decode, msb_encode

DTYPES = {8: jnp.uint8, 16: jnp.uint16, 32: jnp.uint32}


@pytest.mark.parametrize(
    ("k", "width", "erasures"),
    [
        (1, 8, False),
        (1, 16, True),
        (3, 32, False),
        (3, 8, True),
        (5, 16, False),
        (5, 32, True),
        (7, 8, False),
        (7, 16, True),
        (9, 32, False),
        (9, 8, True),
    ],
)
def test_votes_are_the_oracles(k, width, erasures):
    rng = np.random.default_rng(k)
    images = rng.integers(0, 1 << width, (k, 60))
    stuck = rng.integers(0, 1 << width, (k, 60)) if erasures else np.zeros((k, 60), int)
    dtype = DTYPES[width]
    found = majority_vote(
        jnp.asarray(images, dtype), jnp.asarray(stuck, dtype) if erasures else None
    )
    assert found.dtype == dtype
    expected = [
        oracle.vote([int(w) for w in i], [int(s) for s in e], width)
        for i, e in zip(images.T, stuck.T, strict=True)
    ]
    assert np.asarray(found).tolist() == expected


def test_every_triple_of_words():
    """All 2^24 triples of 8-bit words: two that agree decide each bit."""
    words = jnp.arange(256, dtype=jnp.uint8)
    shape = (256, 256)
    b, c = jnp.broadcast_to(words[:, None], shape), jnp.broadcast_to(words[None, :], shape)
    b_, c_ = np.asarray(b), np.asarray(c)
    for a in range(256):
        found = np.asarray(majority_vote(jnp.stack([jnp.full(shape, a, jnp.uint8), b, c])))
        agree = ~(b_ ^ c_)
        np.testing.assert_array_equal(found, (agree & b_) | (~agree & np.uint8(a)))


def test_an_even_number_is_refused():
    with pytest.raises(ValueError, match="4 images can tie: give an odd number"):
        majority_vote(jnp.zeros((4, 2), jnp.uint8))


@pytest.mark.parametrize("bits", [1, 2, 7, 8])
def test_voted_tops_and_untouched_rests(bits):
    rng = np.random.default_rng(bits)
    words = jnp.asarray(rng.integers(0, 1 << bits, 50), jnp.uint8)
    for msbs in range(1, bits + 1):
        tops = msb_encode(words, bits, msbs)
        np.testing.assert_array_equal(tops, np.asarray(words) >> (bits - msbs))
        copies = jnp.stack([tops, tops])
        broken = words ^ jnp.uint8(1 << (bits - 1))
        np.testing.assert_array_equal(msb_decode(broken, copies, bits, msbs), words)
        low = (1 << (bits - msbs)) - 1  # the bits below have no copies and stay as read
        np.testing.assert_array_equal(
            msb_decode(words ^ jnp.uint8(low), copies, bits, msbs), np.asarray(words) ^ low
        )
    with pytest.raises(ValueError, match="msbs 0 is outside"):
        msb_encode(words, bits, 0)


def test_known_stuck_bits_do_not_vote():
    word, right = jnp.uint8([0b0]), jnp.uint8([0b1])
    copies = jnp.stack([jnp.uint8([0]), right])
    none, own, both = jnp.uint8([0b00]), jnp.uint8([0b10]), jnp.uint8([1])
    assert int(msb_decode(word, copies, 2, 1)[0]) == 0
    erased = (own, jnp.stack([both, none]))
    assert int(msb_decode(word, copies, 2, 1, erased)[0]) == 0b10


def test_vmap_and_jit():
    images = jnp.asarray(np.random.default_rng(0).integers(0, 256, (4, 5, 6)), jnp.uint8)
    together = jax.vmap(majority_vote)(images)
    for lane, one in zip(together, images, strict=True):
        np.testing.assert_array_equal(lane, majority_vote(one))
