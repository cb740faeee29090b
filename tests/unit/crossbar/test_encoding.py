"""Every code, and every word that a faulty cell can give, against plain loops."""

import jax.numpy as jnp
import numpy as np
import oracle
import pytest

from rerax.crossbar.encoding import decode, encode
from rerax.crossbar.spec import BITS_PER_CELL, ENCODINGS, ChipSpec

WHOLE = (128, 128)  # room for all pairs of words, and one shape for all widths


@pytest.mark.parametrize("bits", range(2, 9))
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_encode_and_decode_every_code_and_word(encoding, bits):
    spec = ChipSpec(encoding, bits, BITS_PER_CELL[bits % 3])  # words are the same in all cells
    q = 2 ** (bits - 1) - 1
    codes = np.arange(-q, q + 1, dtype=np.int8)[None]
    expected = [oracle.groups_of(int(code), spec) for code in codes[0]]
    np.testing.assert_array_equal(encode(codes, spec)[:, 0], np.transpose(expected))
    assert [oracle.code_of(groups, spec) for groups in expected] == codes[0].tolist()
    n = 1 << spec.group_bits  # and what only a faulty cell can write
    every = np.stack(np.meshgrid(*[np.arange(n)] * spec.groups, indexing="ij")).astype(np.uint8)
    every = every.reshape(spec.groups, -1)
    expected = [oracle.code_of([int(g) for g in groups], spec) for groups in every.T]
    words = np.stack([np.resize(group, WHOLE) for group in every])
    np.testing.assert_array_equal(decode(jnp.asarray(words), spec), np.resize(expected, WHOLE))
