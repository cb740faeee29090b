"""Threefry and the key tree."""

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest
from jax.extend.random import threefry2x32_p

from rerax.crossbar import keys
from rerax.models.bert.names import IDS


def test_known_answers():
    """The three vectors that come with Random123."""
    cases = [
        ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
        ((2**32 - 1,) * 2, (2**32 - 1,) * 2, (0x1CB996FC, 0xBB002BE7)),
        ((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3), (0xC4923A9C, 0x483DF7A0)),
    ]
    for key, counter, answer in cases:
        assert tuple(oracle.threefry(key, counter)) == answer
        words = keys.threefry(jnp.array(key, jnp.uint32), *map(jnp.uint32, counter))
        assert tuple(int(w) for w in words) == answer


def test_equals_jax_primitive():
    rng = np.random.default_rng(0)
    key = jnp.asarray(rng.integers(0, 2**32, 2, np.uint32))
    x, y = (jnp.asarray(rng.integers(0, 2**32, 999, np.uint32)) for _ in range(2))
    mine = jax.jit(keys.threefry)(key, x, y)
    theirs = threefry2x32_p.bind(jnp.full_like(x, key[0]), jnp.full_like(x, key[1]), x, y)
    for a, b in zip(mine, theirs, strict=True):
        np.testing.assert_array_equal(a, b)


def test_keys_ignore_the_users_defaults():
    def word():
        key = keys.array_key(keys.chip_key(keys.root_key(7), jnp.uint32(3)), IDS["ffn_in"], 2)
        return [int(w) for w in jax.random.key_data(key)]

    expected = word()
    with jax.default_prng_impl("rbg"):
        assert word() == expected
    with jax.threefry_partitionable(False):
        assert word() == expected


def test_keys_differ_by_chip_matrix_and_layer():
    root = keys.root_key(0)
    words = {
        tuple(
            jax.random.key_data(keys.array_key(keys.chip_key(root, jnp.uint32(c)), m, l)).tolist()
        )
        for c in range(3)
        for m in IDS.values()
        for l in range(3)
    }
    assert len(words) == 3 * len(IDS) * 3


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_bad_seeds_are_refused(seed):
    with pytest.raises(ValueError, match="outside 0"):
        keys.root_key(seed)


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (-1, "chip -1 is outside 0..4294967294"),
        (2**32 - 1, "chip 4294967295 is outside"),
        (1.5, "chip 1.5 is not a whole number"),
        (True, "chip True is not a whole number"),
        ("3", "chip '3' is not a whole number"),
        (np.arange(3), "3 numbers of chips: map over them with jax.vmap"),
    ],
)
def test_numbers_that_are_no_chip_are_refused(number, said):
    with pytest.raises(ValueError, match=said):
        keys.chip(0, number)


def test_a_chip_is_the_same_however_its_number_is_written():
    wanted = keys.chip(3, 2**31 + 1)
    key = jax.random.key_data(wanted.key)
    for seed, number in ((np.int64(3), np.uint32(2**31 + 1)), (3, jnp.uint32(2**31 + 1))):
        found = keys.chip(seed, number)
        np.testing.assert_array_equal(jax.random.key_data(found.key), key)
        traced = jax.jit(lambda n: jax.random.key_data(keys.chip(3, n).key))(np.uint32(number))
        np.testing.assert_array_equal(traced, key)
    with pytest.raises(ValueError, match="number is a traced float32"):
        jax.eval_shape(lambda n: keys.chip(0, n), jnp.float32(1))
    with pytest.raises(ValueError, match=r"seed 0.5 is not a whole number"):
        keys.chip(0.5, 0)
