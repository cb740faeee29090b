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
